/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A whole checkout once more, sharing nothing with the one it comes from: see repair.h. */

#include <glib.h>
#include <stdbool.h>

#include "image/listing.h"
#include "image/repair.h"

/*
 * Copy what @listing has from the checkout @from to the new directory @to: never a hard link to or
 * a reflink of an old file. Several names of one object become names of one new file. Leaves half a
 * copy behind when it fails.
 */
bool dn_image_copy_now(const DnImageListing *listing, const char *from, const char *to,
		       DnImageCopyReport *report, GError **error) G_GNUC_WARN_UNUSED_RESULT;
