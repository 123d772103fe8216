/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/custody.h"
#include "core/life.h"
#include "core/respawn.h"
#include "support/suite.h"

/* What a host decides about nodes that were cut, and after its agent has died. */

static DnManifest *manifest;
static DnIncident *incident;
static DnBudget spent;
static GPtrArray *held;

#define EVENT_NS (1000 * DN_NS_PER_S)

static void setup(void)
{
	manifest = dn_manifest_new();
	manifest->respawn_within_ms = 60000;
	manifest->respawn_count = 2;
	incident = dn_incident_new();
	incident->id = g_strdup("00000000000000a1");
	incident->node = g_strdup("web-00000001");
	incident->event_monotonic_ns = EVENT_NS;
	dn_budget_init(&spent);
	held = g_ptr_array_new();
}

static void teardown(void)
{
	dn_manifest_unref(manifest);
	dn_incident_free(incident);
	dn_budget_clear(&spent);
	g_ptr_array_unref(held);
	dn_suite_end();
}

TestSuite(custody, .init = setup, .fini = teardown);

static bool missed = true;

static DnRespawn judge(uint32_t grant)
{
	return dn_respawn_judge(&spent, manifest, grant, incident, missed, EVENT_NS + 1);
}

static bool is_settled(uint64_t now_ns)
{
	return dn_respawn_is_settled(&spent, held, manifest, incident, now_ns);
}

static void free_incident(gpointer one)
{
	dn_incident_free(one);
}

Test(custody, what_is_destroyed_or_not_there_holds_no_node_back)
{
	g_autoptr(GHashTable) incidents =
		g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_incident);
	g_autoptr(GPtrArray) ids = g_ptr_array_new_with_free_func(g_free);
	static const char *const names[] = {"open", "gone", "sealed", "unknown"};
	static const DnIncidentState states[] = {DN_INCIDENT_OPEN, DN_INCIDENT_DESTROYED,
						 DN_INCIDENT_SEALED};

	for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
		DnIncident *one = dn_incident_new();

		one->id = g_strdup(names[i]);
		one->state = states[i];
		g_hash_table_insert(incidents, one->id, one);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		g_ptr_array_add(ids, g_strdup(names[i]));
	cr_assert(dn_custody_release(incidents, NULL, ids));
	cr_assert(eq(u32, ids->len, 2));
	cr_assert_str_eq(g_ptr_array_index(ids, 0), "open");
	cr_assert_str_eq(g_ptr_array_index(ids, 1), "sealed");
	cr_assert(not(dn_custody_release(incidents, NULL, ids)));
}

Test(custody, a_cut_node_is_owed_a_clean_one_within_the_grant_and_held_past_it)
{
	cr_assert(eq(int, judge(1), DN_RESPAWN_OWED));
	incident->event_monotonic_ns++;
	cr_assert(eq(int, judge(1), DN_RESPAWN_HELD));
	cr_assert(eq(int, spent.spent->len, 1));
}

Test(custody, no_grant_counts_for_more_than_the_signed_manifest_allows)
{
	for (unsigned i = 0; i < 2; i++, incident->event_monotonic_ns++)
		cr_assert(eq(int, judge(UINT32_MAX), DN_RESPAWN_OWED));
	cr_assert(eq(int, judge(UINT32_MAX), DN_RESPAWN_HELD));
}

Test(custody, a_clock_that_is_set_gives_no_replacement_back)
{
	cr_assert(eq(int, judge(1), DN_RESPAWN_OWED));
	incident->event_monotonic_ns++;
	incident->event_time_ns = UINT64_C(4000000000) * DN_NS_PER_S;
	cr_assert(eq(int, judge(1), DN_RESPAWN_HELD));
}

Test(custody, a_standby_that_serves_already_is_charged_even_past_the_grant)
{
	g_ptr_array_add(incident->replacements, g_strdup("web-00000002"));
	cr_assert(eq(int, judge(0), DN_RESPAWN_DONE));
	cr_assert(eq(int, spent.spent->len, 1));
}

Test(custody, a_drill_is_neither_charged_nor_held)
{
	incident->drill = true;
	cr_assert(eq(int, judge(0), DN_RESPAWN_OWED));
	cr_assert(eq(int, spent.spent->len, 0));
	cr_assert(is_settled(EVENT_NS + 1));
}

Test(custody, what_was_charged_or_held_is_settled_and_what_was_lost_is_not)
{
	cr_assert(not(is_settled(EVENT_NS + 1)));
	(void)judge(1);
	cr_assert(is_settled(EVENT_NS + 1));

	g_array_set_size(spent.spent, 0);
	cr_assert(not(is_settled(EVENT_NS + 1)));
	g_ptr_array_add(held, incident->id);
	cr_assert(is_settled(EVENT_NS + 1));
}

Test(custody, a_cut_older_than_the_budgets_window_needs_no_charge)
{
	cr_assert(not(is_settled(EVENT_NS + 59 * DN_NS_PER_S)));
	cr_assert(is_settled(EVENT_NS + 60 * DN_NS_PER_S));
}

Test(custody, the_incident_of_a_node_is_found_by_the_node)
{
	g_autoptr(GHashTable) incidents = g_hash_table_new(g_str_hash, g_str_equal);

	g_hash_table_insert(incidents, incident->id, incident);
	cr_assert(dn_custody_of_node(incidents, "web-00000001") == incident);
	cr_assert(dn_custody_of_node(incidents, "web-00000002") == NULL);
}

Test(custody, an_incident_is_reported_once_it_is_durable_which_one_from_the_disk_is)
{
	cr_assert(not(dn_custody_may_report(incident)));
	incident->stages_us[DN_STAGE_FROZEN] = 700;
	dn_custody_restored(incident);
	cr_assert(dn_custody_may_report(incident));
	cr_assert(eq(i64, incident->stages_us[DN_STAGE_DURABLE], 700));
}

Test(custody, a_supervisor_notes_remote_stages_only)
{
	cr_assert(dn_custody_may_stamp(incident, DN_STAGE_REPORTED, NULL));
	cr_assert(dn_custody_may_stamp(incident, DN_STAGE_LB_OUT_ALL, NULL));
	cr_assert(not(dn_custody_may_stamp(incident, DN_STAGE_SEALED, NULL)));
	cr_assert(not(dn_custody_may_stamp(NULL, DN_STAGE_REPORTED, NULL)));
}

Test(custody, a_new_agent_never_takes_a_quarantined_node_for_another)
{
	cr_assert(eq(int, dn_life_adopted(DN_NODE_QUARANTINED, true), DN_NODE_QUARANTINED));
	cr_assert(eq(int, dn_life_adopted(DN_NODE_QUARANTINED, false), DN_NODE_QUARANTINED));
	cr_assert(eq(int, dn_life_adopted(DN_NODE_CREATING, false), DN_NODE_STARTING));
	cr_assert(eq(int, dn_life_adopted(DN_NODE_READY, false), DN_NODE_READY));
}

Test(custody, a_marked_node_that_ends_stays_evidence)
{
	cr_assert(eq(int, dn_life_after_exit(DN_NODE_READY, true), DN_NODE_READY));
	cr_assert(eq(int, dn_life_after_exit(DN_NODE_QUARANTINED, false), DN_NODE_QUARANTINED));
	cr_assert(eq(int, dn_life_after_exit(DN_NODE_READY, false), DN_NODE_FAILED));
	cr_assert(eq(int, dn_life_after_exit(DN_NODE_STOPPING, false), DN_NODE_STOPPED));
}

Test(custody, a_marked_node_serves_nobody)
{
	cr_assert(dn_life_serves(DN_NODE_READY, false, true, false, false));
	cr_assert(not(dn_life_serves(DN_NODE_READY, false, true, true, false)));
	cr_assert(not(dn_life_serves(DN_NODE_READY, false, false, false, false)));
	cr_assert(dn_life_serves(DN_NODE_STANDBY, true, true, false, true));
	cr_assert(not(dn_life_serves(DN_NODE_STANDBY, true, true, false, false)));
}

/* ---- what is past ---- */

/* One whose id and time are @number. */
static void put_incident(GHashTable *incidents, unsigned number, DnIncidentState state)
{
	DnIncident *one = dn_incident_new();

	one->id = g_strdup_printf("%016u", number);
	one->state = state;
	one->event_time_ns = number;
	g_hash_table_insert(incidents, one->id, one);
}

static void put_told(GHashTable *told, const char *id, uint64_t last)
{
	g_hash_table_insert(told, g_strdup(id), g_memdup2(&last, sizeof(last)));
}

Test(custody, what_was_told_is_known_once_a_fact_that_came_after_it_is_stored)
{
	g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_autoptr(GHashTable) past = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	put_told(told, "first", 7);
	put_told(told, "second", 9);
	dn_custody_stored(told, past, 7);
	cr_assert(eq(u32, g_hash_table_size(past), 0));

	dn_custody_stored(told, past, 8);
	cr_assert(g_hash_table_contains(past, "first"));
	cr_assert(not(g_hash_table_contains(past, "second")));
	cr_assert(not(g_hash_table_contains(told, "first")));

	dn_custody_stored(told, past, 100);
	cr_assert(g_hash_table_contains(past, "second"));
	cr_assert(eq(u32, g_hash_table_size(told), 0));
}

Test(custody, the_newest_of_what_is_past_are_kept_and_the_oldest_go_first)
{
	g_autoptr(GHashTable) incidents =
		g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_incident);
	g_autoptr(GHashTable) past = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	for (unsigned i = 1; i <= DN_CUSTODY_PAST + 2; i++) {
		put_incident(incidents, i, DN_INCIDENT_DESTROYED);
		g_hash_table_add(past, g_strdup_printf("%016u", i));
		g_autoptr(GPtrArray) due = dn_custody_forgettable(incidents, past);
		cr_assert(eq(u32, due->len, i <= DN_CUSTODY_PAST ? 0 : i - DN_CUSTODY_PAST));
	}
	g_autoptr(GPtrArray) due = dn_custody_forgettable(incidents, past);
	cr_assert(eq(u64, ((const DnIncident *)g_ptr_array_index(due, 0))->event_time_ns, 1));
	cr_assert(eq(u64, ((const DnIncident *)g_ptr_array_index(due, 1))->event_time_ns, 2));
}

Test(custody, what_is_in_force_or_not_known_to_be_destroyed_is_never_forgotten)
{
	enum { MANY = 3 * DN_CUSTODY_PAST };
	g_autoptr(GHashTable) incidents =
		g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_incident);
	g_autoptr(GHashTable) past = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	/* By threes: in force, and destroyed but not known to be, and past. */
	for (unsigned i = 0; i < MANY; i++) {
		put_incident(incidents, i, i % 3 == 0 ? DN_INCIDENT_SEALED : DN_INCIDENT_DESTROYED);
		if (i % 3 != 1)
			g_hash_table_add(past, g_strdup_printf("%016u", i));
	}
	g_autoptr(GPtrArray) none = dn_custody_forgettable(incidents, past);
	cr_assert(eq(u32, none->len, 0));

	put_incident(incidents, MANY, DN_INCIDENT_DESTROYED);
	g_hash_table_add(past, g_strdup_printf("%016u", MANY));
	g_autoptr(GPtrArray) one = dn_custody_forgettable(incidents, past);
	cr_assert(eq(u32, one->len, 1));
	cr_assert(eq(u64, ((const DnIncident *)g_ptr_array_index(one, 0))->event_time_ns, 2));
}
