/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The end of the link that is called: accepts peers, proves itself to them, carries frames.
 *
 * All connections hang on one epoll descriptor, which is one source of the thread's default main
 * context of the moment the server was made; everything happens there. Any peer that proves some
 * Ed25519 key gets as far as opened(). What that key may do is for the caller to say:
 *
 *   handshake → opened() → stranger → dn_link_connection_approve() → peer → closed()
 *
 * A stranger is on the clock: unless it is approved within the handshake's time it is dropped, its
 * frames are at most DN_LINK_STRANGER_FRAME_LIMIT, and when there are too many the oldest goes. One
 * address has a share of the strangers, and of the newcomers in a second: a flood from one place
 * shuts out that place.
 *
 * Who says more than DN_LINK_FRAMES_PER_S is not read for a while: TCP makes it wait, nothing of
 * it is lost and nobody else notices.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "link/identity.h"
#include "link/link.h"

typedef struct DnLinkServer DnLinkServer;
typedef struct DnLinkConnection DnLinkConnection;

/* 0 stands for the figure in the comment. */
typedef struct {
	const char *address;           /* ADDRESS:PORT or [ADDRESS]:PORT, numeric; port 0: any */
	DnLinkIdentity *identity;      /* the server takes a reference */
	unsigned handshake_timeout_ms; /* from accept to approval; 5000 */
	unsigned max_strangers;        /* 256: at 40 KiB and a frame each, 26 MiB */
	unsigned max_strangers_here;   /* of one address; 64 */
	unsigned max_arrivals_here;    /* of one address in a second, twice as many at once; 50 */
	unsigned max_connections;      /* strangers included; 4096 */
	unsigned max_accepts_per_s;    /* 1000; more wait in the listen queue */
	size_t send_limit_bytes;       /* unsent bytes a connection; 4 MiB */
	unsigned frames_per_s;         /* of one peer; DN_LINK_FRAMES_PER_S */
	unsigned frames_burst;         /* DN_LINK_FRAMES_BURST */
} DnLinkConfig;

/*
 * closed() comes exactly once for each opened(), also after dn_link_connection_close() and from
 * dn_link_server_free(), never from inside another call of the caller's; the connection is gone
 * when it returns. frame() does not come any more once the caller has closed the connection.
 */
typedef struct {
	void (*opened)(DnLinkConnection *connection, const uint8_t peer_key[DN_LINK_KEY_BYTES],
		       void *data);
	void (*frame)(DnLinkConnection *connection, GBytes *frame, void *data);
	void (*closed)(DnLinkConnection *connection, const GError *reason, void *data);
	/* @connection says more than it may and is read slower; at most once a minute. Or NULL. */
	void (*flooded)(DnLinkConnection *connection, void *data);
	/*
	 * @count connections that were never approved have been dropped in the last minute, the
	 * last of them from @address; at most once a minute. Or NULL.
	 */
	void (*crowded)(unsigned count, const char *address, void *data);
} DnLinkServerOps;

/* Listens when it returns. @ops is copied. */
DnLinkServer *dn_link_server_new(const DnLinkConfig *config, const DnLinkServerOps *ops, void *data,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Not from inside a callback. */
void dn_link_server_free(DnLinkServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLinkServer, dn_link_server_free)

/* The port it listens on. */
uint16_t dn_link_server_port(const DnLinkServer *self);

/* Connections of any kind, those in their handshake and those that are closing included. */
unsigned dn_link_server_count(const DnLinkServer *self);

/* The caller knows this key: off the clock, frames up to DN_LINK_FRAME_LIMIT. */
void dn_link_connection_approve(DnLinkConnection *self);

/*
 * Queue @frame, 1 byte to DN_LINK_FRAME_LIMIT. False when the queue is full, which means that the
 * peer does not keep up: close the connection. False too when it is closing.
 */
bool dn_link_connection_send(DnLinkConnection *self, GBytes *frame) G_GNUC_WARN_UNUSED_RESULT;

/* The last frame was @cost times as much work as others. */
void dn_link_connection_charge(DnLinkConnection *self, unsigned cost);

/* Send what is queued, for at most a second, then close. closed() comes later. */
void dn_link_connection_close(DnLinkConnection *self);

/* The caller's own pointer, NULL at first. */
void dn_link_connection_set_data(DnLinkConnection *self, void *data);
void *dn_link_connection_get_data(const DnLinkConnection *self);

const uint8_t *dn_link_connection_peer_key(const DnLinkConnection *self);

/* ADDRESS:PORT of the peer. */
const char *dn_link_connection_peer_address(const DnLinkConnection *self);
