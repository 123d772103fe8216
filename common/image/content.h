/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an object's checksum covers, worked out without libostree: a file's is the SHA-256 of a
 * header (owner, mode, link target, xattrs) followed by its content, a directory's that of
 * owner, mode and xattrs. Numbers are big-endian, the serialisation is GVariant's.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	uint32_t uid, gid;
	uint32_t mode;      /* with the type bits of stat(2) */
	const char *target; /* of a symbolic link, else NULL or "" */
	GVariant *xattrs;   /* a(ayay), sorted by name; NULL: none */
} DnImageAttributes;

/* The header of a file or link, as hashed. */
GBytes *dn_image_content_header(const DnImageAttributes *attributes) G_GNUC_WARN_UNUSED_RESULT;

/* The object of a directory's attributes (`dirmeta`). */
GBytes *dn_image_directory_meta(const DnImageAttributes *attributes) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The reverse of the .filez stream in an archive repository: (tuuuusa(ayay)) behind its length,
 * then raw deflate. Gives the checksum of the file it holds; every byte is accounted for, so two
 * different streams that pass can differ only in how the content was compressed.
 */
char *dn_image_filez_checksum(GBytes *filez, uint64_t *size_bytes,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
