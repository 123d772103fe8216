/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet/peer.h"

#include <dnode/version.h>
#include <string.h>

#include "base/bucket.h"
#include "base/clock.h"
#include "seal/digest.h"
#include "seal/token.h"

enum {
	SESSION_DIGITS_MIN = 16,
	/* Beside what its bytes cost. A report is compared with all that is known: 5 a second. */
	REPORT_COST = 40,
	/* An incident is stored, stamped and looked for among the others. */
	INCIDENT_COST = 5,
};

/* Links of one host: an agent that is restarted by hand, or on a bad wire, stays far below. */
static const DnBucketRate link_rate = {.burst = 60, .per_s = 1};

struct DnEnrolWait {
	DnPeer *peer; /* a reference */
	char *host;
};

DnPeer *dn_peer_new(DnSessions *sessions, DnLinkConnection *connection,
		    const uint8_t key[DN_LINK_KEY_BYTES])
{
	DnPeer *peer = g_new0(DnPeer, 1);

	peer->refs = 1;
	peer->sessions = sessions;
	peer->connection = connection;
	memcpy(peer->key, key, sizeof(peer->key));
	peer->outstanding = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	return peer;
}

DnPeer *dn_peer_ref(DnPeer *peer)
{
	peer->refs++;
	return peer;
}

void dn_peer_unref(DnPeer *peer)
{
	if (--peer->refs > 0)
		return;
	g_free(peer->host);
	g_free(peer->session);
	g_hash_table_unref(peer->outstanding);
	g_free(peer);
}

bool dn_peer_send(DnPeer *peer, const DnFrame *frame)
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

void dn_peer_give_up(DnPeer *peer, uint64_t now_ns, const char *why)
{
	GHashTableIter iter;
	gpointer value;
	g_autoptr(GArray) late = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	g_hash_table_iter_init(&iter, peer->outstanding);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnOutstanding *one = value;

		if (one->deadline_ns > now_ns)
			continue;
		g_array_append_val(late, one->tag);
		g_hash_table_iter_remove(&iter);
	}
	for (guint i = 0; i < late->len; i++)
		answer_lost(peer->sessions, peer->host, g_array_index(late, uint64_t, i), why);
}

void dn_peer_leave(DnPeer *peer, const char *why)
{
	DnSessions *self = peer->sessions;
	bool was_host = peer->state == DN_PEER_HOST;

	peer->state = DN_PEER_CLOSING;
	if (!was_host)
		return;
	g_hash_table_remove(self->hosts, peer->host);
	if (self->ending)
		return;
	self->ops.disconnected(peer->host, why, self->data);
	dn_peer_give_up(peer, UINT64_MAX, "was disconnected before it answered");
}

static void close_peer(DnPeer *peer, const char *why)
{
	dn_peer_leave(peer, why);
	if (peer->connection != NULL)
		dn_link_connection_close(peer->connection);
}

void dn_sessions_shut_out(DnSessions *self, const char *host, const char *why)
{
	DnPeer *peer = g_hash_table_lookup(self->hosts, host);

	if (peer != NULL)
		close_peer(peer, why);
}

static void send_refusal(DnPeer *peer, int code, const char *why)
{
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_REFUSED);

	frame->refused = g_strdup(why);
	frame->refused_code = code;
	(void)dn_peer_send(peer, frame);
	close_peer(peer, why);
}

void dn_peer_refuse(DnPeer *peer, int code, const char *why)
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

static void take_enrol(DnPeer *peer, const DnEnrol *enrol)
{
	DnSessions *self = peer->sessions;
	uint8_t hash[DN_TOKEN_HASH_BYTES];
	DnEnrolWait *wait = g_new0(DnEnrolWait, 1);

	dn_token_secret_hash(g_bytes_get_data(enrol->secret, NULL), hash);
	g_autofree char *text = dn_digest_text(hash);
	wait->peer = dn_peer_ref(peer);
	wait->host = g_strdup(enrol->host);
	peer->state = DN_PEER_WAITING;
	self->ops.enrol(wait, &(DnEnrolment){.host = enrol->host, .hash = text, .key = peer->key},
			self->data);
}

static void free_wait(DnEnrolWait *wait)
{
	dn_peer_unref(wait->peer);
	g_free(wait->host);
	g_free(wait);
}

void dn_sessions_enrolled(DnEnrolWait *wait, GHashTable *epochs)
{
	DnPeer *peer = wait->peer;

	if (peer->state == DN_PEER_WAITING) {
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
		(void)dn_peer_send(peer, frame);
		close_peer(peer, "enrolled");
	}
	free_wait(wait);
}

void dn_sessions_refused(DnEnrolWait *wait, const GError *why)
{
	if (wait->peer->state == DN_PEER_WAITING)
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

static bool is_welcome(const DnPeer *peer, const DnHello *hello, const char *host, GError **error)
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
	const char *fenced = peer->sessions->ops.fenced(host, peer->sessions->data);
	if (fenced != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "host %s is fenced: %s; install the machine anew, and enrol it with a "
			    "new token for that name",
			    host, fenced);
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

static void take_hello(DnPeer *peer, const DnHello *hello)
{
	DnSessions *self = peer->sessions;
	const char *host = self->ops.host_of_key(peer->key, self->data);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_WELCOME);

	if (!is_welcome(peer, hello, host, &error) || !may_link(self, host, &error)) {
		dn_peer_refuse(peer, error->code, error->message);
		return;
	}
	DnPeer *before = g_hash_table_lookup(self->hosts, host);
	if (before != NULL)
		close_peer(before, "the host has connected anew");
	dn_link_connection_approve(peer->connection);
	peer->state = DN_PEER_HOST;
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
	frame->welcome->head = dn_peer_tell_head(peer);
	(void)dn_peer_send(peer, frame);
	g_autofree char *address = without_port(dn_link_connection_peer_address(peer->connection));
	self->ops.connected(peer->host, address, hello->term, self->data);
}

/* ---- facts and answers ---- */

static void take_answer(DnPeer *peer, const DnAnswerTo *answer)
{
	const DnOutstanding *known = g_hash_table_lookup(peer->outstanding, &answer->sequence);

	/* One that came too late was answered for already. */
	if (known == NULL)
		return;
	uint64_t tag = known->tag;
	g_hash_table_remove(peer->outstanding, &answer->sequence);
	peer->sessions->ops.answered(peer->host, tag, answer, peer->sessions->data);
}

/* On a quiet fleet no order would tell it. */
static void answer_heartbeat(DnPeer *peer)
{
	g_autoptr(DnFrame) frame = dn_frame_new(DN_FRAME_JOURNAL);
	uint64_t known = peer->news;

	frame->head = dn_peer_tell_head(peer);
	if (peer->news != known && frame->head.hash[0] != '\0')
		(void)dn_peer_send(peer, frame);
}

static void take_fact(DnPeer *peer, const DnFact *fact)
{
	if (fact->seq <= peer->fact_seq) {
		dn_peer_refuse(peer, DN_ERROR_INVALID,
			       "a fact came twice on one link; connect again");
		return;
	}
	peer->fact_seq = fact->seq;
	if (fact->kind == DN_FACT_REPORT)
		dn_link_connection_charge(peer->connection, REPORT_COST);
	if (fact->kind == DN_FACT_INCIDENT)
		dn_link_connection_charge(peer->connection, INCIDENT_COST);
	if (fact->kind == DN_FACT_HEARTBEAT)
		answer_heartbeat(peer);
	peer->sessions->ops.fact(peer->host, fact, peer->sessions->data);
}

void dn_peer_take(DnPeer *peer, const DnFrame *frame)
{
	bool expected = peer->state == DN_PEER_HOST
				? frame->type == DN_FRAME_FACT || frame->type == DN_FRAME_ANSWER
				: frame->type == DN_FRAME_ENROL || frame->type == DN_FRAME_HELLO;

	if (peer->state == DN_PEER_WAITING || !expected)
		dn_peer_refuse(peer, DN_ERROR_INVALID,
			       "this frame is not expected now; connect again");
	else if (frame->type == DN_FRAME_ENROL)
		take_enrol(peer, frame->enrol);
	else if (frame->type == DN_FRAME_HELLO)
		take_hello(peer, frame->hello);
	else if (frame->type == DN_FRAME_FACT)
		take_fact(peer, frame->fact);
	else
		take_answer(peer, frame->answer);
}
