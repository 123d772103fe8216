/* SPDX-License-Identifier: Apache-2.0 */

/* Orders that people ask for and wait for: about one node, one incident or one host. */

#include <string.h>

#include "base/text.h"
#include "core/lifecycle.h"
#include "core/response.h"
#include "core/state.h"
#include "core/view.h"

enum { LOG_LINES_LIMIT = 10000, REASON_LIMIT = 512 };

/* An order must not go to whoever says loudest that the node is its own. */
static bool is_undisputed(const DnFleetCore *core, const DnHost *host, const DnNodeRecord *node,
			  GError **error)
{
	DnNodeRecord *theirs = NULL;
	const DnHost *rival = dn_state_rival(core, host, node->id, &theirs);

	if (rival == NULL || dn_state_claim(rival, theirs) < dn_state_claim(host, node))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "%s and %s both say that %s is theirs; fence the one that lies, or use dnode "
		    "--agent on the other",
		    host->name, rival->name, node->id);
	return false;
}

static DnHost *find_node(const DnFleetCore *core, const char *node, DnNodeRecord **record,
			 GError **error)
{
	DnHost *host = dn_state_host_of_node(core, node, record);

	const char *silent = dn_fleet_core_silent_host(core);

	if (host == NULL && silent != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "no node %.64s is known yet: %s has not told of its nodes since this "
			    "supervisor started; try again",
			    node, silent);
		return NULL;
	}
	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no node is named %.64s; see dnode nodes", node);
		return NULL;
	}
	if (!is_undisputed(core, host, *record, error))
		return NULL;
	if (!host->connected) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "%s is on %s, which is not connected; try again, or use dnode --agent "
			    "on that host",
			    node, host->name);
		return NULL;
	}
	return host;
}

static void send(DnFleetCore *core, const DnHost *host, DnOrder *order, DnActs *acts, uint64_t *tag)
{
	*tag = dn_state_tag(core);
	dn_acts_dispatch(acts, host->name, order, *tag, false);
}

bool dn_fleet_core_quarantine(DnFleetCore *self, const char *node, const char *reason, DnActs *acts,
			      uint64_t *tag, GError **error)
{
	DnNodeRecord *record = NULL;
	const DnHost *host = find_node(self, node, &record, error);

	if (host == NULL)
		return false;
	if (!dn_lifecycle_is_live(record->state) || dn_response_is_cut(self, record)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "%s is %s already", node,
			    dn_response_is_cut(self, record) ? "quarantined"
							     : dn_node_state_name(record->state));
		return false;
	}
	DnOrder *order = dn_order_new(DN_ORDER_QUARANTINE);
	order->node = g_strdup(node);
	order->reason = dn_text_printable(reason, strnlen(reason, REASON_LIMIT));
	send(self, host, order, acts, tag);
	return true;
}

static uint32_t standbys_on(const DnHost *host, const char *service)
{
	GHashTableIter iter;
	gpointer value;
	uint32_t count = 0;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		if (g_str_equal(node->service, service) &&
		    (node->state == DN_NODE_STANDBY || node->state == DN_NODE_CREATED))
			count++;
	}
	return count;
}

/* A ready node, rather on a host where a standby waits. */
static const DnNodeRecord *choose(const DnFleetCore *core, const char *service, uint32_t *ready)
{
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	const DnNodeRecord *best = NULL;
	uint32_t best_standbys = 0;

	*ready = 0;
	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		g_autoptr(GList) ids = dn_state_sorted(host->nodes);
		uint32_t standbys = standbys_on(host, service);

		for (GList *id = ids; id != NULL && dn_host_is_up(host); id = id->next) {
			const DnNodeRecord *node = g_hash_table_lookup(host->nodes, id->data);

			if (!g_str_equal(node->service, service) || !dn_node_serves(node) ||
			    node->incident != NULL || dn_response_is_cut(core, node))
				continue;
			(*ready)++;
			if (best == NULL || standbys > best_standbys) {
				best = node;
				best_standbys = standbys;
			}
		}
	}
	return best;
}

bool dn_fleet_core_drill(DnFleetCore *self, const char *class, const char *service, DnNow now,
			 DnActs *acts, uint64_t *tag, char **node, GError **error)
{
	DnService *known = dn_state_service(self, service);
	uint32_t ready = 0;

	enum dn_drift_class drift = DN_DRIFT_NONE;

	if (!dn_drift_parse(class, &drift) || !dn_drift_is_watched(drift)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "there is no drill \"%.64s\"; see dnode drill --list", class);
		return false;
	}
	if (known == NULL || dn_service_current(known)->declaration->manifest->removed) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no service is named %.64s; see dnode services", service);
		return false;
	}
	const DnManifest *manifest = dn_service_current(known)->declaration->manifest;
	uint32_t replicas = manifest->replicas;
	const DnNodeRecord *chosen = choose(self, service, &ready);
	if (chosen == NULL || ready + 1 < replicas) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%s: %u of %u nodes are ready; a drill needs %u, try again when the "
			    "service has recovered",
			    service, ready, replicas, MAX(replicas, 2) - 1);
		return false;
	}
	if (!dn_budget_allows_drill(&known->drills, manifest, now.monotonic_ns, error))
		return false;
	dn_budget_spend_drill(&known->drills, manifest, now.monotonic_ns);
	dn_acts_record(acts, DN_RECORD_SERVICE, known->name);
	DnOrder *order = dn_order_new(DN_ORDER_DRILL);
	order->node = g_strdup(chosen->id);
	order->class = g_strdup(class);
	*node = g_strdup(chosen->id);
	/* Stored first: a crash must not give the drill back. */
	*tag = dn_state_tag(self);
	dn_acts_dispatch(acts, chosen->host, order, *tag, true);
	return true;
}

DnAnswer dn_fleet_core_answer(const DnFleetCore *self, const char *node, const char *class)
{
	DnNodeRecord *record = NULL;
	enum dn_drift_class drift = DN_DRIFT_NONE;

	if (dn_state_host_of_node(self, node, &record) == NULL || !dn_drift_parse(class, &drift))
		return DN_ANSWER_QUARANTINE;
	const DnService *service = dn_state_service(self, record->service);
	const DnRelease *release =
		service == NULL ? NULL : dn_service_release(service, record->digest);
	return release == NULL ? dn_drift_default(drift)
			       : release->declaration->manifest->drift[drift];
}

bool dn_fleet_core_destroy(DnFleetCore *self, const char *id, GBytes *statement,
			   GPtrArray *signatures, DnActs *acts, uint64_t *tag, GError **error)
{
	const DnIncident *incident = g_hash_table_lookup(self->incidents, id);
	const DnHost *host = incident == NULL ? NULL : dn_state_host(self, incident->host);
	bool destroyed = incident == NULL ? dn_fleet_core_is_past(self, id)
					  : incident->state == DN_INCIDENT_DESTROYED;

	if (destroyed) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "incident %s is destroyed already",
			    id);
		return false;
	}
	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no incident has the id %.64s; see dnode incidents", id);
		return false;
	}
	if (!host->connected) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "the evidence of %s is on %s, which is not connected; try again", id,
			    host->name);
		return false;
	}
	DnOrder *order = dn_order_new(DN_ORDER_DESTROY);
	order->incident = g_strdup(id);
	order->statement = g_bytes_ref(statement);
	for (guint i = 0; i < signatures->len; i++)
		g_ptr_array_add(order->signatures, g_bytes_ref(g_ptr_array_index(signatures, i)));
	send(self, host, order, acts, tag);
	return true;
}

bool dn_fleet_core_logs(DnFleetCore *self, const char *node, uint32_t lines, uint64_t offset,
			DnActs *acts, uint64_t *tag, GError **error)
{
	DnNodeRecord *record = NULL;
	const DnHost *host = find_node(self, node, &record, error);

	if (host == NULL)
		return false;
	DnOrder *order = dn_order_new(DN_ORDER_LOGS);
	order->node = g_strdup(node);
	order->lines = MIN(lines, LOG_LINES_LIMIT);
	order->offset = offset;
	send(self, host, order, acts, tag);
	return true;
}

bool dn_fleet_core_audit(DnFleetCore *self, const char *node, const char *name, DnActs *acts,
			 uint64_t *tag, GError **error)
{
	DnNodeRecord *record = NULL;
	const DnHost *host =
		node != NULL ? find_node(self, node, &record, error) : dn_state_host(self, name);

	if (host == NULL && node == NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no host is named %.64s; see dnode hosts", name);
	if (host == NULL)
		return false;
	if (!host->connected) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "%s is not connected; try again, or use dnode --agent on that host",
			    host->name);
		return false;
	}
	DnOrder *order = dn_order_new(DN_ORDER_AUDIT);
	order->node = g_strdup(node);
	send(self, host, order, acts, tag);
	return true;
}
