/* SPDX-License-Identifier: Apache-2.0 */

/* Orders that people ask for: drills, quarantines, audits; and when they are refused. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/suite.h"
#include "world.h"

static World *world;

static void setup(void)
{
	world = world_new_of_three();
	world_deploy(world, 1, 3, 1);
}

static void teardown(void)
{
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(orders, .init = setup, .fini = teardown);

/* ---- drills ---- */

static int drill(char **node)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (dn_fleet_core_drill(world_core(world), "exec", "web", world_now(world), acts, &tag,
				node, &error))
		return 0;
	return error->code;
}

Test(orders, a_drill_is_refused_while_the_service_has_not_recovered)
{
	g_autofree char *incident = NULL, *another = NULL, *node = NULL;

	cr_assert(eq(int, drill(&node), 0));
	for (const char *host = "abc"; *host != '\0'; host++)
		world_break(world, (char[]){*host, '\0'}, true);
	g_free(world_cut(world, "a", "web", &incident));
	world_settle(world);
	g_clear_pointer(&node, g_free);
	cr_assert(eq(int, drill(&node), 0));
	g_free(world_cut(world, "b", "web", &another));
	cr_assert(eq(int, drill(&node), DN_ERROR_EXHAUSTED));
}

/* As main does it: what the store would have after a crash. */
static DnFleetCore *restart_core(void)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(DnServiceRecord) record = dn_fleet_core_service_record(world_core(world), "web");
	DnFleetCore *core = dn_fleet_core_new(cluster, NULL);

	cr_assert(dn_fleet_core_restore_service(core, record, NULL));
	return core;
}

Test(orders, drills_past_their_budget_are_refused_also_by_a_supervisor_that_was_restarted)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	for (unsigned i = 0; i < 5; i++) {
		g_autofree char *node = NULL;

		cr_assert(eq(int, drill(&node), 0));
	}
	g_autofree char *node = NULL;
	cr_assert(eq(int, drill(&node), DN_ERROR_EXHAUSTED));
	cr_assert(node == NULL);

	g_autoptr(DnFleetCore) core = restart_core();
	g_autoptr(DnServiceRecord) record = dn_fleet_core_service_record(core, "web");
	cr_assert(eq(uint, record->drills->len, 5));

	world_step(world, 600 * 1000);
	world_settle(world);
	cr_assert(eq(int, drill(&node), 0));
	cr_assert(not(dn_fleet_core_drill(world_core(world), "exec", "nobody", world_now(world),
					  acts, &tag, &node, &error)));
	cr_assert(eq(int, error->code, DN_ERROR_INVALID));
}

Test(orders, a_drill_is_on_record_before_its_order_goes_out)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autofree char *node = NULL;
	uint64_t tag = 0;

	cr_assert(dn_fleet_core_drill(world_core(world), "exec", "web", world_now(world), acts,
				      &tag, &node, NULL));
	cr_assert(eq(uint, acts->records->len, 1));
	const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, 0);
	cr_assert(dispatch->after_store);
}

/* ---- quarantine by hand, audits ---- */

Test(orders, a_node_on_a_host_out_of_touch_cannot_be_quarantined_by_hand)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	const DnNodeRecord *node = g_ptr_array_index(nodes, 0);
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	world_disconnect(world, node->host);
	cr_assert(not(
		dn_fleet_core_quarantine(world_core(world), node->id, "test", acts, &tag, &error)));
	cr_assert(eq(int, error->code, DN_ERROR_UNAVAILABLE));
}

/* What is asked of @node or of @host: the code of the refusal, or 0 with the order in @acts. */
static int ask_audit(const char *node, const char *host, DnActs *acts)
{
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (dn_fleet_core_audit(world_core(world), node, host, acts, &tag, &error))
		return 0;
	return error->code;
}

Test(orders, an_audit_goes_to_the_host_that_has_the_node_and_is_not_stored)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	const DnNodeRecord *node = g_ptr_array_index(nodes, 0);
	g_autoptr(DnActs) acts = dn_acts_new();

	cr_assert(eq(int, ask_audit(node->id, NULL, acts), 0));
	cr_assert(eq(int, ask_audit(NULL, node->host, acts), 0));
	cr_assert(eq(uint, acts->dispatches->len, 2));
	cr_assert(eq(uint, acts->records->len, 0));
	for (unsigned i = 0; i < 2; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);

		cr_expect_str_eq(dispatch->host, node->host);
		cr_expect(eq(int, dispatch->order->kind, DN_ORDER_AUDIT));
		cr_expect(g_strcmp0(dispatch->order->node, i == 0 ? node->id : NULL) == 0);
		cr_expect(eq(int, dispatch->after_store, false));
	}
}

Test(orders, an_audit_of_nobody_or_of_a_host_out_of_touch_is_refused)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	const DnNodeRecord *node = g_ptr_array_index(nodes, 0);
	g_autoptr(DnActs) acts = dn_acts_new();

	cr_expect(eq(int, ask_audit("nope", NULL, acts), DN_ERROR_INVALID));
	cr_expect(eq(int, ask_audit(NULL, "nope", acts), DN_ERROR_INVALID));
	world_disconnect(world, node->host);
	cr_expect(eq(int, ask_audit(node->id, NULL, acts), DN_ERROR_UNAVAILABLE));
	cr_expect(eq(int, ask_audit(NULL, node->host, acts), DN_ERROR_UNAVAILABLE));
	cr_expect(eq(uint, acts->dispatches->len, 0));
}
