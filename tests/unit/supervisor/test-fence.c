/* SPDX-License-Identifier: Apache-2.0 */

/* A host that people do not trust any more. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/suite.h"
#include "world.h"

static World *world;

static void setup(void)
{
	world = world_new_of_three();
}

static void teardown(void)
{
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(fence, .init = setup, .fini = teardown);

static DnServiceState state_of(const char *service)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), service);

	return view->state;
}

static void fence(const char *host)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	cr_assert(dn_fleet_core_fence(world_core(world), host, "its kernel lies", world_now(world),
				      acts, &error));
	world_carry_out(world, acts);
	/* As the supervisor does. */
	world_disconnect(world, host);
	world_settle(world);
}

Test(fence, a_fenced_host_is_shut_out_and_its_nodes_are_placed_on_others)
{
	g_autofree char *incident = NULL;

	world_deploy(world, 1, 3, 0);
	g_autofree char *cut = world_cut(world, "b", "web", &incident);
	world_settle(world);
	fence("b");
	cr_assert(eq(uint, world_count(world, "host.fenced"), 1));
	cr_assert(eq(uint,
		     world_ready_on(world, "a", "web", 1) + world_ready_on(world, "c", "web", 1),
		     3));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	/* Each of the others balances to those of the other alone. */
	cr_assert(eq(uint, world_endpoints(world, "a", "web") + world_endpoints(world, "c", "web"),
		     3));
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	unsigned on_b = 0;
	for (guint i = 0; i < nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(nodes, i);

		if (!g_str_equal(node->host, "b"))
			continue;
		on_b++;
		cr_assert_str_eq(node->id, cut);
	}
	cr_assert(eq(uint, on_b, 1), "its evidence stays listed, and nothing else");
	/* Nothing it might still say is heard, and a roll goes on without it. */
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_NODE_GONE);
	fact->id = g_strdup(cut);
	world_say(world, "b", fact);
	cr_assert(dn_fleet_core_has_node(world_core(world), cut));
	world_deploy(world, 2, 3, 0);
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	fence("b");
	cr_assert(eq(uint, world_count(world, "host.fenced"), 1));
}

Test(fence, a_fence_is_in_the_record_and_a_new_token_with_any_key_ends_it)
{
	uint8_t key[DN_PUBLIC_KEY_BYTES] = {77};
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(DnFleetCore) again = dn_fleet_core_new(cluster, NULL);

	world_deploy(world, 1, 3, 0);
	fence("b");
	g_autoptr(DnHostRecord) record = dn_fleet_core_host_record(world_core(world), "b");
	cr_assert(dn_fleet_core_restore_host(again, record, NULL));
	cr_assert_str_eq(dn_fleet_core_fenced(again, "b"), "its kernel lies");
	cr_assert(eq(ptr, (void *)dn_fleet_core_silent_host(again), NULL));

	DnEnrolment enrolment = {.host = "b", .hash = "h", .key = key};
	cr_assert(
		dn_fleet_core_add_token(world_core(world), "b", "h", world_now(world), acts, NULL));
	cr_assert(dn_fleet_core_enrol(world_core(world), &enrolment, world_now(world), acts, NULL));
	cr_assert(eq(ptr, (void *)dn_fleet_core_fenced(world_core(world), "b"), NULL));
	cr_assert_str_eq(dn_fleet_core_host_of_key(world_core(world), key), "b");
	world_carry_out(world, acts);
	world_connect(world, "b");
	world_deploy(world, 2, 6, 0);
	cr_assert(ge(uint, world_ready_on(world, "b", "web", 2), 1));
}

Test(fence, a_token_that_was_made_before_does_not_end_a_fence)
{
	uint8_t key[DN_PUBLIC_KEY_BYTES] = {78};
	g_autoptr(DnActs) acts = dn_acts_new();
	DnEnrolment enrolment = {.host = "b", .hash = "early", .key = key};

	cr_assert(dn_fleet_core_add_token(world_core(world), "b", "early", world_now(world), acts,
					  NULL));
	fence("b");
	cr_assert(not(
		dn_fleet_core_enrol(world_core(world), &enrolment, world_now(world), acts, NULL)));
	cr_assert(dn_fleet_core_fenced(world_core(world), "b") != NULL);
}

Test(fence, what_only_the_fenced_machine_had_is_closed_when_another_takes_its_name)
{
	uint8_t key[DN_PUBLIC_KEY_BYTES] = {79};
	g_autofree char *incident = NULL;
	g_autoptr(DnActs) acts = dn_acts_new();
	DnEnrolment enrolment = {.host = "b", .hash = "h", .key = key};

	world_deploy(world, 1, 3, 0);
	g_free(world_cut(world, "b", "web", &incident));
	world_settle(world);
	fence("b");
	g_autoptr(GPtrArray) before = dn_fleet_core_incidents(world_core(world), "web", NULL);
	cr_assert(ne(int, ((DnIncident *)before->pdata[0])->state, DN_INCIDENT_DESTROYED));
	cr_assert(
		dn_fleet_core_add_token(world_core(world), "b", "h", world_now(world), acts, NULL));
	cr_assert(dn_fleet_core_enrol(world_core(world), &enrolment, world_now(world), acts, NULL));
	world_carry_out(world, acts);
	cr_assert(eq(uint, world_count(world, "incident.evidence-gone"), 1));
	g_autoptr(GPtrArray) after = dn_fleet_core_incidents(world_core(world), "web", NULL);
	cr_assert(eq(int, ((DnIncident *)after->pdata[0])->state, DN_INCIDENT_DESTROYED));
}
