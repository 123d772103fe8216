/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What libsoup's server does not bound: how many connections there are, how long a request may
 * take to arrive, and an answer to leave.
 *
 *   WAITS ── head is complete → ARRIVES ── body is complete → OURS ── answered → LEAVES ─┐
 *     └───────────────────────────── a connection that is kept ←─────────────────────────┘
 *
 * WAITS ends after DN_HTTP_HEAD_S. ARRIVES and LEAVES end when fewer bytes have moved than
 * DN_HTTP_SLOWEST a second would be, once DN_HTTP_GRACE_S have passed. OURS is the owner's own
 * time and never ends here: whoever writes an answer without end bounds it. A connection is ended
 * by shutting its socket down, which libsoup takes for the peer's doing.
 */

#include <gio/gio.h>
#include <stdbool.h>

enum {
	DN_HTTP_HEAD_S = 10,
	DN_HTTP_GRACE_S = 10,
	DN_HTTP_SLOWEST = 4 * 1024, /* bytes a second; a slow line has ten times as many */
};

typedef struct _SoupServer SoupServer;               /* libsoup's */
typedef struct _SoupServerMessage SoupServerMessage; /* libsoup's */

typedef struct {
	SoupServer *server;   /* borrowed */
	unsigned max;         /* connections; past them the one that has waited longest goes */
	unsigned max_of_peer; /* past them newcomers of this peer are turned away */
	/*
	 * @count connections were turned away or ended in the last minute; once a minute, when it
	 * is worth a word. Or NULL.
	 */
	void (*crowded)(unsigned count, void *data);
	void *data;
} DnHttpGuardConfig;

typedef struct DnHttpGuard DnHttpGuard;

/* From here on the server gets its connections by dn_http_guard_accept() only. */
DnHttpGuard *dn_http_guard_new(const DnHttpGuardConfig *config);
/* Before the server is freed; its connections go on unguarded. */
void dn_http_guard_free(DnHttpGuard *self);

/*
 * Hand @connection to the server, or turn it away. @peer is whatever is to be counted by: an
 * address, a process.
 */
void dn_http_guard_accept(DnHttpGuard *self, GSocketConnection *connection, const char *peer);

/* The answer to @message is complete, and its peer's turn to take it. */
void dn_http_guard_answered(SoupServerMessage *message);

unsigned dn_http_guard_count(const DnHttpGuard *self);
