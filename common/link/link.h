/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What both ends of a link agree on. */

#define DN_LINK_FRAME_LIMIT (1024 * 1024)            /* the longest frame */
#define DN_LINK_STRANGER_FRAME_LIMIT (64 * 1024)     /* … of a peer that is not approved yet */
#define DN_LINK_SEND_LIMIT (4 * DN_LINK_FRAME_LIMIT) /* unsent bytes queued for one peer */
#define DN_LINK_HANDSHAKE_MS 5000
#define DN_LINK_DEAD_PEER_MS 10000 /* a peer that acknowledges nothing for so long is gone */

/*
 * What one peer may say: frames a second, and so many at once after a rest. A frame costs one and
 * one more for each DN_LINK_FRAME_UNIT bytes. A host with a thousand nodes that all change at once
 * stays within the burst; a flood is read no faster than this, and waits in its sender's memory.
 */
#define DN_LINK_FRAMES_PER_S 200
#define DN_LINK_FRAMES_BURST 2000
#define DN_LINK_FRAME_UNIT (8 * 1024)

/*
 * The same of the server a client has called: a supervisor that was taken over. The burst holds
 * what a host is told at the beginning of a link, a thousand services; whoever floods an agent
 * costs it a part of one processor, and never the thread that answers drift.
 */
#define DN_LINK_ORDERS_PER_S 1000
#define DN_LINK_ORDERS_BURST 10000
