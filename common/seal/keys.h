/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ed25519 keys: the secret ones that sign, and the public ones that others are known by.
 *
 * A secret key lives in guarded memory from the moment it is made or read until it is freed, and
 * no function prints it. Its file is a minisign secret key file without a password, so that
 * minisign(1) and dnode can use each other's keys (docs/formats/keys.md).
 *
 * A key *is* its 32 public bytes. The key id of minisign is a label anybody can choose: it is
 * written for minisign's sake and never believed.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/trust.h"

#define DN_SEED_BYTES 32
#define DN_SIGNATURE_BYTES 64
#define DN_KEY_ID_BYTES 8

typedef struct DnSecretKey DnSecretKey;

DnSecretKey *dn_secret_key_generate(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_secret_key_free(DnSecretKey *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnSecretKey, dn_secret_key_free)

/*
 * Fails with DN_ERROR_INVALID when group or others may read the file, when it is protected by a
 * password, or when it is no key; with G_IO_ERROR when it cannot be read.
 */
DnSecretKey *dn_secret_key_load(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Write the key to a new file with mode 0600, durably. An existing file is never overwritten. */
bool dn_secret_key_save(const DnSecretKey *self, const char *path,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Write STEM.key and STEM.pub, both or neither; an existing one of either is an error. */
bool dn_secret_key_save_pair(const DnSecretKey *self, const char *stem,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Write only the public half, to the new file @path. */
bool dn_secret_key_save_public(const DnSecretKey *self, const char *path,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

void dn_secret_key_public(const DnSecretKey *self, uint8_t key[static DN_PUBLIC_KEY_BYTES]);

/* The line of a minisign public key file that `minisign -V -P` takes: "RW...". */
char *dn_secret_key_public_text(const DnSecretKey *self) G_GNUC_WARN_UNUSED_RESULT;

/* What minisign calls the key number. */
void dn_secret_key_id(const DnSecretKey *self, uint8_t id[static DN_KEY_ID_BYTES]);

/* Plain Ed25519 over @data, as libostree signs commits. */
void dn_secret_key_sign(const DnSecretKey *self, const void *data, size_t size,
			uint8_t signature[static DN_SIGNATURE_BYTES]);

/*
 * Copy the 32 bytes the key is made from, for the TLS library, which signs by itself. The caller
 * wipes its copy (explicit_bzero) as soon as it has been handed on.
 */
void dn_secret_key_export_seed(const DnSecretKey *self, uint8_t seed[static DN_SEED_BYTES]);

/*
 * Whether the bytes are a good point of the curve: one that belongs to a secret key. By some others
 * anybody could sign.
 */
bool dn_public_key_is_sound(const uint8_t key[static DN_PUBLIC_KEY_BYTES]);

/*
 * Read a public key from text: a minisign public key file, its second line ("RW..."), or the
 * plain base64 of 32 bytes. Bytes that are not sound are refused.
 */
bool dn_public_key_parse(const char *text, uint8_t key[static DN_PUBLIC_KEY_BYTES],
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_public_key_load(const char *path, uint8_t key[static DN_PUBLIC_KEY_BYTES],
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* "RW..." with the key id that dnode gives its keys; a key made by minisign has another id. */
char *dn_public_key_text(const uint8_t key[static DN_PUBLIC_KEY_BYTES]) G_GNUC_WARN_UNUSED_RESULT;

/* SHA-256 of the 32 bytes as 64 hexadecimal digits: what people compare. */
char *
dn_public_key_fingerprint(const uint8_t key[static DN_PUBLIC_KEY_BYTES]) G_GNUC_WARN_UNUSED_RESULT;

/* Is @signature, 64 bytes, the one of @key over @data? */
bool dn_public_key_has_signed(const uint8_t key[static DN_PUBLIC_KEY_BYTES], const void *data,
			      size_t size, const uint8_t signature[static DN_SIGNATURE_BYTES]);
