/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Images on a host: a `bare` OSTree repository (STATE_DIR/repo, 0700) and one shared, read-only
 * checkout a commit. Blocking; each call brings its own main context, so it belongs on a worker.
 */

#include <gio/gio.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/instance.h"
#include "image/damage.h"
#include "image/listing.h"
#include "image/probe.h"
#include "image/program.h"
#include "model/manifest.h"
#include "model/trust.h"

typedef struct DnImageStore DnImageStore;

/* Opens or creates the repository. @trust is borrowed for the life of the store. */
DnImageStore *dn_image_store_new(const DnInstance *instance, const DnTrustPolicy *trust,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_store_free(DnImageStore *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageStore, dn_image_store_free)

/* How many bytes one pull may bring before it is given up; DN_IMAGE_LIMIT_BYTES at first. */
#define DN_IMAGE_LIMIT_BYTES (UINT64_C(8) << 30)
void dn_image_store_set_limit(DnImageStore *self, uint64_t limit_bytes);

/*
 * Bring @commit to this host from the repository at @url (http://HOST:PORT/repo), by checksum:
 * commit and signature first; they are verified (release key allowed for @ref, @ref in
 * ostree.ref-binding) before any content is asked for. Then content, checkout and full
 * verification of the checkout. Idempotent. DN_ERROR_UNTRUSTED: refused; DN_ERROR_EXHAUSTED: too
 * large, or sent too slowly; nothing is left behind.
 */
bool dn_image_store_ensure_now(DnImageStore *self, const char *url, const char *ref,
			       const char *commit, GCancellable *cancellable,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* STATE_DIR/checkouts/COMMIT: the path of the shared checkout (whether or not it is there). */
char *dn_image_store_checkout(const DnImageStore *self, const char *commit);

/*
 * Is a checkout of @commit in place that was verified since the store was opened? *@placed, which
 * may be NULL, tells one from another: it grows with each that is put in place.
 */
bool dn_image_store_has(DnImageStore *self, const char *commit, guint *placed);

/*
 * Compare every file of the checkout with the commit: content (SHA-256, parallel, over what the
 * page cache gives), mode, owner, xattrs, nothing extra, nothing missing; signature and ref again.
 */
bool dn_image_store_verify_now(DnImageStore *self, const char *ref, const char *commit,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * What the commit has at every path: from memory once its checkout was verified here, otherwise by
 * verifying it now (past the page cache where only that differs). Fails as verify_now() does.
 */
DnImageListing *dn_image_store_listing_now(DnImageStore *self, const char *commit,
					   GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct {
	const char *commit;
	const char *root;         /* of a node: only content is compared; NULL: the checkout */
	const char *const *paths; /* without the leading '/'; NULL: every file that can be executed
				   * or mapped, the largest first, in parallel */
} DnImageCheck;

/*
 * Look at single files as they would be executed now: what differs is added to @damages
 * (probe.h tells a changed page cache from a changed disk). From memory and the page cache alone as
 * soon as the listing is known. *@measure, which may be NULL, is set where @paths is NULL.
 */
bool dn_image_store_verify_files_now(DnImageStore *self, const DnImageCheck *what,
				     GPtrArray *damages, DnImageMeasure *measure,
				     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Defaults that the image gives to run (uid -1 and NULL where it says nothing). */
bool dn_image_store_defaults_now(DnImageStore *self, const char *commit, DnRun *defaults,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Every file that can be executed or mapped, with what for: DnProgramFile. Of the checkout, or of
 * @root, a node's, whose checkout may have been set aside since; NULL: none.
 */
GArray *dn_image_store_program_files_now(DnImageStore *self, const char *commit, const char *root,
					 const DnProgramRules *rules,
					 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Forget a commit: checkout, ref, objects nobody else needs. */
bool dn_image_store_forget_now(DnImageStore *self, const char *commit,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;
