/* SPDX-License-Identifier: Apache-2.0 */

/* A host that says, after the supervisor was restarted, that the nodes of another are its own. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "support/suite.h"
#include "world.h"

enum { INCIDENT = 0x1000 };

static World *world;
static DnNodeRecord *victim; /* of b; a knows it, and is there first */

static DnNodeRecord *node_of(const char *host)
{
	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(world), "web");

	for (guint i = 0; i < nodes->len; i++)
		if (g_str_equal(((DnNodeRecord *)g_ptr_array_index(nodes, i))->host, host))
			return dn_node_record_copy(g_ptr_array_index(nodes, i));
	return NULL;
}

static void setup(void)
{
	world = world_new_of_three();
	world_deploy(world, 1, 3, 0);
	victim = node_of("b");
	world_restart(world);
	world_connect(world, "a");
}

static void teardown(void)
{
	g_clear_pointer(&victim, dn_node_record_free);
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(claims, .init = setup, .fini = teardown);

/* a has @victim, too, it says. */
static void claim(const char *address)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_NODE);

	fact->node = dn_node_record_copy(victim);
	g_free(fact->node->host);
	g_free(fact->node->address);
	fact->node->host = g_strdup("a");
	fact->node->address = g_strdup(address);
	world_say(world, "a", fact);
}

/* @host says that it has cut @victim. */
static void accuse(const char *host, unsigned number)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);

	fact->incident = dn_incident_new();
	fact->incident->id = g_strdup_printf("%016x", number);
	fact->incident->node = g_strdup(victim->id);
	fact->incident->service = g_strdup("web");
	fact->incident->host = g_strdup(host);
	world_say(world, host, fact);
}

static void connect_the_others(void)
{
	world_connect(world, "b");
	world_connect(world, "c");
	world_settle(world);
}

/* In the balancer of c. */
static bool is_balanced_to(const char *address)
{
	const DnAssign *assign = world_assign(world, "c", "web");

	for (guint i = 0; i < assign->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(assign->endpoints, i);

		if (g_str_equal(endpoint->address, address))
			return true;
	}
	return false;
}

static unsigned count_ready(void)
{
	g_autoptr(DnServiceView) view = dn_fleet_core_service(world_core(world), "web");

	return view->ready;
}

/* What comes of an order about @victim. */
static int order(const char **host)
{
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	uint64_t tag = 0;

	if (!dn_fleet_core_quarantine(world_core(world), victim->id, "because", acts, &tag, &error))
		return error->code;
	const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, 0);
	*host = g_str_equal(dispatch->host, "b") ? "b" : "another";
	return 0;
}

Test(claims, no_incident_of_one_host_cuts_a_node_of_another)
{
	accuse("a", INCIDENT);
	connect_the_others();
	cr_assert(is_balanced_to(victim->address));
	cr_assert(eq(uint, count_ready(), 3));
	/* Its own host can still. */
	accuse("b", INCIDENT + 1);
	world_settle(world);
	cr_assert(not(is_balanced_to(victim->address)));
}

Test(claims, of_a_node_without_an_address_take_nothing_from_who_has_it)
{
	const char *host = NULL;

	claim(NULL);
	connect_the_others();
	cr_assert(is_balanced_to(victim->address));
	cr_assert(eq(uint, world_count(world, "host.claims"), 1));
	cr_assert(not(world_heard(world, "fact.refused")));
	cr_assert(eq(int, order(&host), 0));
	cr_assert_str_eq(host, "b");
}

Test(claims, of_a_node_with_an_address_take_nothing_from_who_has_it)
{
	const char *host = NULL;

	claim("10.77.0.99");
	connect_the_others();
	cr_assert(is_balanced_to(victim->address));
	cr_assert(eq(uint, world_count(world, "host.claims"), 1));
	/* Who of both is asked is for a person to say. */
	cr_assert(eq(int, order(&host), DN_ERROR_CONFLICT));
	g_autoptr(DnActs) acts = dn_acts_new();
	cr_assert(dn_fleet_core_fence(world_core(world), "a", "it lies", world_now(world), acts,
				      NULL));
	cr_assert(eq(int, order(&host), 0));
	cr_assert_str_eq(host, "b");
}

Test(claims, that_come_after_the_owner_has_reported_are_refused)
{
	connect_the_others();
	claim("10.77.0.99");
	cr_assert(world_heard(world, "fact.refused"));
	cr_assert(not(world_heard(world, "host.claims")));
	cr_assert(not(is_balanced_to("10.77.0.99")));
}

Test(claims, lose_no_late_incident_of_the_host_that_had_the_node)
{
	g_autofree char *id = g_strdup_printf("%016x", INCIDENT);
	g_autoptr(DnFact) gone = dn_fact_new(DN_FACT_NODE_GONE);

	claim("10.77.0.99");
	world_connect(world, "b");
	gone->id = g_strdup(victim->id);
	world_say(world, "b", gone);
	accuse("b", INCIDENT);
	cr_assert(ne(ptr, (void *)dn_fleet_core_incident(world_core(world), id), NULL));
	cr_assert(not(world_heard(world, "fact.refused")));
}

Test(claims, do_not_end_what_waits_for_the_balancers_of_others)
{
	unsigned before = 0;

	claim("10.77.0.99");
	accuse("a", INCIDENT);
	connect_the_others();
	before = world_orders(world, "b", DN_ORDER_STAMP);
	accuse("b", INCIDENT + 1);
	world_settle(world);
	/* It is reported, and dropped by all. */
	cr_assert(eq(uint, world_orders(world, "b", DN_ORDER_STAMP), before + 2));
}
