/* SPDX-License-Identifier: Apache-2.0 */
#include "core/grants.h"

#include <string.h>

#include "base/clock.h"

/* Set of char *: hosts with a share of any release. */
static GHashTable *carriers_of(const DnService *service)
{
	GHashTable *carriers = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		GHashTableIter iter;
		gpointer value;

		g_hash_table_iter_init(&iter, release->shares);
		while (g_hash_table_iter_next(&iter, NULL, &value)) {
			const DnShare *share = value;

			if (share->running > 0 || share->standby > 0)
				g_hash_table_add(carriers, share->host);
		}
	}
	return carriers;
}

/* A node that is isolated and not cut was not replaced; a drill has a budget of its own. */
static bool is_charged(const DnIncident *incident, const DnService *service)
{
	return g_str_equal(incident->service, service->name) && !incident->drill &&
	       !dn_incident_is_isolated(incident);
}

static gboolean is_retired(gpointer id, gpointer heard_ns, gpointer incidents)
{
	return !g_hash_table_contains(incidents, id);
}

/*
 * When @incident begins to count: at its event, by its host's clock. One that is ahead would keep
 * the budget spent for as long as it is: what is still to come counts from when it was heard of.
 */
static uint64_t begin_of(DnService *service, const DnIncident *incident, DnNow now)
{
	const uint64_t *heard_ns = g_hash_table_lookup(service->heard, incident->id);

	if (heard_ns != NULL)
		return *heard_ns;
	if (incident->event_time_ns <= now.realtime_ns)
		return incident->event_time_ns;
	g_hash_table_insert(service->heard, g_strdup(incident->id),
			    g_memdup2(&now.realtime_ns, sizeof(now.realtime_ns)));
	return now.realtime_ns;
}

/* char * host → how many it has had within the time; @service hears when the first is over. */
static GHashTable *spent_of(const DnFleetCore *core, DnService *service, DnNow now)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;
	uint64_t within_ns = (uint64_t)manifest->respawn_within_ms * DN_NS_PER_MS;
	GHashTable *spent = g_hash_table_new(g_str_hash, g_str_equal);
	GHashTableIter iter;
	gpointer value;

	service->grants_due_ns = 0;
	g_hash_table_foreach_remove(service->heard, is_retired, core->incidents);
	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *incident = value;

		if (!is_charged(incident, service))
			continue;
		uint64_t until_ns = begin_of(service, incident, now) + within_ns;
		if (until_ns <= now.realtime_ns)
			continue;
		guint count = GPOINTER_TO_UINT(g_hash_table_lookup(spent, incident->host));
		g_hash_table_insert(spent, incident->host, GUINT_TO_POINTER(count + 1));
		if (service->grants_due_ns == 0 || until_ns < service->grants_due_ns)
			service->grants_due_ns = until_ns;
	}
	return spent;
}

/* No host alone can spend it all: whoever has taken one over could say that it did. */
static uint32_t left_of(GHashTable *spent, uint32_t count)
{
	uint32_t most = MAX(count, 2) - 1, sum = 0;
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, spent);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		sum += MIN(GPOINTER_TO_UINT(value), most);
	return count > sum ? count - sum : 0;
}

GHashTable *dn_grants_new(const DnFleetCore *core, DnService *service, DnNow now)
{
	uint32_t count = dn_service_current(service)->declaration->manifest->respawn_count;
	GHashTable *grants = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GHashTable) carriers = carriers_of(service);
	g_autoptr(GHashTable) spent = spent_of(core, service, now);
	g_autoptr(GList) names = dn_state_sorted(carriers);
	uint32_t left = left_of(spent, count);
	uint32_t hosts = g_hash_table_size(carriers), place = 0;

	for (GList *at = names; at != NULL; at = at->next, place++) {
		uint32_t part = left / hosts + (place < left % hosts ? 1 : 0);
		uint32_t own = GPOINTER_TO_UINT(g_hash_table_lookup(spent, at->data));
		uint32_t grant = own + (left > 0 ? MAX(part, 1) : 0);

		g_hash_table_insert(grants, g_strdup(at->data),
				    GUINT_TO_POINTER(MIN(grant, count)));
	}
	return grants;
}

bool dn_grants_are_due(const DnService *service, DnNow now)
{
	return service->grants_due_ns != 0 && now.realtime_ns >= service->grants_due_ns;
}
