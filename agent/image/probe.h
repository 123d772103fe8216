/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Looking at single files of a checkout, or of a node's root, as they would be executed now: read
 * through the page cache, which all nodes of an image share and which can be changed while the disk
 * stays as it was. Where a file differs, the same file is read past the cache to tell which of the
 * two it was.
 *
 * Differences are no errors: they are added to @damages. A GError says that it could not be looked.
 * What cannot be read runs no better than what was changed, unless it was this process that lacked
 * something.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/damage.h"
#include "image/listing.h"
#include "image/scan.h"

typedef struct {
	const DnImageListing *listing; /* borrowed */
	int root_fd;                   /* borrowed; of a directory */
	bool content_only; /* a node's root: its mount shows the node's own uids, its mounts cover
			    * directories, so only what files hold is compared */
} DnImageProbe;

typedef struct {
	guint files;
	uint64_t bytes, took_ns;
} DnImageMeasure;

/*
 * One path: attributes and content of a file or link; of a directory attributes, what is extra and
 * what is missing (not what the files in it hold). A path that the commit has not is extra when it
 * is there.
 */
bool dn_image_probe_path(const DnImageProbe *self, DnImageScan *scan, const char *path,
			 GPtrArray *damages, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Did this process lack a descriptor for a moment? Such an error says nothing of the file. */
bool dn_image_probe_is_shortage(const GError *error);

/* Only what the disk has of the file at @path; *@differs is false where that cannot be had. */
bool dn_image_probe_disk(const DnImageProbe *self, DnImageScan *scan, const char *path,
			 bool *differs, GError **error);

/*
 * Everything but content of the entry at @index. *@fd is a regular file of the right size, open for
 * reading so that its content can be hashed; else -1. The caller closes it.
 */
bool dn_image_probe_attributes(const DnImageProbe *self, guint index, GPtrArray *damages, int *fd,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Every file that can be executed or mapped, the largest first, by as many threads as pay: no
 * thread for an image of one small program. *@measure may be NULL.
 */
bool dn_image_probe_runs(const DnImageProbe *self, GPtrArray *damages, DnImageMeasure *measure,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
