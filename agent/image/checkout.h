/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A commit as a directory tree on this host, compared with the commit by our own means. */

#include <glib.h>
#include <stdbool.h>

#include "image/listing.h"
#include "image/repository.h"

/* Hard links from the `bare` repository @repo to a new directory @path. */
bool dn_image_checkout_make(DnImageRepo *repo, const char *commit, const char *path,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Compare @path with @commit: each directory's and file's content, mode, owner and xattrs, nothing
 * extra, nothing missing. Files are hashed by as many threads as there are processors, two at
 * least. DN_ERROR_UNTRUSTED: something differs; DN_ERROR_INVALID: it is as signed, but no image
 * may hold it (build.h), or it lacks a mount point.
 */
bool dn_image_checkout_verify(const DnImageRepo *repo, const char *commit, const char *path,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same comparison; what it read becomes the listing. @direct: content from the disk, past the
 * page cache (DN_ERROR_UNSUPPORTED where that cannot be had).
 */
DnImageListing *dn_image_checkout_list(const DnImageRepo *repo, const char *commit,
				       const char *path, bool direct,
				       GError **error) G_GNUC_WARN_UNUSED_RESULT;
