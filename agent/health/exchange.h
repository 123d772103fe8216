/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One probe as a state machine over one non-blocking socket: connect, ask, read the status line.
 * It allocates nothing and waits for nothing: the caller polls the descriptor for the events
 * that step() returns, and keeps the deadline. Bytes of the node are looked at here only.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/manifest.h"

typedef struct {
	int fd; /* owned, -1: closed */
	bool connected;
	size_t sent, request_length;
	size_t received;
	char request[1536];
	char status[16]; /* "HTTP/1.1 200" and no more */
} DnExchange;

typedef enum {
	DN_EXCHANGE_ANSWERED,
	DN_EXCHANGE_FAILED,
	DN_EXCHANGE_READ,
	DN_EXCHANGE_WRITE
} DnExchangeState;

/* False (errno set): no socket, or not an address. Call clear() in every case. */
bool dn_exchange_begin(DnExchange *self, const DnHealthPolicy *policy, const char *address,
		       uint16_t port);

/* Go on as far as possible. FAILED: errno says why; EPROTO: an answer that is no success. */
DnExchangeState dn_exchange_step(DnExchange *self);

void dn_exchange_clear(DnExchange *self);
