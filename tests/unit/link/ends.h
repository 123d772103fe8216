/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Both ends of a link in one process: a server and a client that note what happens to them, and a
 * peer that speaks TLS by hand and keeps to no protocol.
 */

#include <gnutls/gnutls.h>

#include "link/client.h"
#include "link/server.h"

typedef struct {
	DnLinkServer *server;
	DnLinkIdentity *identity;
	uint8_t key[DN_LINK_KEY_BYTES];
	char address[32];
	unsigned opened, frames, closed;
	unsigned flooded, crowded;
	size_t bytes;
	GString *text;          /* every frame, each followed by '|' */
	DnLinkConnection *last; /* of those opened */
	uint8_t peer_key[DN_LINK_KEY_BYTES];
	char *reason; /* of the last closed */
	int code;
	bool approves; /* at once, in opened() */
	bool echoes;
	bool closes_after_echo;
} ServerEnd;

typedef struct {
	DnLinkClient *client;
	DnLinkIdentity *identity;
	uint8_t key[DN_LINK_KEY_BYTES];
	unsigned connected, frames, closed;
	size_t bytes;
	GString *text;
	char *reason;
	int code;
	bool frees_itself_on_frame;
} ClientEnd;

/* Figures of @config are kept, its address and identity filled in. */
void server_end_init(ServerEnd *self, DnLinkConfig config);
void server_end_clear(ServerEnd *self);

/* The same; @config->server_key is the server's unless a pin is given. */
void client_end_init(ClientEnd *self, const ServerEnd *server, DnLinkClientConfig config);
void client_end_clear(ClientEnd *self);

void client_end_send(ClientEnd *self, const char *text);

/* Run the main context until @condition holds; fail the test after 10 seconds. */
#define run_until(condition)                                                                       \
	do {                                                                                       \
		gint64 give_up_ = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;                    \
		while (!(condition)) {                                                             \
			run_once();                                                                \
			cr_assert(lt(long, g_get_monotonic_time(), give_up_), "never: %s",         \
				  #condition);                                                     \
		}                                                                                  \
	} while (0)

/* One turn of the main context, waiting at most 20 ms for something to do. */
void run_once(void);
void run_for_ms(unsigned ms);

/* A descriptor connected to the server that says nothing, in non-blocking mode. */
int tcp_connect(const ServerEnd *server);

/* The same from 127.0.0.@last. */
int tcp_connect_from(const ServerEnd *server, unsigned last);

/*
 * A TLS session with the server, after its handshake; the main context runs
 * meanwhile. Free with raw_close().
 */
typedef struct {
	gnutls_session_t session;
	int fd;
	DnLinkIdentity *identity;
} Raw;

void raw_open(Raw *self, const ServerEnd *server);
void raw_send(Raw *self, const void *bytes, size_t size);
void raw_close(Raw *self);
