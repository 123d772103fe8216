/* SPDX-License-Identifier: Apache-2.0 */

/* The reflex thread with marks in plain memory and operations that only write down their call. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dnode/sensor-abi-user.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "reflex/reflex.h"
#include "support/suite.h"

enum { SLOTS = 8, OUTCOMES = 16 };

static struct dn_sensor_mark marks[SLOTS];
static DnReflex *reflex;
static int bell_fd;

/* What the operations do, and what they did. */
static GMutex lock;
static char calls[4096];
static int frozen[SLOTS];     /* guarded: is_frozen() says so */
static int refuse_replay;     /* replay() fails */
static int refuse_rebuild;    /* rebuild() fails */
static int silent_probes;     /* that many probes stay without an answer */
static int freezes_to_refuse; /* freeze() fails that often */

static DnReflexOutcome outcomes[OUTCOMES];
static unsigned n_outcomes;

static void note(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void note(const char *format, ...)
{
	va_list args;

	g_mutex_lock(&lock);
	size_t used = strlen(calls);
	va_start(args, format);
	(void)vsnprintf(calls + used, sizeof(calls) - used, format, args);
	va_end(args);
	g_mutex_unlock(&lock);
}

static bool take_one(int *left)
{
	g_mutex_lock(&lock);
	bool took = *left > 0;
	*left -= took;
	g_mutex_unlock(&lock);
	return took;
}

static bool op_freeze(void *data, uint32_t slot)
{
	note("freeze%u ", slot);
	return !take_one(&freezes_to_refuse);
}

static bool op_is_frozen(void *data, uint32_t slot)
{
	g_mutex_lock(&lock);
	bool is = frozen[slot] != 0;
	g_mutex_unlock(&lock);
	return is;
}

static int op_replay(void *data, const void *batch, size_t size)
{
	note("replay(%.*s) ", (int)size, (const char *)batch);
	return take_one(&refuse_replay) ? -EBUSY : 0;
}

static bool op_rebuild(void *data, uint32_t slot, DnStandbyKind standby, uint32_t standby_slot)
{
	if (standby == DN_STANDBY_NONE)
		note("rebuild%u ", slot);
	else
		note("rebuild%u+%u ", slot, standby_slot);
	return !take_one(&refuse_rebuild);
}

static bool op_release(void *data, uint32_t standby_slot)
{
	note("release%u ", standby_slot);
	return true;
}

static bool op_answers(void *data, uint32_t standby_slot)
{
	if (take_one(&silent_probes))
		return false;
	note("answer%u ", standby_slot);
	return true;
}

static int op_dump(void *data, uint32_t slot)
{
	note("dump%u ", slot);
	return 5;
}

static int op_reset(void *data, uint32_t slot)
{
	note(marks[slot].window == 1 ? "reset%u " : "reset-with-closed-window%u ", slot);
	return 4;
}

static void op_window(void *data, uint32_t slot, bool open)
{
	note(open ? "open%u " : "close%u ", slot);
}

static void op_verdict(void *data, uint32_t slot)
{
	note("verdict%u ", slot);
}

static void op_entered(void *data, uint32_t standby_slot)
{
	note("entered%u ", standby_slot);
}

static const DnReflexOps ops = {
	.freeze = op_freeze,
	.is_frozen = op_is_frozen,
	.replay = op_replay,
	.rebuild = op_rebuild,
	.release = op_release,
	.answers = op_answers,
	.dump = op_dump,
	.reset = op_reset,
	.window = op_window,
	.verdict = op_verdict,
	.entered = op_entered,
};

static void remember(const DnReflexOutcome *outcome, void *data)
{
	cr_assert(n_outcomes < OUTCOMES);
	outcomes[n_outcomes++] = *outcome;
}

static void drain(void *data)
{
	uint64_t count;

	(void)!read(bell_fd, &count, sizeof(count));
}

static void set_frozen(uint32_t slot, int value)
{
	g_mutex_lock(&lock);
	frozen[slot] = value;
	g_mutex_unlock(&lock);
}

static void setup(void)
{
	g_autoptr(GError) error = NULL;

	bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (uint32_t i = 0; i < SLOTS; i++)
		frozen[i] = 1;
	DnReflexSource source = {
		.marks = marks,
		.n_slots = SLOTS,
		.bell_fd = bell_fd,
		.drain = drain,
		.realtime = true,
	};
	reflex = dn_reflex_start(&source, &ops, remember, NULL, &error);
	cr_assert(reflex != NULL, "%s", error != NULL ? error->message : "no error was set");
}

static void teardown(void)
{
	dn_reflex_stop(reflex);
	close(bell_fd);
	dn_suite_end();
}

TestSuite(reflex, .init = setup, .fini = teardown, .timeout = 60);

static void arm(uint32_t slot, uint32_t group, const char *cut, const char *promote,
		DnStandbyKind standby, uint32_t standby_slot)
{
	g_autoptr(GBytes) cut_bytes = g_bytes_new_static(cut, strlen(cut));
	g_autoptr(GBytes) promote_bytes =
		promote != NULL ? g_bytes_new_static(promote, strlen(promote)) : NULL;
	DnReflexPlan plan = {slot, group, cut_bytes, promote_bytes, standby, standby_slot};

	cr_assert(dn_reflex_arm(reflex, &plan));
}

/* What the kernel does: set the mark, then ring. */
static void set_mark(uint32_t slot)
{
	marks[slot].class = DN_SENSOR_EXEC;
	__atomic_store_n(&marks[slot].event_ns, dn_clock_monotonic_ns(), __ATOMIC_SEQ_CST);
}

static void ring(void)
{
	uint64_t one = 1;

	cr_assert(write(bell_fd, &one, sizeof(one)) == sizeof(one));
}

static void expect_outcomes(unsigned n)
{
	uint64_t end = dn_clock_monotonic_ns() + 20 * DN_NS_PER_S;

	while (n_outcomes < n && dn_clock_monotonic_ns() < end) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(100);
	}
	cr_assert(eq(u32, n_outcomes, n), "after: %s", calls);
}

/* Nothing more comes: whatever was started had the time it takes everywhere else. */
static void expect_silence(void)
{
	unsigned before = n_outcomes;

	for (int i = 0; i < 100; i++) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(200);
	}
	cr_assert(eq(u32, n_outcomes, before), "after: %s", calls);
}

static const char *said(void)
{
	static char copy[sizeof(calls)];

	g_mutex_lock(&lock);
	memcpy(copy, calls, sizeof(copy));
	g_mutex_unlock(&lock);
	return copy;
}

Test(reflex, a_mark_without_a_plan_is_left_alone)
{
	set_mark(1);
	ring();
	expect_silence();
	cr_assert_str_eq(said(), "");
}

Test(reflex, without_a_standby_the_order_is_freeze_balancer_dump_reset)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(said(), "freeze1 verdict1 replay(cut1) dump1 open1 reset1 close1 ");
	cr_assert(eq(u32, marks[1].window, 0));
}

Test(reflex, a_started_standby_is_ready_with_the_balancer_change)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(said(),
			 "freeze1 verdict1 replay(cut1) entered5 dump1 open1 reset1 close1 ");
	cr_assert(eq(int, (int)outcomes[0].standby, DN_STANDBY_STARTED));
	cr_assert(eq(u64, outcomes[0].ready_ns, outcomes[0].lb_out_ns));
}

Test(reflex, a_created_standby_is_released_after_the_balancer_and_enters_when_it_answers)
{
	silent_probes = 3;
	arm(1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(said(), "freeze1 verdict1 replay(cut1) release5 dump1 open1 reset1 close1 "
				 "answer5 replay(in5) entered5 ");
	cr_assert(eq(int, silent_probes, 0));
	cr_assert(gt(u64, outcomes[0].ready_ns, outcomes[0].reset_ns));
}

Test(reflex, an_outcome_has_every_stage_in_the_order_of_time)
{
	arm(1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	DnReflexOutcome *o = &outcomes[0];
	cr_assert(eq(u32, o->slot, 1));
	cr_assert(eq(u64, o->event_ns, marks[1].event_ns));
	cr_assert(le(u64, o->event_ns, o->verdict_ns));
	cr_assert(le(u64, o->event_ns, o->cut_ns));
	cr_assert(le(u64, o->cut_ns, o->lb_out_ns));
	cr_assert(le(u64, o->verdict_ns, o->lb_out_ns));
	cr_assert(le(u64, o->lb_out_ns, o->frozen_ns));
	cr_assert(le(u64, o->frozen_ns, o->dump_ns));
	cr_assert(le(u64, o->dump_ns, o->reset_ns));
	cr_assert(le(u64, o->reset_ns, o->ready_ns));
	cr_assert(o->replayed && o->frozen);
	cr_assert(eq(int, o->sockets, 5));
	cr_assert(eq(int, o->resets, 4));
}

Test(reflex, a_batch_that_is_refused_is_rebuilt)
{
	refuse_replay = 1;
	arm(1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(
		said(),
		"freeze1 verdict1 replay(cut1) rebuild1+5 entered5 dump1 open1 reset1 close1 ");
	cr_assert(not(outcomes[0].replayed));
	cr_assert(ne(u64, outcomes[0].lb_out_ns, 0));
}

Test(reflex, a_balancer_that_cannot_be_changed_does_not_stop_the_rest)
{
	refuse_replay = refuse_rebuild = 1;
	arm(1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(said(),
			 "freeze1 verdict1 replay(cut1) rebuild1+5 dump1 open1 reset1 close1 ");
	cr_assert(eq(u64, outcomes[0].lb_out_ns, 0));
	cr_assert(eq(int, (int)outcomes[0].standby, DN_STANDBY_NONE));
	cr_assert(ne(u64, outcomes[0].reset_ns, 0));
}

Test(reflex, two_slots_at_once_are_both_cut_before_either_is_dumped)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	arm(2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	set_mark(2);
	ring();
	expect_outcomes(2);
	const char *all = said();
	cr_assert(strncmp(all, "freeze1 verdict1 replay(cut1) freeze2 verdict2 replay(cut2) ",
			  60) == 0,
		  "%s", all);
}

Test(reflex, the_second_cut_of_a_group_is_rebuilt_without_the_standby_that_was_used)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	arm(2, 1, "cut2", NULL, DN_STANDBY_STARTED, 5);
	set_mark(1);
	set_mark(2);
	ring();
	expect_outcomes(2);
	cr_assert(strncmp(said(),
			  "freeze1 verdict1 replay(cut1) entered5 freeze2 verdict2 rebuild2 ",
			  64) == 0,
		  "%s", said());
	for (unsigned i = 0; i < 2; i++)
		cr_assert(eq(int, (int)outcomes[i].standby,
			     outcomes[i].slot == 1 ? DN_STANDBY_STARTED : DN_STANDBY_NONE));
}

Test(reflex, a_plan_armed_before_the_cut_was_taken_over_is_stale)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	arm(2, 1, "old2", NULL, DN_STANDBY_NONE, 0); /* knows nothing of the cut of 1 */
	set_mark(2);
	ring();
	expect_outcomes(2);
	cr_assert(strstr(said(), "verdict2 rebuild2 ") != NULL, "%s", said());
}

Test(reflex, a_plan_armed_after_the_cut_was_taken_over_is_fresh)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	dn_reflex_disarm(reflex, 1);
	arm(2, 1, "new2", NULL, DN_STANDBY_STARTED, 5);
	set_mark(2);
	ring();
	expect_outcomes(2);
	cr_assert(strstr(said(), "verdict2 replay(new2) entered5 ") != NULL, "%s", said());
}

Test(reflex, a_cut_of_another_group_makes_nothing_stale)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	arm(2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	set_mark(2);
	ring();
	expect_outcomes(2);
	cr_assert(strstr(said(), "replay(cut2)") != NULL, "%s", said());
}

Test(reflex, a_standby_that_is_marked_itself_is_not_used)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	set_mark(5);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(said(), "freeze1 verdict1 rebuild1 dump1 open1 reset1 close1 ");
	cr_assert(eq(int, (int)outcomes[0].standby, DN_STANDBY_NONE));
}

Test(reflex, a_created_standby_is_not_promoted_by_a_batch_that_a_later_cut_made_stale)
{
	silent_probes = INT_MAX;
	arm(1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	arm(2, 1, "cut2", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	while (strstr(said(), "close1") == NULL)
		g_usleep(100);
	set_mark(2);
	ring();
	expect_outcomes(1);
	g_mutex_lock(&lock);
	silent_probes = 0;
	g_mutex_unlock(&lock);
	expect_outcomes(2);
	cr_assert(strstr(said(), "answer5 rebuild1+5 entered5 ") != NULL, "%s", said());
	cr_assert(strstr(said(), "in5") == NULL, "%s", said());
}

Test(reflex, a_node_that_does_not_freeze_is_reported_after_50_ms_and_again_when_it_does)
{
	set_frozen(1, 0);
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert(not(outcomes[0].frozen));
	cr_assert(eq(u64, outcomes[0].frozen_ns, 0));
	cr_assert(ge(u64, outcomes[0].reset_ns - outcomes[0].verdict_ns, 50 * DN_NS_PER_MS));
	dn_reflex_disarm(reflex, 1); /* taken over; the freezing goes on */
	set_frozen(1, 1);
	expect_outcomes(2);
	cr_assert(outcomes[1].frozen);
	cr_assert(gt(u64, outcomes[1].frozen_ns, outcomes[0].reset_ns));
	cr_assert(eq(u64, outcomes[1].reset_ns, outcomes[0].reset_ns));
}

Test(reflex, a_node_that_does_not_freeze_holds_no_other_up)
{
	set_frozen(1, 0);
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	arm(2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	set_mark(2);
	ring();
	expect_outcomes(1);
	cr_assert(eq(u32, outcomes[0].slot, 2));
	expect_outcomes(2);
}

Test(reflex, a_freeze_that_could_not_be_written_is_written_again)
{
	freezes_to_refuse = 1;
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert_str_eq(said(),
			 "freeze1 verdict1 replay(cut1) freeze1 dump1 open1 reset1 close1 ");
}

Test(reflex, a_node_that_is_gone_is_not_frozen_any_more)
{
	set_frozen(1, 0);
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	marks[1].event_ns = 0;
	dn_reflex_disarm(reflex, 1);
	set_frozen(1, 1);
	expect_silence();
}

Test(reflex, a_mark_is_answered_once)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	expect_outcomes(1);
	ring();
	dn_reflex_ring(reflex);
	arm(1, 1, "again", NULL, DN_STANDBY_NONE, 0);
	expect_silence();
	cr_assert(strstr(said(), "again") == NULL);
}

Test(reflex, a_mark_from_before_the_start_is_answered_when_its_slot_is_armed)
{
	set_mark(3); /* no bell: the agent that would have heard it is dead */
	expect_silence();
	arm(3, 1, "cut3", NULL, DN_STANDBY_NONE, 0);
	expect_outcomes(1);
	cr_assert(eq(u32, outcomes[0].slot, 3));
}

Test(reflex, a_batch_that_is_too_large_is_refused_and_rebuilt_when_needed)
{
	g_autofree char *large = g_malloc0(DN_REFLEX_BATCH + 1);
	g_autoptr(GBytes) cut = g_bytes_new_static(large, DN_REFLEX_BATCH + 1);
	DnReflexPlan plan = {.slot = 1, .group = 1, .cut = cut};

	cr_assert(not(dn_reflex_arm(reflex, &plan)));
	set_mark(1);
	ring();
	expect_outcomes(1);
	cr_assert(strstr(said(), "verdict1 rebuild1 ") != NULL, "%s", said());
}

Test(reflex, the_window_stays_open_until_the_resets_have_passed_the_link)
{
	marks[1].resets[DN_PATH_CGROUP_OUT] = 4;
	marks[1].resets[DN_PATH_FROM_NODE] = 3;
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	set_mark(1);
	ring();
	while (strstr(said(), "reset1") == NULL)
		g_usleep(50);
	uint64_t begin = dn_clock_monotonic_ns();
	expect_outcomes(1);
	cr_assert(ge(u64, dn_clock_monotonic_ns() - begin, 4 * DN_NS_PER_MS));
	cr_assert(eq(u32, marks[1].window, 0), "but not for ever");
}

Test(reflex, a_disarmed_slot_is_not_answered)
{
	arm(1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	dn_reflex_disarm(reflex, 1);
	set_mark(1);
	ring();
	expect_silence();
	cr_assert_str_eq(said(), "");
}
