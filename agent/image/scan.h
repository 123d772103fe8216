/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hashing one file as what a commit says it is: the header of the attributes it should have, then
 * the content it does have; bit by bit, so that a long file holds nobody up. No more is read than
 * the file should be long, so one that grows without end ends all the same.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/listing.h"

typedef struct DnImageScan DnImageScan;

/* Holds buffers; for one thread at a time, for any number of files. */
DnImageScan *dn_image_scan_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_scan_free(DnImageScan *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageScan, dn_image_scan_free)

/*
 * Begin with @entry's regular file, open for reading as @fd (duplicated). @direct: past the page
 * cache; DN_ERROR_UNSUPPORTED where that cannot be had (direct.h). What was begun before is given
 * up.
 */
bool dn_image_scan_begin(DnImageScan *self, const DnImageEntry *entry, int fd, bool direct,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Read @limit_bytes or a little more; *@read is how much it was. *@done: the end was reached. */
bool dn_image_scan_step(DnImageScan *self, uint64_t limit_bytes, uint64_t *read, bool *done,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Once it is done: is it the file of the commit? */
bool dn_image_scan_matches(const DnImageScan *self);

/* The three at once. */
bool dn_image_scan_file(DnImageScan *self, const DnImageEntry *entry, int fd, bool direct,
			bool *matches, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Does a link that leads to @target have the checksum of @entry? */
bool dn_image_scan_link(DnImageScan *self, const DnImageEntry *entry, const char *target);
