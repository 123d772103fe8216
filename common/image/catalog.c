/* SPDX-License-Identifier: Apache-2.0 */
#include "image/catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "image/content.h"
#include "image/repository-ostree.h"
#include "image/run-file.h"
#include "image/sign.h"
#include "image/traverse.h"
#include "seal/digest.h"

void dn_image_info_free(DnImageInfo *self)
{
	if (self == NULL)
		return;
	g_free(self->ref);
	g_free(self->commit);
	g_free(self);
}

static void free_info(gpointer info)
{
	dn_image_info_free(info);
}

static int compare_refs(gconstpointer a, gconstpointer b)
{
	const DnImageInfo *const *one = a;
	const DnImageInfo *const *other = b;

	return strcmp((*one)->ref, (*other)->ref);
}

static uint64_t changed_ns(int repo_fd, const char *ref)
{
	g_autofree char *path = g_strconcat("refs/heads/", ref, NULL);
	struct stat info = {0};

	if (fstatat(repo_fd, path, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	return (uint64_t)info.st_mtim.tv_sec * DN_NS_PER_S + (uint64_t)info.st_mtim.tv_nsec;
}

static DnImageInfo *describe(DnImageRepo *repo, const char *ref, const char *commit, GError **error)
{
	g_autoptr(GVariant) object =
		dn_image_load_variant(repo, OSTREE_OBJECT_TYPE_COMMIT, commit, error);

	if (object == NULL)
		return NULL;
	g_autoptr(GVariant) metadata = g_variant_get_child_value(object, 0);
	DnImageInfo *info = g_new0(DnImageInfo, 1);
	info->ref = g_strdup(ref);
	info->commit = g_strdup(commit);
	(void)g_variant_lookup(metadata, DN_IMAGE_META_SIZE, "t", &info->size_bytes);
	(void)g_variant_lookup(metadata, DN_IMAGE_META_FILES, "t", &info->files);
	info->size_bytes = GUINT64_FROM_BE(info->size_bytes);
	info->files = GUINT64_FROM_BE(info->files);
	info->created_ns = changed_ns(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), ref);
	return info;
}

GPtrArray *dn_image_list_now(DnImageRepo *repo, GError **error)
{
	g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func(free_info);
	g_autoptr(GHashTable) refs = NULL;
	GHashTableIter iter;
	gpointer ref = NULL, commit = NULL;

	if (!ostree_repo_list_refs(dn_image_repo_ostree(repo), NULL, &refs, NULL, error))
		return NULL;
	g_hash_table_iter_init(&iter, refs);
	while (g_hash_table_iter_next(&iter, &ref, &commit)) {
		DnImageInfo *info = describe(repo, ref, commit, error);

		if (info == NULL)
			return NULL;
		g_ptr_array_add(images, info);
	}
	g_ptr_array_sort(images, compare_refs);
	return g_steal_pointer(&images);
}

static char *complete(DnImageRepo *repo, const char *start, GError **error)
{
	g_autoptr(GHashTable) found = NULL;
	GHashTableIter iter;
	gpointer name = NULL;
	const char *checksum = NULL;
	OstreeObjectType type;

	if (!ostree_repo_list_commit_objects_starting_with(dn_image_repo_ostree(repo), start,
							   &found, NULL, error))
		return NULL;
	if (g_hash_table_size(found) != 1) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s: %s", start,
			    g_hash_table_size(found) == 0 ? "no such image"
							  : "more than one image begins so");
		return NULL;
	}
	g_hash_table_iter_init(&iter, found);
	(void)g_hash_table_iter_next(&iter, &name, NULL);
	ostree_object_name_deserialize(name, &checksum, &type);
	return g_strdup(checksum);
}

static bool is_hex_start(const char *name)
{
	enum { SHORTEST = 8 };
	size_t length = strlen(name);

	return length >= SHORTEST && length <= OSTREE_SHA256_STRING_LEN &&
	       strspn(name, "0123456789abcdef") == length;
}

char *dn_image_resolve_now(DnImageRepo *repo, const char *name, GError **error)
{
	g_autoptr(GHashTable) refs = NULL;

	/* Not by libostree's own resolver: it takes a start of any length, and more. */
	if (!ostree_repo_list_refs(dn_image_repo_ostree(repo), NULL, &refs, NULL, error))
		return NULL;
	const char *commit = g_hash_table_lookup(refs, name);
	if (commit != NULL)
		return g_strdup(commit);
	if (is_hex_start(name))
		return complete(repo, name, error);
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s: no such image in %s", name,
		    dn_image_repo_path(repo));
	return NULL;
}

static bool sync_all(DnImageRepo *repo, GError **error)
{
	if (syncfs(ostree_repo_get_dfd(dn_image_repo_ostree(repo))) == 0)
		return true;
	return dn_throw_errno(error, errno, "sync %s", dn_image_repo_path(repo));
}

bool dn_image_publish_now(DnImageRepo *repo, const char *ref, const char *commit, GBytes *metadata,
			  GError **error)
{
	OstreeRepo *ostree = dn_image_repo_ostree(repo);
	g_autoptr(GPtrArray) signatures = dn_image_signatures(metadata, error);

	if (signatures == NULL)
		return false;
	/* What the name stands for is on disk before the name is, and the name before it is told.
	 */
	return sync_all(repo, error) &&
	       dn_image_add_signatures_now(repo, commit, signatures, error) &&
	       ostree_repo_set_ref_immediate(ostree, NULL, ref, commit, NULL, error) &&
	       sync_all(repo, error);
}

/* The checksum of the file @name (@child 0) or the tree of the directory @name (1) in @tree. */
static char *find(DnImageRepo *repo, const char *tree, gsize child, const char *name,
		  GError **error)
{
	g_autoptr(GVariant) object =
		dn_image_load_variant(repo, OSTREE_OBJECT_TYPE_DIR_TREE, tree, error);

	if (object == NULL || !ostree_validate_structureof_dirtree(object, error))
		return NULL;
	g_autoptr(GVariant) entries = g_variant_get_child_value(object, child);
	for (gsize i = 0; i < g_variant_n_children(entries); i++) {
		g_autoptr(GVariant) entry = g_variant_get_child_value(entries, i);
		g_autoptr(GVariant) checksum = NULL;
		const char *there = NULL;

		g_variant_get_child(entry, 0, "&s", &there);
		g_variant_get_child(entry, 1, "@ay", &checksum);
		if (strcmp(there, name) == 0)
			return ostree_checksum_from_bytes_v(checksum);
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "the image has no /" DN_RUN_FILE_DIR "/" DN_RUN_FILE_NAME
		    ": build it with dnode image build");
	return NULL;
}

/* The content of a small regular file, hashed. */
static GBytes *load_file(DnImageRepo *repo, const char *checksum, GError **error)
{
	g_autoptr(GInputStream) content = NULL;
	g_autoptr(GFileInfo) info = NULL;
	g_autoptr(GVariant) xattrs = NULL;
	g_autoptr(DnDigest) digest = dn_digest_new();
	uint8_t raw[DN_DIGEST_BYTES];

	if (!ostree_repo_load_file(dn_image_repo_ostree(repo), checksum, &content, &info, &xattrs,
				   NULL, error))
		return NULL;
	DnImageAttributes attributes = {
		.uid = g_file_info_get_attribute_uint32(info, "unix::uid"),
		.gid = g_file_info_get_attribute_uint32(info, "unix::gid"),
		.mode = g_file_info_get_attribute_uint32(info, "unix::mode"),
		.xattrs = xattrs,
	};
	if (content == NULL || !S_ISREG(attributes.mode)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "/" DN_RUN_FILE_DIR "/" DN_RUN_FILE_NAME " is not a regular file");
		return NULL;
	}
	g_autofree guint8 *data = g_malloc(DN_RUN_FILE_LIMIT + 1);
	gsize length = 0;
	if (!g_input_stream_read_all(content, data, DN_RUN_FILE_LIMIT + 1, &length, NULL, error))
		return NULL;
	g_autoptr(GBytes) bytes = g_bytes_new_take(g_steal_pointer(&data), length);
	g_autoptr(GBytes) header = dn_image_content_header(&attributes);
	dn_digest_add(digest, g_bytes_get_data(header, NULL), g_bytes_get_size(header));
	dn_digest_add(digest, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	dn_digest_finish(digest, raw);
	g_autofree char *found = dn_digest_text(raw);
	/* One that is longer than the limit also ends here: its digest cannot match. */
	if (strcmp(found, checksum) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "/" DN_RUN_FILE_DIR "/" DN_RUN_FILE_NAME
			    " is larger than 64 KiB or was changed in %s",
			    dn_image_repo_path(repo));
		return NULL;
	}
	return g_steal_pointer(&bytes);
}

bool dn_image_read_defaults_now(DnImageRepo *repo, const char *commit, DnRun *run, GArray **ports,
				GError **error)
{
	g_autofree char *root = NULL;
	g_autofree char *meta = NULL;

	if (!dn_image_commit_root(repo, commit, &root, &meta, error))
		return false;
	g_autofree char *directory = find(repo, root, 1, DN_RUN_FILE_DIR, error);
	if (directory == NULL)
		return false;
	g_autofree char *file = find(repo, directory, 0, DN_RUN_FILE_NAME, error);
	g_autoptr(GBytes) bytes = file != NULL ? load_file(repo, file, error) : NULL;
	return bytes != NULL && dn_run_file_read(bytes, run, ports, error);
}
