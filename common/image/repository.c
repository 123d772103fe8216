/* SPDX-License-Identifier: Apache-2.0 */
#include "image/repository.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "image/repository-ostree.h"
#include "seal/digest.h"

struct DnImageRepo {
	char *path;         /* owned */
	OstreeRepo *ostree; /* owned */
};

static DnImageRepo *wrap(const char *path, OstreeRepo *ostree)
{
	DnImageRepo *self = g_new0(DnImageRepo, 1);

	self->path = g_strdup(path);
	self->ostree = ostree;
	return self;
}

DnImageRepo *dn_image_repo_open_now(const char *path, GError **error)
{
	g_autoptr(OstreeRepo) ostree = ostree_repo_open_at(AT_FDCWD, path, NULL, error);

	if (ostree == NULL) {
		g_prefix_error(error, "image repository %s: ", path);
		return NULL;
	}
	return wrap(path, g_steal_pointer(&ostree));
}

DnImageRepo *dn_image_repo_create_now(const char *path, DnImageRepoMode mode, GError **error)
{
	bool bare = mode == DN_IMAGE_REPO_BARE;
	OstreeRepoMode wanted = bare ? OSTREE_REPO_MODE_BARE : OSTREE_REPO_MODE_ARCHIVE;

	if (!dn_file_make_directory(path, bare ? 0700 : 0755, error))
		return NULL;
	g_autoptr(OstreeRepo) ostree =
		ostree_repo_create_at(AT_FDCWD, path, wanted, NULL, NULL, error);
	if (ostree == NULL) {
		g_prefix_error(error, "image repository %s: ", path);
		return NULL;
	}
	if (ostree_repo_get_mode(ostree) != wanted) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "image repository %s is of another kind, not %s: name another place",
			    path, bare ? "bare" : "archive");
		return NULL;
	}
	return wrap(path, g_steal_pointer(&ostree));
}

void dn_image_repo_free(DnImageRepo *self)
{
	if (self == NULL)
		return;
	g_object_unref(self->ostree);
	g_free(self->path);
	g_free(self);
}

const char *dn_image_repo_path(const DnImageRepo *self)
{
	return self->path;
}

OstreeRepo *dn_image_repo_ostree(const DnImageRepo *self)
{
	return self->ostree;
}

static bool is_ref_word(const char *word)
{
	if (!g_ascii_islower(word[0]) && !g_ascii_isdigit(word[0]))
		return false;
	for (const char *at = word; *at != '\0'; at++)
		if (!g_ascii_islower(*at) && !g_ascii_isdigit(*at) && strchr("-_.", *at) == NULL)
			return false;
	return true;
}

bool dn_image_is_ref(const char *ref)
{
	enum { LONGEST = 128 };

	if (ref == NULL || strlen(ref) > LONGEST)
		return false;
	g_auto(GStrv) words = g_strsplit(ref, "/", -1);
	for (size_t i = 0; words[i] != NULL; i++)
		if (!is_ref_word(words[i]))
			return false;
	return words[0] != NULL;
}

bool dn_image_is_commit(const char *commit)
{
	return commit != NULL && dn_text_is_hex(commit, OSTREE_SHA256_STRING_LEN);
}

bool dn_image_is_missing(const GError *error)
{
	return g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

GVariant *dn_image_load_variant(const DnImageRepo *self, OstreeObjectType type,
				const char *checksum, GError **error)
{
	g_autoptr(GVariant) object = NULL;
	const char *kind = ostree_object_type_to_string(type);

	if (!ostree_repo_load_variant(self->ostree, type, checksum, &object, error))
		return NULL;
	g_autoptr(GBytes) bytes = g_variant_get_data_as_bytes(object);
	if (g_bytes_get_size(bytes) > DN_IMAGE_META_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "%s %s is larger than %d bytes",
			    kind, checksum, DN_IMAGE_META_LIMIT);
		return NULL;
	}
	g_autofree char *digest = dn_digest_bytes(bytes);
	if (strcmp(digest, checksum) != 0 || !g_variant_is_normal_form(object)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "%s %s in %s was changed: its bytes have another checksum", kind,
			    checksum, self->path);
		return NULL;
	}
	return g_steal_pointer(&object);
}
