/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Looking at all of a checkout, little by little: attributes, what is extra, what is missing, the
 * content of every file through the page cache *and* from the disk. It finds what nothing tells of:
 * pages changed without a write, a disk that was written below its file system or has gone bad. How
 * fast is the caller's business: a step ends soon after its limit, also in the middle of a long
 * file.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/damage.h"
#include "image/listing.h"

typedef struct DnImagePass DnImagePass;

/* Over the checkout of @listing's commit at @path. */
DnImagePass *dn_image_pass_new(DnImageListing *listing, const char *path) G_GNUC_WARN_UNUSED_RESULT;
const char *dn_image_pass_commit(const DnImagePass *self);
void dn_image_pass_free(DnImagePass *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImagePass, dn_image_pass_free)

/*
 * Go on for about @limit_bytes; *@cost is how many it was, a path without content counting as one
 * block of 4096. *@done: all was looked at. What could not be looked at is an error, but the next
 * step goes on behind it.
 */
bool dn_image_pass_step_now(DnImagePass *self, uint64_t limit_bytes, GPtrArray *damages,
			    uint64_t *cost, bool *done, GError **error) G_GNUC_WARN_UNUSED_RESULT;
