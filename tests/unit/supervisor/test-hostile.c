/* SPDX-License-Identifier: Apache-2.0 */

/* Hosts that break down, disappear, or lie. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/trouble.h"
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

TestSuite(hostile, .init = setup, .fini = teardown);

static DnFact *node_fact(const char *id, const char *host, const char *address, DnNodeState state)
{
	DnFact *fact = dn_fact_new(DN_FACT_NODE);

	fact->node = dn_node_record_new();
	fact->node->id = g_strdup(id);
	fact->node->service = g_strdup("web");
	fact->node->host = g_strdup(host);
	fact->node->address = g_strdup(address);
	fact->node->digest = g_strdup("web-1");
	fact->node->epoch = 1;
	fact->node->state = state;
	fact->node->healthy = true;
	return fact;
}

static unsigned count_nodes(void)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), NULL);

	return nodes->len;
}

/* ---- quarantine ---- */

Test(hostile, a_cut_node_leaves_every_other_balancer_and_then_its_host_is_told)
{
	g_autofree char *incident = NULL;

	world_mute(world, "c", true);
	unsigned stamps = world_orders(world, "a", DN_ORDER_STAMP);
	g_free(world_cut(world, "a", "web", &incident));
	cr_assert(eq(uint, world_endpoints(world, "b", "web"), 1));
	cr_assert(eq(uint, world_endpoints(world, "c", "web"), 1));
	world_step(world, 10);
	world_step(world, 10);
	/* Only "reported" so far: c has not answered. */
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_STAMP), stamps + 1));
	world_mute(world, "c", false);
	world_step(world, 10);
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_STAMP), stamps + 2));
	world_settle(world);
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_STAMP), stamps + 2));
}

Test(hostile, taking_traffic_from_a_cut_node_does_not_wait_for_the_disk)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	const DnNodeRecord *node = g_ptr_array_index(nodes, 0);
	g_autoptr(DnFact) fact =
		node_fact(node->id, node->host, node->address, DN_NODE_QUARANTINED);
	g_autoptr(DnActs) acts = dn_acts_new();
	unsigned assigns = 0;

	cr_assert(eq(int, node->state, DN_NODE_READY));
	dn_fleet_core_fact(world_core(world), node->host, fact, world_now(world), acts);
	for (guint i = 0; i < acts->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);

		if (dispatch->order->kind != DN_ORDER_ASSIGN)
			continue;
		assigns++;
		cr_assert(not(dispatch->after_store));
	}
	cr_assert(eq(uint, assigns, 2));
}

Test(hostile, a_quarantined_node_never_comes_back_whatever_its_host_says)
{
	g_autofree char *incident = NULL;
	g_autofree char *id = world_cut(world, "a", "web", &incident);
	g_autoptr(DnFact) lie = node_fact(id, "a", "10.77.0.3", DN_NODE_READY);

	world_say(world, "a", lie);
	cr_assert(world_heard(world, "fact.refused"));
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	for (guint i = 0; i < nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(nodes, i);

		if (g_str_equal(node->id, id))
			cr_assert(eq(int, node->state, DN_NODE_QUARANTINED));
	}
	/* Nor by forgetting it first. */
	g_autoptr(DnFact) gone = dn_fact_new(DN_FACT_NODE_GONE);
	gone->id = g_strdup(id);
	world_say(world, "a", gone);
	cr_assert(world_heard(world, "node.vanished"));
	unsigned before = world_endpoints(world, "b", "web");
	world_say(world, "a", lie);
	cr_assert(eq(uint, world_endpoints(world, "b", "web"), before));
}

/* ---- lies ---- */

Test(hostile, a_host_is_not_believed_about_addresses_outside_its_range)
{
	g_autoptr(DnFact) lie = node_fact("web-0000aaaa", "a", "10.77.1.9", DN_NODE_READY);
	unsigned before = count_nodes();

	world_say(world, "a", lie);
	cr_assert(eq(uint, count_nodes(), before));
	cr_assert(world_heard(world, "fact.refused"));
}

Test(hostile, a_host_is_not_believed_about_the_nodes_of_another)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");
	const DnNodeRecord *victim = NULL;

	for (guint i = 0; i < nodes->len; i++)
		if (g_str_equal(((DnNodeRecord *)g_ptr_array_index(nodes, i))->host, "b"))
			victim = g_ptr_array_index(nodes, i);
	g_autoptr(DnFact) as_other =
		node_fact(victim->id, "b", victim->address, DN_NODE_QUARANTINED);
	g_autoptr(DnFact) as_own = node_fact(victim->id, "a", "10.77.0.9", DN_NODE_QUARANTINED);
	g_autoptr(DnFact) gone = dn_fact_new(DN_FACT_NODE_GONE);
	gone->id = g_strdup(victim->id);

	unsigned before = world_endpoints(world, "c", "web");
	world_say(world, "a", as_other);
	world_say(world, "a", as_own);
	world_say(world, "a", gone);
	cr_assert(eq(uint, world_endpoints(world, "c", "web"), before));
	cr_assert(eq(uint, count_nodes(), nodes->len));
}

Test(hostile, a_host_cannot_draw_traffic_of_a_service_it_carries_no_part_of)
{
	cr_assert(eq(int, world_apply(world, world_declare("db", 1, 1, 0)), 0));
	world_settle(world);
	const char *thief = world_ready_on(world, "a", "db", 0) == 0 ? "a" : "b";
	g_autofree char *address = g_strdup_printf("10.77.%d.99", *thief - 'a');
	g_autoptr(DnFact) lie = node_fact("db-0000aaaa", thief, address, DN_NODE_READY);

	g_free(lie->node->service);
	g_free(lie->node->digest);
	lie->node->service = g_strdup("db");
	lie->node->digest = g_strdup("db-1");
	unsigned before = world_endpoints(world, "c", "db");
	world_say(world, thief, lie);
	cr_assert(eq(uint, world_endpoints(world, "c", "db"), before));
}

/* What people and the journal are told when "a" says so. */
static DnEvent *say_event(const char *kind, const char *service, const char *node,
			  const char *incident)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_EVENT);

	fact->event = dn_event_new(kind, "info", "so it says");
	fact->event->service = g_strdup(service);
	fact->event->node = g_strdup(node);
	fact->event->incident = g_strdup(incident);
	dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	cr_assert(eq(uint, acts->events->len, 1));
	return dn_event_copy(g_ptr_array_index(acts->events, 0));
}

Test(hostile, a_host_speaks_in_no_supervisors_words_and_names_nothing_of_others)
{
	g_autofree char *incident = NULL;

	world_deploy(world, 1, 3, 0);
	g_autofree char *others = world_cut(world, "b", "web", &incident);
	g_autoptr(DnEvent) forged = say_event("manifest.accepted", "bank", "bank-0a1b2c3d", NULL);
	cr_assert(eq(str, forged->kind, (char *)"host.event"));
	cr_assert(forged->service == NULL && forged->node == NULL);
	/* The number of an event is the host's to choose, and says nothing of whose it is. */
	cr_assert(eq(u64, forged->seq, 0));
	cr_assert(forged->told);
	g_autoptr(DnEvent) foreign = say_event("node.failed", "web", others, incident);
	cr_assert(eq(str, foreign->kind, (char *)"node.failed"));
	cr_assert(eq(str, foreign->service, (char *)"web"));
	cr_assert(foreign->node == NULL && foreign->incident == NULL);
	g_autoptr(DnEvent) host = say_event("host.enrolled", NULL, NULL, NULL);
	cr_assert(eq(str, host->kind, (char *)"host.event"));
	g_autofree char *own_incident = NULL;
	g_autofree char *own = world_cut(world, "a", "web", &own_incident);
	g_autoptr(DnEvent) honest = say_event("cut.link-removed", "web", own, own_incident);
	cr_assert(eq(str, honest->node, own));
	cr_assert(eq(str, honest->incident, own_incident));
}

Test(hostile, a_flood_of_events_is_cut_off_and_said_so_once)
{
	g_autoptr(DnFact) noise = dn_fact_new(DN_FACT_EVENT);
	g_autoptr(DnActs) acts = dn_acts_new();

	noise->event = dn_event_new("x.y", "info", "a\033[2J");
	for (unsigned i = 0; i < 5000; i++)
		dn_fleet_core_fact(world_core(world), "a", noise, world_now(world), acts);
	cr_assert(lt(uint, acts->events->len, 210));
	const DnEvent *event = g_ptr_array_index(acts->events, 0);
	cr_assert_str_eq(event->text, "a\\x1b[2J");
	cr_assert_str_eq(event->host, "a");
}

Test(hostile, nodes_that_come_and_go_without_end_are_told_of_only_so_often)
{
	g_autoptr(DnFact) comes = node_fact("web-0000abcd", "a", NULL, DN_NODE_READY);
	g_autoptr(DnFact) goes = dn_fact_new(DN_FACT_NODE_GONE);
	g_autoptr(DnActs) acts = dn_acts_new();

	goes->id = g_strdup("web-0000abcd");
	for (unsigned i = 0; i < 20000; i++) {
		dn_fleet_core_fact(world_core(world), "a", comes, world_now(world), acts);
		dn_fleet_core_fact(world_core(world), "a", goes, world_now(world), acts);
	}
	unsigned dropped = 0;
	for (guint i = 0; i < acts->events->len; i++) {
		const DnEvent *event = g_ptr_array_index(acts->events, i);

		dropped += g_str_equal(event->kind, "events.dropped") ? 1 : 0;
	}
	cr_assert(eq(uint, dropped, 1));
	cr_assert(lt(uint, acts->events->len, 5000), "%u events", acts->events->len);
}

Test(hostile, a_host_that_names_nodes_without_end_is_remembered_with_so_many)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	unsigned before = count_nodes();

	for (unsigned i = 0; i < 3000; i++) {
		g_autofree char *id = g_strdup_printf("web-%08x", 0x10000000 + i);
		g_autoptr(DnFact) fact = node_fact(id, "a", NULL, DN_NODE_READY);

		dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	}
	cr_assert(le(uint, count_nodes() - before, DN_FLEET_HOST_NODES));
}

Test(hostile, what_is_done_over_and_over_is_told_once_a_minute_for_each_host)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	DnNow now = world_now(world);

	for (unsigned i = 0; i < 1000; i++) {
		dn_fleet_core_trouble(world_core(world), DN_TROUBLE_FLOODED, "a", "x", now, acts);
		dn_fleet_core_trouble(world_core(world), DN_TROUBLE_FLOODED, "b", "x", now, acts);
		dn_fleet_core_trouble(world_core(world), DN_TROUBLE_REFUSED, NULL, "x", now, acts);
		dn_fleet_core_trouble(world_core(world), DN_TROUBLE_REFUSED, "?", "x", now, acts);
	}
	cr_assert(eq(uint, acts->events->len, 3));
	now.monotonic_ns += 61 * DN_NS_PER_S;
	dn_fleet_core_trouble(world_core(world), DN_TROUBLE_FLOODED, "a", "x", now, acts);
	cr_assert(eq(uint, acts->events->len, 4));
}

static DnFact *incident_fact(unsigned number, DnIncidentState state)
{
	DnFact *fact = dn_fact_new(DN_FACT_INCIDENT);

	fact->incident = dn_incident_new();
	fact->incident->id = g_strdup_printf("%016x", number);
	fact->incident->node = g_strdup_printf("web-%08x", number);
	fact->incident->service = g_strdup("web");
	fact->incident->host = g_strdup("a");
	fact->incident->event_time_ns = number;
	fact->incident->state = state;
	return fact;
}

static unsigned count_incidents(void)
{
	g_autoptr(GPtrArray) all = dn_fleet_core_incidents(world_core(world), NULL, NULL);

	return all->len;
}

Test(hostile, what_incidents_bring_along_is_kept_up_to_a_sum)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GPtrArray) all = NULL;
	unsigned rows = 0;

	for (unsigned i = 0; i < 100; i++) {
		g_autoptr(DnFact) fact = incident_fact(0x1000 + i, DN_INCIDENT_OPEN);

		for (unsigned j = 0; j < 4000; j++) {
			g_ptr_array_add(fact->incident->conntrack, g_strdup("tcp 6 x"));
			g_ptr_array_add(fact->incident->replacements, g_strdup("web-00000000"));
		}
		dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	}
	all = dn_fleet_core_incidents(world_core(world), NULL, NULL);
	cr_assert(eq(uint, all->len, 100));
	for (guint i = 0; i < all->len; i++) {
		const DnIncident *one = g_ptr_array_index(all, i);

		cr_assert(le(uint, one->conntrack->len, DN_FLEET_INCIDENT_ROWS));
		cr_assert(le(uint, one->replacements->len, 16));
		rows += one->conntrack->len;
	}
	cr_assert(eq(uint, rows, DN_FLEET_HOST_ROWS));
}

Test(hostile, destroyed_incidents_make_room_and_those_in_force_are_never_forgotten)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	unsigned number = 0x1000;

	for (unsigned i = 0; i < DN_FLEET_HOST_INCIDENTS + 100; i++) {
		g_autoptr(DnFact) fact = incident_fact(number++, DN_INCIDENT_DESTROYED);

		dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	}
	cr_assert(eq(uint, count_incidents(), DN_FLEET_HOST_INCIDENTS));
	for (unsigned i = 0; i < DN_FLEET_HOST_INCIDENTS; i++) {
		g_autoptr(DnFact) fact = incident_fact(number++, DN_INCIDENT_OPEN);

		dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	}
	g_autofree char *first = g_strdup_printf("%016x", number - DN_FLEET_HOST_INCIDENTS);
	g_autofree char *beyond = g_strdup_printf("%016x", number);
	g_autoptr(DnFact) more = incident_fact(number, DN_INCIDENT_OPEN);
	dn_fleet_core_fact(world_core(world), "a", more, world_now(world), acts);
	cr_assert(ne(ptr, (void *)dn_fleet_core_incident(world_core(world), first), NULL));
	cr_assert(eq(ptr, (void *)dn_fleet_core_incident(world_core(world), beyond), NULL));
	cr_assert(eq(uint, count_incidents(), DN_FLEET_HOST_INCIDENTS));
}

Test(hostile, incidents_that_are_past_when_they_are_first_told_of_do_not_flood_people)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	for (unsigned i = 0; i < 2000; i++) {
		g_autoptr(DnFact) fact = incident_fact(0x1000 + i, DN_INCIDENT_DESTROYED);

		dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	}
	world_carry_out(world, acts);
	cr_assert(not(world_heard(world, "incident.opened")));
	cr_assert(le(uint, world_count(world, "incident.destroyed"), 200));
	cr_assert(eq(uint, world_count(world, "events.dropped"), 1));
}

Test(hostile, what_a_host_refuses_over_and_over_is_told_once_a_minute)
{
	world_refuse(world, "a");
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 1)), 0));
	for (unsigned i = 0; i < 30; i++) {
		world_step(world, 500);
		world_disconnect(world, "a");
		world_connect(world, "a");
	}
	cr_assert(eq(uint, world_count(world, "manifest.refused"), 1));
	for (unsigned i = 0; i < 60; i++)
		world_step(world, 1000);
	world_disconnect(world, "a");
	world_connect(world, "a");
	world_step(world, 500);
	cr_assert(eq(uint, world_count(world, "manifest.refused"), 2));
	/* Another one is another matter. */
	cr_assert(eq(int, world_apply(world, world_declare("web", 3, 3, 1)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_count(world, "manifest.refused"), 3));
}

Test(hostile, a_refusal_that_its_hosts_rate_kept_from_people_is_told_the_next_time)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	for (unsigned i = 0; i < 300; i++) {
		g_autoptr(DnFact) fact = incident_fact(0x1000 + i, DN_INCIDENT_DESTROYED);

		dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	}
	world_refuse(world, "a");
	cr_assert(eq(int, world_apply(world, world_declare("web", 2, 3, 1)), 0));
	cr_assert(eq(uint, world_count(world, "manifest.refused"), 0));
	for (unsigned i = 0; i < 20; i++)
		world_step(world, 500);
	world_disconnect(world, "a");
	world_connect(world, "a");
	world_step(world, 500);
	cr_assert(eq(uint, world_count(world, "manifest.refused"), 1));
}

/* A link takes 4 MiB: more than that at once and no host would ever stay linked. */
Test(hostile, a_host_is_asked_to_take_no_more_manifests_at_once_than_its_link_holds)
{
	enum { SERVICES = 60, EACH = 100 * 1024 };

	world_mute(world, "a", true);
	unsigned before = world_orders(world, "a", DN_ORDER_MANIFEST);
	for (unsigned i = 0; i < SERVICES; i++) {
		g_autofree char *name = g_strdup_printf("s%u", i);
		DnDeclaration *declaration = world_declare(name, 1, 1, 0);

		g_autofree char *comment = g_strnfill(EACH, '#');
		char *text = g_strconcat(name, "-1", comment, NULL);

		g_bytes_unref(declaration->bytes);
		g_free(declaration->manifest->digest);
		declaration->manifest->digest = g_strdup(text);
		declaration->bytes = g_bytes_new_take(text, strlen(text));
		cr_assert(eq(int, world_apply(world, declaration), 0));
	}
	world_settle(world);
	cr_assert(le(uint, world_orders(world, "a", DN_ORDER_MANIFEST) - before, 10));
	world_mute(world, "a", false);
	world_settle(world);
	cr_assert(ge(uint, world_orders(world, "a", DN_ORDER_MANIFEST) - before, SERVICES));
}

/* ---- hosts out of touch ---- */

Test(hostile, a_host_out_of_touch_keeps_its_place_in_the_balancers_and_nothing_is_replaced)
{
	world_disconnect(world, "a");
	for (unsigned i = 0; i < 15; i++)
		world_step(world, 1000);
	cr_assert(world_heard(world, "host.lost"));
	cr_assert(eq(uint, world_endpoints(world, "b", "web"), 2));
	cr_assert(eq(uint, world_ready_on(world, "b", "web", 0), 1));
	g_autoptr(GPtrArray) hosts = dn_fleet_core_hosts(world_core(world));
	cr_assert(eq(int, ((DnHostView *)g_ptr_array_index(hosts, 0))->state, DN_HOST_LOST));

	world_connect(world, "a");
	world_settle(world);
	cr_assert(eq(uint, world_ready(world, "web"), 3));
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");
	cr_assert(eq(int, view->state, DN_SERVICE_RUNNING));
}

Test(hostile, a_host_that_comes_back_is_told_everything_again_and_loses_no_node)
{
	unsigned before = world_orders(world, "a", DN_ORDER_ASSIGN);

	world_disconnect(world, "a");
	world_connect(world, "a");
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 0), 1));
	world_settle(world);
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_ASSIGN), before + 1));
	cr_assert(eq(uint, world_ready_on(world, "a", "web", 0), 1));
}

/* ---- enrolment ---- */

Test(hostile, a_token_works_once_for_one_name_and_not_for_long)
{
	DnFleetCore *core = world_core(world);
	DnNow now = world_now(world);
	g_autoptr(DnActs) acts = dn_acts_new();
	const uint8_t key[DN_PUBLIC_KEY_BYTES] = {200}, other[DN_PUBLIC_KEY_BYTES] = {201};
	DnNow late = now;

	cr_assert(dn_fleet_core_add_token(core, "d", "h1", now, acts, NULL));
	cr_assert(dn_fleet_core_enrol(core, &(DnEnrolment){"d", "h1", key}, now, acts, NULL));
	cr_assert_str_eq(dn_fleet_core_host_cidr(core, "d"), "10.77.3.0/24");
	cr_assert(not(dn_fleet_core_enrol(core, &(DnEnrolment){"d", "h1", key}, now, acts, NULL)));

	cr_assert(dn_fleet_core_add_token(core, "d", "h2", now, acts, NULL));
	g_autoptr(GError) error = NULL;
	cr_assert(not(
		dn_fleet_core_enrol(core, &(DnEnrolment){"d", "h2", other}, now, acts, &error)));
	cr_assert(eq(int, error->code, DN_ERROR_CONFLICT));

	cr_assert(dn_fleet_core_add_token(core, "e", "h3", now, acts, NULL));
	late.realtime_ns += (DN_FLEET_TOKEN_LIFE_S + 1) * UINT64_C(1000000000);
	cr_assert(
		not(dn_fleet_core_enrol(core, &(DnEnrolment){"e", "h3", other}, late, acts, NULL)));
}
