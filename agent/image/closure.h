/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The objects that a commit needs, in this host's `bare` repository: without them no new checkout
 * can be made here. A checkout goes on being what it is whatever happens to them.
 */

#include <glib.h>
#include <stdbool.h>

#include "image/damage.h"
#include "image/listing.h"
#include "image/repository.h"

/*
 * Add what is lost or changed to @damages (DN_DAMAGE_OBJECT, its path in the repository). Commit
 * and trees are hashed; a file's object is looked at (and hashed) only where it is not the very
 * inode below @root_fd that the other checks look at. DN_ERROR_* only where it cannot be looked.
 */
bool dn_image_closure_check(DnImageRepo *repo, const DnImageListing *listing, int root_fd,
			    GPtrArray *damages, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Remove the file object of @entry, so that the next pull brings it; not there is no error. */
bool dn_image_closure_drop(DnImageRepo *repo, const DnImageEntry *entry,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Is there an object of that name? What it holds is not looked at. */
bool dn_image_closure_has(DnImageRepo *repo, const DnImageEntry *entry);

/* Make the file at @path below @root_fd the object of @entry, in place of the one that is there. */
bool dn_image_closure_put(DnImageRepo *repo, const DnImageEntry *entry, int root_fd,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
