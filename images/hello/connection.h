/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Connections of clients: what has come of a request, what is left to send of the answers, and
 * until when. Nothing here blocks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Connection Connection;

/* All of them. Begin with .next_deadline_ms = UINT64_MAX. */
typedef struct {
	int epoll_fd; /* the data.ptr of an event is its Connection */
	bool draining;
	size_t count;
	Connection *first;
	uint64_t next_deadline_ms; /* none is earlier */
} Connections;

/* Take the non-blocking socket @fd; without memory it is closed. */
void connections_add(Connections *self, int fd);

/* What epoll said of @connection, which may be gone afterwards. */
void connection_on_event(Connection *connection, uint32_t events);

/* Do what is due now; the time until more is, -1 for never. */
void connections_expire(Connections *self);
int connections_timeout_ms(const Connections *self);

/*
 * From now on every answer is the last of its connection, and those who are silent are not waited
 * for any longer than two seconds.
 */
void connections_drain(Connections *self);
