/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/keys.h"

#include <sodium.h>
#include <string.h>

#include "seal/digest.h"
#include "seal/guarded.h"
#include "seal/secret-key.h"

_Static_assert(DN_SECRET_BYTES == crypto_sign_SECRETKEYBYTES, "libsodium's layout is the file's");
_Static_assert(DN_SEED_BYTES == crypto_sign_SEEDBYTES, "the seed is the first half");
_Static_assert(DN_PUBLIC_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "the public key is the second");
_Static_assert(DN_SIGNATURE_BYTES == crypto_sign_BYTES, "a signature is 64 bytes");

/* Our keys get the first bytes of their fingerprint as id, so that it follows from the key. */
static void derive_id(const uint8_t key[static DN_PUBLIC_KEY_BYTES],
		      uint8_t id[static DN_KEY_ID_BYTES])
{
	uint8_t digest[DN_DIGEST_BYTES];

	dn_digest_of(key, DN_PUBLIC_KEY_BYTES, digest);
	memcpy(id, digest, DN_KEY_ID_BYTES);
}

DnSecretKey *dn_secret_key_new(const uint8_t id[static DN_KEY_ID_BYTES],
			       const uint8_t secret[static DN_SECRET_BYTES])
{
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	DnSecretKey *self = dn_seal_memory_new(sizeof(*self));

	/*
	 * The public half is computed, never believed: a key that signs with a wrong one gives its
	 * secret away with the second signature.
	 */
	crypto_sign_seed_keypair(key, self->secret, secret);
	if (sodium_memcmp(self->secret, secret, DN_SECRET_BYTES) != 0) {
		dn_seal_memory_free(self);
		return NULL;
	}
	memcpy(self->id, id, DN_KEY_ID_BYTES);
	(void)sodium_mprotect_readonly(self);
	return self;
}

DnSecretKey *dn_secret_key_generate(void)
{
	DnSecretKey *self = dn_seal_memory_new(sizeof(*self));
	uint8_t key[DN_PUBLIC_KEY_BYTES];

	crypto_sign_keypair(key, self->secret);
	derive_id(key, self->id);
	(void)sodium_mprotect_readonly(self);
	return self;
}

void dn_secret_key_free(DnSecretKey *self)
{
	dn_seal_memory_free(self);
}

void dn_secret_key_public(const DnSecretKey *self, uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	memcpy(key, self->secret + DN_SEED_BYTES, DN_PUBLIC_KEY_BYTES);
}

char *dn_secret_key_public_text(const DnSecretKey *self)
{
	return dn_public_key_text_with_id(self->id, self->secret + DN_SEED_BYTES);
}

void dn_secret_key_id(const DnSecretKey *self, uint8_t id[static DN_KEY_ID_BYTES])
{
	memcpy(id, self->id, DN_KEY_ID_BYTES);
}

void dn_secret_key_sign(const DnSecretKey *self, const void *data, size_t size,
			uint8_t signature[static DN_SIGNATURE_BYTES])
{
	crypto_sign_detached(signature, NULL, data, size, self->secret);
}

void dn_secret_key_export_seed(const DnSecretKey *self, uint8_t seed[static DN_SEED_BYTES])
{
	memcpy(seed, self->secret, DN_SEED_BYTES);
}

char *dn_public_key_text(const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	uint8_t id[DN_KEY_ID_BYTES];

	derive_id(key, id);
	return dn_public_key_text_with_id(id, key);
}

char *dn_public_key_fingerprint(const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	uint8_t digest[DN_DIGEST_BYTES];

	dn_digest_of(key, DN_PUBLIC_KEY_BYTES, digest);
	return dn_digest_text(digest);
}

bool dn_public_key_has_signed(const uint8_t key[static DN_PUBLIC_KEY_BYTES], const void *data,
			      size_t size, const uint8_t signature[static DN_SIGNATURE_BYTES])
{
	dn_seal_start();
	return crypto_sign_verify_detached(signature, data, size, key) == 0;
}
