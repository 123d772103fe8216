/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <errno.h>
#include <gio/gunixinputstream.h>
#include <string.h>

#include "image/repository.h"

enum { FAULTS_KEPT = 20 };

struct DnImageTree {
	OstreeRepo *repo;        /* borrowed */
	OstreeMutableTree *root; /* owned */
	GString *faults;
	unsigned n_faults;
	GHashTable *sizes;       /* char * checksum → uint64_t * of its content */
	uint64_t entries, bytes; /* written so far, replaced ones included */
};

DnImageTree *dn_image_tree_new(OstreeRepo *repo)
{
	DnImageTree *self = g_new0(DnImageTree, 1);

	self->repo = repo;
	self->root = ostree_mutable_tree_new();
	self->faults = g_string_new(NULL);
	self->sizes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return self;
}

void dn_image_tree_free(DnImageTree *self)
{
	if (self == NULL)
		return;
	g_object_unref(self->root);
	g_string_free(self->faults, TRUE);
	g_hash_table_unref(self->sizes);
	g_free(self);
}

bool dn_image_tree_fault(DnImageTree *self, const char *what, ...)
{
	va_list args;

	if (self->n_faults++ >= FAULTS_KEPT)
		return true;
	if (self->faults->len > 0)
		g_string_append_c(self->faults, '\n');
	va_start(args, what);
	g_string_append_vprintf(self->faults, what, args);
	va_end(args);
	return true;
}

bool dn_image_tree_is_sound(const DnImageTree *self, GError **error)
{
	if (self->n_faults == 0)
		return true;
	g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID, self->faults->str);
	if (self->n_faults > FAULTS_KEPT && error != NULL) {
		g_autofree char *first = (*error)->message;
		(*error)->message =
			g_strdup_printf("%s\nand %u more", first, self->n_faults - FAULTS_KEPT);
	}
	return false;
}

static void measure(const DnImageTree *self, OstreeMutableTree *directory, uint64_t *files,
		    uint64_t *bytes)
{
	GHashTableIter iter;
	gpointer entry = NULL;

	g_hash_table_iter_init(&iter, ostree_mutable_tree_get_files(directory));
	while (g_hash_table_iter_next(&iter, NULL, &entry)) {
		const uint64_t *size = g_hash_table_lookup(self->sizes, entry);

		*files += 1;
		*bytes += *size;
	}
	g_hash_table_iter_init(&iter, ostree_mutable_tree_get_subdirs(directory));
	while (g_hash_table_iter_next(&iter, NULL, &entry))
		measure(self, entry, files, bytes);
}

void dn_image_tree_measure(const DnImageTree *self, uint64_t *files, uint64_t *bytes)
{
	*files = 0;
	*bytes = 0;
	measure(self, self->root, files, bytes);
}

OstreeMutableTree *dn_image_tree_root(DnImageTree *self)
{
	return self->root;
}

static bool count(DnImageTree *self, uint64_t bytes, GError **error)
{
	self->entries++;
	self->bytes += bytes;
	if (self->entries > DN_IMAGE_FILES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "an image holds at most %d files and directories",
			    DN_IMAGE_FILES_LIMIT);
		return false;
	}
	if (self->bytes > DN_IMAGE_TOTAL_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "an image holds at most %" G_GUINT64_FORMAT " bytes",
			    DN_IMAGE_TOTAL_LIMIT);
		return false;
	}
	return true;
}

static GFileInfo *describe(GFileType type, uint32_t mode, uint64_t size)
{
	GFileInfo *info = g_file_info_new();

	g_file_info_set_file_type(info, type);
	g_file_info_set_size(info, (goffset)size);
	g_file_info_set_attribute_uint32(info, "unix::uid", 0);
	g_file_info_set_attribute_uint32(info, "unix::gid", 0);
	g_file_info_set_attribute_uint32(info, "unix::mode", mode);
	return info;
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

bool dn_image_tree_set_mode(DnImageTree *self, OstreeMutableTree *directory, uint32_t mode,
			    GError **error)
{
	g_autoptr(GFileInfo) info = describe(G_FILE_TYPE_DIRECTORY, S_IFDIR | mode, 0);
	g_autoptr(GVariant) meta = g_variant_ref_sink(ostree_create_directory_metadata(info, NULL));
	g_autofree guchar *raw = NULL;

	if (!ostree_repo_write_metadata(self->repo, OSTREE_OBJECT_TYPE_DIR_META, NULL, meta, &raw,
					NULL, error))
		return false;
	g_autofree char *checksum = ostree_checksum_from_bytes(raw);
	ostree_mutable_tree_set_metadata_checksum(directory, checksum);
	return true;
}

OstreeMutableTree *dn_image_tree_directory(DnImageTree *self, OstreeMutableTree *parent,
					   const char *path, uint32_t mode, GError **error)
{
	const char *name = name_of(path);
	OstreeMutableTree *there =
		g_hash_table_lookup(ostree_mutable_tree_get_subdirs(parent), name);
	OstreeMutableTree *made = NULL;

	if (there != NULL)
		return there;
	if (g_hash_table_contains(ostree_mutable_tree_get_files(parent), name)) {
		dn_image_tree_fault(self, "/%s is a file or a link, it must be a directory", path);
		return NULL;
	}
	if (!count(self, 0, error) || !ostree_mutable_tree_ensure_dir(parent, name, &made, error))
		return NULL;
	/* The parent holds a reference of its own. */
	g_object_unref(made);
	return dn_image_tree_set_mode(self, made, mode, error) ? made : NULL;
}

/* Write one content object and enter it. */
static bool put(DnImageTree *self, OstreeMutableTree *parent, const char *path,
		GInputStream *content, GFileInfo *info, GError **error)
{
	g_autoptr(GInputStream) object = NULL;
	g_autofree guchar *raw = NULL;
	const char *name = name_of(path);
	guint64 length = 0;

	if (g_hash_table_contains(ostree_mutable_tree_get_subdirs(parent), name))
		return dn_image_tree_fault(self, "/%s is a directory, a file cannot replace it",
					   path);
	if (!count(self, (uint64_t)g_file_info_get_size(info), error) ||
	    !ostree_raw_file_to_content_stream(content, info, NULL, &object, &length, NULL,
					       error) ||
	    !ostree_repo_write_content(self->repo, NULL, object, length, &raw, NULL, error)) {
		g_prefix_error(error, "/%s: ", path);
		return false;
	}
	g_autofree char *checksum = ostree_checksum_from_bytes(raw);
	uint64_t size = (uint64_t)g_file_info_get_size(info);
	g_hash_table_replace(self->sizes, g_strdup(checksum), g_memdup2(&size, sizeof(size)));
	return ostree_mutable_tree_replace_file(parent, name, checksum, error);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool dn_image_tree_file(DnImageTree *self, OstreeMutableTree *parent, const char *path, int fd,
			const struct stat *info, uint32_t mode, GError **error)
{
	g_autoptr(GInputStream) content = g_unix_input_stream_new(fd, FALSE);
	g_autoptr(GFileInfo) described =
		describe(G_FILE_TYPE_REGULAR, S_IFREG | mode, (uint64_t)info->st_size);
	struct stat after = {0};

	if (info->st_size > DN_IMAGE_FILE_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "/%s is larger than %d bytes, which is the most one file may have",
			    path, DN_IMAGE_FILE_LIMIT);
		return false;
	}
	if (!put(self, parent, path, content, described, error))
		return false;
	if (fstat(fd, &after) < 0)
		return dn_throw_errno(error, errno, "/%s", path);
	if (!is_same(info, &after)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "/%s changed while it was read: build again", path);
		return false;
	}
	return true;
}

bool dn_image_tree_bytes(DnImageTree *self, OstreeMutableTree *parent, const char *path,
			 GBytes *bytes, GError **error)
{
	g_autoptr(GInputStream) content = g_memory_input_stream_new_from_bytes(bytes);
	g_autoptr(GFileInfo) info =
		describe(G_FILE_TYPE_REGULAR, S_IFREG | 0644, g_bytes_get_size(bytes));

	return put(self, parent, path, content, info, error);
}

bool dn_image_tree_link(DnImageTree *self, OstreeMutableTree *parent, const char *path,
			const char *target, GError **error)
{
	g_autoptr(GFileInfo) info = describe(G_FILE_TYPE_SYMBOLIC_LINK, S_IFLNK | 0777, 0);

	g_file_info_set_attribute_byte_string(info, "standard::symlink-target", target);
	g_file_info_set_is_symlink(info, TRUE);
	return put(self, parent, path, NULL, info, error);
}
