/* SPDX-License-Identifier: Apache-2.0 */

/* Who reads what nodes say reads a bounded part of it at a time, and all of it in the end. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"
#include "support/suite.h"

/* Different paths, fewer than are drift by themselves; and what one turn has at most. */
enum { SLOT = 1, MANY = 100, TURN = 64, PATH = 160 };

static Host host;

static void setup(void)
{
	host_set_up(&host);
	(void)host_add_node(&host, "n0", SLOT, DN_ANSWER_QUARANTINE);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(turns, .init = setup, .fini = teardown, .timeout = 60);

static void name(char path[PATH], const Host *at, unsigned number)
{
	(void)snprintf(path, PATH, "%s/%u", at->directory, number);
}

static void exec_directories(const Host *at, void *data)
{
	char path[PATH];

	for (unsigned i = 0; i < MANY; i++) {
		name(path, at, i);
		if (mkdir(path, 0755) < 0)
			_exit(1);
		(void)execl(path, path, (char *)NULL);
	}
	_exit(0);
}

typedef struct {
	unsigned all, in_order;
} Told;

static void count(const struct dn_sensor_observation *seen, void *data)
{
	Told *told = data;
	char path[PATH];

	if (seen->class != DN_DRIFT_EXEC)
		return;
	name(path, &host, told->all++);
	told->in_order += g_str_equal((const char *)seen->path, path);
}

Test(turns, what_a_node_says_at_once_is_read_in_parts_of_which_none_is_lost)
{
	Told told = {0};
	Result result = host_run_in(&host, "n0", exec_directories, NULL);

	cr_assert(zero(int, result.status), "status %x", (unsigned)result.status);
	cr_assert(not(dn_sensor_drain_observations(host.sensor, count, &told)));
	cr_assert(le(u32, told.all, TURN));
	while (!dn_sensor_drain_observations(host.sensor, count, &told))
		;
	cr_assert(eq(u32, told.all, MANY));
	cr_assert(eq(u32, told.in_order, MANY));
}
