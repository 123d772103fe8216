/* SPDX-License-Identifier: Apache-2.0 */
#include "workshop.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "image/build.h"

void workshop_open(Workshop *self)
{
	self->directory = g_dir_make_tmp("dnode-image-XXXXXX", NULL);
	self->sources = g_build_filename(self->directory, "sources", NULL);
	self->repo_path = g_build_filename(self->directory, "repo", NULL);
	self->recipe = dn_recipe_new();
	self->recipe->ref = g_strdup("apps/test");
	cr_assert(eq(int, g_mkdir(self->sources, 0755), 0));
}

void workshop_close(Workshop *self)
{
	cr_assert(dn_file_remove_tree(self->directory, NULL));
	g_free(self->directory);
	g_free(self->sources);
	g_free(self->repo_path);
	dn_recipe_free(self->recipe);
}

char *workshop_path(const Workshop *self, const char *name)
{
	return g_build_filename(self->sources, name, NULL);
}

void workshop_write(const Workshop *self, const char *name, const char *text, uint32_t mode)
{
	g_autofree char *path = workshop_path(self, name);
	g_autofree char *parent = g_path_get_dirname(path);
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));

	cr_assert(eq(int, g_mkdir_with_parents(parent, 0755), 0));
	cr_assert(dn_file_replace(path, bytes, mode, NULL));
}

void workshop_add(Workshop *self, const char *source, const char *path, uint32_t mode)
{
	DnRecipeFile *file = g_new0(DnRecipeFile, 1);

	file->source = g_strdup(source);
	file->path = g_strdup(path);
	file->mode = mode;
	g_ptr_array_add(self->recipe->files, file);
}

char *workshop_build(const Workshop *self)
{
	g_autoptr(GError) error = NULL;
	char *commit = NULL;

	bool built =
		dn_image_build_now(self->recipe, self->sources, self->repo_path, &commit, &error);
	cr_assert(built, "%s", error != NULL ? error->message : "no error was set");
	return commit;
}

char *workshop_refusal(const Workshop *self, DnErrorCode code)
{
	g_autoptr(GError) error = NULL;
	char *commit = NULL;

	cr_assert(not(
		dn_image_build_now(self->recipe, self->sources, self->repo_path, &commit, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, (int)code), "%s", error->message);
	cr_assert(eq(ptr, commit, NULL));
	return g_strdup(error->message);
}

DnImageRepo *workshop_repo(const Workshop *self)
{
	g_autoptr(GError) error = NULL;
	DnImageRepo *repo = dn_image_repo_open_now(self->repo_path, &error);

	cr_assert(ne(ptr, repo, NULL), "%s", error != NULL ? error->message : "no error was set");
	return repo;
}

DnTrustPolicy *workshop_trust(const char *pattern, DnKeyRole role, DnSecretKey *const *keys,
			      size_t n)
{
	DnTrustPolicy *trust = dn_trust_policy_new();
	DnTrustRule *rule = g_new0(DnTrustRule, 1);

	rule->pattern = g_strdup(pattern);
	rule->keys = g_new0(char *, n + 1);
	rule->threshold = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		DnTrustedKey *key = g_new0(DnTrustedKey, 1);

		key->name = g_strdup_printf("k%zu", i);
		key->role = role;
		dn_secret_key_public(keys[i], key->key);
		rule->keys[i] = g_strdup(key->name);
		g_ptr_array_add(trust->keys, key);
	}
	g_ptr_array_add(trust->images, rule);
	return trust;
}
