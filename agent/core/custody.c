/* SPDX-License-Identifier: Apache-2.0 */
#include "core/custody.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

DnIncident *dn_custody_of_node(GHashTable *incidents, const char *node)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnIncident *incident = value;

		if (g_str_equal(incident->node, node))
			return incident;
	}
	return NULL;
}

void dn_custody_stamp(DnIncident *incident, DnStage stage, uint64_t at_ns)
{
	if (at_ns >= incident->event_monotonic_ns && at_ns != 0)
		incident->stages_us[stage] =
			(int64_t)((at_ns - incident->event_monotonic_ns) / DN_NS_PER_US);
}

bool dn_custody_may_stamp(const DnIncident *incident, DnStage stage, GError **error)
{
	if (incident != NULL && (stage == DN_STAGE_REPORTED || stage == DN_STAGE_LB_OUT_ALL))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no such incident or remote stage");
	return false;
}

bool dn_custody_may_destroy(const char *node, DnNodeState state, bool busy, GError **error)
{
	if (!busy && state == DN_NODE_QUARANTINED)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "node %s is %s, try again", node,
		    busy ? "busy" : "being cut");
	return false;
}

bool dn_custody_may_report(const DnIncident *incident)
{
	return incident->stages_us[DN_STAGE_DURABLE] >= 0;
}

bool dn_custody_release(GHashTable *incidents, GHashTable *unread, GPtrArray *held)
{
	guint before = held->len;

	for (guint i = held->len; i-- > 0;) {
		const char *id = g_ptr_array_index(held, i);
		const DnIncident *incident = g_hash_table_lookup(incidents, id);
		bool holds = incident != NULL ? incident->state != DN_INCIDENT_DESTROYED
					      : unread != NULL && g_hash_table_contains(unread, id);

		if (!holds)
			g_ptr_array_remove_index(held, i);
	}
	return held->len < before;
}

void dn_custody_restored(DnIncident *incident)
{
	int64_t latest_us = 0;

	if (dn_custody_may_report(incident))
		return;
	for (DnStage stage = 0; stage < DN_STAGE_N; stage++)
		latest_us = MAX(latest_us, incident->stages_us[stage]);
	incident->stages_us[DN_STAGE_DURABLE] = latest_us;
}

void dn_custody_stored(GHashTable *told, GHashTable *past, uint64_t number)
{
	GHashTableIter iter;
	gpointer id = NULL, last = NULL;

	g_hash_table_iter_init(&iter, told);
	while (g_hash_table_iter_next(&iter, &id, &last)) {
		if (*(const uint64_t *)last >= number)
			continue;
		g_hash_table_add(past, g_strdup(id));
		g_hash_table_iter_remove(&iter);
	}
}

static gint compare_ages(gconstpointer a, gconstpointer b)
{
	const DnIncident *const *x = a, *const *y = b;

	if ((*x)->event_time_ns != (*y)->event_time_ns)
		return (*x)->event_time_ns < (*y)->event_time_ns ? -1 : 1;
	return strcmp((*x)->id, (*y)->id);
}

GPtrArray *dn_custody_forgettable(GHashTable *incidents, GHashTable *past)
{
	GPtrArray *found = g_ptr_array_new();
	GHashTableIter iter;
	gpointer id = NULL;

	g_hash_table_iter_init(&iter, past);
	while (g_hash_table_iter_next(&iter, &id, NULL)) {
		DnIncident *incident = g_hash_table_lookup(incidents, id);

		if (incident != NULL && incident->state == DN_INCIDENT_DESTROYED)
			g_ptr_array_add(found, incident);
	}
	g_ptr_array_sort(found, compare_ages);
	g_ptr_array_set_size(found, (gint)(found->len - MIN(found->len, DN_CUSTODY_PAST)));
	return found;
}
