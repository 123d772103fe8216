/* SPDX-License-Identifier: Apache-2.0 */

/* One manifest takes the place of another, node by node. */

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

TestSuite(rolls, .init = setup, .fini = teardown);

static DnServiceState state_of(const char *service)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), service);

	return view->state;
}

Test(rolls, a_roll_never_has_fewer_than_replicas_ready_nor_more_than_the_surge)
{
	for (uint32_t replicas = 1; replicas <= 10; replicas++) {
		g_autofree char *service = g_strdup_printf("web%u", replicas);

		teardown();
		setup();
		cr_assert(eq(int, world_apply(world, world_declare(service, 1, replicas, 0)), 0));
		world_settle(world);
		world_fewest_ready(world, service);
		cr_assert(eq(int, world_apply(world, world_declare(service, 2, replicas, 0)), 0));
		world_settle(world);
		cr_assert(eq(uint, world_fewest_ready(world, service), replicas));
		cr_assert(le(uint, world_most_asked(world, service), replicas + 1));
		cr_assert(eq(uint, world_ready(world, service), replicas));
		cr_assert(world_heard(world, "roll.done"));
		for (const char *host = "abc"; *host != '\0'; host++)
			cr_assert(eq(uint, world_ready_on(world, (char[]){*host, '\0'}, service, 1),
				     0));
	}
}

Test(rolls, a_roll_of_new_nodes_that_never_get_ready_stops_and_the_old_ones_serve)
{
	world_deploy(world, 1, 3, 0);
	for (const char *host = "abc"; *host != '\0'; host++)
		world_break(world, (char[]){*host, '\0'}, true);
	world_fewest_ready(world, "web");
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 0)), 0));
	for (unsigned i = 0; i < 70; i++)
		world_step(world, 1000);
	cr_assert(eq(uint, world_fewest_ready(world, "web"), 3));
	cr_assert(world_heard(world, "roll.stopped"));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_DEGRADED));
	cr_assert(eq(uint, world_ready(world, "web"), 3));

	for (const char *host = "abc"; *host != '\0'; host++)
		world_break(world, (char[]){*host, '\0'}, false);
	world_deploy(world, 3, 3, 0);
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 3), 1));
}

/* How often the last assignment of @host names @port of the VIP. */
static unsigned exposed(const char *host, uint16_t port)
{
	const DnAssign *assign = world_assign(world, host, "web");
	unsigned times = 0;

	for (guint i = 0; i < assign->exposed->len; i++)
		times += g_array_index(assign->exposed, DnExposed, i).port == port;
	return times;
}

Test(rolls, a_port_of_the_vip_stays_for_as_long_as_nodes_serve_it)
{
	world_deploy(world, 1, 3, 0);
	cr_assert(eq(uint, exposed("b", 80), 1));
	world_break(world, "a", true);
	world_break(world, "b", true);
	world_break(world, "c", true);
	DnDeclaration *next = world_declare("web", 2, 3, 0);
	g_array_index(next->manifest->listen, DnListen, 0).expose = 443;
	cr_assert(eq(int, world_apply(world, next), 0));
	for (unsigned i = 0; i < 70; i++)
		world_step(world, 1000);
	/* It has stopped, and the old nodes serve. */
	cr_assert(world_heard(world, "roll.stopped"));
	cr_assert(eq(uint, exposed("b", 80), 1));
	cr_assert(eq(uint, exposed("b", 443), 1));

	for (const char *host = "abc"; *host != '\0'; host++)
		world_break(world, (char[]){*host, '\0'}, false);
	DnDeclaration *last = world_declare("web", 3, 3, 0);
	g_array_index(last->manifest->listen, DnListen, 0).expose = 443;
	cr_assert(eq(int, world_apply(world, last), 0));
	world_settle(world);
	cr_assert(eq(uint, exposed("b", 80), 0));
	cr_assert(eq(uint, exposed("b", 443), 1));
}

Test(rolls, scaling_up_and_down_keeps_the_smaller_number_ready)
{
	world_deploy(world, 1, 3, 0);
	world_fewest_ready(world, "web");
	world_deploy(world, 2, 6, 0);
	cr_assert(ge(uint, world_fewest_ready(world, "web"), 3));
	cr_assert(eq(uint, world_ready(world, "web"), 6));
	world_fewest_ready(world, "web");
	world_deploy(world, 3, 2, 0);
	cr_assert(ge(uint, world_fewest_ready(world, "web"), 2));
	cr_assert(eq(uint, world_ready(world, "web"), 2));
}

/* A core with what the world's has on disk; no host has come back yet. */
static DnFleetCore *restart_core(void)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(DnServiceRecord) service = dn_fleet_core_service_record(world_core(world), "web");
	DnFleetCore *again = dn_fleet_core_new(cluster, NULL);

	for (const char *name = "abc"; *name != '\0'; name++) {
		g_autoptr(DnHostRecord) host =
			dn_fleet_core_host_record(world_core(world), (char[]){*name, '\0'});

		cr_assert(dn_fleet_core_restore_host(again, host, NULL));
	}
	cr_assert(dn_fleet_core_restore_service(again, service, NULL));
	return again;
}

static void tick(DnFleetCore *core, DnNow *now, unsigned seconds, DnActs *acts)
{
	for (unsigned i = 0; i < 2 * seconds; i++) {
		now->monotonic_ns += UINT64_C(500000000);
		dn_fleet_core_tick(core, *now, acts);
	}
}

Test(rolls, a_roll_goes_on_where_it_was_after_the_supervisor_was_killed)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	world_deploy(world, 1, 3, 0);
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 0)), 0));
	world_step(world, 10);
	g_autoptr(DnServiceRecord) service = dn_fleet_core_service_record(world_core(world), "web");
	g_autoptr(DnFleetCore) again = restart_core();
	/* Long before any host has come back: nothing may be taken away, whatever time it is. */
	DnNow now = world_now(world);
	tick(again, &now, 50, acts);
	g_autoptr(DnServiceRecord) after = dn_fleet_core_service_record(again, "web");
	const DnReleaseRecord *old = g_ptr_array_index(after->releases, 1);
	const DnReleaseRecord *was = g_ptr_array_index(service->releases, 1);
	cr_assert(eq(uint, old->shares->len, was->shares->len));
	cr_assert(eq(uint, acts->dispatches->len, 0));
}

Test(rolls, a_short_deadline_does_not_run_while_a_new_supervisor_waits_for_its_hosts)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	DnDeclaration *second = world_declare("web", 2, 3, 0);

	second->manifest->roll_deadline_ms = 2000;
	world_deploy(world, 1, 3, 0);
	cr_assert(eq(int, world_apply(world, second), 0));
	world_step(world, 10);
	g_autoptr(DnFleetCore) again = restart_core();
	DnNow now = world_now(world);
	tick(again, &now, DN_FLEET_LOST_AFTER_S, acts);
	g_autoptr(DnServiceView) waiting = dn_fleet_core_service(again, "web");
	cr_assert(waiting->roll_error == NULL, "%s", waiting->roll_error);
	/* They had their time. */
	tick(again, &now, 5, acts);
	g_autoptr(DnServiceView) late = dn_fleet_core_service(again, "web");
	cr_assert(late->roll_error != NULL);
}

Test(rolls, manifests_that_follow_each_other_at_once_end_with_the_last)
{
	for (uint64_t epoch = 1; epoch <= 6; epoch++)
		cr_assert(eq(int, world_apply(world, world_declare("web", epoch, 3, 1)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	for (const char *host = "abc"; *host != '\0'; host++)
		cr_assert(eq(uint, world_ready_on(world, (char[]){*host, '\0'}, "web", 6), 1));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	cr_assert(eq(uint, world_refusals(world), 0));
}

Test(rolls, a_manifest_applied_in_the_middle_of_a_roll_takes_it_over)
{
	for (unsigned steps = 0; steps < 8; steps++) {
		teardown();
		setup();
		world_deploy(world, 1, 4, 1);
		world_fewest_ready(world, "web");
		cr_assert(eq(int, world_apply(world, world_declare("web", 2, 4, 1)), 0));
		for (unsigned i = 0; i < steps; i++)
			world_step(world, 10);
		cr_assert(eq(int, world_apply(world, world_declare("web", 3, 4, 1)), 0));
		world_settle(world);
		cr_assert(eq(uint, world_fewest_ready(world, "web"), 4), "after %u steps", steps);
		unsigned ready = 0;
		for (const char *host = "abc"; *host != '\0'; host++)
			ready += world_ready_on(world, (char[]){*host, '\0'}, "web", 3);
		cr_assert(eq(uint, ready, 4));
	}
}

Test(rolls, a_host_that_drops_its_link_in_the_middle_of_a_roll_is_rolled_when_it_is_back)
{
	for (unsigned steps = 0; steps < 6; steps++) {
		teardown();
		setup();
		world_deploy(world, 1, 3, 1);
		world_fewest_ready(world, "web");
		cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 1)), 0));
		for (unsigned i = 0; i < steps; i++)
			world_step(world, 10);
		world_disconnect(world, "b");
		for (unsigned i = 0; i < 5; i++)
			world_step(world, 1000);
		world_connect(world, "b");
		world_settle(world);
		cr_assert(ge(uint, world_fewest_ready(world, "web"), 3), "after %u steps", steps);
		cr_assert(eq(uint, world_ready_on(world, "b", "web", 1), 0));
		cr_assert(eq(uint, world_ready(world, "web"), 3));
		cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	}
}

Test(rolls, a_share_that_a_host_never_heard_of_is_given_up_when_it_refuses)
{
	/* No other host could carry the roll past it. */
	world_disconnect(world, "a");
	world_disconnect(world, "c");
	/* The order with its first share is lost with the link; the next epoch comes meanwhile. */
	world_mute(world, "b", true);
	cr_assert(eq(int, world_apply(world, world_declare("web", 1, 3, 0)), 0));
	world_disconnect(world, "b");
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 0)), 0));
	world_mute(world, "b", false);
	world_connect(world, "b");
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	cr_assert(eq(uint, world_ready_on(world, "b", "web", 2), 3));
	cr_assert(not(world_heard(world, "roll.stopped")));
}

Test(rolls, hosts_that_do_not_answer_keep_their_old_nodes_in_a_roll)
{
	world_deploy(world, 1, 3, 0);
	world_disconnect(world, "b");
	world_disconnect(world, "c");
	for (unsigned i = 0; i < 12; i++)
		world_step(world, 1000);
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 0)), 0));
	for (unsigned i = 0; i < 20; i++)
		world_step(world, 100);
	g_autoptr(DnServiceRecord) record = dn_fleet_core_service_record(world_core(world), "web");
	const DnReleaseRecord *old = g_ptr_array_index(record->releases, 1);
	cr_assert(eq(uint, old->shares->len, 3));
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 2), 1));
}

/* Apply a next epoch to which hosts roll by so many at once. */
static void roll_by(uint64_t epoch, uint32_t replicas, uint32_t standby, uint32_t surge)
{
	DnDeclaration *next = world_declare("web", epoch, replicas, standby);

	next->manifest->roll_surge = surge;
	cr_assert(eq(int, world_apply(world, next), 0));
	world_settle(world);
}

Test(rolls, a_roll_away_from_broken_nodes_comes_to_its_end_whatever_the_surge)
{
	for (uint32_t surge = 1; surge <= 4; surge++) {
		teardown();
		setup();
		world_deploy(world, 1, 3, 0);
		world_break_epoch(world, 1);
		roll_by(2, 3, 0, surge);
		cr_assert(eq(uint, world_ready(world, "web"), 3), "surge %u", surge);
		cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING), "surge %u", surge);
		cr_assert(world_heard(world, "roll.done"));
	}
}

Test(rolls, broken_nodes_make_room_on_hosts_that_are_full_of_them)
{
	world_deploy(world, 1, 30, 0);
	world_break_epoch(world, 1);
	roll_by(2, 30, 0, 1);
	cr_assert(eq(uint, world_ready(world, "web"), 30));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
}

Test(rolls, unready_nodes_stay_where_nothing_may_come_in_their_place)
{
	world_deploy(world, 1, 3, 0);
	world_break_epoch(world, 1);
	for (const char *host = "abc"; *host != '\0'; host++) {
		g_autoptr(DnActs) acts = dn_acts_new();

		cr_assert(dn_fleet_core_cordon(world_core(world), (char[]){*host, '\0'}, true,
					       world_now(world), acts, NULL));
		world_carry_out(world, acts);
	}
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 0)), 0));
	world_settle(world);
	g_autoptr(DnServiceRecord) record = dn_fleet_core_service_record(world_core(world), "web");
	const DnReleaseRecord *old = g_ptr_array_index(record->releases, 1);
	cr_assert(eq(uint, old->shares->len, 3));
}

Test(rolls, standbys_make_room_for_the_surge_and_are_there_again_afterwards)
{
	world_deploy(world, 1, 27, 1);
	cr_assert(eq(uint, world_ready(world, "web"), 27));
	world_fewest_ready(world, "web");
	roll_by(2, 27, 1, 1);
	cr_assert(eq(uint, world_ready(world, "web"), 27));
	cr_assert(eq(uint, world_fewest_ready(world, "web"), 27));
	cr_assert(world_heard(world, "roll.done"));
	for (const char *host = "abc"; *host != '\0'; host++) {
		const DnAssign *assign = world_assign(world, (char[]){*host, '\0'}, "web");
		const DnPart *part = g_ptr_array_index(assign->parts, 0);

		cr_assert(eq(uint, part->standby, 1));
	}
}

Test(rolls, a_roll_waits_for_a_host_that_is_away_and_ends_when_it_is_back)
{
	world_deploy(world, 1, 3, 0);
	world_disconnect(world, "c");
	for (unsigned i = 0; i < 12; i++)
		world_step(world, 1000);
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 0)), 0));
	for (unsigned i = 0; i < 200; i++)
		world_step(world, 1000);
	cr_assert(not(world_heard(world, "roll.stopped")));
	world_connect(world, "c");
	world_settle(world);
	cr_assert(world_heard(world, "roll.done"));
	cr_assert(world_heard(world, "host.up"));
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(eq(uint, world_ready_on(world, "c", "web", 1), 0));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
}

Test(rolls, a_service_is_not_said_to_be_removed_before_every_host_has_told_of_its_nodes)
{
	world_deploy(world, 1, 3, 0);
	DnDeclaration *removal = world_declare("web", 2, 0, 0);
	removal->manifest->removed = true;
	cr_assert(eq(int, world_apply(world, removal), 0));
	world_settle(world);
	cr_assert(eq(int, state_of("web"), DN_SERVICE_REMOVED));
	g_autoptr(DnFleetCore) again = restart_core();
	g_autoptr(DnServiceView) view = dn_fleet_core_service(again, "web");
	cr_assert(eq(int, view->state, DN_SERVICE_REMOVING));
	cr_assert(g_str_has_prefix(view->why, "a has not told of its nodes since this supervisor "
					      "started; b has"),
		  "%s", view->why);
}
