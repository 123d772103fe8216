/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The images in use on this host, watched over without end: watch, sweep and full pass together.
 * One thread of the caller's does nothing but
 *
 *     for (;;) {
 *             g_autoptr(GPtrArray) damages = dn_damages_new();
 *             dn_image_guard_step_now(guard, 1000, damages);
 *             … what is in @damages is drift class `image` of its commit …
 *     }
 *
 * add, remove, wake and state are for any thread. What is found is looked at once more: one call
 * that failed for want of something is no damage, and what cannot be looked at again stays one.
 * Then it is said, once a checkout, and again when its path was found right in between. A changed
 * page that is right at the second look is said as undone: nobody needs to be cut for it, but no
 * write made it either. A new checkout of a guarded commit (after a repair) is
 * taken up by itself; a commit that the store forgot is let go without a word.
 *
 * How fast: what the kernel tells of is judged at once (one stat and one hash of that file). A
 * round of stamps takes sweep_ms, or longer when there are more than sweep_files_per_s allow. The
 * full pass reads pass_bytes_per_s, from the cache and from the disk, one commit after the other,
 * and begins again pass_ms after it began, or when it is through.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/damage.h"
#include "image/store.h"
#include "image/watch.h"

typedef struct DnImageGuard DnImageGuard;

typedef struct {
	unsigned sweep_ms;          /* from the begin of one round to that of the next */
	unsigned sweep_files_per_s; /* at most */
	uint64_t pass_bytes_per_s;  /* 0: no full pass */
	unsigned pass_ms;           /* from the begin of one to that of the next, at least */
	guint marks_limit;          /* of the watch */
} DnImageGuardRates;

/* 2 s, 5,000 files/s, 8 MiB/s, 60 s, DN_IMAGE_MARKS_LIMIT */
extern const DnImageGuardRates dn_image_guard_rates;

/* @store is borrowed. */
DnImageGuard *dn_image_guard_new(DnImageStore *store, const DnImageGuardRates *rates,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_guard_free(DnImageGuard *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageGuard, dn_image_guard_free)

/*
 * Guard the checkout of @commit, which must be on this host: after dn_image_store_ensure_now(), and
 * for the nodes that are taken over at a start. Nothing happens when it is guarded already.
 * DN_ERROR_UNTRUSTED: its disk differs from the commit: that is the drift.
 */
bool dn_image_guard_add_now(DnImageGuard *self, const char *commit,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_guard_remove(DnImageGuard *self, const char *commit);

/* The objects of @commit were put back (repair.h): one that is lost from now on is news again. */
bool dn_image_guard_restored(DnImageGuard *self, const char *commit);

/*
 * Wait for at most @timeout_ms until there is something to do, do a slice of it, add what was found
 * to @damages. What could not be looked at is damage of kind `content`, and told in the log.
 */
void dn_image_guard_step_now(DnImageGuard *self, unsigned timeout_ms, GPtrArray *damages);

/* End a step that waits. */
void dn_image_guard_wake(DnImageGuard *self);

typedef struct {
	DnImageWatchState watch; /* its suspects: the first look at a new checkout is not over */
	bool immediate;          /* every path has a mark, and the kernel tells of them */
	uint64_t sweeps;         /* rounds done */
	uint64_t passes;         /* full passes over all commits done */
	uint64_t pass_ns;        /* how long the last one took */
} DnImageGuardState;

void dn_image_guard_state(DnImageGuard *self, DnImageGuardState *state);
