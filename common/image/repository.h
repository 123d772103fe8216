/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A repository of images: OSTree's, `archive` where people and the supervisor keep images (every
 * object is a plain file that HTTP can serve), `bare` on hosts (ownership inside images survives).
 *
 * Every call blocks. A handle belongs to one thread at a time; several handles may be open on one
 * path, in one process or in many.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"

enum {
	DN_IMAGE_FILES_LIMIT = 1000000,          /* entries of an image */
	DN_IMAGE_DEPTH_LIMIT = 64,               /* directories inside one another */
	DN_IMAGE_FILE_LIMIT = 512 * 1024 * 1024, /* bytes of one file */
	DN_IMAGE_META_LIMIT = 16 * 1024 * 1024,  /* bytes of a commit, dirtree or dirmeta */
	DN_IMAGE_METADATA_LIMIT = 64 * 1024,     /* bytes of detached metadata: signatures */
	DN_IMAGE_SIGNATURES_LIMIT = 16,
};
#define DN_IMAGE_TOTAL_LIMIT (UINT64_C(16) << 30) /* bytes of all files of an image */

/* Keys of a commit's metadata: bytes of all files and how many there are (t, big-endian). */
#define DN_IMAGE_META_SIZE "dnode.size"
#define DN_IMAGE_META_FILES "dnode.files"

typedef enum { DN_IMAGE_REPO_ARCHIVE, DN_IMAGE_REPO_BARE } DnImageRepoMode;

typedef struct DnImageRepo DnImageRepo;

/* Open the repository at @path; it must exist. */
DnImageRepo *dn_image_repo_open_now(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Open it, or make it with its parents; new directories get mode 0700 when bare, else 0755. */
DnImageRepo *dn_image_repo_create_now(const char *path, DnImageRepoMode mode,
				      GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_image_repo_free(DnImageRepo *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnImageRepo, dn_image_repo_free)

/* Borrowed from @self. */
const char *dn_image_repo_path(const DnImageRepo *self);

/*
 * @ref names an image: words of a-z, 0-9, '-', '_', '.' that begin with a letter or digit, joined
 * by '/', 128 bytes at most.
 */
bool dn_image_is_ref(const char *ref);

/* @commit is a commit id: 64 lower-case hexadecimal digits. */
bool dn_image_is_commit(const char *commit);
