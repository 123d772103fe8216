/* SPDX-License-Identifier: Apache-2.0 */
#include "core/response.h"

/* A node that is isolated is not cut yet: it is sent traffic until it is. */
static bool is_in_force(const DnIncident *incident)
{
	return incident->state != DN_INCIDENT_DESTROYED && !dn_incident_is_isolated(incident);
}

static bool is_cut(const DnFleetCore *core, const char *host, const char *node)
{
	GHashTable *nodes = g_hash_table_lookup(core->cut, host);

	return nodes != NULL && g_hash_table_contains(nodes, node);
}

static void cut(DnFleetCore *core, const DnIncident *incident)
{
	GHashTable *nodes = g_hash_table_lookup(core->cut, incident->host);

	if (nodes == NULL) {
		nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
		g_hash_table_insert(core->cut, g_strdup(incident->host), nodes);
	}
	g_hash_table_add(nodes, g_strdup(incident->node));
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
			cut(core, incident);
	}
}

void dn_response_note(DnFleetCore *core, const DnIncident *incident)
{
	if (is_in_force(incident))
		cut(core, incident);
	else if (is_cut(core, incident->host, incident->node))
		/* Another incident may cut the same node. */
		dn_response_recount(core);
}

bool dn_response_is_cut(const DnFleetCore *core, const DnNodeRecord *node)
{
	return is_cut(core, node->host, node->id);
}

/* Begin to wait, unless that is done already. @incident: NULL when the node drains. */
static void wait_for_drop(DnFleetCore *core, const DnNodeRecord *node, const char *incident)
{
	for (guint i = 0; i < core->drops->len; i++) {
		const DnDropWait *known = g_ptr_array_index(core->drops, i);

		if (g_str_equal(known->node, node->id) && g_str_equal(known->host, node->host) &&
		    g_strcmp0(known->incident, incident) == 0)
			return;
	}
	DnDropWait *drop = g_new0(DnDropWait, 1);
	drop->incident = g_strdup(incident);
	drop->node = g_strdup(node->id);
	drop->host = g_strdup(node->host);
	drop->service = g_strdup(node->service);
	drop->address = g_strdup(node->address);
	drop->waiting = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	g_ptr_array_add(core->drops, drop);
}

void dn_response_watch(DnFleetCore *core, const DnIncident *incident)
{
	const DnHost *host = dn_state_host(core, incident->host);
	const DnNodeRecord *node =
		host == NULL ? NULL : g_hash_table_lookup(host->nodes, incident->node);

	if (is_in_force(incident) && node != NULL && node->address != NULL &&
	    incident->stages_us[DN_STAGE_LB_OUT_ALL] < 0)
		wait_for_drop(core, node, incident->id);
}

void dn_response_watch_drain(DnFleetCore *core, const DnNodeRecord *node)
{
	if (node->state == DN_NODE_DRAINING && node->address != NULL &&
	    dn_state_service(core, node->service) != NULL)
		wait_for_drop(core, node, NULL);
}

void dn_response_reconnected(DnFleetCore *core, const char *host)
{
	for (guint i = 0; i < core->drops->len; i++) {
		DnDropWait *drop = g_ptr_array_index(core->drops, i);

		g_hash_table_remove(drop->waiting, host);
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
static bool has_dropped(const DnFleetCore *core, DnDropWait *drop, DnHost *host)
{
	const DnTold *told = g_hash_table_lookup(host->told, drop->service);
	const uint64_t *revision = g_hash_table_lookup(drop->waiting, host->name);
	const DnService *service = dn_state_service(core, drop->service);

	if (service != NULL && dn_host_is_outside(host, service))
		return true;
	/* Its first assignment of this link is still to come; one that never had any names nobody.
	 */
	if (told == NULL || told->sent == NULL)
		return host->reported && !g_hash_table_contains(host->epochs, drop->service);
	if (revision == NULL) {
		if (names_address(told->sent, drop->address))
			return false;
		/* Any later revision says so too: do not wait for a moving target. */
		revision = g_memdup2(&told->revision, sizeof(told->revision));
		g_hash_table_insert(drop->waiting, g_strdup(host->name), (gpointer)revision);
	}
	return told->acked >= *revision;
}

/*
 * A drain waits for a host whose link has just broken, too: it balances as before, and may have
 * been told by a supervisor that is gone. It waits no longer for one that is lost.
 */
static bool is_waited_for(const DnDropWait *drop, const DnHost *host)
{
	if (drop->incident != NULL)
		return host->connected;
	return !host->lost && host->address != NULL;
}

static bool is_due(const DnFleetCore *core, DnDropWait *drop)
{
	const DnHost *home = dn_state_host(core, drop->host);
	GHashTableIter iter;
	gpointer value;
	bool due = true;

	if (home == NULL || !home->connected)
		return false;
	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnHost *host = value;

		if (host != home && is_waited_for(drop, host) &&
		    (!host->connected || !has_dropped(core, drop, host)))
			due = false;
	}
	return due;
}

/* Is there still somebody to be told? */
static bool is_awaited(const DnFleetCore *core, const DnDropWait *drop)
{
	if (drop->incident != NULL) {
		const DnIncident *incident = g_hash_table_lookup(core->incidents, drop->incident);

		return incident != NULL && is_in_force(incident);
	}
	const DnHost *host = dn_state_host(core, drop->host);
	const DnNodeRecord *node =
		host == NULL ? NULL : g_hash_table_lookup(host->nodes, drop->node);

	return node != NULL && node->state == DN_NODE_DRAINING;
}

static void tell(DnFleetCore *core, const DnDropWait *drop, DnActs *acts)
{
	DnOrder *order = dn_order_new(drop->incident != NULL ? DN_ORDER_STAMP : DN_ORDER_DROPPED);

	if (drop->incident != NULL) {
		order->incident = g_strdup(drop->incident);
		order->stage = DN_STAGE_LB_OUT_ALL;
	} else {
		order->node = g_strdup(drop->node);
	}
	dn_acts_dispatch(acts, drop->host, order, dn_state_tag(core), false);
}

void dn_response_step(DnFleetCore *core, DnActs *acts)
{
	for (guint i = core->drops->len; i-- > 0;) {
		DnDropWait *drop = g_ptr_array_index(core->drops, i);

		if (is_awaited(core, drop)) {
			if (!is_due(core, drop))
				continue;
			tell(core, drop, acts);
		}
		g_ptr_array_remove_index(core->drops, i);
	}
}
