/* SPDX-License-Identifier: Apache-2.0 */
#include "image/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/text.h"
#include "image/content.h"
#include "image/repository-ostree.h"
#include "image/traverse.h"
#include "seal/digest.h"

enum { HEX = OSTREE_SHA256_STRING_LEN };

static const struct {
	const char *name;
	OstreeObjectType type;
} types[] = {
	{"commit", OSTREE_OBJECT_TYPE_COMMIT},
	{"dirtree", OSTREE_OBJECT_TYPE_DIR_TREE},
	{"dirmeta", OSTREE_OBJECT_TYPE_DIR_META},
	{"file", OSTREE_OBJECT_TYPE_FILE},
};

typedef struct {
	OstreeObjectType type;
	char checksum[HEX + 1];
	char path[HEX + 32]; /* in the repository */
} Object;

static bool parse(const char *name, Object *object)
{
	g_autofree char *checksum = g_strndup(name, HEX);

	if (!dn_text_is_hex(checksum, HEX) || name[HEX] != '.')
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
		if (strcmp(name + HEX + 1, types[i].name) != 0)
			continue;
		bool file = types[i].type == OSTREE_OBJECT_TYPE_FILE;

		object->type = types[i].type;
		memcpy(object->checksum, checksum, HEX + 1);
		g_snprintf(object->path, sizeof(object->path), "objects/%.2s/%s.%s", checksum,
			   checksum + 2, file ? "filez" : types[i].name);
		return true;
	}
	return false;
}

bool dn_image_is_object_name(const char *name)
{
	Object object;

	return parse(name, &object);
}

static bool parse_or_refuse(const char *name, Object *object, GError **error)
{
	if (parse(name, object))
		return true;
	g_autofree char *shown = dn_text_printable(name, strnlen(name, HEX + 16));
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "%s is not the name of an object: CHECKSUM.commit, .dirtree, .dirmeta or .file",
		    shown);
	return false;
}

static bool too_large(const char *name, uint64_t limit, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "object %s is larger than %" G_GUINT64_FORMAT " bytes", name, limit);
	return false;
}

/* What an object may take in the repository; deflate can make a file a little longer. */
static uint64_t stored_limit(const Object *object)
{
	if (object->type == OSTREE_OBJECT_TYPE_FILE)
		return (uint64_t)DN_IMAGE_FILE_LIMIT + DN_IMAGE_META_LIMIT;
	return DN_IMAGE_META_LIMIT;
}

static GBytes *map(int repo_fd, const Object *object, const char *name, GError **error)
{
	dn_autofd int fd = openat(repo_fd, object->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat info = {0};

	if (fd < 0 || fstat(fd, &info) < 0) {
		dn_throw_errno(error, errno, "read object %s", name);
		return NULL;
	}
	if ((uint64_t)info.st_size > stored_limit(object)) {
		too_large(name, stored_limit(object), error);
		return NULL;
	}
	g_autoptr(GMappedFile) mapped = g_mapped_file_new_from_fd(fd, FALSE, error);
	return mapped != NULL ? g_mapped_file_get_bytes(mapped) : NULL;
}

GBytes *dn_image_object_read_now(DnImageRepo *repo, const char *name, GError **error)
{
	Object object;

	if (!parse_or_refuse(name, &object, error))
		return NULL;
	return map(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), &object, name, error);
}

static bool has_structure(const Object *object, GBytes *bytes, GError **error)
{
	g_autoptr(GBytes) copy =
		g_bytes_new(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	const GVariantType *type = ostree_metadata_variant_type(object->type);
	g_autoptr(GVariant) parsed =
		g_variant_ref_sink(g_variant_new_from_bytes(type, copy, FALSE));

	if (!g_variant_is_normal_form(parsed)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "object %s is malformed",
			    object->checksum);
		return false;
	}
	if (object->type == OSTREE_OBJECT_TYPE_COMMIT)
		return ostree_validate_structureof_commit(parsed, error);
	if (object->type == OSTREE_OBJECT_TYPE_DIR_TREE)
		return ostree_validate_structureof_dirtree(parsed, error);
	return ostree_validate_structureof_dirmeta(parsed, error);
}

/* Are @bytes what @object's name says, to the last byte? */
static bool is_genuine(const Object *object, const char *name, GBytes *bytes, GError **error)
{
	g_autofree char *checksum = NULL;

	if (g_bytes_get_size(bytes) > stored_limit(object))
		return too_large(name, stored_limit(object), error);
	if (object->type == OSTREE_OBJECT_TYPE_FILE) {
		checksum = dn_image_filez_checksum(bytes, NULL, error);
		if (checksum == NULL) {
			g_prefix_error(error, "object %s: ", name);
			return false;
		}
	} else
		checksum = dn_digest_bytes(bytes);
	if (strcmp(checksum, object->checksum) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "object %s: its bytes have the checksum %s", name, checksum);
		return false;
	}
	return object->type == OSTREE_OBJECT_TYPE_FILE || has_structure(object, bytes, error);
}

/* Not synced here: dn_image_publish_now() does that once for all. */
static bool store(int repo_fd, const Object *object, GBytes *bytes, GError **error)
{
	g_autofree char *suffix = dn_id_new(8);
	g_autofree char *temporary = g_strdup_printf("tmp/dnode-%s", suffix);
	g_autofree char *directory = g_strndup(object->path, strlen("objects/xx"));
	dn_autofd int fd =
		openat(repo_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return dn_throw_errno(error, errno, "create an object");
	if (fchmod(fd, 0644) < 0 || !dn_file_write_all(fd, bytes) ||
	    (mkdirat(repo_fd, directory, 0755) < 0 && errno != EEXIST) ||
	    renameat(repo_fd, temporary, repo_fd, object->path) < 0) {
		int saved = errno;

		(void)unlinkat(repo_fd, temporary, 0);
		return dn_throw_errno(error, saved, "store object %s", object->checksum);
	}
	return true;
}

bool dn_image_object_write_now(DnImageRepo *repo, const char *name, GBytes *bytes, GError **error)
{
	Object object;

	return parse_or_refuse(name, &object, error) && is_genuine(&object, name, bytes, error) &&
	       store(ostree_repo_get_dfd(dn_image_repo_ostree(repo)), &object, bytes, error);
}

char **dn_image_objects_missing_now(DnImageRepo *repo, const char *const *names, GError **error)
{
	int repo_fd = ostree_repo_get_dfd(dn_image_repo_ostree(repo));
	g_autoptr(GPtrArray) missing = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; names[i] != NULL; i++) {
		Object object;

		if (!parse_or_refuse(names[i], &object, error))
			return NULL;
		if (faccessat(repo_fd, object.path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		if (errno != ENOENT) {
			dn_throw_errno(error, errno, "look for object %s", names[i]);
			return NULL;
		}
		g_ptr_array_add(missing, g_strdup(names[i]));
	}
	g_ptr_array_add(missing, NULL);
	return (char **)g_ptr_array_free(g_steal_pointer(&missing), FALSE);
}

/* Every object of a commit, each once; @inspect (or NULL) sees it before it is parsed. */
typedef struct {
	GPtrArray *names;  /* owns the strings */
	GHashTable *known; /* borrows them */
	int repo_fd;
	const char *path; /* of the repository, for people */
	bool inspect, remove_damaged;
} Collection;

/* Read and hash one object; where it was pushed to, a damaged one goes. */
static bool inspect(Collection *collection, const char *name, GError **error)
{
	Object object;
	GError *failed = NULL;

	if (!parse_or_refuse(name, &object, error))
		return false;
	g_autoptr(GBytes) bytes = map(collection->repo_fd, &object, name, &failed);
	if (bytes != NULL && is_genuine(&object, name, bytes, &failed))
		return true;
	if (bytes == NULL && !g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
		g_propagate_error(error, failed);
		return false;
	}
	g_error_free(failed);
	if (!collection->remove_damaged && bytes != NULL) /* a build leaves what is there */
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "object %s is damaged: remove %s/%s and build the image again", name,
			    collection->path, object.path);
	else if (!collection->remove_damaged)
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "object %s is missing: build the image again", name);
	else if (bytes != NULL && unlinkat(collection->repo_fd, object.path, 0) < 0)
		dn_throw_errno(error, errno, "remove object %s, which is damaged", name);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "object %s %s: push the image again", name,
			    bytes != NULL ? "was damaged and has been removed" : "is missing");
	return false;
}

static bool collect(Collection *collection, const char *checksum, const char *type, GError **error)
{
	g_autofree char *name = g_strconcat(checksum, ".", type, NULL);

	if (g_hash_table_contains(collection->known, name))
		return true;
	if (collection->inspect && !inspect(collection, name, error))
		return false;
	g_hash_table_add(collection->known, name);
	g_ptr_array_add(collection->names, g_steal_pointer(&name));
	return true;
}

static bool collect_directory(const char *path, const char *tree, const char *meta, gpointer data,
			      GError **error)
{
	return collect(data, tree, "dirtree", error) && collect(data, meta, "dirmeta", error);
}

static bool collect_file(const char *path, const char *checksum, gpointer data, GError **error)
{
	return collect(data, checksum, "file", error);
}

static GPtrArray *collect_all(DnImageRepo *repo, const char *commit, bool inspected, bool pushed,
			      GError **error)
{
	static const DnImageVisitor visitor = {collect_directory, collect_file};
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
	Collection collection = {
		.names = names,
		.known = known,
		.repo_fd = ostree_repo_get_dfd(dn_image_repo_ostree(repo)),
		.path = dn_image_repo_path(repo),
		.inspect = inspected,
		.remove_damaged = pushed,
	};

	if (!collect(&collection, commit, "commit", error) ||
	    !dn_image_traverse(repo, commit, &visitor, &collection, error))
		return NULL;
	return g_steal_pointer(&names);
}

GPtrArray *dn_image_objects_now(DnImageRepo *repo, const char *commit, GError **error)
{
	return collect_all(repo, commit, false, false, error);
}

bool dn_image_objects_verify_now(DnImageRepo *repo, const char *commit, GError **error)
{
	g_autoptr(GPtrArray) names = collect_all(repo, commit, true, false, error);

	return names != NULL;
}

bool dn_image_objects_accept_now(DnImageRepo *repo, const char *commit, GError **error)
{
	g_autoptr(GPtrArray) names = collect_all(repo, commit, true, true, error);

	return names != NULL;
}
