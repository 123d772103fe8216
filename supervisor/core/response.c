/* SPDX-License-Identifier: Apache-2.0 */
#include "core/response.h"

/* A node that is isolated is not cut yet: it is sent traffic until it is. */
static bool is_in_force(const DnIncident *incident)
{
	return incident->state != DN_INCIDENT_DESTROYED && !dn_incident_is_isolated(incident);
}

void dn_response_recount(DnFleetCore *core)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_remove_all(core->cut);
	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *incident = value;

		if (is_in_force(incident))
			g_hash_table_add(core->cut, g_strdup(incident->node));
	}
}

void dn_response_note(DnFleetCore *core, const DnIncident *incident)
{
	if (!is_in_force(incident)) {
		/* Another incident may cut the same node. */
		if (g_hash_table_contains(core->cut, incident->node))
			dn_response_recount(core);
	} else if (!g_hash_table_contains(core->cut, incident->node)) {
		g_hash_table_add(core->cut, g_strdup(incident->node));
	}
}

bool dn_response_is_cut(const DnFleetCore *core, const char *node)
{
	return g_hash_table_contains(core->cut, node);
}

void dn_response_watch(DnFleetCore *core, const DnIncident *incident)
{
	const DnHost *host = dn_state_host(core, incident->host);
	const DnNodeRecord *node =
		host == NULL ? NULL : g_hash_table_lookup(host->nodes, incident->node);

	if (!is_in_force(incident) || node == NULL || node->address == NULL ||
	    incident->stages_us[DN_STAGE_LB_OUT_ALL] >= 0)
		return;
	for (guint i = 0; i < core->stamps->len; i++) {
		const DnStampWait *known = g_ptr_array_index(core->stamps, i);

		if (g_str_equal(known->incident, incident->id))
			return;
	}
	DnStampWait *stamp = g_new0(DnStampWait, 1);
	stamp->incident = g_strdup(incident->id);
	stamp->host = g_strdup(incident->host);
	stamp->service = g_strdup(incident->service);
	stamp->address = g_strdup(node->address);
	stamp->waiting = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_ptr_array_add(core->stamps, stamp);
}

void dn_response_reconnected(DnFleetCore *core, const char *host)
{
	for (guint i = 0; i < core->stamps->len; i++) {
		DnStampWait *stamp = g_ptr_array_index(core->stamps, i);

		g_hash_table_remove(stamp->waiting, host);
	}
}

static bool names_address(const DnAssign *assign, const char *address)
{
	for (guint i = 0; i < assign->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(assign->endpoints, i);

		if (g_str_equal(endpoint->address, address))
			return true;
	}
	return false;
}

/* Whether @host has said that its balancer does not name the node any more. */
static bool has_dropped(const DnFleetCore *core, DnStampWait *stamp, DnHost *host)
{
	const DnTold *told = g_hash_table_lookup(host->told, stamp->service);
	const uint64_t *revision = g_hash_table_lookup(stamp->waiting, host->name);
	const DnService *service = dn_state_service(core, stamp->service);

	if (service != NULL && dn_host_is_outside(host, service))
		return true;
	if (told == NULL || told->sent == NULL)
		return false; /* its first assignment of this link is still to come */
	if (revision == NULL) {
		if (names_address(told->sent, stamp->address))
			return false;
		/* Any later revision says so too: do not wait for a moving target. */
		revision = g_memdup2(&told->revision, sizeof(told->revision));
		g_hash_table_insert(stamp->waiting, g_strdup(host->name), (gpointer)revision);
	}
	return told->acked >= *revision;
}

static bool is_due(const DnFleetCore *core, DnStampWait *stamp)
{
	const DnHost *home = dn_state_host(core, stamp->host);
	GHashTableIter iter;
	gpointer value;
	bool due = home != NULL && home->connected;

	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnHost *host = value;

		if (host != home && host->connected && !has_dropped(core, stamp, host))
			due = false;
	}
	return due;
}

void dn_response_step(DnFleetCore *core, DnActs *acts)
{
	for (guint i = core->stamps->len; i-- > 0;) {
		DnStampWait *stamp = g_ptr_array_index(core->stamps, i);
		const DnIncident *incident = g_hash_table_lookup(core->incidents, stamp->incident);

		if (incident != NULL && is_in_force(incident)) {
			if (!is_due(core, stamp))
				continue;
			DnOrder *order = dn_order_new(DN_ORDER_STAMP);

			order->incident = g_strdup(stamp->incident);
			order->stage = DN_STAGE_LB_OUT_ALL;
			dn_acts_dispatch(acts, stamp->host, order, dn_state_tag(core), false);
		}
		g_ptr_array_remove_index(core->stamps, i);
	}
}
