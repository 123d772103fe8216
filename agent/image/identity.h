/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The checksum a file on disk has as an object: content, mode, owner, xattrs, link target. */

#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "image/direct.h"
#include "seal/digest.h"

/*
 * Open @path below @directory_fd for @flags: no link on the way or at its end is followed, no
 * mount is crossed. -1 with errno.
 */
int dn_image_open_inside(int directory_fd, const char *path, int flags);

/* How content is read, and where the hashing is done; of one thread. */
typedef struct {
	DnDigest *digest; /* borrowed */
	DnDirect *direct; /* borrowed: past the page cache; NULL: what the page cache gives */
} DnImageReader;

/* What was found beside the checksum. Zeroed memory is an empty one. */
typedef struct {
	struct stat info;
	GVariant *xattrs; /* owned; a(ayay), sorted by name; NULL: none */
	bool is_elf;
} DnImageFacts;

void dn_image_facts_clear(DnImageFacts *self);

/*
 * The checksum of the regular file or link at @path. Refuses, by name and with
 * DN_ERROR_INVALID, whatever an image may not hold: set-id, file capabilities, ids above 65535,
 * neither file nor link. *@facts may be NULL; else the caller clears it, also after a failure.
 */
char *dn_image_identity(int directory_fd, const char *path, const DnImageReader *reader,
			DnImageFacts *facts, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for an open directory: the checksum of its `dirmeta`. */
char *dn_image_directory_identity(int fd, const char *path, DnImageFacts *facts,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The xattrs of an open file or O_PATH descriptor; *@xattrs is NULL when there are none. */
bool dn_image_read_xattrs(int fd, const char *path, GVariant **xattrs,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
