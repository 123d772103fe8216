/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* image.yaml (docs/formats/image-recipe.md): what an image is built from. */

#include <glib.h>

#include "base/error.h"
#include "model/recipe.h"

/*
 * Fails with DN_ERROR_INVALID and one line a fault. No path of the result can lead out of the
 * recipe's directory or of the image by its spelling; links in the way are the builder's to see.
 */
DnRecipe *dn_recipe_parse(GBytes *bytes, const char *name,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
