/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One TLS stream that carries frames, without a main loop: connections.c and client.c drive it.
 *
 * A frame is four bytes of length, big-endian, then 1 byte to 1 MiB. No call blocks; each does a
 * bounded amount of work, so that one busy peer cannot keep the others waiting.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "link/identity.h"
#include "link/link.h"

typedef enum {
	DN_CHANNEL_FAILED, /* the error says why; the stream is of no more use */
	DN_CHANNEL_WAIT,   /* nothing more until the descriptor is ready, see wants_to_write */
	DN_CHANNEL_MORE,   /* call again without waiting: what is left is no longer in the socket */
	DN_CHANNEL_DONE,
} DnChannelStatus;

typedef struct {
	bool is_server;
	/* The key that the other end must prove, or its SHA-256, or neither: any Ed25519 key. */
	const uint8_t *peer_key;         /* borrowed for the call; 32 bytes, or NULL */
	const uint8_t *peer_fingerprint; /* borrowed for the call; 32 bytes, or NULL */
	size_t send_limit_bytes;
} DnChannelConfig;

typedef struct DnChannel DnChannel;

/* Takes @fd, a connected TCP socket in non-blocking mode, also when it fails. */
DnChannel *dn_channel_new(int fd, DnLinkIdentity *identity, const DnChannelConfig *config,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_channel_free(DnChannel *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnChannel, dn_channel_free)

int dn_channel_fd(const DnChannel *self);

/* Is the channel waiting until its descriptor can be written? Reading is always of interest. */
bool dn_channel_wants_to_write(const DnChannel *self);

/* DONE: the other end has proved the key that dn_channel_peer_key() gives. */
DnChannelStatus dn_channel_handshake(DnChannel *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
const uint8_t *dn_channel_peer_key(const DnChannel *self);

/* The longest frame that is accepted from now on; DN_LINK_FRAME_LIMIT at first. */
void dn_channel_set_receive_limit(DnChannel *self, size_t limit_bytes);

/* DONE: *@frame is the next one. */
DnChannelStatus dn_channel_receive(DnChannel *self, GBytes **frame,
				   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Put @frame into the queue. False when it is full, or @frame is empty or over the limit. */
bool dn_channel_send(DnChannel *self, GBytes *frame) G_GNUC_WARN_UNUSED_RESULT;
bool dn_channel_has_outgoing(const DnChannel *self);
size_t dn_channel_outgoing_bytes(const DnChannel *self);

/* Write what is queued. DONE: all of it is with the kernel. */
DnChannelStatus dn_channel_flush(DnChannel *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Leave politely once everything is flushed: say goodbye, then throw away what still comes, because
 * closing a socket with unread bytes would reset it and destroy what the other end has yet
 * to read. DONE: the other end has left too.
 */
DnChannelStatus dn_channel_close(DnChannel *self);
