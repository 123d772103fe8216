/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "rig.h"
#include "support/suite.h"

static Rig rig;

static void setup(void)
{
	rig_open(&rig);
}

static void teardown(void)
{
	rig_close(&rig);
	dn_suite_end();
}

TestSuite(reflex, .init = setup, .fini = teardown, .timeout = 60);

Test(reflex, a_mark_without_a_plan_is_left_alone)
{
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_silence(&rig);
	cr_assert_str_eq(rig_said(&rig), "");
}

Test(reflex, without_a_standby_the_order_is_freeze_balancer_dump_reset)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig),
			 "freeze1 verdict1 replay(cut1) dump1 open1 reset1 close1 ");
	cr_assert(eq(u32, rig.marks[1].window, 0));
}

Test(reflex, a_started_standby_is_ready_with_the_balancer_change)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig),
			 "freeze1 verdict1 replay(cut1) entered5 dump1 open1 reset1 close1 ");
	cr_assert(eq(int, (int)rig.outcomes[0].standby, DN_STANDBY_STARTED));
	cr_assert(eq(u64, rig.outcomes[0].ready_ns, rig.outcomes[0].lb_out_ns));
}

Test(reflex, a_created_standby_is_released_after_the_balancer_and_enters_when_it_answers)
{
	rig.silent_probes = 3;
	rig_arm(&rig, 1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig),
			 "freeze1 verdict1 replay(cut1) release5 dump1 open1 reset1 close1 "
			 "answer5 replay(in5) entered5 ");
	cr_assert(eq(int, rig.silent_probes, 0));
	cr_assert(gt(u64, rig.outcomes[0].ready_ns, rig.outcomes[0].reset_ns));
}

/* A created standby takes over, whose probe is under way until it is let go. */
static void begin_slow_standby(void)
{
	rig.answer_fd = eventfd(0, EFD_CLOEXEC);
	rig_arm(&rig, 1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	rig_arm(&rig, 2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	while (strstr(rig_said(&rig), "close1") == NULL)
		g_usleep(100);
}

static unsigned asked(void)
{
	g_mutex_lock(&rig.lock);
	unsigned times = rig.asked;
	g_mutex_unlock(&rig.lock);
	return times;
}

Test(reflex, a_standby_that_is_slow_to_answer_enters_as_soon_as_it_has_and_costs_little_until_then)
{
	begin_slow_standby();
	unsigned before = asked();
	g_usleep(200000);
	/* Every 5 ms, so that a deadline is seen; a nap is a fiftieth of that. */
	cr_assert(le(u32, asked() - before, 100));
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert(eq(u32, rig.outcomes[0].slot, 2));
	cr_assert(eq(int, eventfd_write(rig.answer_fd, 1), 0));
	rig_expect_outcomes(&rig, 2);
	cr_assert(strstr(rig_said(&rig), "answer5 replay(in5) entered5 ") != NULL, "%s",
		  rig_said(&rig));
	cr_assert(strstr(rig_said(&rig), "give-up") == NULL, "%s", rig_said(&rig));
	close(rig.answer_fd);
}

Test(reflex, the_probe_of_a_standby_that_is_marked_is_given_up)
{
	begin_slow_standby();
	rig_set_mark(&rig, 5);
	rig_expect_outcomes(&rig, 1);
	cr_assert(strstr(rig_said(&rig), "give-up5 ") != NULL, "%s", rig_said(&rig));
	cr_assert(eq(int, (int)rig.outcomes[0].standby, DN_STANDBY_NONE));
	close(rig.answer_fd);
}

Test(reflex, the_probe_for_a_slot_that_is_let_go_is_given_up)
{
	begin_slow_standby();
	dn_reflex_disarm(rig.reflex, 1);
	cr_assert(strstr(rig_said(&rig), "give-up5 ") != NULL, "%s", rig_said(&rig));
	rig_expect_silence(&rig);
	close(rig.answer_fd);
}

Test(reflex, an_outcome_has_every_stage_in_the_order_of_time)
{
	rig_arm(&rig, 1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	DnReflexOutcome *o = &rig.outcomes[0];
	cr_assert(eq(u32, o->slot, 1));
	cr_assert(eq(u64, o->event_ns, rig.marks[1].event_ns));
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

static void isolate(uint32_t slot)
{
	__atomic_store_n(&rig.marks[slot].mode, DN_MODE_ISOLATE, __ATOMIC_RELEASE);
	rig_set_mark(&rig, slot);
	rig_ring(&rig);
}

Test(reflex, a_node_that_is_isolated_is_told_of_once_and_left_to_serve)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	isolate(1);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig), "verdict1 replay(isolate) ");
	cr_assert(rig.outcomes[0].isolated);
	cr_assert(eq(u64, rig.outcomes[0].event_ns, rig.marks[1].event_ns));
	cr_assert(eq(u64, rig.outcomes[0].lb_out_ns, 0));
	cr_assert(eq(u64, rig.outcomes[0].frozen_ns, 0));
	rig_ring(&rig);
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_expect_silence(&rig);
	cr_assert_str_eq(rig_said(&rig), "verdict1 replay(isolate) ");
}

Test(reflex, an_isolated_node_is_cut_with_its_plan_once_its_isolation_has_ended)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	isolate(1);
	rig_expect_outcomes(&rig, 1);
	rig_arm(&rig, 1, 1, "cut1 later", NULL, DN_STANDBY_STARTED, 5);
	__atomic_store_n(&rig.marks[1].mode, DN_MODE_CUT, __ATOMIC_SEQ_CST);
	dn_reflex_ring(rig.reflex);
	rig_expect_outcomes(&rig, 2);
	cr_assert_str_eq(rig_said(&rig),
			 "verdict1 replay(isolate) freeze1 verdict1 replay(cut1 later) entered5 "
			 "dump1 open1 reset1 close1 ");
	cr_assert(not(rig.outcomes[1].isolated));
	cr_assert(rig.outcomes[1].replayed && rig.outcomes[1].frozen);
}

Test(reflex, an_isolated_node_makes_no_plan_of_its_service_stale)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_arm(&rig, 2, 1, "cut2", NULL, DN_STANDBY_NONE, 0);
	isolate(1);
	rig_expect_outcomes(&rig, 1);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 2);
	cr_assert(rig.outcomes[1].replayed);
}

Test(reflex, the_next_node_of_a_slot_that_was_isolated_is_answered_anew)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	isolate(1);
	rig_expect_outcomes(&rig, 1);
	__atomic_store_n(&rig.marks[1].event_ns, 0, __ATOMIC_SEQ_CST);
	dn_reflex_disarm(rig.reflex, 1);
	rig_arm(&rig, 1, 2, "cut1", NULL, DN_STANDBY_NONE, 0);
	isolate(1);
	rig_expect_outcomes(&rig, 2);
	cr_assert(rig.outcomes[1].isolated);
}

Test(reflex, a_batch_that_is_refused_is_rebuilt)
{
	rig.refuse_replay = 1;
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(
		rig_said(&rig),
		"freeze1 verdict1 replay(cut1) rebuild1+5 entered5 dump1 open1 reset1 close1 ");
	cr_assert(not(rig.outcomes[0].replayed));
	cr_assert(ne(u64, rig.outcomes[0].lb_out_ns, 0));
}

Test(reflex, a_balancer_that_cannot_be_changed_does_not_stop_the_rest)
{
	rig.refuse_replay = rig.refuse_rebuild = 1;
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig),
			 "freeze1 verdict1 replay(cut1) rebuild1+5 dump1 open1 reset1 close1 ");
	cr_assert(eq(u64, rig.outcomes[0].lb_out_ns, 0));
	cr_assert(eq(int, (int)rig.outcomes[0].standby, DN_STANDBY_NONE));
	cr_assert(ne(u64, rig.outcomes[0].reset_ns, 0));
}

Test(reflex, two_slots_at_once_are_both_cut_before_either_is_dumped)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_arm(&rig, 2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 2);
	const char *all = rig_said(&rig);
	cr_assert(strncmp(all, "freeze1 verdict1 replay(cut1) freeze2 verdict2 replay(cut2) ",
			  60) == 0,
		  "%s", all);
}

Test(reflex, the_second_cut_of_a_group_is_rebuilt_without_the_standby_that_was_used)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_arm(&rig, 2, 1, "cut2", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 1);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 2);
	cr_assert(strncmp(rig_said(&rig),
			  "freeze1 verdict1 replay(cut1) entered5 freeze2 verdict2 rebuild2 ",
			  64) == 0,
		  "%s", rig_said(&rig));
	for (unsigned i = 0; i < 2; i++)
		cr_assert(eq(int, (int)rig.outcomes[i].standby,
			     rig.outcomes[i].slot == 1 ? DN_STANDBY_STARTED : DN_STANDBY_NONE));
}

Test(reflex, a_plan_armed_before_the_cut_was_taken_over_is_stale)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	rig_arm(&rig, 2, 1, "old2", NULL, DN_STANDBY_NONE, 0); /* knows nothing of the cut of 1 */
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 2);
	cr_assert(strstr(rig_said(&rig), "verdict2 rebuild2 ") != NULL, "%s", rig_said(&rig));
}

Test(reflex, a_plan_armed_after_the_cut_was_taken_over_is_fresh)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	dn_reflex_disarm(rig.reflex, 1);
	rig_arm(&rig, 2, 1, "new2", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 2);
	cr_assert(strstr(rig_said(&rig), "verdict2 replay(new2) entered5 ") != NULL, "%s",
		  rig_said(&rig));
}

Test(reflex, a_cut_of_another_group_makes_nothing_stale)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_arm(&rig, 2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 2);
	cr_assert(strstr(rig_said(&rig), "replay(cut2)") != NULL, "%s", rig_said(&rig));
}

Test(reflex, a_standby_that_is_marked_itself_is_not_used)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_STARTED, 5);
	rig_set_mark(&rig, 5);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig), "freeze1 verdict1 rebuild1 dump1 open1 reset1 close1 ");
	cr_assert(eq(int, (int)rig.outcomes[0].standby, DN_STANDBY_NONE));
}

Test(reflex, a_created_standby_is_not_promoted_by_a_batch_that_a_later_cut_made_stale)
{
	rig.silent_probes = INT_MAX;
	rig_arm(&rig, 1, 1, "cut1", "in5", DN_STANDBY_CREATED, 5);
	rig_arm(&rig, 2, 1, "cut2", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	while (strstr(rig_said(&rig), "close1") == NULL)
		g_usleep(100);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	rig_set_silent_probes(&rig, 0);
	rig_expect_outcomes(&rig, 2);
	cr_assert(strstr(rig_said(&rig), "answer5 rebuild1+5 entered5 ") != NULL, "%s",
		  rig_said(&rig));
	cr_assert(strstr(rig_said(&rig), "in5") == NULL, "%s", rig_said(&rig));
}

Test(reflex, a_node_that_does_not_freeze_is_reported_after_50_ms_and_again_when_it_does)
{
	rig_set_frozen(&rig, 1, false);
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert(not(rig.outcomes[0].frozen));
	cr_assert(eq(u64, rig.outcomes[0].frozen_ns, 0));
	cr_assert(
		ge(u64, rig.outcomes[0].reset_ns - rig.outcomes[0].verdict_ns, 50 * DN_NS_PER_MS));
	dn_reflex_disarm(rig.reflex, 1); /* taken over; the freezing goes on */
	rig_set_frozen(&rig, 1, true);
	rig_expect_outcomes(&rig, 2);
	cr_assert(rig.outcomes[1].frozen);
	cr_assert(gt(u64, rig.outcomes[1].frozen_ns, rig.outcomes[0].reset_ns));
	cr_assert(eq(u64, rig.outcomes[1].reset_ns, rig.outcomes[0].reset_ns));
}

Test(reflex, a_node_that_does_not_freeze_holds_no_other_up)
{
	rig_set_frozen(&rig, 1, false);
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_arm(&rig, 2, 2, "cut2", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_set_mark(&rig, 2);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert(eq(u32, rig.outcomes[0].slot, 2));
	rig_expect_outcomes(&rig, 2);
}

Test(reflex, a_freeze_that_could_not_be_written_is_written_again)
{
	rig.freezes_to_refuse = 1;
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig),
			 "freeze1 verdict1 replay(cut1) freeze1 dump1 open1 reset1 close1 ");
}

/* Every node of a damaged image at once: more than there is memory for to dump. */
Test(reflex, a_node_whose_dump_has_no_room_yet_waits_for_it_and_is_reset)
{
	rig.busy_dumps = 3;
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert_str_eq(rig_said(&rig),
			 "freeze1 verdict1 replay(cut1) dump1 open1 reset1 close1 ");
	cr_assert(eq(int, rig.outcomes[0].sockets, 5));
	cr_assert(eq(int, rig.outcomes[0].resets, 4));
}

Test(reflex, a_node_that_is_gone_is_not_frozen_any_more)
{
	rig_set_frozen(&rig, 1, false);
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	__atomic_store_n(&rig.marks[1].event_ns, 0, __ATOMIC_SEQ_CST);
	dn_reflex_disarm(rig.reflex, 1);
	rig_set_frozen(&rig, 1, true);
	rig_expect_silence(&rig);
}

Test(reflex, a_mark_is_answered_once)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	rig_ring(&rig);
	dn_reflex_ring(rig.reflex);
	rig_arm(&rig, 1, 1, "again", NULL, DN_STANDBY_NONE, 0);
	rig_expect_silence(&rig);
	cr_assert(strstr(rig_said(&rig), "again") == NULL);
}

Test(reflex, a_mark_from_before_the_start_is_answered_when_its_slot_is_armed)
{
	rig_set_mark(&rig, 3); /* no bell: the agent that would have heard it is dead */
	rig_expect_silence(&rig);
	rig_arm(&rig, 3, 1, "cut3", NULL, DN_STANDBY_NONE, 0);
	rig_expect_outcomes(&rig, 1);
	cr_assert(eq(u32, rig.outcomes[0].slot, 3));
}

Test(reflex, a_batch_that_is_too_large_is_refused_and_rebuilt_when_needed)
{
	g_autofree char *large = g_malloc0(DN_REFLEX_BATCH + 1);
	g_autoptr(GBytes) cut = g_bytes_new_static(large, DN_REFLEX_BATCH + 1);
	DnReflexPlan plan = {.slot = 1, .group = 1, .cut = cut};

	cr_assert(not(dn_reflex_arm(rig.reflex, &plan)));
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	cr_assert(strstr(rig_said(&rig), "verdict1 rebuild1 ") != NULL, "%s", rig_said(&rig));
}

Test(reflex, the_window_stays_open_until_the_resets_have_passed_the_link)
{
	rig.marks[1].resets[DN_PATH_CGROUP_OUT] = 4;
	rig.marks[1].resets[DN_PATH_FROM_NODE] = 3;
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_outcomes(&rig, 1);
	/* From the reflex's own stamp: this thread may have been held up on its way here. */
	cr_assert(ge(u64, dn_clock_monotonic_ns() - rig.outcomes[0].reset_ns, 5 * DN_NS_PER_MS));
	cr_assert(eq(u32, rig.marks[1].window, 0), "but not for ever");
}

Test(reflex, a_disarmed_slot_is_not_answered)
{
	rig_arm(&rig, 1, 1, "cut1", NULL, DN_STANDBY_NONE, 0);
	dn_reflex_disarm(rig.reflex, 1);
	rig_set_mark(&rig, 1);
	rig_ring(&rig);
	rig_expect_silence(&rig);
	cr_assert_str_eq(rig_said(&rig), "");
}
