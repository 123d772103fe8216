/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * From a recipe to a commit. The same recipe and files give the same commit, whoever builds, with
 * whatever umask, at whatever time and from whatever file system (docs/formats/image.md).
 */

#include <glib.h>
#include <stdbool.h>

#include "model/recipe.h"

/*
 * Build @recipe, whose sources are below @recipe_dir, into the `archive` repository at @repo_path
 * (made when it is not there), point the recipe's ref at it and give its id in *@commit.
 *
 * DN_ERROR_INVALID names everything in the sources that an image may not hold, one a line:
 * set-id files, device nodes, fifos, sockets, file capabilities, something else than a directory
 * at /dev /proc /sys /etc /tmp /run, a path through a link, a source outside of @recipe_dir.
 * DN_ERROR_EXHAUSTED: more files or bytes than repository.h allows.
 */
bool dn_image_build_now(const DnRecipe *recipe, const char *recipe_dir, const char *repo_path,
			char **commit, GError **error) G_GNUC_WARN_UNUSED_RESULT;
