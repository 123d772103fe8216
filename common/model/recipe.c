/* SPDX-License-Identifier: Apache-2.0 */
#include "model/recipe.h"

static void free_file(gpointer file)
{
	dn_recipe_file_free(file);
}

DnRecipe *dn_recipe_new(void)
{
	DnRecipe *self = g_new0(DnRecipe, 1);

	self->files = g_ptr_array_new_with_free_func(free_file);
	self->directories = g_ptr_array_new_with_free_func(g_free);
	self->run.uid = -1;
	self->ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	return self;
}

void dn_recipe_file_free(DnRecipeFile *self)
{
	if (self == NULL)
		return;
	g_free(self->source);
	g_free(self->path);
	g_free(self);
}

void dn_recipe_free(DnRecipe *self)
{
	if (self == NULL)
		return;
	g_free(self->ref);
	g_free(self->root);
	g_ptr_array_unref(self->files);
	g_ptr_array_unref(self->directories);
	dn_run_clear(&self->run);
	g_array_unref(self->ports);
	g_free(self);
}
