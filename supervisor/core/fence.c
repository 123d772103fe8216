/* SPDX-License-Identifier: Apache-2.0 */
#include "core/facts.h"
#include "core/fleet.h"
#include "core/reconcile.h"
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

void dn_host_unfence(DnHost *host)
{
	g_clear_pointer(&host->fenced, g_free);
	g_clear_pointer(&host->suspect, g_free);
	g_hash_table_remove_all(host->nodes);
	dn_host_forget_told(host);
	host->lost = host->reported = false;
	host->known = true; /* to have no nodes */
}
