/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The host token: what a person carries from the supervisor to a new host, once
 * (docs/formats/token.md).
 *
 * It says where the supervisor is, by which key it is known, which trust file it gives out, and
 * holds a one-time secret of which the supervisor keeps only the hash. Whoever reads the text may
 * enrol a host until it expires, so it is shown once and never logged.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define DN_TOKEN_SECRET_BYTES 32
#define DN_TOKEN_HASH_BYTES 32
#define DN_TOKEN_LIFETIME_S 900

typedef struct {
	char *address;                      /* HOST:PORT of the agents' link */
	char *cluster;                      /* 16 hexadecimal digits */
	char *host;                         /* the name the host gets */
	uint64_t expires_s;                 /* seconds since 1970 */
	uint8_t supervisor_fingerprint[32]; /* SHA-256 of its 32-byte key */
	uint8_t trust_digest[32];           /* SHA-256 of the trust file's bytes */
	uint8_t secret[DN_TOKEN_SECRET_BYTES];
} DnHostToken;

/* In guarded memory, with a fresh secret and nothing else filled in. */
DnHostToken *dn_host_token_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_host_token_free(DnHostToken *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnHostToken, dn_host_token_free)

/* "dnt1." and base64url. Fails with DN_ERROR_INVALID when a field does not have its form. */
char *dn_host_token_encode(const DnHostToken *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Fails with DN_ERROR_INVALID unless @text, blanks around it aside, is a whole token. Does not
 * look at the clock: see dn_host_token_is_expired().
 */
DnHostToken *dn_host_token_decode(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

bool dn_host_token_is_expired(const DnHostToken *self, uint64_t now_s);

/* What the supervisor stores in place of the secret. */
void dn_token_secret_hash(const uint8_t secret[static DN_TOKEN_SECRET_BYTES],
			  uint8_t hash[static DN_TOKEN_HASH_BYTES]);

/* Takes the same time whether they match or not. */
bool dn_token_secret_matches(const uint8_t secret[static DN_TOKEN_SECRET_BYTES],
			     const uint8_t hash[static DN_TOKEN_HASH_BYTES]);
