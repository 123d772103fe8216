/* SPDX-License-Identifier: Apache-2.0 */
#include "core/fence.h"

#include "core/facts.h"
#include "core/fleet.h"
#include "core/reconcile.h"
#include "core/response.h"
#include "core/state.h"

/*
 * A host that is not believed any more is left alone with what it runs: it is given no link, asked
 * for nothing and sent no request. Its evidence stays listed, for it is there as long as the
 * machine is.
 */

/* What it was asked for is asked of others. */
static void take_shares(DnFleetCore *core, const char *host, DnActs *acts)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnService *service = value;
		bool had = false;

		for (guint i = 0; i < service->releases->len; i++) {
			const DnRelease *release = g_ptr_array_index(service->releases, i);

			had |= g_hash_table_remove(release->shares, host);
		}
		if (had)
			dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
	}
}

static gboolean is_no_evidence(gpointer id, gpointer node, gpointer data)
{
	return ((const DnNodeRecord *)node)->state != DN_NODE_QUARANTINED;
}

/* Whoever has one that was made before may be who is shut out. */
static void drop_tokens(DnFleetCore *core, const char *host, DnActs *acts)
{
	GHashTableIter iter;
	gpointer hash, value;

	g_hash_table_iter_init(&iter, core->tokens);
	while (g_hash_table_iter_next(&iter, &hash, &value)) {
		if (!g_str_equal(((const DnTokenRecord *)value)->host, host))
			continue;
		dn_acts_record(acts, DN_RECORD_TOKEN, hash);
		g_hash_table_iter_remove(&iter);
	}
}

bool dn_fleet_core_fence(DnFleetCore *self, const char *name, const char *reason, DnNow now,
			 DnActs *acts, GError **error)
{
	DnHost *host = dn_state_host(self, name);

	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no host is called so; 'dnode hosts' lists them");
		return false;
	}
	if (host->fenced != NULL)
		return true;
	dn_reconcile_begin(self, now);
	host->fenced = dn_fact_printable(reason);
	host->lost = true;
	/* Its link ends; until then nothing is said on it. */
	host->connected = false;
	g_hash_table_foreach_remove(host->nodes, is_no_evidence, NULL);
	take_shares(self, name, acts);
	drop_tokens(self, name, acts);
	self->routes_changes++;
	dn_acts_record(acts, DN_RECORD_HOST, name);
	dn_acts_event(acts, now.realtime_ns, "host.fenced", "critical",
		      "%s is fenced: %s; no other host sends it requests, its nodes are placed "
		      "elsewhere; take the machine off the network",
		      name, host->fenced)
		->host = g_strdup(name);
	dn_reconcile_touch_all(self);
	dn_reconcile(self, now, acts);
	return true;
}

const char *dn_fleet_core_fenced(const DnFleetCore *self, const char *name)
{
	const DnHost *host = dn_state_host(self, name);

	return host != NULL ? host->fenced : NULL;
}

void dn_fence_end(DnFleetCore *core, DnHost *host, DnNow now, DnActs *acts)
{
	GHashTableIter iter;
	gpointer value;
	unsigned closed = 0;

	/* The machine that had it was made anew, and nobody else can destroy it any more. */
	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnIncident *incident = value;

		if (g_strcmp0(incident->host, host->name) != 0 ||
		    incident->state == DN_INCIDENT_DESTROYED)
			continue;
		incident->state = DN_INCIDENT_DESTROYED;
		dn_acts_record(acts, DN_RECORD_INCIDENT, incident->id);
		closed++;
	}
	dn_response_recount(core);
	if (closed > 0)
		dn_acts_event(acts, now.realtime_ns, "incident.evidence-gone", "warning",
			      "%u incidents of %s are closed: their evidence was on the machine "
			      "that was fenced",
			      closed, host->name)
			->host = g_strdup(host->name);
	g_clear_pointer(&host->fenced, g_free);
	g_clear_pointer(&host->suspect, g_free);
	g_hash_table_remove_all(host->nodes);
	dn_host_forget_told(host);
	host->lost = host->reported = false;
	host->known = true; /* to have no nodes */
}
