/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "support/suite.h"
#include "world.h"

/* What the fleet makes of incidents: isolation, siblings, attacks, hosts that are suspect. */

static World *world;

static void setup(void)
{
	world = world_new_of_three();
	cr_assert(eq(int, world_apply(world, world_declare("web", 1, 6, 0)), 0));
	world_settle(world);
}

static void teardown(void)
{
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(response, .init = setup, .fini = teardown);

/* A ready node of web on @host; the caller's copy. */
static DnNodeRecord *node_on(const char *host)
{
	g_autoptr(GPtrArray) all = dn_fleet_core_nodes(world_core(world), "web");

	for (guint i = 0; i < all->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(all, i);

		if (g_str_equal(node->host, host) && node->state == DN_NODE_READY &&
		    node->incident == NULL)
			return dn_node_record_copy(node);
	}
	cr_assert(false, "no node on %s", host);
	return NULL;
}

/* "b" says that one of its nodes has begun to drain; it may say so again. */
static DnFact *begin_drain(void)
{
	DnFact *fact = dn_fact_new(DN_FACT_NODE);

	fact->node = node_on("b");
	fact->node->state = DN_NODE_DRAINING;
	world_say(world, "b", fact);
	return fact;
}

Test(response, a_node_drains_until_every_other_host_has_answered_that_it_dropped_it)
{
	world_mute(world, "a", true);
	g_autoptr(DnFact) drains = begin_drain();
	world_step(world, 10);
	world_step(world, 10);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 0));
	world_mute(world, "a", false);
	world_step(world, 10);
	world_step(world, 10);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 1));
	/* Its agent has started anew, and knows nothing of it. */
	world_say(world, "b", drains);
	world_step(world, 10);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 2));
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_DROPPED), 0));
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_STAMP), 0));
}

Test(response, a_host_whose_link_has_broken_is_waited_for_until_it_is_lost)
{
	world_mute(world, "a", true);
	g_autoptr(DnFact) drains G_GNUC_UNUSED = begin_drain();
	world_step(world, 10);
	world_disconnect(world, "a");
	world_step(world, 1000);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 0));
	for (unsigned i = 0; i < DN_FLEET_LOST_AFTER_S; i++)
		world_step(world, 1000);
	cr_assert(world_heard(world, "host.lost"));
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 1));
}

Test(response, of_a_node_that_was_gone_before_all_had_dropped_it_nobody_is_told)
{
	world_mute(world, "a", true);
	g_autoptr(DnFact) next = begin_drain();
	world_step(world, 10);
	g_autoptr(DnFact) gone = dn_fact_new(DN_FACT_NODE_GONE);
	gone->id = g_strdup(next->node->id);
	world_say(world, "b", gone);
	world_mute(world, "a", false);
	world_settle(world);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 0));
}

Test(response, a_host_that_never_had_the_service_and_refuses_it_is_not_waited_for)
{
	world_add_host(world, "d", 10);
	world_refuse(world, "d");
	cr_assert(eq(int, world_apply(world, world_declare("db", 1, 1, 0)), 0));
	world_settle(world);
	g_autoptr(DnFact) drains G_GNUC_UNUSED = begin_drain();
	world_settle(world);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_DROPPED), 1));
}

/* The incident of @node, as its host would tell of it. */
static DnFact *incident_of(const DnNodeRecord *node, unsigned number)
{
	DnFact *fact = dn_fact_new(DN_FACT_INCIDENT);

	fact->incident = dn_incident_new();
	fact->incident->id = g_strdup_printf("%016x", number);
	fact->incident->node = g_strdup(node->id);
	fact->incident->service = g_strdup("web");
	fact->incident->host = g_strdup(node->host);
	fact->incident->class = g_strdup("exec");
	fact->incident->image_commit = g_strnfill(64, 'a');
	fact->incident->event_time_ns = world_now(world).realtime_ns;
	fact->incident->stages_us[DN_STAGE_CUT] = 0;
	return fact;
}

static const DnIncident *stored(unsigned number)
{
	g_autofree char *id = g_strdup_printf("%016x", number);

	return dn_fleet_core_incident(world_core(world), id);
}

/* An incident on @host that happened just now. */
static void tell(const char *host, unsigned number)
{
	g_autoptr(DnNodeRecord) node = node_on(host);
	g_autoptr(DnFact) fact = incident_of(node, number);

	world_say(world, host, fact);
}

/* ---- isolation ---- */

static DnNodeRecord *isolate(const char *host, DnFact **told)
{
	DnNodeRecord *node = node_on(host);
	g_autoptr(DnFact) said = dn_fact_new(DN_FACT_NODE);

	*told = incident_of(node, 1);
	(*told)->incident->isolated_us = 40;
	(*told)->incident->stages_us[DN_STAGE_CUT] = -1;
	node->incident = g_strdup((*told)->incident->id);
	said->node = dn_node_record_copy(node);
	world_say(world, host, said);
	world_say(world, host, *told);
	world_step(world, 500);
	return node;
}

Test(response, an_isolated_node_is_sent_traffic_until_it_is_cut)
{
	g_autoptr(DnFact) told = NULL;
	unsigned before = world_endpoints(world, "b", "web");
	g_autoptr(DnNodeRecord) node = isolate("a", &told);

	cr_assert(not(world_heard(world, "fact.refused")));
	cr_assert(eq(uint, world_endpoints(world, "b", "web"), before));
	dn_incident_free(told->incident);
	g_autoptr(DnFact) cut = incident_of(node, 1);
	told->incident = dn_incident_copy(cut->incident);
	told->incident->isolated_us = 40;
	told->incident->stages_us[DN_STAGE_CUT] = 5000000;
	world_say(world, "a", told);
	world_step(world, 500);
	cr_assert(eq(uint, world_endpoints(world, "b", "web"), before - 1));
}

Test(response, an_isolated_node_is_none_that_the_service_has)
{
	g_autoptr(DnFact) told = NULL;
	g_autoptr(DnNodeRecord) node G_GNUC_UNUSED = isolate("a", &told);
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");

	cr_assert(eq(uint, view->ready, 5));
	cr_assert(eq(int, view->state, DN_SERVICE_DEGRADED));
	cr_assert(ne(ptr, strstr(view->why, "a has 1 of 2 ready and serves from 1 isolated"), NULL),
		  "%s", view->why);
}

Test(response, a_node_that_was_cut_does_not_come_back_by_being_isolated)
{
	g_autoptr(DnNodeRecord) node = node_on("a");
	g_autoptr(DnFact) cut = incident_of(node, 1);
	unsigned before = world_endpoints(world, "b", "web");

	world_say(world, "a", cut);
	cut->incident->isolated_us = 40;
	cut->incident->stages_us[DN_STAGE_CUT] = -1;
	world_say(world, "a", cut);
	world_step(world, 500);
	cr_assert(world_heard(world, "fact.refused"));
	cr_assert(eq(uint, world_endpoints(world, "b", "web"), before - 1));
}

/* ---- siblings ---- */

Test(response, every_other_host_with_nodes_of_the_image_is_asked_once)
{
	tell("a", 1);
	cr_assert(eq(uint, world_orders(world, "a", DN_ORDER_SWEEP), 0));
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_SWEEP), 1));
	cr_assert(eq(uint, world_orders(world, "c", DN_ORDER_SWEEP), 1));
	world_step(world, 20);
	cr_assert(eq(uint, world_count(world, "sweep.clean"), 1));
	cr_assert(ge(i64, stored(1)->elsewhere.time_us, 0));
	/* Told again, as after every link. */
	g_autoptr(DnFact) again = dn_fact_new(DN_FACT_INCIDENT);
	again->incident = dn_incident_copy(stored(1));
	again->incident->elsewhere.time_us = -1;
	world_say(world, "a", again);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_SWEEP), 1));
	cr_assert(ge(i64, stored(1)->elsewhere.time_us, 0), "a host has taken it back");
}

Test(response, what_siblings_answer_is_counted_and_told)
{
	world_find(world, "b", 2, 1);
	world_find(world, "c", 2, 0);
	tell("a", 1);
	world_step(world, 20);
	cr_assert(eq(uint, stored(1)->elsewhere.looked, 4));
	cr_assert(eq(uint, stored(1)->elsewhere.found, 1));
	cr_assert(world_heard(world, "sweep.found") && !world_heard(world, "sweep.clean"));
}

Test(response, a_host_that_is_gone_is_waited_for_by_nobody)
{
	world_disconnect(world, "c");
	tell("a", 1);
	world_step(world, 20);
	cr_assert(world_heard(world, "sweep.clean"));
}

Test(response, what_one_host_has_found_is_told_although_another_went_before_it_answered)
{
	world_find(world, "b", 2, 1);
	world_mute(world, "c", true);
	tell("a", 1);
	world_step(world, 20);
	cr_assert(not(world_heard(world, "sweep.found")));
	world_disconnect(world, "c");
	cr_assert(eq(uint, world_count(world, "sweep.found"), 1));
	cr_assert(eq(uint, stored(1)->elsewhere.found, 1));
}

Test(response, a_host_cannot_have_the_others_look_without_end)
{
	g_autoptr(DnNodeRecord) node = node_on("a");

	for (unsigned i = 1; i <= 100; i++) {
		g_autoptr(DnFact) fact = incident_of(node, i);

		world_say(world, "a", fact);
	}
	cr_assert(le(uint, world_orders(world, "b", DN_ORDER_SWEEP), 32));
	cr_assert(ge(uint, world_orders(world, "b", DN_ORDER_SWEEP), 16));
}

Test(response, one_by_hand_and_an_old_one_leave_nothing_to_look_for)
{
	g_autoptr(DnNodeRecord) node = node_on("a");
	g_autoptr(DnFact) manual = incident_of(node, 1), old = incident_of(node, 2);

	g_free(manual->incident->class);
	manual->incident->class = g_strdup("manual");
	old->incident->event_time_ns -= 3600 * DN_NS_PER_S;
	world_say(world, "a", manual);
	world_say(world, "a", old);
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_SWEEP), 0));
}

/* ---- attacks ---- */

Test(response, one_is_no_attack_and_two_of_an_image_are)
{
	tell("a", 1);
	cr_assert(eq(ptr, stored(1)->attack, NULL));
	world_step(world, 1000);
	tell("b", 2);
	cr_assert_str_eq(stored(1)->attack, stored(1)->id);
	cr_assert_str_eq(stored(2)->attack, stored(1)->id);
	cr_assert(eq(uint, world_count(world, "attack.repeated"), 1));
}

Test(response, an_attack_that_grows_is_told_at_every_doubling)
{
	g_autoptr(DnNodeRecord) node = node_on("a");

	for (unsigned i = 1; i <= 20; i++) {
		g_autoptr(DnFact) fact = incident_of(node, i);

		world_say(world, "a", fact);
	}
	cr_assert(eq(uint, world_count(world, "attack.repeated"), 4)); /* 2, 4, 8, 16 */
	cr_assert_str_eq(stored(20)->attack, stored(1)->id);
}

Test(response, drills_hands_other_images_and_other_days_are_no_part_of_an_attack)
{
	g_autoptr(DnNodeRecord) node = node_on("a");
	g_autoptr(DnFact) drill = incident_of(node, 2), manual = incident_of(node, 3);
	g_autoptr(DnFact) other = incident_of(node, 4), old = incident_of(node, 5);

	drill->incident->drill = true;
	g_free(manual->incident->class);
	manual->incident->class = g_strdup("manual");
	g_free(other->incident->image_commit);
	other->incident->image_commit = g_strnfill(64, 'b');
	old->incident->event_time_ns -= 601 * DN_NS_PER_S;
	tell("a", 1);
	for (DnFact **fact = (DnFact *[]){drill, manual, other, old, NULL}; *fact != NULL; fact++)
		world_say(world, "a", *fact);
	for (unsigned i = 1; i <= 5; i++)
		cr_assert(eq(ptr, stored(i)->attack, NULL), "%u", i);
	cr_assert(not(world_heard(world, "attack.repeated")));
}

Test(response, an_attack_is_the_supervisors_to_name)
{
	g_autoptr(DnNodeRecord) node = node_on("a");
	g_autoptr(DnFact) fact = incident_of(node, 1);

	fact->incident->attack = g_strdup("00000000000000ff");
	fact->incident->elsewhere = (DnSiblings){.time_us = 1, .looked = 9, .found = 9};
	world_say(world, "a", fact);
	cr_assert(eq(ptr, stored(1)->attack, NULL));
	cr_assert(eq(uint, stored(1)->elsewhere.found, 0));
}

/* ---- suspect hosts ---- */

static void report_suspect(const char *host, const char *why)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_EVENT);

	fact->event = dn_event_new(DN_EVENT_HOST_SUSPECT, "critical", why);
	world_say(world, host, fact);
}

static const DnHostView *host(GPtrArray *hosts, const char *name)
{
	for (guint i = 0; i < hosts->len; i++)
		if (g_str_equal(((DnHostView *)g_ptr_array_index(hosts, i))->name, name))
			return g_ptr_array_index(hosts, i);
	return NULL;
}

Test(response, a_suspect_host_is_shown_and_gets_nothing_new_until_a_person_says_so)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	report_suspect("b", "its agent was changed");
	report_suspect("b", "and more");
	g_autoptr(GPtrArray) hosts = dn_fleet_core_hosts(world_core(world));
	cr_assert(eq(int, host(hosts, "b")->state, DN_HOST_SUSPECT));
	cr_assert_str_eq(host(hosts, "b")->suspect, "its agent was changed");
	cr_assert(eq(uint, world_count(world, DN_EVENT_HOST_SUSPECT), 2));
	cr_assert(eq(int, world_apply(world, world_declare("db", 1, 6, 0)), 0));
	world_settle(world);
	cr_assert(eq(uint, world_ready_on(world, "b", "db", 0), 0));
	cr_assert(eq(uint, world_ready_on(world, "b", "web", 0), 2), "what it has stays");

	g_autoptr(DnHostRecord) record = dn_fleet_core_host_record(world_core(world), "b");
	cr_assert_str_eq(record->suspect, "its agent was changed");
	cr_assert(
		dn_fleet_core_cordon(world_core(world), "b", false, world_now(world), acts, NULL));
	g_autoptr(GPtrArray) after = dn_fleet_core_hosts(world_core(world));
	cr_assert(eq(int, host(after, "b")->state, DN_HOST_UP));
	cr_assert(eq(ptr, host(after, "b")->suspect, NULL));
}

Test(response, a_suspicion_outlives_the_supervisor)
{
	g_autoptr(World) next = world_new();

	report_suspect("b", "its agent was changed");
	g_autoptr(DnHostRecord) record = dn_fleet_core_host_record(world_core(world), "b");
	cr_assert(dn_fleet_core_restore_host(world_core(next), record, NULL));
	g_autoptr(GPtrArray) hosts = dn_fleet_core_hosts(world_core(next));
	cr_assert_str_eq(host(hosts, "b")->suspect, "its agent was changed");
}
