/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Images as objects of an `archive` repository: what `image push` sends and the supervisor keeps.
 * An object is named CHECKSUM.TYPE, TYPE one of commit, dirtree, dirmeta, file; its bytes are
 * those of its file in the repository (for `file` the .filez stream).
 */

#include <glib.h>
#include <stdbool.h>

#include "image/repository.h"

/* @name is CHECKSUM.TYPE. */
bool dn_image_is_object_name(const char *name);

/* Names (char *) of every object that @commit needs, the commit itself first; no duplicates. */
GPtrArray *dn_image_objects_now(DnImageRepo *repo, const char *commit,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;

GBytes *dn_image_object_read_now(DnImageRepo *repo, const char *name,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Store @bytes as object @name. DN_ERROR_UNTRUSTED when they are not that object, to the last
 * byte; DN_ERROR_EXHAUSTED when it would unpack to more than repository.h allows.
 */
bool dn_image_object_write_now(DnImageRepo *repo, const char *name, GBytes *bytes,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Those of @names (NULL-terminated) that @repo has not. */
char **dn_image_objects_missing_now(DnImageRepo *repo, const char *const *names,
				    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Read and hash every object of @commit. DN_ERROR_UNTRUSTED names the first that is missing or
 * damaged; nothing is changed.
 */
bool dn_image_objects_verify_now(DnImageRepo *repo, const char *commit,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same where objects are pushed to: a damaged one is removed, so that the next push brings it
 * again; DN_ERROR_CONFLICT.
 */
bool dn_image_objects_accept_now(DnImageRepo *repo, const char *commit,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;
