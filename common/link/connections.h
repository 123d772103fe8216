/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The connections of one server, sorted by what they wait for. server.c accepts them and says when
 * to look at them; what happens to one, and what its caller hears of it, is decided here.
 *
 *   SHAKING → STRANGER → PEER
 *       \        |         |
 *        \       +-LEAVING-+      the caller closed it: flush, say goodbye, wait for theirs
 *         \          |
 *          +------→ GONE          reported; freed at the end of the turn
 */

#include "link/channel.h"
#include "link/origins.h"
#include "link/server.h"

typedef struct {
	DnLinkServerOps ops;
	void *data;      /* of ops */
	int epoll_fd;    /* borrowed from the server; the data.ptr of an event is its connection */
	GSource *source; /* borrowed from the server; its ready time is now when `ready` is not
			    empty */

	DnBucketRate rate; /* of a peer's frames */

	GQueue strangers; /* SHAKING and STRANGER, the earliest deadline first */
	GQueue peers;
	GQueue leaving; /* the earliest deadline first */
	GQueue gone;
	GQueue ready; /* have something to do that epoll does not know of */
	GQueue held;  /* are not read for a while, the first to be read again first */

	unsigned dropped;   /* strangers that went before they were approved */
	char *dropped_from; /* owned; address of the last of them */
} DnLinkConnections;

/* GONE ones, which are no more than memory, are not counted. */
unsigned dn_link_connections_count(const DnLinkConnections *self);

/*
 * Take @channel and @address, those of a peer that has until @deadline_ns to be approved and that
 * has entered @origin, which it leaves by itself.
 */
void dn_link_connections_add(DnLinkConnections *self, DnChannel *channel, char *address,
			     DnLinkOrigin *origin, uint64_t deadline_ns);

/* One from @address was not even let in. */
void dn_link_connections_note_drop(DnLinkConnections *self, const char *address);

/* End the stranger with the earliest deadline. There must be one. */
void dn_link_connections_drop_stranger(DnLinkConnections *self);

/* Do what can be done now for one that epoll has named, and for all that are ready. */
void dn_link_connections_serve(DnLinkConnection *self);
/* Epoll has named it because its socket is dead. */
void dn_link_connections_serve_dead(DnLinkConnection *self);
void dn_link_connections_serve_ready(DnLinkConnections *self);

/*
 * End those whose deadline has passed and go on with those that were held; when to do so again,
 * or UINT64_MAX.
 */
void dn_link_connections_expire(DnLinkConnections *self);
uint64_t dn_link_connections_deadline(const DnLinkConnections *self);

/* Only when no event that was fetched can name one of them any more. */
void dn_link_connections_free_gone(DnLinkConnections *self);

/* End and free all of them. */
void dn_link_connections_clear(DnLinkConnections *self);
