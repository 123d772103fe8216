/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/minisign.h"

#include <sodium.h>
#include <string.h>

#include "seal/guarded.h"

/*
 * minisig  = "untrusted comment: " text LF
 *            base64("ED" id signature) LF
 *            "trusted comment: " text LF
 *            base64(global-signature) [LF]
 *
 * signature        = Ed25519 over BLAKE2b-512(data)
 * global-signature = Ed25519 over signature and the trusted comment's text
 */
typedef struct {
	uint8_t algorithm[2];
	uint8_t id[DN_KEY_ID_BYTES];
	uint8_t signature[DN_SIGNATURE_BYTES];
} Payload;
_Static_assert(sizeof(Payload) == 74, "minisign's layout has no holes");

struct DnMinisig {
	uint8_t signature[DN_SIGNATURE_BYTES];
	uint8_t global[DN_SIGNATURE_BYTES];
	char *comment; /* owned */
};

enum { N_LINES = 4, BASE64 = sodium_base64_VARIANT_ORIGINAL };

static const char untrusted_prefix[] = "untrusted comment: ";
static const char trusted_prefix[] = "trusted comment: ";

/* Text of one line that cannot disturb a terminal or a log. */
static bool is_comment(const char *text)
{
	if (strlen(text) > DN_MINISIGN_COMMENT_LIMIT || !g_utf8_validate(text, -1, NULL))
		return false;
	for (; *text != '\0'; text = g_utf8_next_char(text))
		if (g_unichar_iscntrl(g_utf8_get_char(text)))
			return false;
	return true;
}

static bool decode(const char *line, void *payload, size_t size)
{
	size_t decoded = 0;

	return sodium_base642bin(payload, size, line, strlen(line), NULL, &decoded, NULL, BASE64) ==
		       0 &&
	       decoded == size;
}

/* The four lines of @minisig, or NULL. */
static char **split(GBytes *minisig)
{
	gsize size = 0;
	const char *data = g_bytes_get_data(minisig, &size);

	if (size == 0 || size > DN_MINISIGN_LIMIT || memchr(data, '\0', size) != NULL)
		return NULL;
	if (data[size - 1] == '\n')
		size--;
	g_autofree char *text = g_strndup(data, size);
	g_auto(GStrv) lines = g_strsplit(text, "\n", N_LINES + 1);
	return g_strv_length(lines) == N_LINES ? g_steal_pointer(&lines) : NULL;
}

static DnMinisig *refuse(const char *why, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "bad minisign signature file: %s", why);
	return NULL;
}

DnMinisig *dn_minisig_parse(GBytes *minisig, GError **error)
{
	g_auto(GStrv) lines = split(minisig);
	Payload payload;

	dn_seal_start();
	if (lines == NULL)
		return refuse("it must be four lines of text, at most 2 KiB", error);
	if (!g_str_has_prefix(lines[0], untrusted_prefix) ||
	    !g_str_has_prefix(lines[2], trusted_prefix))
		return refuse("line 1 must be an untrusted, line 3 a trusted comment", error);
	const char *comment = lines[2] + strlen(trusted_prefix);
	if (!is_comment(comment))
		return refuse("the trusted comment must be one line of plain UTF-8", error);
	if (!decode(lines[1], &payload, sizeof(payload)))
		return refuse("line 2 is no signature", error);
	if (memcmp(payload.algorithm, "Ed", 2) == 0)
		return refuse("not prehashed; sign again without -l", error);
	if (memcmp(payload.algorithm, "ED", 2) != 0)
		return refuse("line 2 names an unknown algorithm", error);

	g_autoptr(DnMinisig) self = g_new0(DnMinisig, 1);
	if (!decode(lines[3], self->global, sizeof(self->global)))
		return refuse("line 4 is no signature", error);
	memcpy(self->signature, payload.signature, sizeof(self->signature));
	self->comment = g_strdup(comment);
	return g_steal_pointer(&self);
}

void dn_minisig_free(DnMinisig *self)
{
	if (self == NULL)
		return;
	g_free(self->comment);
	g_free(self);
}

const char *dn_minisig_comment(const DnMinisig *self)
{
	return self->comment;
}

void dn_minisign_hash(GBytes *data, uint8_t hash[static DN_MINISIGN_HASH_BYTES])
{
	dn_seal_start();
	crypto_generichash(hash, DN_MINISIGN_HASH_BYTES, g_bytes_get_data(data, NULL),
			   g_bytes_get_size(data), NULL, 0);
}

/* What the global signature is over. */
static GByteArray *bind_comment(const uint8_t signature[static DN_SIGNATURE_BYTES],
				const char *comment)
{
	GByteArray *bound = g_byte_array_new();

	g_byte_array_append(bound, signature, DN_SIGNATURE_BYTES);
	g_byte_array_append(bound, (const guint8 *)comment, (guint)strlen(comment));
	return bound;
}

bool dn_minisig_is_by(const DnMinisig *self, const uint8_t hash[static DN_MINISIGN_HASH_BYTES],
		      const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	g_autoptr(GByteArray) bound = bind_comment(self->signature, self->comment);

	return dn_public_key_has_signed(key, hash, DN_MINISIGN_HASH_BYTES, self->signature) &&
	       dn_public_key_has_signed(key, bound->data, bound->len, self->global);
}

bool dn_minisign_verify(GBytes *data, GBytes *minisig,
			const uint8_t key[static DN_PUBLIC_KEY_BYTES], char **trusted_comment,
			GError **error)
{
	uint8_t hash[DN_MINISIGN_HASH_BYTES];
	g_autoptr(DnMinisig) self = dn_minisig_parse(minisig, error);

	if (self == NULL)
		return false;
	dn_minisign_hash(data, hash);
	if (!dn_minisig_is_by(self, hash, key)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "the signature is not by this key over these bytes");
		return false;
	}
	if (trusted_comment != NULL)
		*trusted_comment = g_steal_pointer(&self->comment);
	return true;
}

char *dn_minisign_peek(GBytes *minisig, GError **error)
{
	g_autoptr(DnMinisig) self = dn_minisig_parse(minisig, error);

	return self != NULL ? g_steal_pointer(&self->comment) : NULL;
}

GBytes *dn_minisign_sign(const DnSecretKey *key, GBytes *data, const char *trusted_comment,
			 GError **error)
{
	Payload payload = {.algorithm = {'E', 'D'}};
	uint8_t hash[DN_MINISIGN_HASH_BYTES];
	uint8_t global[DN_SIGNATURE_BYTES];

	if (!is_comment(trusted_comment)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "a trusted comment is one line of plain UTF-8, at most 1 KiB");
		return NULL;
	}
	dn_minisign_hash(data, hash);
	dn_secret_key_id(key, payload.id);
	dn_secret_key_sign(key, hash, sizeof(hash), payload.signature);

	g_autoptr(GByteArray) bound = bind_comment(payload.signature, trusted_comment);
	dn_secret_key_sign(key, bound->data, bound->len, global);

	g_autofree char *first = g_base64_encode((const guchar *)&payload, sizeof(payload));
	g_autofree char *second = g_base64_encode(global, sizeof(global));
	char *text = g_strdup_printf("%sdnode signature\n%s\n%s%s\n%s\n", untrusted_prefix, first,
				     trusted_prefix, trusted_comment, second);
	return g_bytes_new_take(text, strlen(text));
}
