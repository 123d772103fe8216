/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where connections come from: what one address may take of a server before it has proved
 * anything. A flood from one place fills that place's share and no other's.
 *
 * Addresses that have nothing and want nothing are forgotten, so what is kept is bounded by the
 * connections of the last seconds.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bucket.h"

typedef struct DnLinkOrigins DnLinkOrigins;

/* One address; valid while it holds a stranger. */
typedef struct DnLinkOrigin DnLinkOrigin;

DnLinkOrigins *dn_link_origins_new(unsigned max_strangers, DnBucketRate arrivals);
void dn_link_origins_free(DnLinkOrigins *self);

/*
 * The origin of @address (ADDRESS:PORT), which holds one stranger more from now on. NULL: it has
 * its share already, or comes too often.
 */
DnLinkOrigin *dn_link_origins_enter(DnLinkOrigins *self, const char *address, uint64_t now_ns);

/* One that entered is no stranger any more, or is gone. NULL is nothing. */
void dn_link_origin_leave(DnLinkOrigin *origin);
