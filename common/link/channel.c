/* SPDX-License-Identifier: Apache-2.0 */
#include "link/channel.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "link/tls.h"

enum {
	HEADER_BYTES = 4,
	RECORD_BYTES = 16384, /* the most that TLS puts into one record */
	RECEIVE_STEPS = 64,   /* records read before others get their turn */
	HANDSHAKE_LIMIT = 16384,
	FRAME_OVERHEAD = 64, /* what a queued frame costs beside its bytes */
};

/*
 * One version, one signature: there is nothing to negotiate, so nothing to downgrade. What is
 * not listed does not exist for this link, whatever the system's policy offers.
 */
static const char priority[] = "NONE:+VERS-TLS1.3:+AEAD:+SIGN-EDDSA-ED25519:+GROUP-X25519:"
			       "+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305:+CTYPE-X509";

struct DnChannel {
	gnutls_session_t session; /* owned */
	DnLinkIdentity *identity; /* owned; the session uses its credentials */
	int fd;                   /* owned */
	bool has_shaken_hands;
	bool has_said_goodbye;

	bool pins_key;
	bool pins_fingerprint;
	uint8_t pin[32];
	uint8_t peer_key[DN_LINK_KEY_BYTES];
	const char *refusal; /* static; why the peer's certificate was not accepted */

	uint8_t header[HEADER_BYTES];
	size_t header_got;
	size_t body_wanted;
	GByteArray *body; /* owned; the frame being received, NULL between frames */
	size_t receive_limit_bytes;

	GQueue outgoing; /* of GBytes: header and body of a frame */
	size_t outgoing_bytes;
	size_t sent_of_head;
	size_t send_limit_bytes;
};

static bool peer_is_pinned(DnChannel *self)
{
	uint8_t fingerprint[32];

	if (self->pins_key)
		return memcmp(self->peer_key, self->pin, sizeof(self->pin)) == 0;
	if (!self->pins_fingerprint)
		return true;
	return gnutls_hash_fast(GNUTLS_DIG_SHA256, self->peer_key, DN_LINK_KEY_BYTES,
				fingerprint) >= 0 &&
	       memcmp(fingerprint, self->pin, sizeof(self->pin)) == 0;
}

/*
 * Called in the handshake once the peer has shown its certificate; 0 goes on. That the peer holds
 * the key to it is then proved by the library, by the peer's signature over the handshake.
 */
static int judge_peer(gnutls_session_t session)
{
	DnChannel *self = gnutls_session_get_ptr(session);
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
	gnutls_x509_crt_t certificate = NULL;

	if (chain == NULL || count != 1) {
		self->refusal = "it shows no certificate, or a chain of them";
		return -1;
	}
	int status = gnutls_x509_crt_init(&certificate);
	if (status >= 0)
		status = gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER);
	if (status >= 0)
		status = dn_link_certificate_key(certificate, self->peer_key);
	if (certificate != NULL)
		gnutls_x509_crt_deinit(certificate);
	if (status < 0)
		self->refusal = "its certificate holds no Ed25519 key";
	else if (!peer_is_pinned(self))
		self->refusal = "it has another key than the one that is pinned here";
	return self->refusal == NULL ? 0 : -1;
}

/* A dead peer must be found by the kernel, in about DN_LINK_DEAD_PEER_MS whether we send or wait.
 */
static bool tune_socket(int fd, GError **error)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 4},
		{IPPROTO_TCP, TCP_KEEPINTVL, 2},
		{IPPROTO_TCP, TCP_KEEPCNT, 3},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, DN_LINK_DEAD_PEER_MS},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value,
			       sizeof(options[i].value)) < 0)
			return dn_throw_errno(error, errno, "set up the link's socket");
	return true;
}

static bool start_session(DnChannel *self, bool is_server, GError **error)
{
	unsigned side = is_server ? GNUTLS_SERVER : GNUTLS_CLIENT;
	int status = gnutls_init(&self->session,
				 side | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);

	if (status >= 0)
		status = gnutls_priority_set_direct(self->session, priority, NULL);
	if (status >= 0)
		status = gnutls_credentials_set(self->session, GNUTLS_CRD_CERTIFICATE,
						dn_link_identity_credentials(self->identity));
	if (status < 0)
		return dn_link_throw(error, DN_ERROR_UNSUPPORTED, status, "set up TLS 1.3");
	if (is_server)
		gnutls_certificate_server_set_request(self->session, GNUTLS_CERT_REQUIRE);
	gnutls_session_set_ptr(self->session, self);
	gnutls_session_set_verify_function(self->session, judge_peer);
	gnutls_handshake_set_max_packet_length(self->session, HANDSHAKE_LIMIT);
	gnutls_transport_set_int(self->session, self->fd);
	return true;
}

DnChannel *dn_channel_new(int fd, DnLinkIdentity *identity, const DnChannelConfig *config,
			  GError **error)
{
	g_autoptr(DnChannel) self = g_new0(DnChannel, 1);
	const uint8_t *pin = config->peer_key != NULL ? config->peer_key : config->peer_fingerprint;

	self->fd = fd;
	self->identity = dn_link_identity_ref(identity);
	self->pins_key = config->peer_key != NULL;
	self->pins_fingerprint = config->peer_fingerprint != NULL;
	if (pin != NULL)
		memcpy(self->pin, pin, sizeof(self->pin));
	self->receive_limit_bytes = DN_LINK_FRAME_LIMIT;
	self->send_limit_bytes = config->send_limit_bytes;
	g_queue_init(&self->outgoing);
	if (!tune_socket(fd, error) || !start_session(self, config->is_server, error))
		return NULL;
	return g_steal_pointer(&self);
}

static void free_frame(gpointer frame)
{
	g_bytes_unref(frame);
}

void dn_channel_free(DnChannel *self)
{
	if (self == NULL)
		return;
	if (self->session != NULL)
		gnutls_deinit(self->session);
	dn_link_identity_unref(self->identity);
	dn_fd_clear(&self->fd);
	g_clear_pointer(&self->body, g_byte_array_unref);
	g_queue_clear_full(&self->outgoing, free_frame);
	g_free(self);
}

int dn_channel_fd(const DnChannel *self)
{
	return self->fd;
}

bool dn_channel_wants_to_write(const DnChannel *self)
{
	if (!self->has_shaken_hands)
		return gnutls_record_get_direction(self->session) == 1;
	return !g_queue_is_empty((GQueue *)&self->outgoing);
}

const uint8_t *dn_channel_peer_key(const DnChannel *self)
{
	return self->peer_key;
}

void dn_channel_set_receive_limit(DnChannel *self, size_t limit_bytes)
{
	self->receive_limit_bytes = limit_bytes;
}

/* What a failure of the TLS library means to the people at this end. */
static DnChannelStatus fail(DnChannel *self, int status, const char *doing, GError **error)
{
	if (self->refusal != NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "the peer is refused: %s",
			    self->refusal);
	else if (status == GNUTLS_E_PREMATURE_TERMINATION || status == GNUTLS_E_PULL_ERROR ||
		 status == GNUTLS_E_PUSH_ERROR)
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "the link broke");
	else if (status == GNUTLS_E_FATAL_ALERT_RECEIVED)
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "the peer refuses this end: TLS alert '%s'",
			    gnutls_alert_get_name(gnutls_alert_get(self->session)));
	else
		dn_link_throw(error, DN_ERROR_INVALID, status, doing);
	return DN_CHANNEL_FAILED;
}

DnChannelStatus dn_channel_handshake(DnChannel *self, GError **error)
{
	for (int i = 0; i < RECEIVE_STEPS; i++) {
		int status = gnutls_handshake(self->session);

		if (status == GNUTLS_E_SUCCESS) {
			self->has_shaken_hands = true;
			return DN_CHANNEL_DONE;
		}
		if (status == GNUTLS_E_AGAIN)
			return DN_CHANNEL_WAIT;
		if (gnutls_error_is_fatal(status)) {
			/* Tell the peer why, if it still fits into the socket. */
			(void)gnutls_alert_send_appropriate(self->session, status);
			return fail(self, status, "TLS handshake", error);
		}
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "TLS handshake: too many warnings");
	return DN_CHANNEL_FAILED;
}

/* One read into the header or into the body; the number of bytes or a status of the library. */
static ssize_t receive_part(DnChannel *self)
{
	if (self->body == NULL) {
		ssize_t got = gnutls_record_recv(self->session, self->header + self->header_got,
						 HEADER_BYTES - self->header_got);

		if (got > 0)
			self->header_got += (size_t)got;
		return got;
	}
	/* The buffer grows with what has come, not with what was announced. */
	guint have = self->body->len;
	guint room = (guint)MIN(self->body_wanted - have, (size_t)RECORD_BYTES);
	g_byte_array_set_size(self->body, have + room);
	ssize_t got = gnutls_record_recv(self->session, self->body->data + have, room);
	g_byte_array_set_size(self->body, have + (got > 0 ? (guint)got : 0));
	return got;
}

/* The header is complete: begin the frame it announces. */
static bool begin_frame(DnChannel *self, GError **error)
{
	uint32_t length = 0;

	memcpy(&length, self->header, sizeof(length));
	length = GUINT32_FROM_BE(length);
	if (length == 0 || length > self->receive_limit_bytes) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "the peer announces a frame of %u bytes, 1 to %zu are accepted", length,
			    self->receive_limit_bytes);
		return false;
	}
	self->header_got = 0;
	self->body_wanted = length;
	self->body = g_byte_array_new();
	return true;
}

static DnChannelStatus after_error(DnChannel *self, ssize_t status, GError **error)
{
	if (status == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "the peer closed the link");
		return DN_CHANNEL_FAILED;
	}
	if (status == GNUTLS_E_AGAIN)
		return DN_CHANNEL_WAIT;
	if (!gnutls_error_is_fatal((int)status))
		return DN_CHANNEL_MORE;
	return fail(self, (int)status, "read from the link", error);
}

DnChannelStatus dn_channel_receive(DnChannel *self, GBytes **frame, GError **error)
{
	for (int i = 0; i < RECEIVE_STEPS; i++) {
		ssize_t got = receive_part(self);

		if (got <= 0)
			return after_error(self, got, error);
		if (self->header_got == HEADER_BYTES && !begin_frame(self, error))
			return DN_CHANNEL_FAILED;
		if (self->body != NULL && self->body->len == self->body_wanted) {
			*frame = g_byte_array_free_to_bytes(g_steal_pointer(&self->body));
			return DN_CHANNEL_DONE;
		}
	}
	return DN_CHANNEL_MORE;
}

bool dn_channel_send(DnChannel *self, GBytes *frame)
{
	gsize size = 0;
	const void *data = g_bytes_get_data(frame, &size);
	size_t cost = size + FRAME_OVERHEAD;

	if (size == 0 || size > DN_LINK_FRAME_LIMIT || self->has_said_goodbye ||
	    cost > self->send_limit_bytes - self->outgoing_bytes)
		return false;

	/* One buffer, so that a small frame is one record and one packet. */
	uint8_t *whole = g_malloc(HEADER_BYTES + size);
	uint32_t length = GUINT32_TO_BE((uint32_t)size);
	memcpy(whole, &length, sizeof(length));
	memcpy(whole + HEADER_BYTES, data, size);
	g_queue_push_tail(&self->outgoing, g_bytes_new_take(whole, HEADER_BYTES + size));
	self->outgoing_bytes += cost;
	return true;
}

size_t dn_channel_outgoing_bytes(const DnChannel *self)
{
	return self->outgoing_bytes;
}

bool dn_channel_has_outgoing(const DnChannel *self)
{
	return self->outgoing.length > 0;
}

DnChannelStatus dn_channel_flush(DnChannel *self, GError **error)
{
	while (self->outgoing.length > 0) {
		GBytes *head = g_queue_peek_head(&self->outgoing);
		gsize size = 0;
		const uint8_t *data = g_bytes_get_data(head, &size);
		size_t left = size - self->sent_of_head;

		/* After AGAIN the library wants the same bytes again; this gives them to it. */
		ssize_t sent = gnutls_record_send(self->session, data + self->sent_of_head,
						  MIN(left, (size_t)RECORD_BYTES));
		if (sent == GNUTLS_E_AGAIN)
			return DN_CHANNEL_WAIT;
		if (sent < 0 && gnutls_error_is_fatal((int)sent))
			return fail(self, (int)sent, "write to the link", error);
		if (sent > 0)
			self->sent_of_head += (size_t)sent;
		if (self->sent_of_head == size) {
			self->outgoing_bytes -= size - HEADER_BYTES + FRAME_OVERHEAD;
			self->sent_of_head = 0;
			g_bytes_unref(g_queue_pop_head(&self->outgoing));
		}
	}
	return DN_CHANNEL_DONE;
}

DnChannelStatus dn_channel_close(DnChannel *self)
{
	uint8_t rest[4096];

	if (!self->has_said_goodbye) {
		self->has_said_goodbye = true;
		(void)gnutls_bye(self->session, GNUTLS_SHUT_WR);
		if (shutdown(self->fd, SHUT_WR) < 0)
			return DN_CHANNEL_DONE;
	}
	for (int i = 0; i < RECEIVE_STEPS; i++) {
		ssize_t got = recv(self->fd, rest, sizeof(rest), 0);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return DN_CHANNEL_WAIT;
		if (got <= 0)
			return DN_CHANNEL_DONE;
	}
	return DN_CHANNEL_WAIT;
}
