/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * SHA-256 at the speed of the processor (OpenSSL's EVP; GLib's own is ten times slower).
 *
 * Digests are 32 bytes between functions and 64 lower-case hexadecimal digits between people.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DN_DIGEST_BYTES 32

/* At once. */
void dn_digest_of(const void *data, size_t size, uint8_t digest[static DN_DIGEST_BYTES]);
char *dn_digest_bytes(GBytes *bytes) G_GNUC_WARN_UNUSED_RESULT;
char *dn_digest_text(const uint8_t digest[static DN_DIGEST_BYTES]) G_GNUC_WARN_UNUSED_RESULT;

/* Bit by bit: new, add any number of times, finish; after finish it begins again. One thread. */
typedef struct DnDigest DnDigest;

DnDigest *dn_digest_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_digest_free(DnDigest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnDigest, dn_digest_free)

void dn_digest_add(DnDigest *self, const void *data, size_t size);
void dn_digest_finish(DnDigest *self, uint8_t digest[static DN_DIGEST_BYTES]);

/*
 * Add what is left of @fd; *@size, which may be NULL, is how many bytes that was. A file that
 * grows while it is read is read to its new end. Fails with G_IO_ERROR.
 */
bool dn_digest_add_fd(DnDigest *self, int fd, uint64_t *size,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What is left of @fd, at once. */
bool dn_digest_fd(int fd, uint8_t digest[static DN_DIGEST_BYTES], uint64_t *size,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;
