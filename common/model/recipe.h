/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * image.yaml as plain values (docs/formats/image.md); manifest/recipe.h reads it, image/build.h
 * builds from it. Either a whole root directory, or single files, or both (files lie over it).
 */

#include <glib.h>
#include <stdint.h>

#include "model/manifest.h"

typedef struct {
	char *source;  /* relative to the recipe's directory */
	char *path;    /* absolute, plain, in the image */
	uint32_t mode; /* permission bits; no set-id */
} DnRecipeFile;

typedef struct {
	char *ref;              /* apps/hello */
	char *root;             /* directory relative to the recipe's, or NULL */
	GPtrArray *files;       /* of DnRecipeFile */
	GPtrArray *directories; /* of char *: empty directories to make, 0755 */
	DnRun run;              /* defaults: args, env, cwd, uid */
	GArray *ports;          /* of uint16_t: what the service listens on */
} DnRecipe;

DnRecipe *dn_recipe_new(void);
void dn_recipe_free(DnRecipe *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnRecipe, dn_recipe_free)

void dn_recipe_file_free(DnRecipeFile *self);
