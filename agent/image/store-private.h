/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The inside of a store, for the files that make it up.
 *
 * STATE_DIR/repo         every object, `bare`
 * STATE_DIR/checkouts    COMMIT: hard links into repo; only what was verified is renamed here
 * STATE_DIR/staging      a checkout before its verification
 * STATE_DIR/damaged      checkouts that failed one later, kept: nodes may still run on them
 *
 * All four are 0700. A node reaches its root through the idmapped clone of a checkout below
 * RUN_DIR, never through these directories, so nobody else needs a way in; and a set-id file that
 * a hostile image brings is out of everybody's reach until it is refused.
 */

#include "image/checkout.h"
#include "image/pull.h"
#include "image/store.h"

struct DnImageStore {
	const DnTrustPolicy *trust; /* borrowed */
	char *repo, *checkouts, *staging, *damaged;
	uint64_t limit_bytes; /* of one pull */
	GMutex writing;       /* whoever changes the repository or the checkouts */
	GMutex moment;        /* never held over anything that lasts: the two below */
	GHashTable *listings; /* commit → DnImageListing, owned: what is on this host for sure */
	GHashTable *placed;   /* commit → how often a checkout of it was put in place */
};

bool dn_store_is_commit(const char *commit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Is the image here, complete and unchanged, and may it run as @ref? Then its listing is known. */
bool dn_store_is_sound(DnImageStore *self, DnImageRepo *repo, const char *ref, const char *commit,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Clean-up after a failure that is told already. */
void dn_store_drop(const char *path);

/* A new name in staging; free it. */
char *dn_store_stage(const DnImageStore *self);

/* Is there room for one more checkout set aside? DN_ERROR_EXHAUSTED with what to do. */
bool dn_store_has_room(const DnImageStore *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Put the verified checkout @staged under the final name of @listing's commit. One that is there
 * goes aside in the same moment (*@aside is where, or NULL; may be NULL itself). It is not deleted:
 * nodes may run on it, and what was done to it is evidence.
 */
bool dn_store_place(DnImageStore *self, DnImageListing *listing, const char *staged, char **aside,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Nothing may be started from the checkout of @commit any more: set it aside, forget the listing.
 */
bool dn_store_withdraw(DnImageStore *self, const char *commit,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What was verified to be the commit's; and the reverse. */
void dn_store_learn(DnImageStore *self, DnImageListing *listing);
void dn_store_unlearn(DnImageStore *self, const char *commit);

/* From memory only; NULL: not known. *@placed, which may be NULL, grows with each checkout. */
DnImageListing *dn_store_recall(DnImageStore *self, const char *commit, guint *placed);
