/* SPDX-License-Identifier: Apache-2.0 */
#include "link/client.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>

#include "base/bucket.h"
#include "base/clock.h"
#include "base/fd.h"
#include "link/channel.h"

enum { FRAMES_A_TURN = 32, RETRY_MIN_MS = 100, RETRY_MAX_MS = 5000, HOLD_MS = 50 };

/* IDLE → CONNECTING → SHAKING → TALKING, and from each back to IDLE; IDLE waits or is done. */
typedef enum { IDLE, CONNECTING, SHAKING, TALKING } State;

typedef struct {
	GSource source; /* first: GLib allocates the whole */
	DnLinkClient *client;
} ClientSource;

struct DnLinkClient {
	unsigned refs; /* the caller's, one of a connect under way, one of a turn */
	bool is_freed; /* by the caller: nothing is reported any more */
	DnLinkClientOps ops;
	void *data;

	char *address;            /* owned */
	DnLinkIdentity *identity; /* owned */
	uint8_t pin[32];
	bool pins_key;
	DnLinkClientConfig config; /* its pointers are not used after new */

	State state;
	GSource *source;           /* owned; all timers and the socket */
	GSocketClient *connector;  /* owned */
	GCancellable *cancellable; /* owned; of the connect under way */
	DnChannel *channel;        /* owned; in SHAKING and TALKING */
	gpointer fd_tag;           /* of the channel's descriptor in the source */
	GError *drop;              /* owned; the caller wants this attempt to end */
	unsigned failures;         /* attempts since the last frame that was none to drop it for */
	uint64_t deadline_ns;      /* IDLE: next attempt; CONNECTING, SHAKING: give up; 0: none */
	DnBucket frames;           /* that the server may still say */
	uint64_t held_ns;          /* it is not read before; 0: it is */
	bool has_work;             /* to be done without waiting for the socket */
};

static void client_unref(DnLinkClient *self)
{
	if (--self->refs > 0)
		return;
	g_free(self->address);
	g_clear_object(&self->connector);
	dn_link_identity_unref(self->identity);
	g_free(self);
}

static void clear_ref(DnLinkClient **self)
{
	client_unref(*self);
}

/* Keep the client for as long as a scope that calls the caller. */
#define keep_alive __attribute__((cleanup(clear_ref), unused))

static DnLinkClient *client_ref(DnLinkClient *self)
{
	self->refs++;
	return self;
}

static void arm(DnLinkClient *self)
{
	gint64 ready_time = -1;

	if (self->has_work || self->drop != NULL)
		ready_time = 0;
	else if (self->held_ns != 0 || self->deadline_ns != 0)
		ready_time = (gint64)((self->held_ns != 0 ? self->held_ns : self->deadline_ns) /
				      DN_NS_PER_US) +
			     1;
	g_source_set_ready_time(self->source, ready_time);
	if (self->channel != NULL)
		g_source_modify_unix_fd(
			self->source, self->fd_tag,
			(self->held_ns != 0 ? 0 : G_IO_IN) |
				(dn_channel_wants_to_write(self->channel) ? G_IO_OUT : 0));
}

static void set_deadline_ms(DnLinkClient *self, uint64_t timeout_ms)
{
	self->deadline_ns = dn_clock_monotonic_ns() + timeout_ms * DN_NS_PER_MS;
}

/* Let go of whatever the attempt holds. */
static void clear_attempt(DnLinkClient *self)
{
	if (self->cancellable != NULL)
		g_cancellable_cancel(self->cancellable);
	g_clear_object(&self->cancellable);
	if (self->channel != NULL)
		g_source_remove_unix_fd(self->source, self->fd_tag);
	g_clear_pointer(&self->channel, dn_channel_free);
	g_clear_error(&self->drop);
	self->state = IDLE;
	self->has_work = false;
	self->held_ns = 0;
	self->deadline_ns = 0;
}

/* Doubling, and a random half of it, so that a fleet does not come back in one moment. */
static unsigned retry_delay_ms(DnLinkClient *self)
{
	unsigned steps = MIN(self->failures, 16);
	uint64_t longest = MIN((uint64_t)self->config.retry_min_ms << steps,
			       (uint64_t)self->config.retry_max_ms);

	return (unsigned)(longest / 2 + (uint64_t)g_random_int_range(0, (gint32)(longest / 2 + 1)));
}

static void end_attempt(DnLinkClient *self, const GError *reason)
{
	clear_attempt(self);
	if (!self->config.is_once) {
		set_deadline_ms(self, retry_delay_ms(self));
		self->failures++;
	}
	self->ops.closed(self, reason, self->data);
}

static bool begin_handshake(DnLinkClient *self, int fd, GError **error)
{
	const DnChannelConfig config = {
		.peer_key = self->pins_key ? self->pin : NULL,
		.peer_fingerprint = self->pins_key ? NULL : self->pin,
		.send_limit_bytes = self->config.send_limit_bytes,
	};

	self->channel = dn_channel_new(fd, self->identity, &config, error);
	if (self->channel == NULL)
		return false;
	self->state = SHAKING;
	self->fd_tag = g_source_add_unix_fd(self->source, fd, G_IO_IN | G_IO_OUT);
	self->has_work = true;
	return true;
}

/* A descriptor of our own: GIO's connection object closes the one it holds. */
static int take_descriptor(GSocketConnection *connection, GError **error)
{
	int theirs = g_socket_get_fd(g_socket_connection_get_socket(connection));
	dn_autofd int fd = fcntl(theirs, F_DUPFD_CLOEXEC, 0);

	if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		dn_throw_errno(error, errno, "take over the link's socket");
		return -1;
	}
	return g_steal_fd(&fd);
}

static void on_connected(GObject *object, GAsyncResult *result, gpointer data)
{
	keep_alive DnLinkClient *self = data;
	g_autoptr(GError) error = NULL;
	g_autoptr(GSocketConnection) connection =
		g_socket_client_connect_to_host_finish(G_SOCKET_CLIENT(object), result, &error);

	/* Cancelled means that this attempt was ended and perhaps another has begun. */
	if (self->is_freed || g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED) ||
	    self->state != CONNECTING)
		return;
	if (connection == NULL) {
		g_autoptr(GError) reason =
			g_error_new(DN_ERROR, DN_ERROR_UNAVAILABLE, "connect to %s: %s",
				    self->address, error->message);
		end_attempt(self, reason);
	} else {
		int fd = take_descriptor(connection, &error);

		g_clear_object(&self->cancellable);
		if (fd < 0 || !begin_handshake(self, fd, &error))
			end_attempt(self, error);
	}
	if (!self->is_freed)
		arm(self);
}

static void begin_attempt(DnLinkClient *self)
{
	self->state = CONNECTING;
	self->cancellable = g_cancellable_new();
	set_deadline_ms(self, self->config.handshake_timeout_ms);
	g_socket_client_connect_to_host_async(self->connector, self->address, 0, self->cancellable,
					      on_connected, client_ref(self));
}

static void expire(DnLinkClient *self)
{
	if (self->state == IDLE) {
		self->deadline_ns = 0;
		begin_attempt(self);
		return;
	}
	g_autoptr(GError) reason =
		g_error_new(DN_ERROR, DN_ERROR_EXHAUSTED, "connect to %s: no answer within %u ms",
			    self->address, self->config.handshake_timeout_ms);
	end_attempt(self, reason);
}

/* Hand up to FRAMES_A_TURN frames on; one that says more than it may is not read for a while. */
static DnChannelStatus receive(DnLinkClient *self, GError **error)
{
	const DnBucketRate rate = {.burst = self->config.frames_burst,
				   .per_s = self->config.frames_per_s};
	DnChannelStatus status = DN_CHANNEL_MORE;

	self->held_ns = 0;
	for (int i = 0; i < FRAMES_A_TURN && !self->is_freed && self->drop == NULL; i++) {
		uint64_t now = dn_clock_monotonic_ns();
		g_autoptr(GBytes) frame = NULL;

		if (!dn_bucket_has(&self->frames, &rate, now)) {
			self->held_ns = now + HOLD_MS * DN_NS_PER_MS;
			return DN_CHANNEL_WAIT;
		}
		status = dn_channel_receive(self->channel, &frame, error);
		if (status == DN_CHANNEL_MORE)
			dn_bucket_spend(&self->frames, &rate, 1, now);
		if (status != DN_CHANNEL_DONE)
			break;
		dn_bucket_spend(&self->frames, &rate,
				1 + (double)g_bytes_get_size(frame) / DN_LINK_FRAME_UNIT, now);
		self->ops.frame(self, frame, self->data);
		/* A refusal is a frame, too. */
		if (!self->is_freed && self->drop == NULL)
			self->failures = 0;
	}
	if (status == DN_CHANNEL_DONE || status == DN_CHANNEL_MORE)
		self->has_work = true;
	return status;
}

static void serve(DnLinkClient *self)
{
	g_autoptr(GError) error = NULL;
	DnChannelStatus status = DN_CHANNEL_DONE;

	self->has_work = false;
	if (self->state == SHAKING) {
		status = dn_channel_handshake(self->channel, &error);
		if (status == DN_CHANNEL_DONE) {
			self->state = TALKING;
			self->deadline_ns = 0;
			self->ops.connected(self, dn_channel_peer_key(self->channel), self->data);
		}
	}
	if (!self->is_freed && status != DN_CHANNEL_FAILED && self->state == TALKING &&
	    dn_clock_monotonic_ns() >= self->held_ns)
		status = receive(self, &error);
	if (!self->is_freed && status != DN_CHANNEL_FAILED && self->state == TALKING)
		status = dn_channel_flush(self->channel, &error);
	if (!self->is_freed && status == DN_CHANNEL_FAILED) {
		g_prefix_error(&error, "%s: ", self->address);
		end_attempt(self, error);
	}
}

static gboolean take_turn(GSource *source, GSourceFunc call, gpointer data)
{
	keep_alive DnLinkClient *self = client_ref(((ClientSource *)source)->client);

	if (self->drop != NULL) {
		g_autoptr(GError) reason = g_steal_pointer(&self->drop);

		end_attempt(self, reason);
	} else if (self->channel != NULL) {
		serve(self);
	}
	if (!self->is_freed && self->deadline_ns != 0 &&
	    dn_clock_monotonic_ns() >= self->deadline_ns)
		expire(self);
	if (self->is_freed)
		return G_SOURCE_REMOVE;
	arm(self);
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs client_source = {.dispatch = take_turn};

static void fill_in(DnLinkClientConfig *config)
{
	if (config->handshake_timeout_ms == 0)
		config->handshake_timeout_ms = DN_LINK_HANDSHAKE_MS;
	if (config->retry_min_ms == 0)
		config->retry_min_ms = RETRY_MIN_MS;
	if (config->retry_max_ms == 0)
		config->retry_max_ms = RETRY_MAX_MS;
	if (config->send_limit_bytes == 0)
		config->send_limit_bytes = DN_LINK_SEND_LIMIT;
	if (config->frames_per_s == 0)
		config->frames_per_s = DN_LINK_ORDERS_PER_S;
	if (config->frames_burst == 0)
		config->frames_burst = DN_LINK_ORDERS_BURST;
}

/* HOST:PORT with the port, or GIO would call port 0. */
static bool check_address(const char *address, GError **error)
{
	g_autoptr(GSocketConnectable) parsed = g_network_address_parse(address, 0, NULL);

	if (parsed != NULL && g_network_address_get_port(G_NETWORK_ADDRESS(parsed)) != 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "cannot connect to '%s': give HOST:PORT",
		    address);
	return false;
}

DnLinkClient *dn_link_client_new(const DnLinkClientConfig *config, const DnLinkClientOps *ops,
				 void *data, GError **error)
{
	const uint8_t *pin =
		config->server_key != NULL ? config->server_key : config->server_fingerprint;
	g_autoptr(GMainContext) context = g_main_context_ref_thread_default();

	if (!check_address(config->address, error))
		return NULL;
	if (pin == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "connect to %s: neither key nor fingerprint of the server is known",
			    config->address);
		return NULL;
	}
	DnLinkClient *self = g_new0(DnLinkClient, 1);
	self->refs = 1;
	self->ops = *ops;
	self->data = data;
	self->address = g_strdup(config->address);
	self->identity = dn_link_identity_ref(config->identity);
	memcpy(self->pin, pin, sizeof(self->pin));
	self->pins_key = config->server_key != NULL;
	self->config = *config;
	fill_in(&self->config);

	self->connector = g_socket_client_new();
	/* A proxy of the environment has no business between an agent and its supervisor. */
	g_socket_client_set_enable_proxy(self->connector, FALSE);
	self->source = g_source_new(&client_source, sizeof(ClientSource));
	((ClientSource *)self->source)->client = self;
	g_source_set_static_name(self->source, "dnode link client");
	self->deadline_ns = 1;
	arm(self);
	g_source_attach(self->source, context);
	return self;
}

void dn_link_client_free(DnLinkClient *self)
{
	if (self == NULL)
		return;
	self->is_freed = true;
	if (self->state == TALKING) {
		/* What was queued goes as far as the socket takes it; nobody waits for more. */
		if (dn_channel_flush(self->channel, NULL) == DN_CHANNEL_DONE)
			dn_channel_close(self->channel);
	}
	clear_attempt(self);
	g_source_destroy(self->source);
	g_clear_pointer(&self->source, g_source_unref);
	client_unref(self);
}

bool dn_link_client_is_connected(const DnLinkClient *self)
{
	return self->state == TALKING && self->drop == NULL;
}

bool dn_link_client_send(DnLinkClient *self, GBytes *frame)
{
	if (!dn_link_client_is_connected(self) || !dn_channel_send(self->channel, frame))
		return false;
	self->has_work = true;
	g_source_set_ready_time(self->source, 0);
	return true;
}

size_t dn_link_client_queued_bytes(const DnLinkClient *self)
{
	return dn_link_client_is_connected(self) ? dn_channel_outgoing_bytes(self->channel) : 0;
}

void dn_link_client_drop(DnLinkClient *self, const char *why)
{
	if (self->state == IDLE || self->drop != NULL)
		return;
	self->drop = g_error_new_literal(DN_ERROR, DN_ERROR_UNAVAILABLE, why);
	g_source_set_ready_time(self->source, 0);
}
