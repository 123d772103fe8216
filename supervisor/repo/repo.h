/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The supervisor's repository of images: what the routes /v1/images need (docs/formats/api.md).
 *
 * Every call blocks and belongs on a worker; calls from several threads at once are fine. Nothing
 * a hoster or pusher could gain by lying is decided here: hosts check every signature again.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"
#include "image/catalog.h"
#include "model/trust.h"

typedef struct DnRepo DnRepo;

/* Open or make the `archive` repository at @path. @trust is borrowed for the life of the repo. */
DnRepo *dn_repo_new(const char *path, const DnTrustPolicy *trust,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_repo_free(DnRepo *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnRepo, dn_repo_free)

/* GET /v1/images: DnImageInfo, sorted by ref. */
GPtrArray *dn_repo_list_now(DnRepo *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* POST /v1/images/missing: those of @objects (CHECKSUM.TYPE) that are not here. */
char **dn_repo_missing_now(DnRepo *self, const char *const *objects,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* PUT /v1/images/objects/CHECKSUM.TYPE. DN_ERROR_UNTRUSTED when @bytes are not that object. */
bool dn_repo_store_now(DnRepo *self, const char *object, GBytes *bytes,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * POST /v1/images: point @ref at @commit once its signatures (those in @metadata, serialised
 * detached metadata), its ref binding and each of its objects have been checked.
 * DN_ERROR_UNTRUSTED: not signed as the trust file demands; DN_ERROR_CONFLICT: an object is
 * missing or was damaged, push again.
 */
bool dn_repo_publish_now(DnRepo *self, const char *ref, const char *commit, GBytes *metadata,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Defaults of a published image, to show what a manifest of it comes to. */
bool dn_repo_defaults_now(DnRepo *self, const char *commit, DnRun *run, GArray **ports,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
