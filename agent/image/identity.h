/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The checksum a file on disk has as an object: content, mode, owner, xattrs, link target. */

#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "seal/digest.h"

/*
 * Open @path below @directory_fd for @flags: no link on the way or at its end is followed, no
 * mount is crossed. -1 with errno.
 */
int dn_image_open_inside(int directory_fd, const char *path, int flags);

/*
 * The checksum of the regular file or link at @path. Refuses, by name and with
 * DN_ERROR_INVALID, whatever an image may not hold: set-id, file capabilities, ids above 65535,
 * neither file nor link. @digest is the caller's own; *@info may be NULL.
 */
char *dn_image_identity(int directory_fd, const char *path, DnDigest *digest, struct stat *info,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for an open directory: the checksum of its `dirmeta`. */
char *dn_image_directory_identity(int fd, const char *path,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;
