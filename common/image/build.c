/* SPDX-License-Identifier: Apache-2.0 */
#include "image/build.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "image/repository-ostree.h"
#include "image/run-file.h"
#include "image/source.h"
#include "image/tree.h"

/* Mount points of every node, and with them the files that are mounted over. */
static const struct {
	const char *path;
	uint32_t mode;
} required[] = {
	{"dev", 0755}, {"proc", 0755}, {"sys", 0755}, {"etc", 0755}, {"tmp", 01777}, {"run", 0755},
};
static const char *const mounted_over[] = {"etc/hosts", "etc/resolv.conf"};

/* "/a/b" with neither empty words nor dots. */
static bool is_plain(const char *path)
{
	if (path == NULL || path[0] != '/')
		return false;
	g_auto(GStrv) words = g_strsplit(path + 1, "/", -1);
	for (size_t i = 0; words[i] != NULL; i++)
		if (words[i][0] == '\0' || strcmp(words[i], ".") == 0 ||
		    strcmp(words[i], "..") == 0 || !g_utf8_validate(words[i], -1, NULL))
			return false;
	return words[0] != NULL && strcmp(words[0], DN_RUN_FILE_DIR) != 0;
}

/*
 * The directory at the first @n of @words, made where it is missing. *@found is NULL when a fault
 * was noted: one of the words is a file, or a link, which is never followed.
 */
static bool walk(DnImageTree *tree, char *const *words, size_t n, OstreeMutableTree **found,
		 GError **error)
{
	OstreeMutableTree *at = dn_image_tree_root(tree);
	g_autoptr(GString) path = g_string_new(NULL);
	GError *failed = NULL;

	for (size_t i = 0; i < n && at != NULL; i++) {
		g_string_append_printf(path, "%s%s", i > 0 ? "/" : "", words[i]);
		at = dn_image_tree_directory(tree, at, path->str, 0755, &failed);
	}
	*found = at;
	if (failed == NULL)
		return true;
	g_propagate_error(error, failed);
	return false;
}

static bool add_directory(DnImageTree *tree, const char *path, GError **error)
{
	OstreeMutableTree *found = NULL;

	if (!is_plain(path))
		return dn_image_tree_fault(tree, "directory %s: not a plain path in the image",
					   path);
	g_auto(GStrv) words = g_strsplit(path + 1, "/", -1);
	return walk(tree, words, g_strv_length(words), &found, error);
}

static bool add_file(DnImageTree *tree, int base_fd, const DnRecipeFile *file, GError **error)
{
	OstreeMutableTree *parent = NULL;

	if (!is_plain(file->path))
		return dn_image_tree_fault(tree, "file %s: not a plain path in the image",
					   file->path);
	if ((file->mode & ~0777u) != 0)
		return dn_image_tree_fault(tree, "file %s: mode %04o has more than permission bits",
					   file->path, file->mode);
	g_auto(GStrv) words = g_strsplit(file->path + 1, "/", -1);
	if (!walk(tree, words, g_strv_length(words) - 1, &parent, error))
		return false;
	return parent == NULL || dn_image_source_file(tree, parent, base_fd, file, error);
}

static bool add_required(DnImageTree *tree, GError **error)
{
	OstreeMutableTree *root = dn_image_tree_root(tree);
	g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);
	OstreeMutableTree *etc = NULL;
	GError *failed = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(required); i++) {
		OstreeMutableTree *made = dn_image_tree_directory(tree, root, required[i].path,
								  required[i].mode, &failed);
		if (failed != NULL) {
			g_propagate_error(error, failed);
			return false;
		}
		if (strcmp(required[i].path, "etc") == 0)
			etc = made;
	}
	for (size_t i = 0; etc != NULL && i < G_N_ELEMENTS(mounted_over); i++) {
		const char *name = mounted_over[i] + strlen("etc/");

		if (g_hash_table_contains(ostree_mutable_tree_get_files(etc), name))
			continue;
		if (!dn_image_tree_bytes(tree, etc, mounted_over[i], nothing, error))
			return false;
	}
	return true;
}

static bool add_run_file(DnImageTree *tree, const DnRecipe *recipe, GError **error)
{
	g_autoptr(GBytes) text = dn_run_file_write(&recipe->run, recipe->ports, error);

	if (text == NULL)
		return false;
	OstreeMutableTree *directory = dn_image_tree_directory(tree, dn_image_tree_root(tree),
							       DN_RUN_FILE_DIR, 0755, error);
	return directory != NULL &&
	       dn_image_tree_bytes(tree, directory, DN_RUN_FILE_DIR "/" DN_RUN_FILE_NAME, text,
				   error);
}

static bool fill(DnImageTree *tree, const DnRecipe *recipe, int base_fd, GError **error)
{
	if (!dn_image_tree_set_mode(tree, dn_image_tree_root(tree), 0755, error))
		return false;
	if (recipe->root != NULL && !dn_image_source_root(tree, base_fd, recipe->root, error))
		return false;
	for (guint i = 0; i < recipe->directories->len; i++)
		if (!add_directory(tree, recipe->directories->pdata[i], error))
			return false;
	for (guint i = 0; i < recipe->files->len; i++)
		if (!add_file(tree, base_fd, recipe->files->pdata[i], error))
			return false;
	return add_required(tree, error) && add_run_file(tree, recipe, error) &&
	       dn_image_tree_is_sound(tree, error);
}

/* The commit says itself which ref it was made for, and nothing that differs between builds. */
static char *write_commit(OstreeRepo *repo, DnImageTree *tree, const char *ref, GError **error)
{
	const char *refs[] = {ref, NULL};
	g_autoptr(GFile) root = NULL;
	g_autofree char *commit = NULL;
	GVariantDict metadata;
	uint64_t files = 0, bytes = 0;

	dn_image_tree_measure(tree, &files, &bytes);
	if (!ostree_repo_write_mtree(repo, dn_image_tree_root(tree), &root, NULL, error))
		return NULL;
	g_variant_dict_init(&metadata, NULL);
	g_variant_dict_insert_value(&metadata, OSTREE_COMMIT_META_KEY_REF_BINDING,
				    g_variant_new_strv(refs, 1));
	g_variant_dict_insert(&metadata, DN_IMAGE_META_SIZE, "t", GUINT64_TO_BE(bytes));
	g_variant_dict_insert(&metadata, DN_IMAGE_META_FILES, "t", GUINT64_TO_BE(files));
	g_autoptr(GVariant) dictionary = g_variant_ref_sink(g_variant_dict_end(&metadata));
	if (!ostree_repo_write_commit_with_time(repo, NULL, "", "", dictionary,
						OSTREE_REPO_FILE(root), 0, &commit, NULL, error))
		return NULL;
	return g_steal_pointer(&commit);
}

static char *build(OstreeRepo *repo, const DnRecipe *recipe, int base_fd, GError **error)
{
	g_autoptr(DnImageTree) tree = dn_image_tree_new(repo);

	if (!fill(tree, recipe, base_fd, error))
		return NULL;
	g_autofree char *commit = write_commit(repo, tree, recipe->ref, error);
	if (commit == NULL)
		return NULL;
	ostree_repo_transaction_set_ref(repo, NULL, recipe->ref, commit);
	if (!ostree_repo_commit_transaction(repo, NULL, NULL, error))
		return NULL;
	return g_steal_pointer(&commit);
}

bool dn_image_build_now(const DnRecipe *recipe, const char *recipe_dir, const char *repo_path,
			char **commit, GError **error)
{
	dn_autofd int base_fd = open(recipe_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (base_fd < 0)
		return dn_throw_errno(error, errno, "open the recipe's directory %s", recipe_dir);
	if (!dn_image_is_ref(recipe->ref)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "ref %s: write words of a-z, 0-9, '-', '_' and '.' joined by '/'",
			    recipe->ref != NULL ? recipe->ref : "(none)");
		return false;
	}
	g_autoptr(DnImageRepo) repo =
		dn_image_repo_create_now(repo_path, DN_IMAGE_REPO_ARCHIVE, error);
	if (repo == NULL)
		return false;
	OstreeRepo *ostree = dn_image_repo_ostree(repo);
	if (!ostree_repo_prepare_transaction(ostree, NULL, NULL, error))
		return false;
	char *built = build(ostree, recipe, base_fd, error);
	if (built == NULL) {
		/* The first error is the one to tell; what is left is swept by the next build. */
		(void)ostree_repo_abort_transaction(ostree, NULL, NULL);
		return false;
	}
	*commit = built;
	return true;
}
