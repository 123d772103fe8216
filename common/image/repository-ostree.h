/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* For the modules that own the door to libostree only: the handle behind a DnImageRepo. */

#include <ostree.h>

#include "image/repository.h"

/* Borrowed from @self. */
OstreeRepo *dn_image_repo_ostree(const DnImageRepo *self);

/* Load an object that is a GVariant and hash it: libostree itself does not look. */
GVariant *dn_image_load_variant(const DnImageRepo *self, OstreeObjectType type,
				const char *checksum, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Turn what libostree says about a missing object into the domain of this product. */
bool dn_image_is_missing(const GError *error);
