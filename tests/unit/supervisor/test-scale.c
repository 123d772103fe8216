/* SPDX-License-Identifier: Apache-2.0 */

/* Manifests that change how many nodes there are, and not what a node is. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/suite.h"
#include "world.h"

static World *world;

static void setup(void)
{
	world = world_new_of_three();
	world_deploy(world, 1, 3, 1);
	(void)world_fewest_ready(world, "web");
}

static void teardown(void)
{
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(scale, .init = setup, .fini = teardown);

/* Epoch @epoch, whose nodes are like those of the first. */
static void scale(uint64_t epoch, uint32_t replicas)
{
	cr_assert(eq(int, world_apply(world, world_declare_as("web", epoch, 1, replicas, 1)), 0));
	world_settle(world);
}

/* char * ids of what serves. */
static GHashTable *serving(void)
{
	GHashTable *ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");

	for (guint i = 0; i < nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(nodes, i);

		if (node->state == DN_NODE_READY)
			g_hash_table_add(ids, g_strdup(node->id));
	}
	return ids;
}

/* How many of @before serve still. */
static unsigned kept(GHashTable *before)
{
	g_autoptr(GHashTable) now = serving();
	GHashTableIter iter;
	gpointer id;
	unsigned count = 0;

	g_hash_table_iter_init(&iter, before);
	while (g_hash_table_iter_next(&iter, &id, NULL))
		count += g_hash_table_contains(now, id) ? 1 : 0;
	return count;
}

static unsigned of_epoch(uint64_t epoch)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	unsigned count = 0;

	for (guint i = 0; i < nodes->len; i++)
		if (((const DnNodeRecord *)g_ptr_array_index(nodes, i))->epoch == epoch)
			count++;
	return count;
}

static DnServiceState state(void)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");

	return view->state;
}

Test(scale, more_nodes_are_put_beside_those_that_run)
{
	g_autoptr(GHashTable) before = serving();

	scale(2, 7);
	cr_assert(eq(uint, world_ready(world, "web"), 7));
	cr_assert(eq(uint, kept(before), 3));
	cr_assert(eq(uint, world_fewest_ready(world, "web"), 3));
	cr_assert(eq(uint, of_epoch(2), 10), "with three standbys");
	cr_assert(eq(uint, of_epoch(1), 0));
	cr_assert(eq(int, state(), DN_SERVICE_RUNNING));
	for (const char *host = "abc"; *host != '\0'; host++)
		cr_assert(ge(uint, world_ready_on(world, (char[]){*host, '\0'}, "web", 2), 2));
	cr_assert(not(world_heard(world, "roll.done")));
	cr_assert(eq(uint, world_refusals(world), 0));
}

Test(scale, fewer_nodes_are_a_part_of_those_that_run)
{
	scale(2, 6);
	g_autoptr(GHashTable) before = serving();
	(void)world_fewest_ready(world, "web");
	scale(3, 2);
	cr_assert(eq(uint, world_ready(world, "web"), 2));
	cr_assert(eq(uint, kept(before), 2));
	cr_assert(eq(uint, world_fewest_ready(world, "web"), 2));
	cr_assert(eq(uint, world_most_asked(world, "web"), 6));
	scale(4, 0);
	cr_assert(eq(uint, world_ready(world, "web"), 0));
}

Test(scale, a_host_that_refuses_the_new_manifest_keeps_its_nodes)
{
	g_autoptr(GHashTable) before = serving();

	world_refuse(world, "a");
	world_refuse(world, "b");
	world_refuse(world, "c");
	scale(2, 3);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(eq(uint, kept(before), 3));
	cr_assert(eq(uint, of_epoch(1), 6));
	cr_assert(eq(uint, world_fewest_ready(world, "web"), 3));
}

Test(scale, a_host_that_was_away_keeps_its_nodes_when_it_is_back)
{
	g_autoptr(GHashTable) before = serving();

	world_disconnect(world, "b");
	scale(2, 4);
	scale(3, 5);
	world_connect(world, "b");
	world_settle(world);
	cr_assert(eq(uint, kept(before), 3));
	cr_assert(eq(uint, world_ready(world, "web"), 5));
	cr_assert(eq(uint, of_epoch(1) + of_epoch(2), 0));
	cr_assert(ge(uint, world_fewest_ready(world, "web"), 3));
}

Test(scale, it_takes_over_a_roll_that_is_under_way)
{
	for (unsigned steps = 0; steps < 8; steps++) {
		teardown();
		setup();
		cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 1)), 0));
		for (unsigned i = 0; i < steps; i++)
			world_step(world, 10);
		cr_assert(eq(int, world_apply(world, world_declare_as("web", 3, 2, 5, 1)), 0));
		world_settle(world);
		cr_assert(eq(uint, world_ready(world, "web"), 5), "after %u steps", steps);
		cr_assert(eq(uint, of_epoch(1) + of_epoch(2), 0), "after %u steps", steps);
		cr_assert(ge(uint, world_fewest_ready(world, "web"), 3), "after %u steps", steps);
	}
}

Test(scale, a_node_that_is_known_by_an_earlier_manifest_serves_on_after_a_restart)
{
	world_mute(world, "a", true);
	cr_assert(eq(int, world_apply(world, world_declare_as("web", 2, 1, 3, 1)), 0));
	for (unsigned i = 0; i < 5; i++)
		world_step(world, 10);
	g_autoptr(DnServiceRecord) record = dn_fleet_core_service_record(world_core(world), "web");
	const DnReleaseRecord *current = g_ptr_array_index(record->releases, 0);
	cr_assert(eq(uint, current->former->len, 1));
	cr_assert(eq(str, (char *)g_ptr_array_index(current->former, 0), (char *)"web-1"));
	/* The host that has not answered still has them under the first. */
	cr_assert(eq(uint, record->releases->len, 2));
	cr_assert(eq(uint, world_fewest_ready(world, "web"), 3));
	world_mute(world, "a", false);
	world_settle(world);
	g_autoptr(DnServiceRecord) after = dn_fleet_core_service_record(world_core(world), "web");
	cr_assert(eq(uint, after->releases->len, 1));
	cr_assert(eq(uint, of_epoch(2), 6));
}

Test(scale, what_is_planned_is_where_nodes_will_be)
{
	g_autoptr(DnDeclaration) more = world_declare_as("web", 2, 1, 4, 1);
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GPtrArray) placement = NULL;
	g_autoptr(GError) error = NULL;
	bool changed = false;
	uint32_t running = 0;

	cr_assert(dn_fleet_core_apply(world_core(world), more, true, world_now(world), acts,
				      &changed, &placement, &error));
	cr_assert(eq(uint, placement->len, 3));
	for (guint i = 0; i < placement->len; i++)
		running += ((const DnShare *)g_ptr_array_index(placement, i))->running;
	cr_assert(eq(uint, running, 4));
}
