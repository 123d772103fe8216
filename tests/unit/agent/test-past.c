/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "core/custody.h"
#include "main/agent.h"
#include "main/state.h"
#include "support/suite.h"

/* Which records of destroyed incidents leave a host. */

enum { MANY = DN_CUSTODY_PAST + 8 };

static char *folder;
static DnInstance instance;
static Agent agent;

/* ---- the rest of main, as far as it is asked ---- */

static Node *present;

Node *dn_agent_find_node(Agent *self, const char *id)
{
	return present != NULL && g_str_equal(present->id, id) ? present : NULL;
}

void dn_disk_flush(Agent *self, const char *path)
{
}

char *dn_state_incident_path(const Agent *self, const char *id)
{
	return g_build_filename(folder, id, NULL);
}

/* ---- */

static void free_incident(gpointer one)
{
	dn_incident_free(one);
}

static void setup(void)
{
	folder = g_dir_make_tmp("dnt-past-XXXXXX", NULL);
	g_autofree char *nodes = g_build_filename(folder, "nodes", NULL);

	cr_assert(eq(int, mkdir(nodes, 0700), 0));
	instance = (DnInstance){.run_dir = folder};
	agent = (Agent){.instance = &instance};
	agent.incidents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_incident);
	agent.spool = dn_spool_open(folder, DN_SPOOL_LIMIT, NULL);
	dn_past_open(&agent);
}

static void teardown(void)
{
	dn_past_close(&agent);
	g_clear_pointer(&agent.spool, dn_spool_close);
	g_hash_table_unref(agent.incidents);
	cr_assert(dn_file_remove_tree(folder, NULL));
	g_clear_pointer(&folder, g_free);
	present = NULL;
	dn_suite_end();
}

TestSuite(past, .init = setup, .fini = teardown);

static bool is_on_disk(unsigned number)
{
	g_autofree char *id = g_strdup_printf("%016u", number);
	g_autofree char *path = dn_state_incident_path(&agent, id);

	return access(path, F_OK) == 0;
}

/* So many, which the supervisor was told of; the time of each is its number. */
static void put(unsigned count, DnIncidentState state)
{
	for (unsigned i = 0; i < count; i++) {
		DnIncident *one = dn_incident_new();

		one->id = g_strdup_printf("%016u", i);
		one->node = g_strdup_printf("web-%08u", i);
		one->state = state;
		one->event_time_ns = i;
		g_autofree char *path = dn_state_incident_path(&agent, one->id);
		cr_assert(g_file_set_contents(path, "{}", -1, NULL));
		g_hash_table_insert(agent.incidents, g_strdup(one->id), one);
		dn_past_told(&agent, one);
	}
}

static void store_what_came_after(void)
{
	dn_past_stored(&agent, dn_spool_last(agent.spool) + 1);
	dn_past_tick(&agent);
}

Test(past, the_oldest_of_what_is_destroyed_leave_the_disk_and_the_newest_stay)
{
	put(MANY, DN_INCIDENT_DESTROYED);
	store_what_came_after();

	cr_assert(eq(u32, g_hash_table_size(agent.incidents), DN_CUSTODY_PAST));
	for (unsigned i = 0; i < MANY; i++)
		cr_assert(eq(int, is_on_disk(i), i >= MANY - DN_CUSTODY_PAST));
}

Test(past, nothing_is_forgotten_before_the_supervisor_has_stored_what_came_after_it)
{
	put(MANY, DN_INCIDENT_DESTROYED);
	dn_past_stored(&agent, dn_spool_last(agent.spool));
	dn_past_tick(&agent);

	cr_assert(eq(u32, g_hash_table_size(agent.incidents), MANY));
}

Test(past, what_was_told_on_a_link_that_is_gone_is_not_known)
{
	put(MANY, DN_INCIDENT_DESTROYED);
	dn_past_link_closed(&agent);
	store_what_came_after();

	cr_assert(eq(u32, g_hash_table_size(agent.incidents), MANY));
}

Test(past, what_is_in_force_stays)
{
	put(MANY, DN_INCIDENT_SEALED);
	store_what_came_after();

	cr_assert(eq(u32, g_hash_table_size(agent.incidents), MANY));
}

Test(past, a_record_stays_as_long_as_anything_is_left_of_its_node)
{
	g_autofree char *file = g_build_filename(folder, "nodes", "web-00000001.json", NULL);
	char id[] = "web-00000000";
	Node node = {.id = id};

	present = &node;
	cr_assert(g_file_set_contents(file, "{}", -1, NULL));
	put(MANY, DN_INCIDENT_DESTROYED);
	store_what_came_after();
	cr_assert(is_on_disk(0) && is_on_disk(1) && !is_on_disk(2));

	present = NULL;
	cr_assert(eq(int, unlink(file), 0));
	dn_past_tick(&agent);
	cr_assert(not(is_on_disk(0) || is_on_disk(1)));
}

Test(past, a_record_that_cannot_be_removed_stays_in_memory_too_and_keeps_no_other)
{
	g_autofree char *oldest = dn_state_incident_path(&agent, "0000000000000000");

	put(MANY, DN_INCIDENT_DESTROYED);
	cr_assert(eq(int, unlink(oldest), 0));
	cr_assert(eq(int, mkdir(oldest, 0700), 0));
	store_what_came_after();

	cr_assert(eq(u32, g_hash_table_size(agent.incidents), DN_CUSTODY_PAST + 1));
}
