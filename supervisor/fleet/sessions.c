/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/sessions.h"

#include <dnode/version.h>
#include <inttypes.h>
#include <string.h>

#include "base/bucket.h"
#include "base/clock.h"
#include "base/text.h"
#include "link/server.h"
#include "seal/digest.h"
#include "seal/token.h"
#include "wire/codec.h"

enum {
	TIMER_MS = 500,
	OUTSTANDING_LIMIT = 4096,
	SESSION_DIGITS_MIN = 16,
	/* Beside what its bytes cost. A report is compared with all that is known: 5 a second. */
	REPORT_COST = 40,
	/* An incident is stored, stamped and looked for among the others. */
	INCIDENT_COST = 5,
};

/* Links of one host: an agent that is restarted by hand, or on a bad wire, stays far below. */
static const DnBucketRate link_rate = {.burst = 60, .per_s = 1};

/* How long an order may stay unanswered. */
static const unsigned patience_s[] = {
	[DN_ORDER_MANIFEST] = 60, [DN_ORDER_ASSIGN] = 60,  [DN_ORDER_FORGET] = 60,
	[DN_ORDER_ROUTES] = 60,   [DN_ORDER_STAMP] = 60,   [DN_ORDER_QUARANTINE] = 10,
	[DN_ORDER_DRILL] = 15,    [DN_ORDER_DESTROY] = 30, [DN_ORDER_LOGS] = 5,
};
_Static_assert(G_N_ELEMENTS(patience_s) == DN_ORDER_N, "every kind needs its patience");

typedef struct {
	uint64_t tag;
	uint64_t deadline_ns;
} Outstanding;

/*
 * stranger ── enrol → waiting (for its owner) → closing
 *     └────── hello → host ── superseded or closed → closing
 */
typedef enum { PEER_STRANGER, PEER_WAITING, PEER_HOST, PEER_CLOSING } PeerState;

typedef struct {
	int refs; /* the connection, a DnEnrolWait */
	DnSessions *sessions;
	DnLinkConnection *connection; /* borrowed; NULL once it is gone */
	PeerState state;
	uint8_t key[DN_LINK_KEY_BYTES];
	char *host;    /* of a host */
	char *session; /* the agent's word */
	uint64_t sequence;
	uint64_t fact_seq;
	GHashTable *outstanding; /* uint64_t * sequence → Outstanding * */
} Peer;

struct DnEnrolWait {
	Peer *peer; /* a reference */
	char *host;
};

struct DnSessions {
	DnLinkServer *server;
	DnSessionsOps ops;
	void *data;
	char *cluster, *node_cidr, *vip_cidr, *repo;
	uint64_t term;
	GBytes *trust;
	GHashTable *hosts; /* char * → Peer *: those that said hello; borrowed */
	GHashTable *links; /* char * host → DnBucket *: links that it may still make */
	GSource *timer;
	bool ending;
};

static Peer *peer_ref(Peer *peer)
{
	peer->refs++;
	return peer;
}

static void peer_unref(Peer *peer)
{
	if (--peer->refs > 0)
		return;
	g_free(peer->host);
	g_free(peer->session);
	g_hash_table_unref(peer->outstanding);
	g_free(peer);
}

static DnJournalHead own_head(const DnSessions *self)
{
	return self->ops.head != NULL ? self->ops.head(self->data) : (DnJournalHead){0};
}

static bool send_frame(Peer *peer, const DnFrame *frame)
{
	g_autoptr(GBytes) bytes = dn_frame_encode(frame);

	return peer->connection != NULL && dn_link_connection_send(peer->connection, bytes);
}

static void answer_lost(DnSessions *self, const char *host, uint64_t tag, const char *why)
{
	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(0);

	answer->code = DN_ERROR_UNAVAILABLE;
	answer->error = g_strdup_printf("%s %s; try again", host, why);
	self->ops.answered(host, tag, answer, self->data);
}

/* Forget the orders that were due before @now_ns and answer for the host. */
static void give_up(Peer *peer, uint64_t now_ns, const char *why)
{
	GHashTableIter iter;
	gpointer value;
	g_autoptr(GArray) late = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	g_hash_table_iter_init(&iter, peer->outstanding);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Outstanding *one = value;

		if (one->deadline_ns > now_ns)
			continue;
		g_array_append_val(late, one->tag);
		g_hash_table_iter_remove(&iter);
	}
	for (guint i = 0; i < late->len; i++)
		answer_lost(peer->sessions, peer->host, g_array_index(late, uint64_t, i), why);
}

/* The host is not reachable through @peer any more; nothing of it is believed from here on. */
static void leave(Peer *peer, const char *why)
{
	DnSessions *self = peer->sessions;
	bool was_host = peer->state == PEER_HOST;

	peer->state = PEER_CLOSING;
	if (!was_host)
		return;
	g_hash_table_remove(self->hosts, peer->host);
	if (self->ending)
		return;
	self->ops.disconnected(peer->host, why, self->data);
	give_up(peer, UINT64_MAX, "was disconnected before it answered");
}

static void close_peer(Peer *peer, const char *why)
{
	leave(peer, why);
	if (peer->connection != NULL)
		dn_link_connection_close(peer->connection);
}

static void send_refusal(Peer *peer, int code, const char *why)
{
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_REFUSED);

	frame->refused = g_strdup(why);
	frame->refused_code = code;
	(void)send_frame(peer, frame);
	close_peer(peer, why);
}

/* Tell the peer, and people: agents are not refused as long as all is well. */
static void refuse(Peer *peer, int code, const char *why)
{
	DnSessions *self = peer->sessions;
	const char *host = self->ops.host_of_key(peer->key, self->data);
	bool again = code == DN_ERROR_EXHAUSTED;
	g_autofree char *text =
		again ? g_strdup(why)
		      : g_strdup_printf("%s at %s was refused: %s",
					host == NULL ? "somebody unknown" : host,
					dn_link_connection_peer_address(peer->connection), why);

	self->ops.trouble(again ? DN_TROUBLE_RECONNECTS : DN_TROUBLE_REFUSED, host, text,
			  self->data);
	send_refusal(peer, code, why);
}

/* ---- enrolment ---- */

static void take_enrol(Peer *peer, const DnEnrol *enrol)
{
	DnSessions *self = peer->sessions;
	uint8_t hash[DN_TOKEN_HASH_BYTES];
	DnEnrolWait *wait = g_new0(DnEnrolWait, 1);

	dn_token_secret_hash(g_bytes_get_data(enrol->secret, NULL), hash);
	g_autofree char *text = dn_digest_text(hash);
	wait->peer = peer_ref(peer);
	wait->host = g_strdup(enrol->host);
	peer->state = PEER_WAITING;
	self->ops.enrol(wait, &(DnEnrolment){.host = enrol->host, .hash = text, .key = peer->key},
			self->data);
}

static void free_wait(DnEnrolWait *wait)
{
	peer_unref(wait->peer);
	g_free(wait->host);
	g_free(wait);
}

void dn_sessions_enrolled(DnEnrolWait *wait, GHashTable *epochs)
{
	Peer *peer = wait->peer;

	if (peer->state == PEER_WAITING) {
		g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_ENROLLED);
		GHashTableIter iter;
		gpointer key, value;

		frame->enrolled->cluster = g_strdup(peer->sessions->cluster);
		frame->enrolled->host = g_strdup(wait->host);
		frame->enrolled->trust = g_bytes_ref(peer->sessions->trust);
		g_hash_table_iter_init(&iter, epochs);
		while (g_hash_table_iter_next(&iter, &key, &value))
			g_hash_table_insert(frame->enrolled->epochs, g_strdup(key),
					    g_memdup2(value, sizeof(uint64_t)));
		(void)send_frame(peer, frame);
		close_peer(peer, "enrolled");
	}
	free_wait(wait);
}

void dn_sessions_refused(DnEnrolWait *wait, const GError *why)
{
	if (wait->peer->state == PEER_WAITING)
		send_refusal(wait->peer, why->domain == DN_ERROR ? why->code : 0, why->message);
	free_wait(wait);
}

/* ---- hello ---- */

/* ADDRESS of ADDRESS:PORT. */
static char *without_port(const char *address)
{
	const char *colon = strrchr(address, ':');

	return colon == NULL ? g_strdup(address) : g_strndup(address, (gsize)(colon - address));
}

static bool is_welcome(const Peer *peer, const DnHello *hello, const char *host, GError **error)
{
	if (hello->version != DN_LINK_VERSION) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "the agent speaks version %u of the link, this supervisor %d; install "
			    "matching versions",
			    hello->version, DN_LINK_VERSION);
		return false;
	}
	if (host == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "no host has this key; enrol it with dnode host token and dnode-agent "
			    "enrol");
		return false;
	}
	if (!g_str_equal(hello->host, host)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "this key belongs to host %s; correct the host's name in its "
			    "configuration",
			    host);
		return false;
	}
	if (strlen(hello->session) < SESSION_DIGITS_MIN) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "the session is shorter than %d digits", SESSION_DIGITS_MIN);
		return false;
	}
	return true;
}

/* The link that there is stays when the newcomer is one too many. */
static bool may_link(DnSessions *self, const char *host, GError **error)
{
	DnBucket *bucket = g_hash_table_lookup(self->links, host);

	if (bucket == NULL) {
		bucket = g_new0(DnBucket, 1);
		g_hash_table_insert(self->links, g_strdup(host), bucket);
	}
	if (dn_bucket_take(bucket, &link_rate, dn_clock_monotonic_ns()))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "%s has made too many links in a short time; if its agent is not being "
		    "restarted, see whether two machines use its key",
		    host);
	return false;
}

static void take_hello(Peer *peer, const DnHello *hello)
{
	DnSessions *self = peer->sessions;
	const char *host = self->ops.host_of_key(peer->key, self->data);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_WELCOME);

	if (!is_welcome(peer, hello, host, &error) || !may_link(self, host, &error)) {
		refuse(peer, error->code, error->message);
		return;
	}
	Peer *before = g_hash_table_lookup(self->hosts, host);
	if (before != NULL)
		close_peer(before, "the host has connected anew");
	dn_link_connection_approve(peer->connection);
	peer->state = PEER_HOST;
	peer->host = g_strdup(host);
	peer->session = g_strdup(hello->session);
	g_hash_table_insert(self->hosts, peer->host, peer);
	frame->welcome->cluster = g_strdup(self->cluster);
	frame->welcome->term = self->term;
	frame->welcome->session = g_strdup(hello->session);
	frame->welcome->host_cidr = g_strdup(self->ops.host_cidr(host, self->data));
	frame->welcome->node_cidr = g_strdup(self->node_cidr);
	frame->welcome->vip_cidr = g_strdup(self->vip_cidr);
	frame->welcome->repo = g_strdup(self->repo);
	frame->welcome->head = own_head(self);
	(void)send_frame(peer, frame);
	g_autofree char *address = without_port(dn_link_connection_peer_address(peer->connection));
	self->ops.connected(peer->host, address, hello->term, self->data);
}

/* ---- facts and answers ---- */

static void take_answer(Peer *peer, const DnAnswerTo *answer)
{
	const Outstanding *known = g_hash_table_lookup(peer->outstanding, &answer->sequence);

	/* One that came too late was answered for already. */
	if (known == NULL)
		return;
	uint64_t tag = known->tag;
	g_hash_table_remove(peer->outstanding, &answer->sequence);
	peer->sessions->ops.answered(peer->host, tag, answer, peer->sessions->data);
}

static void take_fact(Peer *peer, const DnFact *fact)
{
	if (fact->seq <= peer->fact_seq) {
		refuse(peer, DN_ERROR_INVALID, "a fact came twice on one link; connect again");
		return;
	}
	peer->fact_seq = fact->seq;
	if (fact->kind == DN_FACT_REPORT)
		dn_link_connection_charge(peer->connection, REPORT_COST);
	if (fact->kind == DN_FACT_INCIDENT)
		dn_link_connection_charge(peer->connection, INCIDENT_COST);
	peer->sessions->ops.fact(peer->host, fact, peer->sessions->data);
}

static void take_frame(Peer *peer, const DnFrame *frame)
{
	bool expected = peer->state == PEER_HOST
				? frame->type == DN_FRAME_FACT || frame->type == DN_FRAME_ANSWER
				: frame->type == DN_FRAME_ENROL || frame->type == DN_FRAME_HELLO;

	if (peer->state == PEER_WAITING || !expected)
		refuse(peer, DN_ERROR_INVALID, "this frame is not expected now; connect again");
	else if (frame->type == DN_FRAME_ENROL)
		take_enrol(peer, frame->enrol);
	else if (frame->type == DN_FRAME_HELLO)
		take_hello(peer, frame->hello);
	else if (frame->type == DN_FRAME_FACT)
		take_fact(peer, frame->fact);
	else
		take_answer(peer, frame->answer);
}

/* ---- the link's calls ---- */

static void on_opened(DnLinkConnection *connection, const uint8_t key[DN_LINK_KEY_BYTES],
		      void *data)
{
	Peer *peer = g_new0(Peer, 1);

	peer->refs = 1;
	peer->sessions = data;
	peer->connection = connection;
	memcpy(peer->key, key, sizeof(peer->key));
	peer->outstanding = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	dn_link_connection_set_data(connection, peer);
}

static void on_frame(DnLinkConnection *connection, GBytes *bytes, void *data)
{
	Peer *peer = dn_link_connection_get_data(connection);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = NULL;

	if (peer->state == PEER_CLOSING)
		return;
	frame = dn_frame_decode(bytes, &error);
	if (frame == NULL)
		refuse(peer, DN_ERROR_INVALID, error->message);
	else
		take_frame(peer, frame);
}

static void on_closed(DnLinkConnection *connection, const GError *reason, void *data)
{
	Peer *peer = dn_link_connection_get_data(connection);

	peer->connection = NULL;
	leave(peer, reason == NULL ? "the link has ended" : reason->message);
	peer_unref(peer);
}

static void on_flooded(DnLinkConnection *connection, void *data)
{
	DnSessions *self = data;
	const Peer *peer = dn_link_connection_get_data(connection);
	const char *host = peer->state == PEER_HOST ? peer->host : NULL;
	g_autofree char *text = g_strdup_printf(
		"%s at %s says more than %d things a second and is heard no faster; if it is not "
		"misconfigured, treat it as taken over",
		host != NULL ? host : "somebody unknown",
		dn_link_connection_peer_address(connection), DN_LINK_FRAMES_PER_S);

	if (peer->state != PEER_CLOSING)
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

	g_list_foreach(peers, (GFunc)(void (*)(void))peer_ref, NULL);
	for (GList *at = peers; at != NULL; at = at->next) {
		Peer *peer = at->data;

		if (peer->state == PEER_HOST)
			give_up(peer, now_ns, "did not answer in time");
		peer_unref(peer);
	}
	return G_SOURCE_CONTINUE;
}

bool dn_sessions_send(DnSessions *self, const char *host, DnOrder *taken, uint64_t tag)
{
	g_autoptr(DnOrder) order = taken;
	Peer *peer = g_hash_table_lookup(self->hosts, host);

	if (peer == NULL)
		return false;
	order->cluster = g_strdup(self->cluster);
	order->term = self->term;
	order->session = g_strdup(peer->session);
	order->sequence = ++peer->sequence;
	order->head = own_head(self);
	g_autoptr(GBytes) bytes = dn_frame_encode_order(order);
	if (g_hash_table_size(peer->outstanding) >= OUTSTANDING_LIMIT ||
	    !dn_link_connection_send(peer->connection, bytes)) {
		/* It will be told everything again when it is back: that is cheaper than a queue.
		 */
		g_warning("%s does not keep up with its orders; its link is closed", host);
		dn_link_connection_close(peer->connection);
		return false;
	}
	Outstanding *outstanding = g_new0(Outstanding, 1);
	outstanding->tag = tag;
	outstanding->deadline_ns = dn_clock_monotonic_ns() + patience_s[order->kind] * DN_NS_PER_S;
	g_hash_table_insert(peer->outstanding, g_memdup2(&order->sequence, sizeof(order->sequence)),
			    outstanding);
	return true;
}

void dn_sessions_acknowledge(DnSessions *self, const char *host, const char *spool, uint64_t number)
{
	Peer *peer = g_hash_table_lookup(self->hosts, host);
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_STORED);

	if (peer == NULL)
		return;
	frame->spool = g_strdup(spool);
	frame->stored = number;
	/* One that is lost is made good by the next: the host sends again what it still has. */
	(void)send_frame(peer, frame);
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
