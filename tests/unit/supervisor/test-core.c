/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

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

TestSuite(core, .init = setup, .fini = teardown);

static DnServiceState state_of(const char *service)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), service);

	return view->state;
}

/* ---- placement ---- */

Test(core, replicas_are_spread_evenly_over_the_hosts)
{
	world_deploy(world, 1, 7, 0);
	cr_assert(eq(uint, world_ready(world, "web"), 7));
	for (const char *host = "abc"; *host != '\0'; host++) {
		unsigned ready = world_ready_on(world, (char[]){*host, '\0'}, "web", 0);

		cr_assert(ready == 2 || ready == 3, "%c has %u", *host, ready);
	}
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
}

Test(core, without_spread_nodes_go_where_there_is_most_room)
{
	DnDeclaration *declaration = world_declare("web", 1, 5, 0);

	declaration->manifest->spread_host = false;
	world_add_host(world, "d", 100);
	cr_assert(eq(int, world_apply(world, declaration), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready_on(world, "d", "web", 0), 5));
}

Test(core, each_carrying_host_keeps_the_standbys_and_no_other_does)
{
	world_deploy(world, 1, 2, 1);
	unsigned standbys = 0;
	for (const char *host = "abc"; *host != '\0'; host++) {
		char name[] = {*host, '\0'};
		const DnAssign *assign = world_assign(world, name, "web");

		if (assign->parts->len == 0)
			continue;
		const DnPart *part = g_ptr_array_index(assign->parts, 0);
		cr_assert(eq(u32, part->standby, part->running > 0 ? 1 : 0));
		standbys += part->standby;
	}
	cr_assert(eq(uint, standbys, 2));
}

Test(core, a_new_host_does_not_move_what_is_fine)
{
	world_deploy(world, 1, 6, 0);
	unsigned orders = world_orders(world, "a", DN_ORDER_ASSIGN);
	world_add_host(world, "d", 10);
	world_settle(world);
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 0), 2));
	cr_assert(eq(uint, world_ready_on(world, "d", "web", 0), 0));
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_ASSIGN), orders));
}

Test(core, a_full_host_gets_nothing_more_and_people_are_told)
{
	world_deploy(world, 1, 40, 0);
	cr_assert(eq(uint, world_ready(world, "web"), 30));
	cr_assert(world_heard(world, "service.no-room"));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_DEGRADED));
}

static char *why(void)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");

	return g_strdup(view->why);
}

static void cut_on_a(void)
{
	g_autofree char *incident = NULL;

	g_free(world_cut(world, "a", "web", &incident));
	world_settle(world);
}

Test(core, a_host_full_of_quarantined_nodes_gives_its_share_to_others)
{
	world_deploy(world, 1, 3, 1);
	/* Ten slots: nine hold cut nodes, so one is left for its node and none for a standby. */
	for (unsigned i = 0; i < 9; i++)
		cut_on_a();
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(le(uint, world_assign(world, "a", "web")->parts->len, 1));
	cut_on_a();
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(eq(uint, world_assign(world, "a", "web")->parts->len, 0));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	g_autofree char *none = why();
	cr_assert(eq(ptr, none, NULL));
}

Test(core, a_service_that_lacks_nodes_says_what_it_lacks)
{
	world_deploy(world, 1, 29, 0);
	cut_on_a();
	cut_on_a();
	cr_assert(eq(uint, world_ready(world, "web"), 28));
	g_autofree char *text = why();
	cr_assert(ne(ptr, strstr(text, "1 of 29 nodes found no host"), NULL), "%s", text);
	world_disconnect(world, "b");
	for (unsigned i = 0; i < 30; i++)
		world_step(world, 500);
	g_autofree char *lost = why();
	cr_assert(ne(ptr, strstr(lost, "b has 0 of 10 ready and does not answer"), NULL), "%s",
		  lost);
}

/* ---- facts of a spool ---- */

#define SPOOL "00112233445566aa"

static void spooled(const char *spool, uint64_t number, uint64_t previous)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_EVENT);

	fact->event = dn_event_new("test.event", "info", "text");
	fact->spool = g_strdup(spool);
	fact->number = number;
	fact->previous = previous;
	world_say(world, "a", fact);
}

static uint64_t stored(const char *spool)
{
	return dn_fleet_core_stored(world_core(world), "a", spool);
}

Test(core, a_fact_of_a_spool_is_taken_once_however_often_it_comes)
{
	spooled(SPOOL, 5, 0);
	spooled(SPOOL, 5, 0);
	spooled(SPOOL, 4, 0);
	cr_assert(eq(uint, world_count(world, "test.event"), 1));
	cr_assert(eq(u64, stored(SPOOL), 5));
}

Test(core, a_fact_of_a_spool_waits_for_the_one_before_it)
{
	spooled(SPOOL, 5, 0);
	spooled(SPOOL, 9, 7);
	cr_assert(eq(u64, stored(SPOOL), 5));
	spooled(SPOOL, 7, 5);
	spooled(SPOOL, 9, 7);
	cr_assert(eq(u64, stored(SPOOL), 9));
}

Test(core, a_new_spool_of_a_host_begins_to_count_anew)
{
	spooled(SPOOL, 500, 0);
	spooled("ffeeddccbbaa0099", 1, 0);
	cr_assert(eq(u64, stored("ffeeddccbbaa0099"), 1));
	cr_assert(eq(u64, stored(SPOOL), 0));
}

Test(core, events_past_a_hosts_rate_are_neither_taken_nor_lost)
{
	uint64_t number = 0;

	for (uint64_t i = 1; i <= 1000; i++)
		spooled(SPOOL, i, i - 1);
	number = stored(SPOOL);
	cr_assert(number > 100 && number < 500);
	world_step(world, 2000);
	spooled(SPOOL, number + 1, number);
	cr_assert(eq(u64, stored(SPOOL), number + 1));
}

/* ---- cordons, scaling ---- */

static void cordon(const char *host, bool wanted)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	cr_assert(dn_fleet_core_cordon(world_core(world), host, wanted, world_now(world), acts,
				       &error));
	world_carry_out(world, acts);
	world_settle(world);
}

Test(core, a_cordoned_host_gets_nothing_new_and_keeps_what_it_has)
{
	world_deploy(world, 1, 3, 1);
	cordon("b", true);
	cr_assert(world_heard(world, "host.cordoned"));
	cr_assert(eq(uint, world_ready_on(world, "b", "web", 1), 1));
	cr_assert(eq(int, world_apply(world, world_declare("db", 1, 6, 0)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "db"), 6));
	cr_assert(eq(uint, world_ready_on(world, "b", "db", 0), 0));
}

Test(core, a_roll_moves_off_a_cordoned_host_without_a_gap)
{
	world_deploy(world, 1, 3, 0);
	cordon("b", true);
	(void)world_fewest_ready(world, "web");
	world_deploy(world, 2, 3, 0);
	cr_assert(eq(uint, world_ready_on(world, "b", "web", 0), 0));
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(world_fewest_ready(world, "web") >= 3);
}

Test(core, what_a_cordon_left_without_room_finds_it_when_it_is_lifted)
{
	cordon("b", true);
	world_deploy(world, 1, 25, 0);
	cr_assert(eq(uint, world_ready(world, "web"), 20));
	cordon("b", false);
	cr_assert(eq(uint, world_ready(world, "web"), 25));
	cr_assert(eq(uint, world_ready_on(world, "b", "web", 1), 5));
}

Test(core, a_cordon_is_in_the_record_and_comes_back_with_it)
{
	cordon("b", true);
	g_autoptr(DnHostRecord) record = dn_fleet_core_host_record(world_core(world), "b");
	g_autoptr(DnHostRecord) other = dn_fleet_core_host_record(world_core(world), "a");
	g_autoptr(World) next = world_new();
	g_autoptr(GError) error = NULL;

	cr_assert(record->cordoned && !other->cordoned);
	cr_assert(dn_fleet_core_restore_host(world_core(next), record, &error));
	g_autoptr(GPtrArray) hosts = dn_fleet_core_hosts(world_core(next));
	const DnHostView *view = g_ptr_array_index(hosts, 0);
	cr_assert(eq(int, view->cordoned, true));
}

Test(core, a_cordon_of_a_host_that_is_not_there_or_a_second_one_does_nothing)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	cordon("b", true);
	bool again =
		dn_fleet_core_cordon(world_core(world), "b", true, world_now(world), acts, NULL);
	bool stranger = dn_fleet_core_cordon(world_core(world), "nope", true, world_now(world),
					     acts, &error);
	cr_assert(again && !stranger);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	cr_assert(eq(uint, acts->records->len + acts->events->len + acts->dispatches->len, 0));
}

Test(core, more_or_fewer_replicas_are_reached_without_going_below_the_smaller_number)
{
	world_deploy(world, 1, 3, 0);
	(void)world_fewest_ready(world, "web");
	world_deploy(world, 2, 6, 0);
	cr_assert(eq(uint, world_ready(world, "web"), 6));
	cr_assert(world_fewest_ready(world, "web") >= 3);
	world_deploy(world, 3, 2, 0);
	cr_assert(eq(uint, world_ready(world, "web"), 2));
	cr_assert(world_fewest_ready(world, "web") >= 2);
}

Test(core, what_has_been_said_is_not_said_again)
{
	world_deploy(world, 1, 3, 1);
	unsigned orders = world_orders(world, "b", DN_ORDER_ASSIGN);
	for (unsigned i = 0; i < 20; i++)
		world_step(world, 100);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_ASSIGN), orders));
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_MANIFEST), 1));
}

Test(core, every_host_balances_to_the_ready_nodes_of_the_others)
{
	world_deploy(world, 1, 3, 0);
	cr_assert(eq(uint, world_endpoints(world, "a", "web"), 2));
	const DnRemoteEndpoint *endpoint =
		g_ptr_array_index(world_assign(world, "a", "web")->endpoints, 0);
	cr_assert(eq(u16, endpoint->expose.port, 80));
	cr_assert(eq(u16, endpoint->port, 8080));
	cr_assert(g_str_has_prefix(endpoint->address, "10.77.1."), "%s", endpoint->address);
}

/* ---- removal ---- */

static DnDeclaration *removal(uint64_t epoch)
{
	DnDeclaration *declaration = world_declare("web", epoch, 0, 0);

	declaration->manifest->removed = true;
	return declaration;
}

Test(core, a_removed_service_empties_is_forgotten_and_keeps_epoch_and_vip)
{
	world_deploy(world, 1, 3, 1);
	g_autoptr(DnServiceView) before = dn_fleet_core_service(world_core(world), "web");
	cr_assert(eq(int, world_apply(world, removal(2)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 0));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_REMOVED));
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_FORGET), 1));
	cr_assert(eq(int, world_apply(world, world_declare("web", 1, 1, 0)), DN_ERROR_UNTRUSTED));

	world_deploy(world, 3, 3, 0);
	g_autoptr(DnServiceView) after = dn_fleet_core_service(world_core(world), "web");
	cr_assert_str_eq(after->vip, before->vip);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
}

Test(core, a_host_with_a_quarantined_node_is_not_told_to_forget)
{
	g_autofree char *incident = NULL;

	world_deploy(world, 1, 3, 0);
	g_free(world_cut(world, "b", "web", &incident));
	world_settle(world);
	cr_assert(eq(int, world_apply(world, removal(2)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_FORGET), 0));
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_FORGET), 1));
}

/* Or nodes that drain elsewhere would wait for its answer in vain. */
Test(core, who_only_balances_a_removed_service_is_told_that_nobody_serves_before_it_forgets)
{
	world_deploy(world, 1, 1, 0);
	const char *idle = world_ready_on(world, "a", "web", 0) == 0 ? "a" : "b";
	cr_assert(eq(uint, world_endpoints(world, idle, "web"), 1));
	unsigned before = world_orders(world, idle, DN_ORDER_ASSIGN);
	cr_assert(eq(int, world_apply(world, removal(2)), 0));
	world_settle(world);
	cr_assert(gt(uint, world_orders(world, idle, DN_ORDER_ASSIGN), before));
	cr_assert(eq(uint, world_orders(world, idle, DN_ORDER_FORGET), 1));
}

Test(core, a_vip_is_given_out_once)
{
	cr_assert(eq(int, world_apply(world, world_declare("web", 1, 1, 0)), 0));
	cr_assert(eq(int, world_apply(world, removal(2)), 0));
	world_settle(world);
	cr_assert(eq(int, world_apply(world, world_declare("db", 1, 1, 0)), 0));
	g_autoptr(DnServiceView) web = dn_fleet_core_service(world_core(world), "web");
	g_autoptr(DnServiceView) db = dn_fleet_core_service(world_core(world), "db");
	cr_assert_str_eq(web->vip, "10.99.0.1");
	cr_assert_str_eq(db->vip, "10.99.0.2");
}

Test(core, a_host_that_does_not_trust_a_manifest_is_given_no_part_of_it)
{
	world_refuse(world, "a");
	world_deploy(world, 1, 3, 0);
	cr_assert(world_heard(world, "manifest.refused"));
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 0), 0));
	/* Nor of its balancing, and nobody waits for it when a node leaves all balancers. */
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_ASSIGN), 0));
	g_autofree char *incident = NULL;
	g_free(world_cut(world, "b", "web", &incident));
	world_settle(world);
	/* That it is reported, and that it has left them. */
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_STAMP), 2));
	cr_assert(eq(uint, world_count(world, "assign.failed"), 0));
}

/* "b" is at @address now. Returns the tag under which "a" is told. */
static uint64_t move_host(const char *address)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	uint64_t tag = 0;

	dn_fleet_core_connected(world_core(world), "b", address, world_now(world), acts);
	dn_fleet_core_tick(world_core(world), world_now(world), acts);
	for (guint i = 0; i < acts->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);

		if (dispatch->order->kind == DN_ORDER_ROUTES && g_str_equal(dispatch->host, "a"))
			tag = dispatch->tag;
	}
	return tag;
}

static void routes_fail(uint64_t tag)
{
	char why[] = "not sent";
	const DnAnswerTo failed = {.error = why, .code = DN_ERROR_UNAVAILABLE};
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_fleet_core_answered(world_core(world), "a", tag, &failed, world_now(world), acts);
	world_carry_out(world, acts);
}

Test(core, routes_that_later_ones_made_void_are_not_missed)
{
	uint64_t first = move_host("192.168.0.101");
	uint64_t second = move_host("192.168.0.102");

	cr_assert(ne(u64, first, 0));
	cr_assert(ne(u64, second, 0));
	routes_fail(first);
	cr_assert(eq(uint, world_count(world, "routes.failed"), 0));
	cr_assert(eq(u64, move_host("192.168.0.102"), 0));
	routes_fail(second);
	cr_assert(eq(uint, world_count(world, "routes.failed"), 1));
}

Test(core, a_host_that_cannot_write_a_manifest_is_asked_again_and_others_carry_it_meanwhile)
{
	world_fail(world, "a", true);
	world_deploy(world, 1, 3, 0);
	for (unsigned i = 0; i < 30; i++)
		world_step(world, 1000);
	cr_assert(eq(uint, world_count(world, "manifest.failed"), 1));
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 1), 0));
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	cr_assert(eq(int, state_of("web"), DN_SERVICE_RUNNING));
	world_fail(world, "a", false);
	for (unsigned i = 0; i < 15; i++)
		world_step(world, 1000);
	world_deploy(world, 2, 6, 0);
	cr_assert(ge(uint, world_ready_on(world, "a", "web", 2), 1));
	cr_assert(eq(uint,
		     world_endpoints(world, "a", "web") + world_ready_on(world, "a", "web", 2), 6));
}

Test(core, a_host_that_refuses_a_removal_is_not_told_to_forget)
{
	world_deploy(world, 1, 3, 0);
	world_refuse(world, "b");
	cr_assert(eq(int, world_apply(world, removal(2)), 0));
	for (unsigned i = 0; i < 10; i++)
		world_step(world, 1000);
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_FORGET), 1));
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_FORGET), 0));
}

Test(core, who_lacks_room_hears_of_the_hosts_that_take_nothing)
{
	world_refuse(world, "a");
	cordon("b", true);
	cordon("c", true);
	world_deploy(world, 1, 3, 0);
	g_autofree char *text = why();
	cr_assert(strstr(text, "no host with a free slot; 2 hosts are cordoned; 1 has refused the "
			       "manifest; enrol") != NULL,
		  "%s", text);
}
