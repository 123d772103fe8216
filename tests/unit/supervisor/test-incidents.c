/* SPDX-License-Identifier: Apache-2.0 */

/* What becomes of incidents whose evidence was destroyed. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "support/suite.h"
#include "world.h"

enum { FIRST = 0x1000, MANY = DN_FLEET_HOST_PAST + 30 };

static World *world;
static DnActs *acts;

static void setup(void)
{
	world = world_new();
	world_add_host(world, "a", 10);
	world_add_host(world, "b", 10);
	acts = dn_acts_new();
}

static void teardown(void)
{
	g_clear_pointer(&acts, dn_acts_free);
	g_clear_pointer(&world, world_free);
	dn_suite_end();
}

TestSuite(incidents, .init = setup, .fini = teardown);

static char *id_of(unsigned number)
{
	return g_strdup_printf("%016x", number);
}

/* Incident @number of node "web-NUMBER", which happened at second @number. */
static void tell_rows(const char *host, unsigned number, DnIncidentState state, unsigned rows)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);

	fact->incident = dn_incident_new();
	fact->incident->id = id_of(number);
	fact->incident->node = g_strdup_printf("web-%08x", number);
	fact->incident->service = g_strdup("web");
	fact->incident->host = g_strdup(host);
	fact->incident->event_time_ns = number;
	fact->incident->state = state;
	for (unsigned i = 0; i < rows; i++)
		g_ptr_array_add(fact->incident->conntrack, g_strdup("tcp 6 x"));
	dn_fleet_core_fact(world_core(world), host, fact, world_now(world), acts);
}

static void tell(const char *host, unsigned number, DnIncidentState state)
{
	tell_rows(host, number, state, 1);
}

static void forget_acts(void)
{
	dn_acts_free(acts);
	acts = dn_acts_new();
}

static void tick(void)
{
	forget_acts();
	dn_fleet_core_tick(world_core(world), world_now(world), acts);
}

static unsigned listed(void)
{
	g_autoptr(GPtrArray) all = dn_fleet_core_incidents(world_core(world), NULL, NULL);

	return all->len;
}

static bool is_in_memory(unsigned number)
{
	g_autofree char *id = id_of(number);

	return dn_fleet_core_incident(world_core(world), id) != NULL;
}

static bool is_past(unsigned number)
{
	g_autofree char *id = id_of(number);

	return dn_fleet_core_is_past(world_core(world), id);
}

/* Hosts a and b have told of many each; all but the last two are destroyed. */
static void fill(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		bool open = i + 2 >= MANY;

		tell("a", FIRST + i, open ? DN_INCIDENT_OPEN : DN_INCIDENT_DESTROYED);
		tell("b", 2 * FIRST + i, DN_INCIDENT_DESTROYED);
	}
}

Test(incidents, are_left_to_the_store_when_they_are_past_but_not_before_it_has_them)
{
	fill();
	cr_assert(eq(uint, listed(), 2 * MANY), "their records are still to be taken");
	tick();
	cr_assert(eq(uint, acts->records->len, 0), "nothing of the store changes by it");
	cr_assert(eq(uint, listed(), 2 * DN_FLEET_HOST_PAST + 2));
	cr_assert(eq(uint, dn_fleet_core_past_incidents(world_core(world), NULL, NULL),
		     2 * (MANY - DN_FLEET_HOST_PAST) - 2));
	cr_assert(is_past(FIRST) && is_past(2 * FIRST) && !is_in_memory(FIRST));
	cr_assert(is_in_memory(FIRST + MANY - 3) && !is_past(FIRST + MANY - 3));
}

Test(incidents, in_force_stay_whatever_their_age)
{
	tell("a", 1, DN_INCIDENT_OPEN);
	fill();
	tick();
	cr_assert(is_in_memory(1) && is_in_memory(FIRST + MANY - 1));
}

Test(incidents, that_are_past_are_counted_by_service_and_node)
{
	fill();
	tick();
	cr_assert(eq(uint, dn_fleet_core_past_incidents(world_core(world), "web", NULL),
		     dn_fleet_core_past_incidents(world_core(world), NULL, NULL)));
	cr_assert(eq(uint, dn_fleet_core_past_incidents(world_core(world), "we", NULL), 0));
	cr_assert(eq(uint, dn_fleet_core_past_incidents(world_core(world), "web", "web-00001000"),
		     1));
	cr_assert(
		eq(uint, dn_fleet_core_past_incidents(world_core(world), NULL, "web-00000999"), 0));
}

Test(incidents, that_are_past_are_no_news_and_cannot_be_taken_back_or_over)
{
	fill();
	tick();
	forget_acts();
	tell("a", FIRST, DN_INCIDENT_DESTROYED);
	cr_assert(eq(uint, acts->records->len + acts->events->len + acts->dispatches->len, 0));
	tell("a", FIRST, DN_INCIDENT_OPEN);
	tell("b", FIRST, DN_INCIDENT_DESTROYED);
	cr_assert(eq(uint, acts->events->len, 2));
	for (guint i = 0; i < acts->events->len; i++)
		cr_assert_str_eq(((DnEvent *)g_ptr_array_index(acts->events, i))->kind,
				 "fact.refused");
	cr_assert(is_past(FIRST) && !is_in_memory(FIRST));
}

Test(incidents, that_are_past_are_destroyed_already)
{
	g_autoptr(GBytes) statement = g_bytes_new("x", 1);
	g_autoptr(GPtrArray) signatures = g_ptr_array_new();
	g_autoptr(GError) error = NULL;
	g_autofree char *id = id_of(FIRST);
	uint64_t tag = 0;

	fill();
	tick();
	cr_assert(not(dn_fleet_core_destroy(world_core(world), id, statement, signatures, acts,
					    &tag, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);
}

Test(incidents, of_the_past_make_room_for_later_ones_the_oldest_first)
{
	for (unsigned i = 0; i < DN_FLEET_HOST_INCIDENTS; i++)
		tell("a", FIRST + i, DN_INCIDENT_DESTROYED);
	tick();
	forget_acts();
	tell("a", 2 * FIRST, DN_INCIDENT_OPEN);
	cr_assert(is_in_memory(2 * FIRST) && !is_past(FIRST) && is_past(FIRST + 1));
	/* Its record goes with it. */
	const DnRecordChange *first = g_ptr_array_index(acts->records, 0);
	g_autofree char *id = id_of(FIRST);
	cr_assert_str_eq(first->name, id);
	cr_assert(eq(int, first->kind, DN_RECORD_INCIDENT));
}

Test(incidents, bring_rows_that_are_short_and_printable)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);
	g_autofree char *id = id_of(FIRST);
	g_autofree char *noise = g_strnfill(1024, '\x7f');

	fact->incident = dn_incident_new();
	fact->incident->id = g_strdup(id);
	fact->incident->node = g_strdup("web-00001000");
	fact->incident->service = g_strdup("web");
	fact->incident->host = g_strdup("a");
	g_ptr_array_add(fact->incident->conntrack, g_strdup(noise));
	g_ptr_array_add(fact->incident->replacements, g_strdup(noise));
	g_ptr_array_add(fact->incident->sockets,
			dn_socket_record_new("tcp", "listen", noise, "10.0.0.1:80", true));
	dn_fleet_core_fact(world_core(world), "a", fact, world_now(world), acts);
	const DnIncident *taken = dn_fleet_core_incident(world_core(world), id);
	const DnSocketRecord *socket = g_ptr_array_index(taken->sockets, 0);
	const char *flow = g_ptr_array_index(taken->conntrack, 0);
	const char *replacement = g_ptr_array_index(taken->replacements, 0);
	cr_assert(strlen(flow) <= 256 && g_str_has_prefix(flow, "\\x7f\\x7f"));
	cr_assert(strlen(socket->local) <= 64 && strchr(socket->local, 0x7f) == NULL);
	cr_assert(strlen(replacement) <= 64 && strchr(replacement, 0x7f) == NULL);
	cr_assert_str_eq(socket->peer, "10.0.0.1:80");
}

Test(incidents, that_are_told_again_as_they_were_are_not_stored_again)
{
	tell("a", FIRST, DN_INCIDENT_OPEN);
	cr_assert(eq(uint, acts->records->len, 1));
	forget_acts();
	tell("a", FIRST, DN_INCIDENT_OPEN);
	cr_assert(eq(uint, acts->records->len, 0));
	/* The host is still told that it is reported, as it does not know yet. */
	cr_assert(eq(uint, acts->dispatches->len, 1));
	tell("a", FIRST, DN_INCIDENT_CAPTURED);
	cr_assert(eq(uint, acts->records->len, 1));
}

/* Rows of each as it was last stored. */
static void note_stored(unsigned *rows, unsigned count)
{
	for (guint i = 0; i < acts->records->len; i++) {
		const DnRecordChange *change = g_ptr_array_index(acts->records, i);
		const DnIncident *one = dn_fleet_core_incident(world_core(world), change->name);
		unsigned number = (unsigned)g_ascii_strtoull(change->name, NULL, 16) - FIRST;

		/* A record of what is not there any more is its removal. */
		cr_assert(one != NULL && number < count, "%s", change->name);
		rows[number] = one->conntrack->len;
	}
	forget_acts();
}

Test(incidents, that_are_past_fill_the_store_with_no_more_rows_than_those_in_memory)
{
	enum { COUNT = 400 };
	unsigned rows[COUNT] = {0}, sum = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		tell_rows("a", FIRST + i, DN_INCIDENT_DESTROYED, DN_FLEET_INCIDENT_ROWS);
		note_stored(rows, COUNT);
		tick();
		note_stored(rows, COUNT);
	}
	tick();
	for (unsigned i = 0; i < COUNT; i++)
		sum += rows[i];
	cr_assert(eq(uint, dn_fleet_core_past_incidents(world_core(world), NULL, NULL),
		     COUNT - DN_FLEET_HOST_PAST));
	cr_assert(sum > DN_FLEET_HOST_ROWS && sum <= 2 * DN_FLEET_HOST_ROWS, "%u rows", sum);
}
