/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/peer.h"

#include "base/clock.h"

enum { TIMER_MS = 500, OUTSTANDING_LIMIT = 4096 };

/* How long an order may stay unanswered. */
static const unsigned patience_s[] = {
	[DN_ORDER_MANIFEST] = 60, [DN_ORDER_ASSIGN] = 60,  [DN_ORDER_FORGET] = 60,
	[DN_ORDER_ROUTES] = 60,   [DN_ORDER_STAMP] = 60,   [DN_ORDER_QUARANTINE] = 10,
	[DN_ORDER_DRILL] = 15,    [DN_ORDER_DESTROY] = 30, [DN_ORDER_LOGS] = 5,
	[DN_ORDER_AUDIT] = 15,    [DN_ORDER_SWEEP] = 30,   [DN_ORDER_DROPPED] = 60,
};
_Static_assert(G_N_ELEMENTS(patience_s) == DN_ORDER_N, "every kind needs its patience");

DnJournalHead dn_peer_tell_head(DnPeer *peer)
{
	const DnSessions *self = peer->sessions;

	return self->ops.head != NULL ? self->ops.head(&peer->news, self->data)
				      : (DnJournalHead){0};
}

/* ---- the link's calls ---- */

static void on_opened(DnLinkConnection *connection, const uint8_t key[DN_LINK_KEY_BYTES],
		      void *data)
{
	dn_link_connection_set_data(connection, dn_peer_new(data, connection, key));
}

static void on_frame(DnLinkConnection *connection, GBytes *bytes, void *data)
{
	DnPeer *peer = dn_link_connection_get_data(connection);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = NULL;

	if (peer->state == DN_PEER_CLOSING)
		return;
	frame = dn_frame_decode(bytes, &error);
	if (frame == NULL)
		dn_peer_refuse(peer, DN_ERROR_INVALID, error->message);
	else
		dn_peer_take(peer, frame);
}

static void on_closed(DnLinkConnection *connection, const GError *reason, void *data)
{
	DnPeer *peer = dn_link_connection_get_data(connection);

	peer->connection = NULL;
	dn_peer_leave(peer, reason == NULL ? "the link has ended" : reason->message);
	dn_peer_unref(peer);
}

static void on_flooded(DnLinkConnection *connection, void *data)
{
	DnSessions *self = data;
	const DnPeer *peer = dn_link_connection_get_data(connection);
	const char *host = peer->state == DN_PEER_HOST ? peer->host : NULL;
	g_autofree char *text = g_strdup_printf(
		"%s at %s says more than %d things a second and is heard no faster; if it is not "
		"misconfigured, treat it as taken over",
		host != NULL ? host : "somebody unknown",
		dn_link_connection_peer_address(connection), DN_LINK_FRAMES_PER_S);

	if (peer->state != DN_PEER_CLOSING)
		self->ops.trouble(DN_TROUBLE_FLOODED, host, text, self->data);
}

static void on_crowded(unsigned count, const char *address, void *data)
{
	DnSessions *self = data;
	g_autofree char *text = g_strdup_printf(
		"%u connections to the agents' port came to nothing in a minute, the last from %s; "
		"keep who is no host off this port",
		count, address);

	self->ops.trouble(DN_TROUBLE_CROWDED, NULL, text, self->data);
}

/* ---- orders ---- */

static gboolean on_timer(gpointer data)
{
	DnSessions *self = data;
	uint64_t now_ns = dn_clock_monotonic_ns();
	g_autoptr(GList) peers = g_hash_table_get_values(self->hosts);

	for (GList *at = peers; at != NULL; at = at->next)
		dn_peer_ref(at->data);
	for (GList *at = peers; at != NULL; at = at->next) {
		DnPeer *peer = at->data;

		if (peer->state == DN_PEER_HOST)
			dn_peer_give_up(peer, now_ns, "did not answer in time");
		dn_peer_unref(peer);
	}
	return G_SOURCE_CONTINUE;
}

bool dn_sessions_send(DnSessions *self, const char *host, DnOrder *taken, uint64_t tag)
{
	g_autoptr(DnOrder) order = taken;
	DnPeer *peer = g_hash_table_lookup(self->hosts, host);

	if (peer == NULL)
		return false;
	order->cluster = g_strdup(self->cluster);
	order->term = self->term;
	order->session = g_strdup(peer->session);
	order->sequence = ++peer->sequence;
	order->head = dn_peer_tell_head(peer);
	g_autoptr(GBytes) bytes = dn_frame_encode_order(order);
	if (g_hash_table_size(peer->outstanding) >= OUTSTANDING_LIMIT ||
	    !dn_link_connection_send(peer->connection, bytes)) {
		/* It will be told everything again when it is back: that is cheaper than a queue.
		 */
		g_warning("%s does not keep up with its orders; its link is closed", host);
		dn_link_connection_close(peer->connection);
		return false;
	}
	DnOutstanding *outstanding = g_new0(DnOutstanding, 1);
	outstanding->tag = tag;
	outstanding->deadline_ns = dn_clock_monotonic_ns() + patience_s[order->kind] * DN_NS_PER_S;
	g_hash_table_insert(peer->outstanding, g_memdup2(&order->sequence, sizeof(order->sequence)),
			    outstanding);
	return true;
}

void dn_sessions_acknowledge(DnSessions *self, const char *host, const char *spool, uint64_t number)
{
	DnPeer *peer = g_hash_table_lookup(self->hosts, host);
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_STORED);

	if (peer == NULL)
		return;
	frame->spool = g_strdup(spool);
	frame->stored = number;
	/* One that is lost is made good by the next: the host sends again what it still has. */
	(void)dn_peer_send(peer, frame);
}

DnSessions *dn_sessions_new(const DnSessionsConfig *config, const DnSessionsOps *ops, void *data,
			    GError **error)
{
	static const DnLinkServerOps link_ops = {
		.opened = on_opened,
		.frame = on_frame,
		.closed = on_closed,
		.flooded = on_flooded,
		.crowded = on_crowded,
	};
	g_autoptr(DnSessions) self = g_new0(DnSessions, 1);

	self->ops = *ops;
	self->data = data;
	self->cluster = g_strdup(config->cluster);
	self->node_cidr = g_strdup(config->node_cidr);
	self->vip_cidr = g_strdup(config->vip_cidr);
	self->repo = g_strdup(config->repo);
	self->term = config->term;
	self->trust = g_bytes_ref(config->trust);
	self->hosts = g_hash_table_new(g_str_hash, g_str_equal);
	self->links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	self->server = dn_link_server_new(
		&(DnLinkConfig){.address = config->listen, .identity = config->identity}, &link_ops,
		self, error);
	if (self->server == NULL)
		return NULL;
	self->timer = g_timeout_source_new(TIMER_MS);
	g_source_set_callback(self->timer, on_timer, self, NULL);
	g_source_attach(self->timer, g_main_context_get_thread_default());
	return g_steal_pointer(&self);
}

void dn_sessions_free(DnSessions *self)
{
	if (self == NULL)
		return;
	self->ending = true;
	if (self->timer != NULL) {
		g_source_destroy(self->timer);
		g_source_unref(self->timer);
	}
	dn_link_server_free(self->server);
	g_hash_table_unref(self->hosts);
	g_hash_table_unref(self->links);
	g_free(self->cluster);
	g_free(self->node_cidr);
	g_free(self->vip_cidr);
	g_free(self->repo);
	g_bytes_unref(self->trust);
	g_free(self);
}

uint16_t dn_sessions_port(const DnSessions *self)
{
	return dn_link_server_port(self->server);
}
