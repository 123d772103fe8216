/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Signatures of files in minisign's format, prehashed (`ED`) only.
 *
 * The trusted comment is part of what is signed, and both signatures are always checked. A
 * signature file is at most 2 KiB; the older, not prehashed format is refused. docs/formats/keys.md
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "seal/keys.h"

#define DN_MINISIGN_LIMIT 2048
#define DN_MINISIGN_COMMENT_LIMIT 1024
#define DN_MINISIGN_HASH_BYTES 64

/*
 * The content of a .minisig file for @data. Fails with DN_ERROR_INVALID when @trusted_comment is
 * longer than 1 KiB or holds a control character.
 */
GBytes *dn_minisign_sign(const DnSecretKey *key, GBytes *data, const char *trusted_comment,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Is @minisig a signature by @key over exactly @data? On success *@trusted_comment, which may be
 * NULL, is what the signer vouched for beside the data. Fails with DN_ERROR_UNTRUSTED when it is
 * not, with DN_ERROR_INVALID when @minisig is no signature file.
 */
bool dn_minisign_verify(GBytes *data, GBytes *minisig,
			const uint8_t key[static DN_PUBLIC_KEY_BYTES], char **trusted_comment,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The trusted comment before anything is verified: a claim, good for choosing whom to ask. */
char *dn_minisign_peek(GBytes *minisig, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same in steps, for many signatures over one document: parse each, hash once, compare. */
typedef struct DnMinisig DnMinisig;

DnMinisig *dn_minisig_parse(GBytes *minisig, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_minisig_free(DnMinisig *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnMinisig, dn_minisig_free)

const char *dn_minisig_comment(const DnMinisig *self);
void dn_minisign_hash(GBytes *data, uint8_t hash[static DN_MINISIGN_HASH_BYTES]);
bool dn_minisig_is_by(const DnMinisig *self, const uint8_t hash[static DN_MINISIGN_HASH_BYTES],
		      const uint8_t key[static DN_PUBLIC_KEY_BYTES]);
