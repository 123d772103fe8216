/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/suite.h"
#include "world.h"

/* How many nodes each host may replace by itself: respawn{count within}, shared out. */

static World *world;
static unsigned number;

static void setup(void)
{
	world = world_new_of_three();
	number = 0x1000;
}

static void teardown(void)
{
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(grants, .init = setup, .fini = teardown);

static void deploy(uint32_t count, uint32_t within_ms)
{
	DnDeclaration *declaration = world_declare("web", 1, 6, 0);

	declaration->manifest->respawn_count = count;
	declaration->manifest->respawn_within_ms = within_ms;
	cr_assert(eq(int, world_apply(world, declaration), 0));
	world_settle(world);
}

/* @host tells of one incident more. */
static void cut_by_a_clock(const char *host, bool drill, uint64_t ahead_ns)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	const DnNodeRecord *node = NULL;

	for (guint i = 0; i < nodes->len; i++)
		if (g_str_equal(((DnNodeRecord *)nodes->pdata[i])->host, host))
			node = nodes->pdata[i];
	cr_assert(node != NULL);
	fact->incident = dn_incident_new();
	fact->incident->id = g_strdup_printf("%016x", number++);
	fact->incident->node = g_strdup(node->id);
	fact->incident->service = g_strdup("web");
	fact->incident->host = g_strdup(host);
	fact->incident->class = g_strdup("exec");
	fact->incident->drill = drill;
	fact->incident->event_time_ns = world_now(world).realtime_ns + ahead_ns;
	fact->incident->stages_us[DN_STAGE_CUT] = 0;
	world_say(world, host, fact);
	world_settle(world);
}

static void cut_on(const char *host, bool drill)
{
	cut_by_a_clock(host, drill, 0);
}

static void has_grants(unsigned a, unsigned b, unsigned c)
{
	cr_assert(eq(uint, world_assign(world, "a", "web")->respawn_grant, a));
	cr_assert(eq(uint, world_assign(world, "b", "web")->respawn_grant, b));
	cr_assert(eq(uint, world_assign(world, "c", "web")->respawn_grant, c));
}

Test(grants, the_budget_is_shared_out_without_rest)
{
	deploy(5, 600000);
	has_grants(2, 2, 1);
}

Test(grants, what_a_host_does_not_need_moves_to_the_one_that_does)
{
	deploy(5, 600000);
	cut_on("c", false);
	has_grants(2, 1, 1 + 1);
	cut_on("c", false);
	has_grants(1, 1, 2 + 1);
	cut_on("c", false);
	cut_on("c", false);
	has_grants(1, 1, 4 + 1);
}

Test(grants, with_more_hosts_than_replacements_each_has_one_until_they_are_spent)
{
	deploy(2, 600000);
	has_grants(1, 1, 1);
	cut_on("a", false);
	has_grants(1 + 1, 1, 1);
	cut_on("b", false);
	has_grants(1, 1, 0);
}

Test(grants, a_host_that_claims_them_all_leaves_the_others_one)
{
	deploy(3, 600000);
	for (unsigned i = 0; i < 10; i++)
		cut_on("a", false);
	has_grants(3, 1, 1);
}

Test(grants, a_drill_spends_none_and_none_means_none)
{
	deploy(3, 600000);
	cut_on("a", true);
	has_grants(1, 1, 1);
	teardown();
	setup();
	deploy(0, 600000);
	has_grants(0, 0, 0);
}

Test(grants, when_their_time_is_over_they_come_back_without_anything_else_happening)
{
	deploy(2, 5000);
	cut_on("a", false);
	cut_on("b", false);
	has_grants(1, 1, 0);
	for (unsigned i = 0; i < 12; i++)
		world_step(world, 500);
	has_grants(1, 1, 1);
}

Test(grants, a_host_whose_clock_is_ahead_does_not_keep_the_budget_spent)
{
	deploy(2, 20000);
	cut_by_a_clock("a", false, UINT64_C(3600000000000));
	has_grants(2, 1, 1);
	for (unsigned i = 0; i < 25; i++)
		world_step(world, 1000);
	has_grants(1, 1, 1);
}

Test(grants, a_changed_grant_waits_for_no_disk)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	unsigned before = 0;

	deploy(5, 600000);
	cut_on("c", false);
	before = world_orders(world, "b", DN_ORDER_ASSIGN);
	DnNow now = world_now(world);
	now.realtime_ns += UINT64_C(601000000000);
	dn_fleet_core_tick(world_core(world), now, acts);
	for (guint i = 0; i < acts->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);

		cr_assert(not(dispatch->after_store));
	}
	cr_assert(gt(uint, acts->dispatches->len, 0));
	world_carry_out(world, acts);
	cr_assert(gt(uint, world_orders(world, "b", DN_ORDER_ASSIGN), before));
}
