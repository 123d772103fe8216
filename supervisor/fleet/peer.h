/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One end of a link and what it says, for sessions.c: who may enrol, who is welcome as which host,
 * which of its orders are not answered. A peer takes itself out of the sessions' table of hosts.
 */

#include "fleet/sessions.h"
#include "link/server.h"
#include "wire/codec.h"

typedef struct {
	uint64_t tag;
	uint64_t deadline_ns;
} DnOutstanding;

/*
 * stranger ── enrol → waiting (for its owner) → closing
 *     └────── hello → host ── superseded or closed → closing
 */
typedef enum { DN_PEER_STRANGER, DN_PEER_WAITING, DN_PEER_HOST, DN_PEER_CLOSING } DnPeerState;

typedef struct {
	int refs; /* the connection, a DnEnrolWait */
	DnSessions *sessions;
	DnLinkConnection *connection; /* borrowed; NULL once it is gone */
	DnPeerState state;
	uint8_t key[DN_LINK_KEY_BYTES];
	char *host;    /* of a host */
	char *session; /* the agent's word */
	uint64_t sequence;
	uint64_t fact_seq;
	uint64_t news;           /* of the own journal, when its head was told last */
	GHashTable *outstanding; /* uint64_t * sequence → DnOutstanding * */
} DnPeer;

struct DnSessions {
	DnLinkServer *server;
	DnSessionsOps ops;
	void *data;
	char *cluster, *node_cidr, *vip_cidr, *repo;
	uint64_t term;
	GBytes *trust;
	GHashTable *hosts; /* char * → DnPeer *: those that said hello; borrowed */
	GHashTable *links; /* char * host → DnBucket *: links that it may still make */
	GSource *timer;
	bool ending;
};

/* With one reference: the connection's. */
DnPeer *dn_peer_new(DnSessions *sessions, DnLinkConnection *connection,
		    const uint8_t key[DN_LINK_KEY_BYTES]);
DnPeer *dn_peer_ref(DnPeer *peer);
void dn_peer_unref(DnPeer *peer);

/* False: it is gone, or does not keep up. */
bool dn_peer_send(DnPeer *peer, const DnFrame *frame);

/* What it said, in the order in which that may be said. */
void dn_peer_take(DnPeer *peer, const DnFrame *frame);

/* Forget the orders that were due before @now_ns and answer for the host. */
void dn_peer_give_up(DnPeer *peer, uint64_t now_ns, const char *why);

/* The host is not reachable through @peer any more; nothing of it is believed from here on. */
void dn_peer_leave(DnPeer *peer, const char *why);

/* Tell the peer, and people: agents are not refused as long as all is well. */
void dn_peer_refuse(DnPeer *peer, int code, const char *why);

/* sessions.c: the head of the own journal, which @peer is about to be told. */
DnJournalHead dn_peer_tell_head(DnPeer *peer);
