/* SPDX-License-Identifier: Apache-2.0 */

/* What becomes of an epoch that is past its valid_until (DESIGN 3.7). */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/clock.h"
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

TestSuite(expiry, .init = setup, .fini = teardown);

/* Valid for an hour; returned is whether it was taken. */
static bool deploy_for_an_hour(uint64_t epoch, uint32_t replicas, uint32_t standby)
{
	DnDeclaration *declaration = world_declare("web", epoch, replicas, standby);

	declaration->manifest->valid_until_ns = world_now(world).realtime_ns + 3600 * DN_NS_PER_S;
	bool taken = world_apply(world, declaration) == 0;
	world_settle(world);
	return taken;
}

static void let_it_expire(void)
{
	world_step(world, 3601 * 1000);
	world_settle(world);
}

static void cut_one_on(const char *host)
{
	g_autofree char *incident = NULL;

	g_free(world_cut(world, host, "web", &incident));
}

Test(expiry, an_expired_epoch_is_placed_nowhere_and_people_hear_why)
{
	cr_assert(deploy_for_an_hour(1, 40, 0));
	cr_assert(eq(uint, world_ready(world, "web"), 30));
	cr_assert(eq(uint, world_count(world, "service.no-room"), 1));
	let_it_expire();
	cr_assert(eq(uint, world_count(world, "service.expired"), 1));
	world_add_host(world, "d", 10);
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 30));
	cr_assert(eq(uint, world_ready_on(world, "d", "web", 0), 0));
	cr_assert(eq(uint, world_count(world, "service.expired"), 1));
	/* The next epoch is. */
	cr_assert(eq(int, world_apply(world, world_declare_as("web", 2, 1, 40, 0)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 40));
}

Test(expiry, a_service_that_has_expired_can_be_removed_by_the_manifest_that_it_has)
{
	cr_assert(deploy_for_an_hour(1, 3, 0));
	let_it_expire();
	DnDeclaration *removal = world_declare("web", 2, 3, 0);
	removal->manifest->valid_until_ns = world_now(world).realtime_ns - DN_NS_PER_S;
	removal->manifest->removed = true;
	cr_assert(eq(int, world_apply(world, removal), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 0));
}

Test(expiry, an_expired_epoch_keeps_its_nodes_and_their_standbys)
{
	cr_assert(deploy_for_an_hour(1, 3, 1));
	let_it_expire();
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cut_one_on("b");
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	const DnPart *part = g_ptr_array_index(world_assign(world, "b", "web")->parts, 0);
	cr_assert(eq(u32, part->running, 1));
	cr_assert(eq(u32, part->standby, 1));
	cr_assert(not(world_heard(world, "service.expired")));
}

Test(expiry, a_full_host_keeps_asking_for_an_expired_node_that_nobody_else_may_have)
{
	cr_assert(deploy_for_an_hour(1, 30, 0));
	let_it_expire();
	world_add_host(world, "d", 10);
	cut_one_on("b");
	world_settle(world);
	const DnPart *part = g_ptr_array_index(world_assign(world, "b", "web")->parts, 0);
	cr_assert(eq(u32, part->running, 10));
	cr_assert(eq(uint, world_ready_on(world, "d", "web", 0), 0));
}

Test(expiry, a_roll_to_what_has_expired_meanwhile_stops_and_says_so)
{
	world_deploy(world, 1, 3, 0);
	world_break(world, "a", true);
	world_break(world, "b", true);
	world_break(world, "c", true);
	cr_assert(deploy_for_an_hour(2, 3, 0));
	let_it_expire();
	cr_assert(world_heard(world, "roll.stopped"));
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");
	cr_assert(ne(ptr, strstr(view->roll_error, "was valid until"), NULL), "%s",
		  view->roll_error);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
}

Test(expiry, a_host_whose_clock_is_ahead_gets_no_new_nodes_and_is_not_asked_on_and_on)
{
	world_set_ahead(world, "a");
	cr_assert(deploy_for_an_hour(1, 6, 0));
	cr_assert(eq(uint, world_ready(world, "web"), 6));
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 0), 0));
	cr_assert(eq(uint, world_count(world, "assign.failed"), 1));
	for (unsigned i = 0; i < 20; i++)
		world_step(world, 1000);
	cr_assert(eq(uint, world_count(world, "assign.failed"), 1));
	/* It balances all the same. */
	cr_assert(eq(uint, world_endpoints(world, "a", "web"), 6));
}
