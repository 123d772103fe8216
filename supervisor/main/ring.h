/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The last events, which are all that is kept of them. */

#include "model/fleet.h"

enum { DN_RING_LIMIT = 10000 };

typedef struct DnRing DnRing;

DnRing *dn_ring_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_ring_free(DnRing *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnRing, dn_ring_free)

/* Takes @event, whose id is greater than that of every one before. */
void dn_ring_add(DnRing *self, DnEvent *event);

/*
 * Copies of at most @limit events: the first ones after @since, or with @since 0 the last of
 * all; in order.
 */
GPtrArray *dn_ring_read(const DnRing *self, uint64_t since,
			unsigned limit) G_GNUC_WARN_UNUSED_RESULT;
