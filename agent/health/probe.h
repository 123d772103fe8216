/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Health from outside: http and tcp probes from the host's side of the veth, and the count of
 * rises and falls that makes an answer a verdict. Nothing of a node's answer is kept but its
 * status.
 */

#include <gio/gio.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "health/exchange.h"
#include "model/manifest.h"

/*
 * Probe @address once on the caller's main context: http wants a status of 200 to 399 to GET @path,
 * tcp a completed connection; DN_PROBE_NONE succeeds at once.
 */
void dn_probe_async(const DnHealthPolicy *policy, const char *address, uint16_t port,
		    GCancellable *cancellable, GAsyncReadyCallback done, gpointer user_data);
bool dn_probe_finish(GAsyncResult *result, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A probe whose state its owner keeps, for threads that may not wait. Zeros: none is under way. */
typedef struct {
	DnExchange exchange;
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none is under way */
} DnProbing;

/*
 * Begin one, unless one is under way, and go on as far as possible without waiting: true when the
 * node answered. Otherwise @wanted is what it waits for, to be asked again then, and within
 * @policy's timeout; or its descriptor is -1, and it has failed or is late. Nothing is allocated.
 */
bool dn_probe_step(DnProbing *self, const DnHealthPolicy *policy, const char *address,
		   uint16_t port, struct pollfd *wanted);
void dn_probe_clear(DnProbing *self); /* give up the one that is under way, if any */

/* The same, blocking, for threads without a main context; true when the node answered. */
bool dn_probe_now(const DnHealthPolicy *policy, const char *address, uint16_t port);

/* Pure: rises and falls. */
typedef struct {
	uint32_t good, bad; /* in a row */
	bool healthy;
	uint64_t unhealthy_since_ns; /* 0 while healthy */
} DnHealth;

/* Count one answer; true when @self->healthy changed. */
bool dn_health_count(DnHealth *self, const DnHealthPolicy *policy, bool answered, uint64_t now_ns);

/* True when the node has been unhealthy for replace_after. */
bool dn_health_is_hopeless(const DnHealth *self, const DnHealthPolicy *policy, uint64_t now_ns);
