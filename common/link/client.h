/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The end of the link that calls: connects to one pinned server, again and again.
 *
 * Everything happens on the thread's default main context of the moment the client was made. The
 * server must prove its key in the handshake; with another key not one byte of a frame is sent.
 *
 * connected() means that the server is who it should be, not that it wants us: in TLS 1.3 a client
 * that is refused learns it from its first read. So the wait before the next attempt, which doubles
 * from 100 ms to 5 s with a random half, begins anew only after the first frame has arrived.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "link/identity.h"
#include "link/link.h"

typedef struct DnLinkClient DnLinkClient;

/* Pointers are only used during dn_link_client_new(). 0 stands for the figure in the comment. */
typedef struct {
	const char *address;               /* HOST:PORT; HOST may be a name */
	DnLinkIdentity *identity;          /* the client takes a reference */
	const uint8_t *server_key;         /* 32 bytes; or NULL and … */
	const uint8_t *server_fingerprint; /* … the SHA-256 of them, as a host token has it */
	bool is_once;                      /* no further attempt after the first has ended */
	unsigned handshake_timeout_ms;     /* from the first packet to connected(); 5000 */
	unsigned retry_min_ms;             /* 100 */
	unsigned retry_max_ms;             /* 5000 */
	size_t send_limit_bytes;           /* unsent bytes; 4 MiB */
	unsigned frames_per_s;             /* read of the server; DN_LINK_ORDERS_PER_S */
	unsigned frames_burst;             /* DN_LINK_ORDERS_BURST */
} DnLinkClientConfig;

/*
 * closed() comes once for each attempt, whether it got as far as connected() or not, except when
 * dn_link_client_free() ends it. The client may be freed from inside any of them.
 */
typedef struct {
	void (*connected)(DnLinkClient *client, const uint8_t server_key[DN_LINK_KEY_BYTES],
			  void *data);
	void (*frame)(DnLinkClient *client, GBytes *frame, void *data);
	void (*closed)(DnLinkClient *client, const GError *reason, void *data);
} DnLinkClientOps;

/*
 * Begins to connect; nothing is called before it returns. Fails with DN_ERROR_INVALID when there
 * is no pin: a client never talks to just anybody.
 */
DnLinkClient *dn_link_client_new(const DnLinkClientConfig *config, const DnLinkClientOps *ops,
				 void *data, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_link_client_free(DnLinkClient *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLinkClient, dn_link_client_free)

bool dn_link_client_is_connected(const DnLinkClient *self);

/*
 * Queue @frame, 1 byte to DN_LINK_FRAME_LIMIT. False when there is no connection or its queue is
 * full; what was queued when a connection ends is lost.
 */
bool dn_link_client_send(DnLinkClient *self, GBytes *frame) G_GNUC_WARN_UNUSED_RESULT;

/* What is queued and not yet with the kernel; 0 without a connection. */
size_t dn_link_client_queued_bytes(const DnLinkClient *self);

/*
 * End the present connection or attempt, with closed(reason) from the main loop; then wait and try
 * again. What a caller does whose heartbeat is not answered.
 */
void dn_link_client_drop(DnLinkClient *self, const char *why);
