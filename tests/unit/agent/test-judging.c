/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Records that workers judge. What is looked up is played here: a record of process SLOW keeps its
 * worker waiting until the test lets it go, and one of a path that begins with "/tmp" is foreign.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/clock.h"
#include "main/agent.h"
#include "support/suite.h"

enum { SLOW = 4711, LIMIT_S = 10 };

static Agent agent;
static Node nodes[2];
static GMutex lock;
static GCond changed;
static bool let_go; /* under the lock, like the next */
static unsigned n_in_vain;
static char said[4096]; /* "n0:/tmp/1 " of what was drift, in order */

bool dn_sensor_refused_is_foreign(DnSensor *self, uint32_t image,
				  const struct dn_sensor_observation *seen, uint32_t pid1)
{
	g_mutex_lock(&lock);
	while (seen->pid == SLOW && !let_go)
		g_cond_wait(&changed, &lock);
	g_mutex_unlock(&lock);
	return g_str_has_prefix((const char *)seen->path, "/tmp");
}

void dn_sensor_refused_in_vain(DnSensor *self, const struct dn_sensor_observation *seen,
			       uint32_t pid1)
{
	g_mutex_lock(&lock);
	n_in_vain++;
	g_mutex_unlock(&lock);
}

bool dn_sensor_written_is_file(const struct dn_sensor_observation *seen, uint32_t pid1)
{
	return dn_sensor_refused_is_foreign(NULL, 0, seen, pid1);
}

void dn_observed_drift(Node *node, const struct dn_sensor_observation *seen)
{
	size_t used = strlen(said);

	(void)g_snprintf(said + used, sizeof(said) - used, "%s:%s ", node->id, seen->path);
}

static void setup(void)
{
	static char names[][3] = {"n0", "n1"};

	for (uint32_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
		nodes[i] = (Node){.agent = &agent, .id = names[i], .slot = i, .built = true};
		agent.slots[i] = &nodes[i];
	}
}

static void wake(void)
{
	g_mutex_lock(&lock);
	let_go = true;
	g_cond_broadcast(&changed);
	g_mutex_unlock(&lock);
}

/* Whatever is out has come back: a worker is done a moment before its verdict is here. */
static void settle(void)
{
	cr_assert(dn_work_is_done(&agent));
	for (int i = 0; i < 50; i++) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
}

static void teardown(void)
{
	wake();
	for (uint32_t i = 0; i < G_N_ELEMENTS(nodes); i++)
		g_queue_clear_full(&nodes[i].doubts, g_free);
	settle();
	dn_suite_end();
}

TestSuite(judging, .init = setup, .fini = teardown, .timeout = 60);

static void tell(uint32_t slot, enum dn_sensor_kind kind, uint32_t pid, const char *path)
{
	struct dn_sensor_observation seen = {.slot = slot, .kind = kind, .pid = pid};

	g_strlcpy((char *)seen.path, path, sizeof(seen.path));
	dn_node_judge(&nodes[slot], &seen);
}

static void expect_said(const char *what)
{
	uint64_t end = dn_clock_monotonic_ns() + LIMIT_S * DN_NS_PER_S;

	while (!g_str_equal(said, what) && dn_clock_monotonic_ns() < end) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(100);
	}
	cr_assert_str_eq(said, what);
}

Test(judging, a_node_that_keeps_its_worker_waiting_keeps_nobody_else_waiting)
{
	tell(0, DN_SEEN_REFUSED, SLOW, "/tmp/slow");
	tell(0, DN_SEEN_REFUSED, 1, "/tmp/behind");
	tell(1, DN_SEEN_REFUSED, 1, "/tmp/a");
	tell(1, DN_SEEN_WRITTEN, 1, "/tmp/b");
	expect_said("n1:/tmp/a n1:/tmp/b ");
	wake();
	expect_said("n1:/tmp/a n1:/tmp/b n0:/tmp/slow n0:/tmp/behind ");
}

Test(judging, what_is_not_foreign_is_no_drift_and_was_refused_in_vain)
{
	tell(0, DN_SEEN_REFUSED, 1, "/bin/x");
	tell(0, DN_SEEN_WRITTEN, 1, "/bin/x");
	tell(0, DN_SEEN_REFUSED, 1, "/tmp/x");
	expect_said("n0:/tmp/x ");
	cr_assert(eq(u32, n_in_vain, 1));
}

Test(judging, a_verdict_about_a_node_that_has_gone_is_none_about_the_next_in_its_slot)
{
	static char other[] = "n9";

	tell(0, DN_SEEN_REFUSED, SLOW, "/tmp/of-the-last");
	nodes[0].id = other;
	nodes[0].judging = false;
	tell(0, DN_SEEN_REFUSED, 1, "/tmp/mine");
	wake();
	expect_said("n9:/tmp/mine ");
	settle();
	cr_assert_str_eq(said, "n9:/tmp/mine ");
}

Test(judging, what_finds_no_room_is_counted)
{
	tell(0, DN_SEEN_REFUSED, SLOW, "/bin/x");
	for (unsigned i = 0; i < 2 * DN_SENSOR_PACE_EXEC; i++)
		tell(0, DN_SEEN_REFUSED, 1, "/bin/x");
	cr_assert(zero(u64, nodes[0].unjudged));
	tell(0, DN_SEEN_REFUSED, 1, "/tmp/x");
	cr_assert(eq(u64, nodes[0].unjudged, 1));
	tell(1, DN_SEEN_REFUSED, 1, "/tmp/y");
	expect_said("n1:/tmp/y ");
	cr_assert(zero(u64, nodes[1].unjudged));
}
