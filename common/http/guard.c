/* SPDX-License-Identifier: Apache-2.0 */
#include "http/guard.h"

#include <libsoup/soup.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

enum {
	CROWD = 32, /* turned away or ended in a minute: worth a word */
	CROWD_S = 60,
};

typedef enum { WAITS, ARRIVES, OURS, LEAVES } Phase;

typedef struct {
	DnHttpGuard *guard;            /* borrowed; NULL once it is freed */
	GSocketConnection *connection; /* not owned: a weak reference tells of its end */
	GSocketAddress *remote;        /* owned; what messages know their connection by */
	char *peer;                    /* owned */
	GList link;                    /* in guard->all */
	Phase phase;
	uint64_t since_ns; /* when the phase began */
	uint64_t moved;    /* bytes in this phase */
	bool is_ended;
} Guarded;

struct DnHttpGuard {
	DnHttpGuardConfig config;
	GQueue all;        /* of Guarded, the oldest first */
	GHashTable *peers; /* char * → GUINT: connections of it */
	guint sweep;
	unsigned dropped; /* in this minute */
	uint64_t minute_ns;
	bool is_told;
};

static const char key[] = "dn-guarded";

static const char turned_away[] =
	"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
	"Connection: close\r\n\r\n"
	"{\"title\":\"Service Unavailable\",\"status\":503,\"code\":4,"
	"\"detail\":\"too many requests at once; try again\"}\n";

/* ---- one connection ---- */

static void enter(Guarded *self, Phase phase)
{
	self->phase = phase;
	self->since_ns = dn_clock_monotonic_ns();
	self->moved = 0;
}

static void drop(DnHttpGuard *self)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (now - self->minute_ns >= CROWD_S * DN_NS_PER_S) {
		self->minute_ns = now;
		self->dropped = 0;
		self->is_told = false;
	}
	if (++self->dropped < CROWD || self->is_told || self->config.crowded == NULL)
		return;
	self->is_told = true;
	self->config.crowded(self->dropped, self->config.data);
}

static void end(Guarded *self)
{
	int fd = g_socket_get_fd(g_socket_connection_get_socket(self->connection));

	self->is_ended = true;
	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR);
	drop(self->guard);
}

static bool is_too_slow(const Guarded *self, uint64_t now_ns)
{
	uint64_t seconds = (now_ns - self->since_ns) / DN_NS_PER_S;

	switch (self->phase) {
	case WAITS:
		return seconds >= DN_HTTP_HEAD_S;
	case ARRIVES:
	case LEAVES:
		return seconds > DN_HTTP_GRACE_S &&
		       self->moved < (seconds - DN_HTTP_GRACE_S) * DN_HTTP_SLOWEST;
	case OURS:
		break;
	}
	return false;
}

static gboolean on_sweep(gpointer data)
{
	DnHttpGuard *self = data;
	uint64_t now = dn_clock_monotonic_ns();

	for (GList *at = self->all.head; at != NULL; at = at->next) {
		Guarded *one = at->data;

		if (!one->is_ended && is_too_slow(one, now))
			end(one);
	}
	if (self->all.length > 0)
		return G_SOURCE_CONTINUE;
	self->sweep = 0;
	return G_SOURCE_REMOVE;
}

static void count_peer(DnHttpGuard *self, const char *peer, int more)
{
	guint count = GPOINTER_TO_UINT(g_hash_table_lookup(self->peers, peer));

	if (more < 0 && count <= 1)
		g_hash_table_remove(self->peers, peer);
	else
		g_hash_table_insert(self->peers, g_strdup(peer),
				    GUINT_TO_POINTER(more < 0 ? count - 1 : count + 1));
}

static void guarded_free(Guarded *self)
{
	if (self->guard != NULL) {
		g_queue_unlink(&self->guard->all, &self->link);
		count_peer(self->guard, self->peer, -1);
	}
	g_object_set_data(G_OBJECT(self->remote), key, NULL);
	g_object_unref(self->remote);
	g_free(self->peer);
	g_free(self);
}

static void on_gone(gpointer data, GObject *connection)
{
	guarded_free(data);
}

/* ---- its requests ---- */

static Guarded *guarded_of(SoupServerMessage *message)
{
	GSocketAddress *remote = soup_server_message_get_remote_address(message);
	Guarded *self = remote == NULL ? NULL : g_object_get_data(G_OBJECT(remote), key);

	return self != NULL && self->guard != NULL ? self : NULL;
}

static void on_got_headers(SoupServerMessage *message, gpointer data)
{
	Guarded *self = guarded_of(message);

	if (self != NULL)
		enter(self, ARRIVES);
}

static void on_got_chunk(SoupServerMessage *message, GBytes *chunk, gpointer data)
{
	Guarded *self = guarded_of(message);

	if (self != NULL)
		self->moved += g_bytes_get_size(chunk);
}

static void on_got_body(SoupServerMessage *message, gpointer data)
{
	Guarded *self = guarded_of(message);

	if (self != NULL)
		enter(self, OURS);
}

void dn_http_guard_answered(SoupServerMessage *message)
{
	Guarded *self = guarded_of(message);

	if (self != NULL)
		enter(self, LEAVES);
}

static void on_finished(SoupServerMessage *message, gpointer data)
{
	Guarded *self = guarded_of(message);

	if (self != NULL)
		enter(self, WAITS);
}

static void on_wrote_data(SoupServerMessage *message, guint size, gpointer data)
{
	Guarded *self = guarded_of(message);

	if (self != NULL)
		self->moved += size;
}

static void on_started(SoupServer *server, SoupServerMessage *message, gpointer data)
{
	g_signal_connect(message, "got-headers", G_CALLBACK(on_got_headers), NULL);
	g_signal_connect(message, "got-chunk", G_CALLBACK(on_got_chunk), NULL);
	g_signal_connect(message, "got-body", G_CALLBACK(on_got_body), NULL);
	g_signal_connect(message, "finished", G_CALLBACK(on_finished), NULL);
	g_signal_connect(message, "wrote-body-data", G_CALLBACK(on_wrote_data), NULL);
}

/* ---- all of them ---- */

DnHttpGuard *dn_http_guard_new(const DnHttpGuardConfig *config)
{
	DnHttpGuard *self = g_new0(DnHttpGuard, 1);

	self->config = *config;
	self->peers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_signal_connect(config->server, "request-started", G_CALLBACK(on_started), self);
	return self;
}

void dn_http_guard_free(DnHttpGuard *self)
{
	if (self == NULL)
		return;
	g_signal_handlers_disconnect_by_data(self->config.server, self);
	if (self->sweep != 0)
		g_source_remove(self->sweep);
	while (self->all.length > 0) {
		GList *link = g_queue_pop_head_link(&self->all);

		((Guarded *)link->data)->guard = NULL;
	}
	g_hash_table_unref(self->peers);
	g_free(self);
}

unsigned dn_http_guard_count(const DnHttpGuard *self)
{
	return self->all.length;
}

/* End the one that has waited longest for its peer's request. False: nobody waits. */
static bool make_room(DnHttpGuard *self)
{
	Guarded *longest = NULL;

	for (GList *at = self->all.head; at != NULL; at = at->next) {
		Guarded *one = at->data;

		if (one->phase == WAITS && !one->is_ended &&
		    (longest == NULL || one->since_ns < longest->since_ns))
			longest = one;
	}
	if (longest == NULL)
		return false;
	end(longest);
	return true;
}

static void turn_away(DnHttpGuard *self, GSocketConnection *connection)
{
	int fd = g_socket_get_fd(g_socket_connection_get_socket(connection));

	(void)send(fd, turned_away, sizeof(turned_away) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	drop(self);
}

/* One that was ended is gone as soon as the main loop looks at it, so a few may be over. */
static bool is_full(const DnHttpGuard *self, const char *peer)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(self->peers, peer)) >=
		       self->config.max_of_peer ||
	       self->all.length >= 2 * self->config.max;
}

void dn_http_guard_accept(DnHttpGuard *self, GSocketConnection *connection, const char *peer)
{
	GSocket *socket = g_socket_connection_get_socket(connection);
	g_autoptr(GSocketAddress) local = g_socket_get_local_address(socket, NULL);
	g_autoptr(GSocketAddress) remote = g_socket_get_remote_address(socket, NULL);
	g_autoptr(GError) error = NULL;

	/* Without both addresses libsoup would crash: the peer is gone already. */
	if (local == NULL || remote == NULL)
		return;
	if (is_full(self, peer) || (self->all.length >= self->config.max && !make_room(self))) {
		turn_away(self, connection);
		return;
	}
	Guarded *one = g_new0(Guarded, 1);
	one->guard = self;
	one->connection = connection;
	one->remote = g_object_ref(remote);
	one->peer = g_strdup(peer);
	one->link.data = one;
	enter(one, WAITS);
	g_queue_push_tail_link(&self->all, &one->link);
	count_peer(self, peer, 1);
	g_object_set_data(G_OBJECT(remote), key, one);
	g_object_weak_ref(G_OBJECT(connection), on_gone, one);
	if (self->sweep == 0)
		self->sweep = g_timeout_add_seconds(1, on_sweep, self);
	if (!soup_server_accept_iostream(self->config.server, G_IO_STREAM(connection), local,
					 remote, &error))
		g_warning("http: %s", error->message);
}
