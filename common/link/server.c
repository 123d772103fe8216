/* SPDX-License-Identifier: Apache-2.0 */
#include "link/server.h"

#include <errno.h>
#include <gio/gio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "link/connections.h"
#include "link/listen.h"

enum {
	EVENTS = 64,
	ACCEPTS_A_TURN = 64,
	PAUSE_MS = 100, /* how long no peer is accepted when the process is out of descriptors */
	CROWD = 64,     /* strangers dropped in a minute that are worth a word */
	CROWD_S = 60,
};

typedef struct {
	GSource source; /* first: GLib allocates the whole */
	DnLinkServer *server;
} ServerSource;

struct DnLinkServer {
	DnLinkIdentity *identity; /* owned */
	DnLinkConfig config;      /* its pointers are not used after new */
	int epoll_fd;             /* owned; data.ptr is a connection, or NULL for listen_fd */
	int listen_fd;            /* owned */
	GSource *source;          /* owned */
	DnLinkConnections connections;
	DnLinkOrigins *origins; /* owned */
	uint64_t crowd_ns;      /* when the minute began in which drops are counted */
	bool is_crowd_told;     /* in this minute */
	bool is_in_turn;

	bool is_paused; /* not accepting until resume_ns */
	uint64_t resume_ns;
	uint64_t window_ns; /* when the current second of accepting began */
	unsigned accepted_in_window;
};

/* Take @fd into the server as a connection in its handshake. */
static void adopt(DnLinkServer *self, int fd, char *address, DnLinkOrigin *origin)
{
	const DnChannelConfig config = {
		.is_server = true,
		.send_limit_bytes = self->config.send_limit_bytes,
	};
	g_autofree char *owned_address = address;
	g_autoptr(GError) error = NULL;
	DnChannel *channel = dn_channel_new(fd, self->identity, &config, &error);

	/* The peer may be gone already; there is nobody to tell. */
	if (channel == NULL) {
		dn_link_origin_leave(origin);
		return;
	}
	uint64_t deadline_ns =
		dn_clock_monotonic_ns() + self->config.handshake_timeout_ms * DN_NS_PER_MS;
	dn_link_connections_add(&self->connections, channel, g_steal_pointer(&owned_address),
				origin, deadline_ns);
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
	if (self->connections.strangers.length >= self->config.max_strangers)
		dn_link_connections_drop_stranger(&self->connections);
	return dn_link_server_count(self) < self->config.max_connections;
}

/* Takes @fd and @address. One that its address has no share for costs no more than this. */
static void let_in(DnLinkServer *self, int fd, char *address)
{
	DnLinkOrigin *origin =
		dn_link_origins_enter(self->origins, address, dn_clock_monotonic_ns());

	if (origin != NULL && make_room(self)) {
		self->accepted_in_window++;
		adopt(self, fd, address, origin);
		return;
	}
	dn_link_origin_leave(origin);
	dn_link_connections_note_drop(&self->connections, address);
	dn_fd_clear(&fd);
	g_free(address);
}

static void accept_some(DnLinkServer *self)
{
	for (int i = 0; i < ACCEPTS_A_TURN && may_accept(self); i++) {
		char *address = NULL;
		int fd = dn_link_accept(self->listen_fd, &address);

		if (fd >= 0) {
			let_in(self, fd, address);
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

/* When to run next without an event. */
static void arm(DnLinkServer *self)
{
	uint64_t next = dn_link_connections_deadline(&self->connections);
	gint64 ready_time = -1;

	if (self->is_paused)
		next = MIN(next, self->resume_ns);
	if (self->connections.ready.length > 0)
		ready_time = 0;
	else if (next != UINT64_MAX) /* rounded up, or the loop would spin before it */
		ready_time = (gint64)(next / DN_NS_PER_US) + 1;
	g_source_set_ready_time(self->source, ready_time);
}

static void serve_events(DnLinkServer *self)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(self->epoll_fd, events, EVENTS, 0);

	for (int i = 0; i < n; i++) {
		DnLinkConnection *connection = events[i].data.ptr;

		if (connection == NULL)
			accept_some(self);
		else if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0)
			dn_link_connections_serve_dead(connection);
		else
			dn_link_connections_serve(connection);
	}
}

/* Say once a minute that strangers are dropped by the dozen. */
static void tell_crowd(DnLinkServer *self)
{
	DnLinkConnections *all = &self->connections;
	uint64_t now = dn_clock_monotonic_ns();

	if (now - self->crowd_ns >= CROWD_S * DN_NS_PER_S) {
		self->crowd_ns = now;
		self->is_crowd_told = false;
		all->dropped = 0;
	}
	if (self->is_crowd_told || all->dropped < CROWD || all->ops.crowded == NULL)
		return;
	self->is_crowd_told = true;
	all->ops.crowded(all->dropped, all->dropped_from, all->data);
}

static gboolean take_turn(GSource *source, GSourceFunc call, gpointer data)
{
	DnLinkServer *self = ((ServerSource *)source)->server;

	self->is_in_turn = true;
	if (self->is_paused && dn_clock_monotonic_ns() >= self->resume_ns)
		set_listening(self, true);
	dn_link_connections_serve_ready(&self->connections);
	serve_events(self);
	dn_link_connections_expire(&self->connections);
	dn_link_connections_free_gone(&self->connections);
	tell_crowd(self);
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
		.max_strangers_here = 64,
		.max_arrivals_here = 50,
		.max_connections = 4096,
		.max_accepts_per_s = 1000,
		.send_limit_bytes = DN_LINK_SEND_LIMIT,
		.frames_per_s = DN_LINK_FRAMES_PER_S,
		.frames_burst = DN_LINK_FRAMES_BURST,
	};

	if (config->handshake_timeout_ms == 0)
		config->handshake_timeout_ms = defaults.handshake_timeout_ms;
	if (config->max_strangers == 0)
		config->max_strangers = defaults.max_strangers;
	if (config->max_strangers_here == 0)
		config->max_strangers_here = defaults.max_strangers_here;
	if (config->max_arrivals_here == 0)
		config->max_arrivals_here = defaults.max_arrivals_here;
	if (config->frames_per_s == 0)
		config->frames_per_s = defaults.frames_per_s;
	if (config->frames_burst == 0)
		config->frames_burst = defaults.frames_burst;
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
	self->connections.ops = *ops;
	self->connections.data = data;
	self->config = *config;
	self->config.identity = NULL;
	self->config.address = NULL;
	self->identity = dn_link_identity_ref(config->identity);
	fill_in(&self->config);
	self->connections.rate = (DnBucketRate){.burst = self->config.frames_burst,
						.per_s = self->config.frames_per_s};
	self->origins =
		dn_link_origins_new(self->config.max_strangers_here,
				    (DnBucketRate){.burst = 2.0 * self->config.max_arrivals_here,
						   .per_s = self->config.max_arrivals_here});
	self->listen_fd = dn_link_listen(config->address, error);
	if (self->listen_fd < 0 || !open_epoll(self, error))
		return NULL;

	self->source = g_source_new(&server_source, sizeof(ServerSource));
	((ServerSource *)self->source)->server = self;
	g_source_set_static_name(self->source, "dnode link server");
	g_source_add_unix_fd(self->source, self->epoll_fd, G_IO_IN);
	self->connections.epoll_fd = self->epoll_fd;
	self->connections.source = self->source;
	g_source_attach(self->source, context);
	return g_steal_pointer(&self);
}

void dn_link_server_free(DnLinkServer *self)
{
	if (self == NULL)
		return;
	g_assert(!self->is_in_turn);
	dn_link_connections_clear(&self->connections);
	if (self->source != NULL) {
		g_source_destroy(self->source);
		g_source_unref(self->source);
	}
	dn_fd_clear(&self->epoll_fd);
	dn_fd_clear(&self->listen_fd);
	dn_link_identity_unref(self->identity);
	dn_link_origins_free(self->origins);
	g_free(self);
}

uint16_t dn_link_server_port(const DnLinkServer *self)
{
	return dn_link_port(self->listen_fd);
}

unsigned dn_link_server_count(const DnLinkServer *self)
{
	return dn_link_connections_count(&self->connections);
}
