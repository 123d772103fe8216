/* SPDX-License-Identifier: Apache-2.0 */
#include "link/server.h"

#include <errno.h>
#include <gio/gio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "link/channel.h"
#include "link/listen.h"

enum {
	EVENTS = 64,
	ACCEPTS_A_TURN = 64,
	FRAMES_A_TURN = 32,
	LINGER_MS = 1000,
	PAUSE_MS = 100, /* how long no peer is accepted when the process is out of descriptors */
};

/*
 *   SHAKING → STRANGER → PEER
 *       \        |         |
 *        \       +-LEAVING-+      the caller closed it: flush, say goodbye, wait for theirs
 *         \          |
 *          +------→ GONE          reported; freed at the end of the turn
 */
typedef enum { SHAKING, STRANGER, PEER, LEAVING, GONE, N_STATES } State;

struct DnLinkConnection {
	DnLinkServer *server; /* borrowed; outlives the connection */
	DnChannel *channel;   /* owned; NULL when GONE */
	State state;
	bool is_opened;
	bool is_ready;        /* in the server's ready queue */
	uint32_t events;      /* what epoll waits for */
	uint64_t deadline_ns; /* of SHAKING, STRANGER and LEAVING */
	GList link;           /* in the server's queue of its state */
	GList ready_link;     /* in the server's ready queue */
	char *address;        /* owned */
	void *data;           /* the caller's */
};

typedef struct {
	GSource source; /* first: GLib allocates the whole */
	DnLinkServer *server;
} ServerSource;

struct DnLinkServer {
	DnLinkServerOps ops;
	void *data;
	DnLinkIdentity *identity; /* owned */
	DnLinkConfig config;      /* its pointers are not used after new */
	int epoll_fd;             /* owned */
	int listen_fd;            /* owned */
	GSource *source;          /* owned */
	bool is_in_turn;

	GQueue strangers; /* SHAKING and STRANGER, the earliest deadline first */
	GQueue peers;
	GQueue leaving; /* the earliest deadline first */
	GQueue gone;
	GQueue ready; /* have something to do that epoll does not know of */

	bool is_paused; /* not accepting until resume_ns */
	uint64_t resume_ns;
	uint64_t window_ns; /* when the current second of accepting began */
	unsigned accepted_in_window;
};

static GQueue *queue_of(DnLinkConnection *self)
{
	DnLinkServer *server = self->server;
	GQueue *const queues[] = {
		[SHAKING] = &server->strangers, [STRANGER] = &server->strangers,
		[PEER] = &server->peers,        [LEAVING] = &server->leaving,
		[GONE] = &server->gone,
	};
	_Static_assert(G_N_ELEMENTS(queues) == N_STATES, "every state needs a queue");

	return queues[self->state];
}

static void become(DnLinkConnection *self, State state)
{
	g_queue_unlink(queue_of(self), &self->link);
	self->state = state;
	g_queue_push_tail_link(queue_of(self), &self->link);
}

static void make_ready(DnLinkConnection *self)
{
	if (self->is_ready)
		return;
	self->is_ready = true;
	g_queue_push_tail_link(&self->server->ready, &self->ready_link);
	g_source_set_ready_time(self->server->source, 0);
}

static void connection_free(DnLinkConnection *self)
{
	g_queue_unlink(queue_of(self), &self->link);
	if (self->is_ready)
		g_queue_unlink(&self->server->ready, &self->ready_link);
	dn_channel_free(self->channel);
	g_free(self->address);
	g_free(self);
}

/* Close the socket and report it. The memory stays until events of this turn cannot name it. */
static void end(DnLinkConnection *self, const GError *reason)
{
	if (self->is_opened)
		self->server->ops.closed(self, reason, self->server->data);
	/* A child between fork and exec keeps the socket open: closing alone would not end events.
	 */
	if (self->channel != NULL)
		(void)epoll_ctl(self->server->epoll_fd, EPOLL_CTL_DEL, dn_channel_fd(self->channel),
				NULL);
	g_clear_pointer(&self->channel, dn_channel_free);
	become(self, GONE);
}

static void end_with(DnLinkConnection *self, int code, const char *why)
{
	g_autoptr(GError) reason = g_error_new_literal(DN_ERROR, code, why);

	end(self, reason);
}

static void update_events(DnLinkConnection *self)
{
	bool writes = dn_channel_wants_to_write(self->channel);
	/* One that leaves reads nothing before it has flushed: epoll would report it for ever. */
	bool reads = self->state != LEAVING || !writes;
	uint32_t events = (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0);
	struct epoll_event event = {.events = events, .data.ptr = self};

	if (events == self->events)
		return;
	if (epoll_ctl(self->server->epoll_fd, EPOLL_CTL_MOD, dn_channel_fd(self->channel), &event) <
	    0) {
		end_with(self, DN_ERROR_UNAVAILABLE, "epoll refuses the connection");
		return;
	}
	self->events = events;
}

static DnChannelStatus shake_hands(DnLinkConnection *self, GError **error)
{
	DnLinkServer *server = self->server;
	DnChannelStatus status = dn_channel_handshake(self->channel, error);

	if (status == DN_CHANNEL_DONE) {
		dn_channel_set_receive_limit(self->channel, DN_LINK_STRANGER_FRAME_LIMIT);
		/* Not become(): the queue of strangers is in the order of deadlines. */
		self->state = STRANGER;
		self->is_opened = true;
		server->ops.opened(self, dn_channel_peer_key(self->channel), server->data);
	}
	return status;
}

static bool is_talking(const DnLinkConnection *self)
{
	return self->state == STRANGER || self->state == PEER;
}

/* Hand up to FRAMES_A_TURN frames on; with more to come the connection stays ready. */
static DnChannelStatus receive(DnLinkConnection *self, GError **error)
{
	DnLinkServer *server = self->server;
	DnChannelStatus status = DN_CHANNEL_MORE;

	for (int i = 0; i < FRAMES_A_TURN && is_talking(self); i++) {
		g_autoptr(GBytes) frame = NULL;

		status = dn_channel_receive(self->channel, &frame, error);
		if (status != DN_CHANNEL_DONE)
			break;
		server->ops.frame(self, frame, server->data);
	}
	if (status == DN_CHANNEL_DONE || status == DN_CHANNEL_MORE)
		make_ready(self);
	return status;
}

/* Flush, then leave. The end of a connection that the caller closed is not an error of the peer. */
static void leave(DnLinkConnection *self)
{
	g_autoptr(GError) error = NULL;
	DnChannelStatus status = dn_channel_flush(self->channel, &error);

	if (status == DN_CHANNEL_DONE)
		status = dn_channel_close(self->channel);
	if (status == DN_CHANNEL_DONE || status == DN_CHANNEL_FAILED)
		end_with(self, DN_ERROR_UNAVAILABLE, "closed at this end");
	else
		update_events(self);
}

static void serve(DnLinkConnection *self)
{
	g_autoptr(GError) error = NULL;
	DnChannelStatus status = DN_CHANNEL_DONE;

	if (self->state == SHAKING)
		status = shake_hands(self, &error);
	/* Read first: what is in the answer to a frame goes out in the same turn. */
	if (status != DN_CHANNEL_FAILED && is_talking(self))
		status = receive(self, &error);
	if (status != DN_CHANNEL_FAILED && is_talking(self))
		status = dn_channel_flush(self->channel, &error);
	if (status == DN_CHANNEL_FAILED)
		end(self, error);
	else if (self->state == LEAVING)
		leave(self);
	else if (self->state != GONE)
		update_events(self);
}

/* Take @fd into the server as a connection in its handshake. */
static void adopt(DnLinkServer *self, int fd, char *address)
{
	const DnChannelConfig config = {
		.is_server = true,
		.send_limit_bytes = self->config.send_limit_bytes,
	};
	g_autofree char *owned_address = address;
	g_autoptr(GError) error = NULL;
	DnChannel *channel = dn_channel_new(fd, self->identity, &config, &error);

	/* The peer may be gone already; there is nobody to tell. */
	if (channel == NULL)
		return;
	DnLinkConnection *connection = g_new0(DnLinkConnection, 1);
	connection->server = self;
	connection->channel = channel;
	connection->address = g_steal_pointer(&owned_address);
	connection->link.data = connection;
	connection->ready_link.data = connection;
	connection->events = EPOLLIN;
	connection->deadline_ns =
		dn_clock_monotonic_ns() + self->config.handshake_timeout_ms * DN_NS_PER_MS;
	g_queue_push_tail_link(queue_of(connection), &connection->link);

	struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
	if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		end_with(connection, DN_ERROR_UNAVAILABLE, "epoll refuses the connection");
}

static void set_listening(DnLinkServer *self, bool on)
{
	struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.ptr = NULL};

	self->is_paused = !on;
	if (epoll_ctl(self->epoll_fd, EPOLL_CTL_MOD, self->listen_fd, &event) < 0)
		g_error("epoll has lost the listening socket: %s", g_strerror(errno));
}

static void pause_until(DnLinkServer *self, uint64_t resume_ns)
{
	self->resume_ns = resume_ns;
	set_listening(self, false);
}

/* Is there room for one more in this second? Otherwise wait for the next. */
static bool may_accept(DnLinkServer *self)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (now - self->window_ns >= DN_NS_PER_S) {
		self->window_ns = now;
		self->accepted_in_window = 0;
	}
	if (self->accepted_in_window < self->config.max_accepts_per_s)
		return true;
	pause_until(self, self->window_ns + DN_NS_PER_S);
	return false;
}

/*
 * Make room for a newcomer. A flood of strangers that never finish pushes out its own oldest
 * members: an honest peer needs milliseconds, and would never be served if the door stayed shut
 * until the flood's deadlines pass.
 */
static bool make_room(DnLinkServer *self)
{
	if (self->strangers.length >= self->config.max_strangers)
		end_with(g_queue_peek_head(&self->strangers), DN_ERROR_EXHAUSTED,
			 "too many peers that are not approved");
	return dn_link_server_count(self) < self->config.max_connections;
}

static void accept_some(DnLinkServer *self)
{
	for (int i = 0; i < ACCEPTS_A_TURN && may_accept(self); i++) {
		char *address = NULL;
		int fd = dn_link_accept(self->listen_fd, &address);

		if (fd >= 0) {
			self->accepted_in_window++;
			if (make_room(self)) {
				adopt(self, fd, address);
			} else {
				dn_fd_clear(&fd);
				g_free(address);
			}
			continue;
		}
		if (errno == EAGAIN)
			return;
		/* Out of descriptors or memory; any other error is that one peer's, gone again. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			pause_until(self, dn_clock_monotonic_ns() + PAUSE_MS * DN_NS_PER_MS);
			return;
		}
	}
}

static void expire(DnLinkServer *self, GQueue *queue, int code, const char *why)
{
	uint64_t now = dn_clock_monotonic_ns();

	for (;;) {
		DnLinkConnection *oldest = g_queue_peek_head(queue);

		if (oldest == NULL || oldest->deadline_ns > now)
			return;
		end_with(oldest, code, why);
	}
}

static uint64_t first_deadline(GQueue *queue, uint64_t before)
{
	const DnLinkConnection *oldest = g_queue_peek_head(queue);

	return oldest != NULL ? MIN(before, oldest->deadline_ns) : before;
}

/* When to run next without an event. */
static void arm(DnLinkServer *self)
{
	uint64_t next = self->is_paused ? self->resume_ns : UINT64_MAX;

	next = first_deadline(&self->strangers, next);
	next = first_deadline(&self->leaving, next);
	gint64 ready_time = -1;
	if (self->ready.length > 0)
		ready_time = 0;
	else if (next != UINT64_MAX) /* rounded up, or the loop would spin before it */
		ready_time = (gint64)(next / DN_NS_PER_US) + 1;
	g_source_set_ready_time(self->source, ready_time);
}

static void serve_ready(DnLinkServer *self)
{
	for (guint n = self->ready.length; n > 0 && self->ready.length > 0; n--) {
		GList *link = g_queue_pop_head_link(&self->ready);
		DnLinkConnection *connection = link->data;

		connection->is_ready = false;
		if (connection->state != GONE)
			serve(connection);
	}
}

static void serve_events(DnLinkServer *self)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(self->epoll_fd, events, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		DnLinkConnection *connection = events[i].data.ptr;

		if (connection == NULL)
			accept_some(self);
		else if (connection->state != GONE)
			serve(connection);
	}
}

static void free_gone(DnLinkServer *self)
{
	while (self->gone.length > 0)
		connection_free(g_queue_peek_head(&self->gone));
}

static gboolean take_turn(GSource *source, GSourceFunc call, gpointer data)
{
	DnLinkServer *self = ((ServerSource *)source)->server;

	self->is_in_turn = true;
	if (self->is_paused && dn_clock_monotonic_ns() >= self->resume_ns)
		set_listening(self, true);
	serve_ready(self);
	serve_events(self);
	expire(self, &self->strangers, DN_ERROR_EXHAUSTED,
	       "not approved within the time for the handshake");
	expire(self, &self->leaving, DN_ERROR_UNAVAILABLE, "closed at this end");
	free_gone(self);
	arm(self);
	self->is_in_turn = false;
	return G_SOURCE_CONTINUE;
}

static GSourceFuncs server_source = {.dispatch = take_turn};

static void fill_in(DnLinkConfig *config)
{
	const DnLinkConfig defaults = {
		.handshake_timeout_ms = DN_LINK_HANDSHAKE_MS,
		.max_strangers = 256,
		.max_connections = 4096,
		.max_accepts_per_s = 1000,
		.send_limit_bytes = DN_LINK_SEND_LIMIT,
	};

	if (config->handshake_timeout_ms == 0)
		config->handshake_timeout_ms = defaults.handshake_timeout_ms;
	if (config->max_strangers == 0)
		config->max_strangers = defaults.max_strangers;
	if (config->max_connections == 0)
		config->max_connections = defaults.max_connections;
	if (config->max_accepts_per_s == 0)
		config->max_accepts_per_s = defaults.max_accepts_per_s;
	if (config->send_limit_bytes == 0)
		config->send_limit_bytes = defaults.send_limit_bytes;
}

static bool open_epoll(DnLinkServer *self, GError **error)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (self->epoll_fd < 0 ||
	    epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->listen_fd, &event) < 0)
		return dn_throw_errno(error, errno, "make the link's epoll descriptor");
	return true;
}

DnLinkServer *dn_link_server_new(const DnLinkConfig *config, const DnLinkServerOps *ops, void *data,
				 GError **error)
{
	g_autoptr(DnLinkServer) self = g_new0(DnLinkServer, 1);
	g_autoptr(GMainContext) context = g_main_context_ref_thread_default();

	self->epoll_fd = -1;
	self->ops = *ops;
	self->data = data;
	self->config = *config;
	self->config.identity = NULL;
	self->config.address = NULL;
	self->identity = dn_link_identity_ref(config->identity);
	fill_in(&self->config);
	self->listen_fd = dn_link_listen(config->address, error);
	if (self->listen_fd < 0 || !open_epoll(self, error))
		return NULL;

	self->source = g_source_new(&server_source, sizeof(ServerSource));
	((ServerSource *)self->source)->server = self;
	g_source_set_static_name(self->source, "dnode link server");
	g_source_add_unix_fd(self->source, self->epoll_fd, G_IO_IN);
	g_source_attach(self->source, context);
	return g_steal_pointer(&self);
}

static void end_all(GQueue *queue)
{
	while (queue->length > 0)
		end_with(g_queue_peek_head(queue), DN_ERROR_UNAVAILABLE, "this end shuts down");
}

void dn_link_server_free(DnLinkServer *self)
{
	if (self == NULL)
		return;
	g_assert(!self->is_in_turn);
	end_all(&self->strangers);
	end_all(&self->peers);
	end_all(&self->leaving);
	free_gone(self);
	if (self->source != NULL) {
		g_source_destroy(self->source);
		g_source_unref(self->source);
	}
	dn_fd_clear(&self->epoll_fd);
	dn_fd_clear(&self->listen_fd);
	dn_link_identity_unref(self->identity);
	g_free(self);
}

uint16_t dn_link_server_port(const DnLinkServer *self)
{
	return dn_link_port(self->listen_fd);
}

unsigned dn_link_server_count(const DnLinkServer *self)
{
	return self->strangers.length + self->peers.length + self->leaving.length;
}

void dn_link_connection_approve(DnLinkConnection *self)
{
	if (self->state != STRANGER)
		return;
	dn_channel_set_receive_limit(self->channel, DN_LINK_FRAME_LIMIT);
	become(self, PEER);
}

bool dn_link_connection_send(DnLinkConnection *self, GBytes *frame)
{
	if (!is_talking(self) || !dn_channel_send(self->channel, frame))
		return false;
	make_ready(self);
	return true;
}

void dn_link_connection_close(DnLinkConnection *self)
{
	if (!is_talking(self))
		return;
	self->deadline_ns = dn_clock_monotonic_ns() + LINGER_MS * DN_NS_PER_MS;
	become(self, LEAVING);
	make_ready(self);
}

void dn_link_connection_set_data(DnLinkConnection *self, void *data)
{
	self->data = data;
}

void *dn_link_connection_get_data(const DnLinkConnection *self)
{
	return self->data;
}

const uint8_t *dn_link_connection_peer_key(const DnLinkConnection *self)
{
	return dn_channel_peer_key(self->channel);
}

const char *dn_link_connection_peer_address(const DnLinkConnection *self)
{
	return self->address;
}
