/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/plan.h"
#include "support/suite.h"

static DnAssign *assign;
static DnPlanNode nodes[16];
static DnPlanInput input;

static void setup(void)
{
	assign = dn_assign_new("web", "10.99.0.1");
	memset(nodes, 0, sizeof(nodes));
	input = (DnPlanInput){.assign = assign, .nodes = nodes, .free_slots = 100, .now_ns = 1};
}

static void teardown(void)
{
	dn_assign_free(assign);
	dn_suite_end();
}

TestSuite(plan, .init = setup, .fini = teardown);

static void share(const char *digest, uint64_t epoch, uint32_t running, uint32_t standby)
{
	g_ptr_array_add(assign->parts, dn_part_new(digest, epoch, running, standby));
}

static DnPlanNode *node(const char *id, const char *digest, DnNodeState state, DnRole role)
{
	DnPlanNode *added = &nodes[input.n_nodes++];

	*added = (DnPlanNode){
		.id = id, .digest = digest, .state = state, .role = role, .made_ns = input.n_nodes};
	return added;
}

/* The acts as words: "create", "drain web-1" … separated by commas. */
static char *plan(void)
{
	static const char *const verbs[] = {"create", "promote", "drain", "stop", "remove", "cut"};
	g_autoptr(GArray) acts = dn_plan(&input);
	g_autoptr(GString) text = g_string_new(NULL);

	for (guint i = 0; i < acts->len; i++) {
		const DnAct *act = &g_array_index(acts, DnAct, i);

		g_string_append_printf(text, "%s%s", i > 0 ? "," : "", verbs[act->kind]);
		if (act->kind == DN_ACT_CREATE)
			g_string_append_printf(text, " %s%s", act->digest,
					       act->role == DN_ROLE_STANDBY ? " standby" : "");
		else
			g_string_append_printf(text, " %s", act->node);
	}
	return g_string_free(g_steal_pointer(&text), FALSE);
}

static void expect(const char *wanted)
{
	g_autofree char *got = plan();

	cr_assert_str_eq(got, wanted);
}

Test(plan, an_empty_host_makes_its_whole_share)
{
	share("a", 1, 2, 1);
	expect("create a,create a,create a standby");
}

Test(plan, a_host_that_has_its_share_does_nothing)
{
	share("a", 1, 1, 1);
	node("1", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	node("2", "a", DN_NODE_STANDBY, DN_ROLE_STANDBY);
	expect("");
}

Test(plan, a_missing_node_is_replaced_by_the_standby_before_anything_is_built)
{
	share("a", 1, 1, 1);
	node("1", "a", DN_NODE_QUARANTINED, DN_ROLE_ACTIVE);
	node("2", "a", DN_NODE_STANDBY, DN_ROLE_STANDBY);
	expect("promote 2,create a standby");
}

Test(plan, a_quarantined_node_is_never_touched)
{
	node("1", "a", DN_NODE_QUARANTINED, DN_ROLE_ACTIVE);
	expect("");
}

Test(plan, past_the_budget_a_cut_node_is_not_replaced)
{
	share("a", 1, 2, 1);
	node("1", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	node("2", "a", DN_NODE_QUARANTINED, DN_ROLE_ACTIVE);
	node("3", "a", DN_NODE_STANDBY, DN_ROLE_STANDBY);
	input.held = 1;
	expect("stop 3");
}

Test(plan, an_older_epoch_gives_way_drained_and_the_newer_is_built)
{
	share("a", 1, 0, 0);
	share("b", 2, 1, 0);
	node("1", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	expect("create b,drain 1");
}

Test(plan, a_node_without_a_share_is_drained_and_one_that_never_served_is_stopped)
{
	node("1", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	node("2", "a", DN_NODE_STANDBY, DN_ROLE_STANDBY);
	node("3", "a", DN_NODE_CREATING, DN_ROLE_ACTIVE);
	expect("drain 1,stop 2");
}

Test(plan, the_excess_ends_with_the_one_that_does_not_serve)
{
	share("a", 1, 1, 0);
	node("1", "a", DN_NODE_STARTING, DN_ROLE_ACTIVE);
	node("2", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	expect("stop 1");
}

/* ---- evidence that still serves ---- */

Test(plan, an_isolated_node_counts_while_its_share_wants_it)
{
	share("a", 1, 2, 0);
	node("web-1", "a", DN_NODE_READY, DN_ROLE_ACTIVE)->marked = true;
	node("web-2", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	expect("");
}

Test(plan, of_the_excess_an_isolated_node_goes_first_and_is_cut)
{
	share("a", 1, 1, 0);
	node("web-1", "a", DN_NODE_READY, DN_ROLE_ACTIVE)->marked = true;
	node("web-2", "a", DN_NODE_STARTING, DN_ROLE_ACTIVE);
	node("web-3", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	expect("cut web-1,stop web-2");
}

Test(plan, an_isolated_node_without_a_share_is_cut_and_never_drained)
{
	share("b", 2, 1, 0);
	node("web-1", "a", DN_NODE_READY, DN_ROLE_ACTIVE)->marked = true;
	node("web-2", "b", DN_NODE_READY, DN_ROLE_ACTIVE);
	expect("cut web-1");
}

Test(plan, a_share_lacks_a_cut_node_only_while_it_has_too_few)
{
	share("a", 1, 2, 1);
	node("web-1", "a", DN_NODE_QUARANTINED, DN_ROLE_ACTIVE);
	node("web-2", "a", DN_NODE_READY, DN_ROLE_ACTIVE);
	cr_assert(dn_plan_lacks(&input, "a", DN_ROLE_ACTIVE));
	cr_assert(dn_plan_lacks(&input, "a", DN_ROLE_STANDBY));
	node("web-3", "a", DN_NODE_STARTING, DN_ROLE_ACTIVE);
	cr_assert(not(dn_plan_lacks(&input, "a", DN_ROLE_ACTIVE)));
	cr_assert(not(dn_plan_lacks(&input, "b", DN_ROLE_ACTIVE)));
}

Test(plan, a_drained_node_is_stopped_and_an_ended_one_removed)
{
	node("1", "a", DN_NODE_DRAINING, DN_ROLE_ACTIVE)->drained = true;
	node("2", "a", DN_NODE_DRAINING, DN_ROLE_ACTIVE);
	node("3", "a", DN_NODE_FAILED, DN_ROLE_ACTIVE);
	expect("stop 1,remove 3");
}

Test(plan, a_hopeless_node_is_stopped_and_replaced)
{
	share("a", 1, 1, 0);
	node("1", "a", DN_NODE_READY, DN_ROLE_ACTIVE)->hopeless = true;
	expect("stop 1,create a");
}

Test(plan, nothing_is_built_before_the_back_off_is_over_but_a_standby_may_step_in)
{
	share("a", 1, 2, 0);
	node("1", "a", DN_NODE_STANDBY, DN_ROLE_STANDBY);
	g_autoptr(DnBackoffs) backoffs = dn_backoffs_new();
	dn_backoffs_failed(backoffs, "a", true, input.now_ns);
	input.backoffs = backoffs;
	expect("promote 1");
	input.backoffs = NULL;
}

Test(plan, a_new_manifest_does_not_wait_for_the_crashes_of_the_old_one)
{
	share("b", 2, 1, 0);
	share("a", 1, 1, 0);
	g_autoptr(DnBackoffs) backoffs = dn_backoffs_new();
	dn_backoffs_failed(backoffs, "a", true, input.now_ns);
	input.backoffs = backoffs;
	expect("create b");
	input.backoffs = NULL;
}

Test(plan, a_full_host_builds_no_more_than_it_has_room_for)
{
	share("a", 1, 3, 3);
	input.free_slots = 2;
	expect("create a,create a");
}
