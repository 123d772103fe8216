/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The files an image is built from. They are opened beneath the recipe's directory and nowhere
 * else, and no link inside a root directory is ever followed.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/tree.h"
#include "model/recipe.h"

/* Enter the directory @source, relative to @base_fd, as the tree's root. */
bool dn_image_source_root(DnImageTree *tree, int base_fd, const char *source,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Enter one file at @path (of the image, without the leading '/') in @parent. */
bool dn_image_source_file(DnImageTree *tree, OstreeMutableTree *parent, int base_fd,
			  const DnRecipeFile *file, GError **error) G_GNUC_WARN_UNUSED_RESULT;
