/* SPDX-License-Identifier: Apache-2.0 */
#include "image/traverse.h"

#include <stdint.h>
#include <string.h>

#include "image/repository-ostree.h"

typedef struct {
	const DnImageRepo *repo;
	const DnImageVisitor *visitor;
	gpointer data;
	uint64_t entries;
} Walk;

static bool count(Walk *walk, GError **error)
{
	if (++walk->entries <= DN_IMAGE_FILES_LIMIT)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "an image holds at most %d files and directories", DN_IMAGE_FILES_LIMIT);
	return false;
}

static char *checksum_in(GVariant *bytes)
{
	return ostree_checksum_from_bytes_v(bytes);
}

static char *join(const char *path, const char *name)
{
	return path[0] == '\0' ? g_strdup(name) : g_strconcat(path, "/", name, NULL);
}

/* Names that repeat, or stand in another order than the writer's, have no meaning. */
static bool follows(const char *previous, const char *name, GError **error)
{
	if (previous == NULL || strcmp(previous, name) < 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "the image lists %s twice or unsorted",
		    name);
	return false;
}

static bool visit_files(Walk *walk, GVariant *tree, const char *path, GError **error)
{
	g_autoptr(GVariant) files = g_variant_get_child_value(tree, 0);
	const char *previous = NULL;

	for (gsize i = 0; i < g_variant_n_children(files); i++) {
		g_autoptr(GVariant) checksum = NULL;
		const char *name = NULL;
		g_autoptr(GVariant) file = g_variant_get_child_value(files, i);

		g_variant_get(file, "(&s@ay)", &name, &checksum);
		g_autofree char *inner = join(path, name);
		g_autofree char *text = checksum_in(checksum);
		if (!follows(previous, name, error) || !count(walk, error) ||
		    !walk->visitor->file(inner, text, walk->data, error))
			return false;
		previous = name;
	}
	return true;
}

static bool visit(Walk *walk, const char *path, const char *tree_checksum, const char *meta,
		  unsigned depth, GError **error);

static bool visit_directories(Walk *walk, GVariant *tree, const char *path, unsigned depth,
			      GError **error)
{
	g_autoptr(GVariant) directories = g_variant_get_child_value(tree, 1);
	const char *previous = NULL;

	for (gsize i = 0; i < g_variant_n_children(directories); i++) {
		g_autoptr(GVariant) tree_bytes = NULL;
		g_autoptr(GVariant) meta_bytes = NULL;
		const char *name = NULL;
		g_autoptr(GVariant) directory = g_variant_get_child_value(directories, i);

		g_variant_get(directory, "(&s@ay@ay)", &name, &tree_bytes, &meta_bytes);
		g_autofree char *inner = join(path, name);
		g_autofree char *inner_tree = checksum_in(tree_bytes);
		g_autofree char *inner_meta = checksum_in(meta_bytes);
		if (!follows(previous, name, error) ||
		    !visit(walk, inner, inner_tree, inner_meta, depth + 1, error))
			return false;
		previous = name;
	}
	return true;
}

static bool visit(Walk *walk, const char *path, const char *tree_checksum, const char *meta,
		  unsigned depth, GError **error)
{
	if (depth > DN_IMAGE_DEPTH_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "/%s: more than %d directories inside one another", path,
			    DN_IMAGE_DEPTH_LIMIT);
		return false;
	}
	if (!count(walk, error) ||
	    !walk->visitor->directory(path, tree_checksum, meta, walk->data, error))
		return false;
	g_autoptr(GVariant) tree = dn_image_load_variant(walk->repo, OSTREE_OBJECT_TYPE_DIR_TREE,
							 tree_checksum, error);
	/* Names without '/', "." or ".."; checksums of the right length. */
	if (tree == NULL || !ostree_validate_structureof_dirtree(tree, error))
		return false;
	return visit_files(walk, tree, path, error) &&
	       visit_directories(walk, tree, path, depth, error);
}

bool dn_image_commit_root(const DnImageRepo *repo, const char *commit, char **tree, char **meta,
			  GError **error)
{
	g_autoptr(GVariant) object =
		dn_image_load_variant(repo, OSTREE_OBJECT_TYPE_COMMIT, commit, error);
	g_autoptr(GVariant) tree_bytes = NULL;
	g_autoptr(GVariant) meta_bytes = NULL;

	if (object == NULL || !ostree_validate_structureof_commit(object, error))
		return false;
	g_variant_get_child(object, 6, "@ay", &tree_bytes);
	g_variant_get_child(object, 7, "@ay", &meta_bytes);
	*tree = checksum_in(tree_bytes);
	*meta = checksum_in(meta_bytes);
	return true;
}

bool dn_image_traverse(const DnImageRepo *repo, const char *commit, const DnImageVisitor *visitor,
		       gpointer data, GError **error)
{
	Walk walk = {.repo = repo, .visitor = visitor, .data = data};
	g_autofree char *tree = NULL;
	g_autofree char *meta = NULL;

	return dn_image_commit_root(repo, commit, &tree, &meta, error) &&
	       visit(&walk, "", tree, meta, 0, error);
}
