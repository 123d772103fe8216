/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/suite.h"
#include "world.h"

/* What is taken of manifests, and what becomes of one that removes its service. */

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

TestSuite(apply, .init = setup, .fini = teardown);

static DnServiceState state_of(const char *service)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), service);

	cr_assert(view != NULL);
	return view->state;
}

/* ---- epochs ---- */

Test(apply, epochs_only_grow_and_a_repeated_manifest_changes_nothing)
{
	world_deploy(world, 5, 1, 0);
	cr_assert(eq(int, world_apply(world, world_declare("web", 4, 1, 0)), DN_ERROR_UNTRUSTED));
	cr_assert(eq(int, world_apply(world, world_declare("web", 5, 1, 0)), 0));
	DnDeclaration *other = world_declare("web", 5, 2, 0);
	g_free(other->manifest->digest);
	other->manifest->digest = g_strdup("another");
	cr_assert(eq(int, world_apply(world, other), DN_ERROR_CONFLICT));
	cr_assert(
		eq(int, world_apply(world, world_declare("web", 1000006, 1, 0)), DN_ERROR_INVALID));
	cr_assert(eq(int, world_apply(world, world_declare("web", DN_EPOCH_LIMIT + 1, 1, 0)),
		     DN_ERROR_INVALID));
	cr_assert(eq(int, world_apply(world, world_declare("web", 1000005, 1, 0)), 0));
}

Test(apply, the_refusal_of_an_old_epoch_names_the_stored_one)
{
	g_autoptr(DnDeclaration) old = world_declare("web", 4, 1, 0);
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	bool changed = false;

	world_deploy(world, 7, 1, 0);
	cr_assert(not(dn_fleet_core_apply(world_core(world), old, false, world_now(world), acts,
					  &changed, NULL, &error)));
	cr_assert(strstr(error->message, "stored epoch 7") != NULL, "%s", error->message);
}

Test(apply, a_manifest_whose_time_has_passed_is_not_trusted)
{
	DnDeclaration *old = world_declare("web", 1, 1, 0);

	old->manifest->valid_until_ns = world_now(world).realtime_ns - 1;
	cr_assert(eq(int, world_apply(world, old), DN_ERROR_UNTRUSTED));
}

Test(apply, a_plan_changes_nothing)
{
	g_autoptr(DnDeclaration) first = world_declare("web", 1, 4, 1);
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GPtrArray) placement = NULL;
	bool changed = false;

	cr_assert(dn_fleet_core_apply(world_core(world), first, true, world_now(world), acts,
				      &changed, &placement, NULL));
	cr_assert(changed);
	cr_assert(eq(uint, placement->len, 3));
	cr_assert(eq(uint, acts->records->len + acts->dispatches->len, 0));
	cr_assert(eq(ptr, dn_fleet_core_service(world_core(world), "web"), NULL));
}

/* ---- ports, removal ---- */

static DnDeclaration *publishing(const char *service, DnProtocol protocol, uint16_t port)
{
	DnDeclaration *declaration = world_declare(service, 1, 1, 0);
	const DnListen listen = {
		.port = 8080, .expose = port, .protocol = protocol, .publish_host = true};

	g_array_set_size(declaration->manifest->listen, 0);
	g_array_append_val(declaration->manifest->listen, listen);
	return declaration;
}

Test(apply, a_port_of_the_hosts_is_one_services)
{
	cr_assert(eq(int, world_apply(world, publishing("web", DN_PROTOCOL_TCP, 80)), 0));
	cr_assert(eq(int, world_apply(world, publishing("shop", DN_PROTOCOL_TCP, 80)),
		     DN_ERROR_CONFLICT));
	cr_assert(eq(int, world_apply(world, publishing("shop", DN_PROTOCOL_UDP, 80)), 0));
	cr_assert(eq(int, world_apply(world, publishing("db", DN_PROTOCOL_TCP, 81)), 0));
}

Test(apply, a_service_is_not_removed_while_a_host_out_of_touch_may_serve_it)
{
	world_deploy(world, 1, 3, 0);
	world_disconnect(world, "c");
	for (unsigned i = 0; i < 15; i++)
		world_step(world, 1000);
	DnDeclaration *removal = world_declare("web", 2, 0, 0);
	removal->manifest->removed = true;
	cr_assert(eq(int, world_apply(world, removal), 0));
	world_settle(world);
	cr_assert(eq(int, state_of("web"), DN_SERVICE_REMOVING));
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");
	cr_assert(eq(str, view->why, (char *)"c does not answer and may still run 1"));
	world_connect(world, "c");
	world_settle(world);
	cr_assert(eq(int, state_of("web"), DN_SERVICE_REMOVED));
}
