/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The inside of a secret key, for keys.c and key-file.c alone. */

#include "seal/keys.h"

#define DN_SECRET_BYTES 64 /* the seed, then the public key: libsodium's and minisign's layout */

struct DnSecretKey { /* in guarded memory, read-only once it is filled */
	uint8_t id[DN_KEY_ID_BYTES];
	uint8_t secret[DN_SECRET_BYTES];
};

/* Take a copy of both. NULL when the public half of @secret does not belong to its seed. */
DnSecretKey *
dn_secret_key_new(const uint8_t id[static DN_KEY_ID_BYTES],
		  const uint8_t secret[static DN_SECRET_BYTES]) G_GNUC_WARN_UNUSED_RESULT;

/* minisign's public key line for @key under @id. */
char *
dn_public_key_text_with_id(const uint8_t id[static DN_KEY_ID_BYTES],
			   const uint8_t key[static DN_PUBLIC_KEY_BYTES]) G_GNUC_WARN_UNUSED_RESULT;
