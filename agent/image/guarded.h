/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The commits that a guard watches over: of each what its checkout should hold, which checkout that
 * is, and what was said of it. Nothing here waits or locks.
 */

#include <glib.h>
#include <stdbool.h>

#include "image/damage.h"
#include "image/listing.h"
#include "image/said.h"
#include "image/scan.h"
#include "image/store.h"

/* A commit in use. */
typedef struct {
	char *commit;            /* owned */
	DnImageListing *listing; /* owned */
	guint placed;            /* which checkout of it */
	DnImageSaid *said;       /* owned */
} DnImageGuarded;

typedef struct {
	DnImageStore *store; /* borrowed */
	DnImageScan *scan;   /* owned */
	GPtrArray *all;      /* of DnImageGuarded, owned */
} DnImageGuardedSet;

void dn_image_guarded_init(DnImageGuardedSet *self, DnImageStore *store);
void dn_image_guarded_clear(DnImageGuardedSet *self);

/* NULL: it is not guarded. Valid until it is removed. */
DnImageGuarded *dn_image_guarded_find(const DnImageGuardedSet *self, const char *commit);
/* One that is not in the set yet. */
void dn_image_guarded_add(DnImageGuardedSet *self, DnImageListing *listing, guint placed);

/*
 * The checkout of @commit, O_PATH; the caller closes it. -1: it is not there, which is added to
 * @found, unless the store itself took it away or this process has no descriptor left.
 */
int dn_image_guarded_open(const DnImageGuardedSet *self, const char *commit, GPtrArray *found);

/*
 * Move to @damages what of @found is news and stands a second look, as touched by @writer (0: not
 * known), and note it as said. @found is empty afterwards.
 */
void dn_image_guarded_say(DnImageGuardedSet *self, GPtrArray *found, pid_t writer,
			  GPtrArray *damages);
