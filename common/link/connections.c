/* SPDX-License-Identifier: Apache-2.0 */
#include "link/connections.h"

#include <sys/epoll.h>

#include "base/clock.h"

enum {
	FRAMES_A_TURN = 32,
	LINGER_MS = 1000,
	HOLD_MS = 50, /* how long one that says too much is not read; then it is asked again */
	TELL_EVERY_S = 60,
};

typedef enum { SHAKING, STRANGER, PEER, LEAVING, GONE, N_STATES } State;

struct DnLinkConnection {
	DnLinkConnections *all; /* borrowed; outlives the connection */
	DnChannel *channel;     /* owned; NULL when GONE */
	State state;
	bool is_opened;
	bool is_ready;        /* in the ready queue */
	bool is_held;         /* in the held queue */
	uint32_t events;      /* what epoll waits for */
	uint64_t deadline_ns; /* of SHAKING, STRANGER and LEAVING */
	GList link;           /* in the queue of its state */
	GList ready_link;     /* in the ready queue */
	GList held_link;      /* in the held queue */
	uint64_t held_ns;     /* until when */
	uint64_t told_ns;     /* when flooded() was called last; 0: never */
	DnBucket frames;      /* that it may still say */
	DnLinkOrigin *origin; /* borrowed; of a stranger, NULL once it is none */
	char *address;        /* owned */
	void *data;           /* the caller's */
};

static GQueue *queue_of(DnLinkConnection *self)
{
	DnLinkConnections *all = self->all;
	GQueue *const queues[] = {
		[SHAKING] = &all->strangers, [STRANGER] = &all->strangers, [PEER] = &all->peers,
		[LEAVING] = &all->leaving,   [GONE] = &all->gone,
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
	g_queue_push_tail_link(&self->all->ready, &self->ready_link);
	g_source_set_ready_time(self->all->source, 0);
}

static void connection_free(DnLinkConnection *self)
{
	g_queue_unlink(queue_of(self), &self->link);
	if (self->is_ready)
		g_queue_unlink(&self->all->ready, &self->ready_link);
	if (self->is_held)
		g_queue_unlink(&self->all->held, &self->held_link);
	dn_channel_free(self->channel);
	g_free(self->address);
	g_free(self);
}

static void leave_origin(DnLinkConnection *self)
{
	dn_link_origin_leave(self->origin);
	self->origin = NULL;
}

/* Close the socket and report it. The memory stays until events of this turn cannot name it. */
static void end(DnLinkConnection *self, const GError *reason)
{
	if (self->state == SHAKING || self->state == STRANGER)
		dn_link_connections_note_drop(self->all, self->address);
	leave_origin(self);
	if (self->is_opened)
		self->all->ops.closed(self, reason, self->all->data);
	/* A child between fork and exec keeps the socket open: closing alone would not end events.
	 */
	if (self->channel != NULL)
		(void)epoll_ctl(self->all->epoll_fd, EPOLL_CTL_DEL, dn_channel_fd(self->channel),
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
	bool reads = (self->state != LEAVING || !writes) && !self->is_held;
	uint32_t events = (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0);
	struct epoll_event event = {.events = events, .data.ptr = self};

	if (events == self->events)
		return;
	if (epoll_ctl(self->all->epoll_fd, EPOLL_CTL_MOD, dn_channel_fd(self->channel), &event) <
	    0) {
		end_with(self, DN_ERROR_UNAVAILABLE, "epoll refuses the connection");
		return;
	}
	self->events = events;
}

static DnChannelStatus shake_hands(DnLinkConnection *self, GError **error)
{
	DnLinkConnections *all = self->all;
	DnChannelStatus status = dn_channel_handshake(self->channel, error);

	if (status == DN_CHANNEL_DONE) {
		dn_channel_set_receive_limit(self->channel, DN_LINK_STRANGER_FRAME_LIMIT);
		/* Not become(): the queue of strangers is in the order of deadlines. */
		self->state = STRANGER;
		self->is_opened = true;
		all->ops.opened(self, dn_channel_peer_key(self->channel), all->data);
	}
	return status;
}

static bool is_talking(const DnLinkConnection *self)
{
	return self->state == STRANGER || self->state == PEER;
}

/* It has said more than it may: leave what comes next in the socket until it may again. */
static void hold(DnLinkConnection *self, uint64_t now_ns)
{
	DnLinkConnections *all = self->all;

	self->is_held = true;
	self->held_ns = now_ns + HOLD_MS * DN_NS_PER_MS;
	g_queue_push_tail_link(&all->held, &self->held_link);
	if (all->ops.flooded == NULL ||
	    (self->told_ns != 0 && now_ns - self->told_ns < TELL_EVERY_S * DN_NS_PER_S))
		return;
	self->told_ns = now_ns;
	all->ops.flooded(self, all->data);
}

static void release(DnLinkConnection *self)
{
	self->is_held = false;
	g_queue_unlink(&self->all->held, &self->held_link);
	make_ready(self);
}

void dn_link_connection_charge(DnLinkConnection *self, unsigned cost)
{
	dn_bucket_spend(&self->frames, &self->all->rate, cost, dn_clock_monotonic_ns());
}

/*
 * Hand up to FRAMES_A_TURN frames on; with more to come the connection stays ready. A turn that
 * ends without a frame costs as much as one, or a frame in crumbs would be work for nothing.
 */
static DnChannelStatus receive(DnLinkConnection *self, GError **error)
{
	DnLinkConnections *all = self->all;
	DnChannelStatus status = DN_CHANNEL_MORE;

	for (int i = 0; i < FRAMES_A_TURN && is_talking(self); i++) {
		uint64_t now = dn_clock_monotonic_ns();
		g_autoptr(GBytes) frame = NULL;

		if (!dn_bucket_has(&self->frames, &all->rate, now)) {
			hold(self, now);
			return DN_CHANNEL_WAIT;
		}
		status = dn_channel_receive(self->channel, &frame, error);
		if (status == DN_CHANNEL_MORE)
			dn_link_connection_charge(self, 1);
		if (status != DN_CHANNEL_DONE)
			break;
		dn_link_connection_charge(
			self, 1 + (unsigned)(g_bytes_get_size(frame) / DN_LINK_FRAME_UNIT));
		all->ops.frame(self, frame, all->data);
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

void dn_link_connections_serve(DnLinkConnection *self)
{
	g_autoptr(GError) error = NULL;
	DnChannelStatus status = DN_CHANNEL_DONE;

	if (self->state == GONE)
		return;
	if (self->state == SHAKING)
		status = shake_hands(self, &error);
	/* Read first: what is in the answer to a frame goes out in the same turn. */
	if (status != DN_CHANNEL_FAILED && is_talking(self) && !self->is_held)
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

void dn_link_connections_serve_dead(DnLinkConnection *self)
{
	/* Nothing is read of one that is held, so nothing else would ever end it. */
	if (self->state != GONE && self->is_held)
		end_with(self, DN_ERROR_UNAVAILABLE, "the link broke");
	else
		dn_link_connections_serve(self);
}

unsigned dn_link_connections_count(const DnLinkConnections *self)
{
	return self->strangers.length + self->peers.length + self->leaving.length;
}

void dn_link_connections_note_drop(DnLinkConnections *self, const char *address)
{
	self->dropped++;
	g_free(self->dropped_from);
	self->dropped_from = g_strdup(address);
}

void dn_link_connections_add(DnLinkConnections *self, DnChannel *channel, char *address,
			     DnLinkOrigin *origin, uint64_t deadline_ns)
{
	DnLinkConnection *connection = g_new0(DnLinkConnection, 1);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

	connection->all = self;
	connection->channel = channel;
	connection->address = address;
	connection->origin = origin;
	connection->held_link.data = connection;
	connection->link.data = connection;
	connection->ready_link.data = connection;
	connection->events = event.events;
	connection->deadline_ns = deadline_ns;
	g_queue_push_tail_link(queue_of(connection), &connection->link);
	if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, dn_channel_fd(channel), &event) < 0)
		end_with(connection, DN_ERROR_UNAVAILABLE, "epoll refuses the connection");
}

void dn_link_connections_drop_stranger(DnLinkConnections *self)
{
	end_with(g_queue_peek_head(&self->strangers), DN_ERROR_EXHAUSTED,
		 "too many peers that are not approved");
}

static void expire(GQueue *queue, int code, const char *why)
{
	uint64_t now = dn_clock_monotonic_ns();

	for (;;) {
		DnLinkConnection *oldest = g_queue_peek_head(queue);

		if (oldest == NULL || oldest->deadline_ns > now)
			return;
		end_with(oldest, code, why);
	}
}

void dn_link_connections_expire(DnLinkConnections *self)
{
	expire(&self->strangers, DN_ERROR_EXHAUSTED,
	       "not approved within the time for the handshake");
	expire(&self->leaving, DN_ERROR_UNAVAILABLE, "closed at this end");
	while (self->held.length > 0) {
		DnLinkConnection *first = g_queue_peek_head(&self->held);

		if (first->held_ns > dn_clock_monotonic_ns())
			return;
		release(first);
	}
}

static uint64_t first_deadline(const GQueue *queue, uint64_t before)
{
	const DnLinkConnection *oldest = queue->head != NULL ? queue->head->data : NULL;

	return oldest != NULL ? MIN(before, oldest->deadline_ns) : before;
}

uint64_t dn_link_connections_deadline(const DnLinkConnections *self)
{
	const DnLinkConnection *held = self->held.head != NULL ? self->held.head->data : NULL;
	uint64_t first = held != NULL ? held->held_ns : UINT64_MAX;

	return first_deadline(&self->leaving, first_deadline(&self->strangers, first));
}

void dn_link_connections_serve_ready(DnLinkConnections *self)
{
	for (guint n = self->ready.length; n > 0 && self->ready.length > 0; n--) {
		GList *link = g_queue_pop_head_link(&self->ready);
		DnLinkConnection *connection = link->data;

		connection->is_ready = false;
		dn_link_connections_serve(connection);
	}
}

void dn_link_connections_free_gone(DnLinkConnections *self)
{
	while (self->gone.length > 0)
		connection_free(g_queue_peek_head(&self->gone));
}

static void end_all(GQueue *queue)
{
	while (queue->length > 0)
		end_with(g_queue_peek_head(queue), DN_ERROR_UNAVAILABLE, "this end shuts down");
}

void dn_link_connections_clear(DnLinkConnections *self)
{
	end_all(&self->strangers);
	end_all(&self->peers);
	end_all(&self->leaving);
	dn_link_connections_free_gone(self);
	g_clear_pointer(&self->dropped_from, g_free);
}

void dn_link_connection_approve(DnLinkConnection *self)
{
	if (self->state != STRANGER)
		return;
	dn_channel_set_receive_limit(self->channel, DN_LINK_FRAME_LIMIT);
	leave_origin(self);
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
	leave_origin(self);
	if (self->is_held)
		release(self);
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
