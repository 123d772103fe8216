/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/token.h"

#include <sodium.h>
#include <string.h>

#include "base/text.h"
#include "seal/digest.h"
#include "seal/guarded.h"

/*
 * token   = "dnt1." base64url(body check)         without padding
 * body    = expires:u64 cluster:8 fingerprint:32 trust:32 secret:32 text(host) text(address)
 * text    = length:u8 bytes
 * check   = the first 4 bytes of SHA-256(body): a token cut off by a terminal is told apart from
 *           a token that is no longer known
 *
 * Numbers are big-endian.
 */
static const char prefix[] = "dnt1.";
static const char context[] = "dnode host token secret v1";

enum {
	CLUSTER_BYTES = 8,
	CHECK_BYTES = 4,
	ADDRESS_LIMIT = 255,
	HOST_LIMIT = 40,
	FIXED_BYTES = 8 + CLUSTER_BYTES + 32 + 32 + DN_TOKEN_SECRET_BYTES,
	BODY_LIMIT = FIXED_BYTES + 1 + HOST_LIMIT + 1 + ADDRESS_LIMIT,
	TEXT_LIMIT = 1024,
	BASE64 = sodium_base64_VARIANT_URLSAFE_NO_PADDING,
};

typedef struct {
	const uint8_t *at; /* borrowed from the decoded token */
	size_t left;
} Reader;

DnHostToken *dn_host_token_new(void)
{
	DnHostToken *self = dn_seal_memory_new(sizeof(*self));

	memset(self, 0, sizeof(*self));
	randombytes_buf(self->secret, sizeof(self->secret));
	return self;
}

void dn_host_token_free(DnHostToken *self)
{
	if (self == NULL)
		return;
	g_free(self->address);
	g_free(self->cluster);
	g_free(self->host);
	dn_seal_memory_free(self);
}

/* HOST:PORT; the supervisor's own configuration decides what HOST may be. */
static bool is_address(const char *address)
{
	const char *colon = strrchr(address, ':');
	uint64_t port = 0;

	if (colon == NULL || colon == address || strlen(address) > ADDRESS_LIMIT)
		return false;
	for (const char *c = address; *c != '\0'; c++)
		if (!g_ascii_isgraph(*c))
			return false;
	return dn_text_parse_u64(colon + 1, 65535, &port) && port > 0;
}

static bool has_form(const DnHostToken *self)
{
	return self->address != NULL && is_address(self->address) && self->cluster != NULL &&
	       dn_text_is_hex(self->cluster, 2 * CLUSTER_BYTES) && self->host != NULL &&
	       dn_text_is_name(self->host) && self->expires_s > 0;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
	*at++ = (uint8_t)strlen(text);
	return put(at, text, strlen(text));
}

char *dn_host_token_encode(const DnHostToken *self, GError **error)
{
	dn_autoguarded uint8_t *body = dn_seal_memory_new(BODY_LIMIT + CHECK_BYTES);
	uint64_t expires = GUINT64_TO_BE(self->expires_s);
	uint8_t digest[DN_DIGEST_BYTES], cluster[CLUSTER_BYTES];

	if (!has_form(self)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "host token: address HOST:PORT, cluster id, host name and expiry must "
			    "be given in their forms");
		return NULL;
	}
	sodium_hex2bin(cluster, sizeof(cluster), self->cluster, strlen(self->cluster), NULL, NULL,
		       NULL);
	uint8_t *at = put(body, &expires, sizeof(expires));
	at = put(at, cluster, sizeof(cluster));
	at = put(at, self->supervisor_fingerprint, sizeof(self->supervisor_fingerprint));
	at = put(at, self->trust_digest, sizeof(self->trust_digest));
	at = put(at, self->secret, sizeof(self->secret));
	at = put_text(at, self->host);
	at = put_text(at, self->address);
	dn_digest_of(body, (size_t)(at - body), digest);
	at = put(at, digest, CHECK_BYTES);

	size_t size = (size_t)(at - body);
	size_t room = sodium_base64_encoded_len(size, BASE64);
	char *text = g_malloc(strlen(prefix) + room);
	memcpy(text, prefix, strlen(prefix));
	sodium_bin2base64(text + strlen(prefix), room, body, size, BASE64);
	return text;
}

static bool take(Reader *reader, void *bytes, size_t size)
{
	if (reader->left < size)
		return false;
	memcpy(bytes, reader->at, size);
	reader->at += size;
	reader->left -= size;
	return true;
}

/* Text without a NUL inside, at most @limit bytes; a NULL pointer when it is not. */
static char *take_text(Reader *reader, size_t limit)
{
	uint8_t length = 0;

	if (!take(reader, &length, 1) || length > limit || reader->left < length ||
	    memchr(reader->at, '\0', length) != NULL)
		return NULL;
	char *text = g_strndup((const char *)reader->at, length);
	reader->at += length;
	reader->left -= length;
	return text;
}

static bool read_body(DnHostToken *self, Reader *reader)
{
	uint8_t cluster[CLUSTER_BYTES];
	char cluster_text[2 * CLUSTER_BYTES + 1];
	uint64_t expires = 0;

	if (!take(reader, &expires, sizeof(expires)) || !take(reader, cluster, sizeof(cluster)) ||
	    !take(reader, self->supervisor_fingerprint, sizeof(self->supervisor_fingerprint)) ||
	    !take(reader, self->trust_digest, sizeof(self->trust_digest)) ||
	    !take(reader, self->secret, sizeof(self->secret)))
		return false;
	sodium_bin2hex(cluster_text, sizeof(cluster_text), cluster, sizeof(cluster));
	self->cluster = g_strdup(cluster_text);
	self->expires_s = GUINT64_FROM_BE(expires);
	self->host = take_text(reader, HOST_LIMIT);
	self->address = take_text(reader, ADDRESS_LIMIT);
	return reader->left == 0 && has_form(self);
}

/* The number of bytes of the body in @bytes, or 0 when @text is no whole token. */
static size_t decode(const char *text, uint8_t *bytes)
{
	uint8_t digest[DN_DIGEST_BYTES];
	size_t size = 0;

	text += strspn(text, " \t\r\n");
	size_t length = strcspn(text, " \t\r\n");
	if (text[length + strspn(text + length, " \t\r\n")] != '\0' || length > TEXT_LIMIT ||
	    !g_str_has_prefix(text, prefix))
		return 0;
	if (sodium_base642bin(bytes, BODY_LIMIT + CHECK_BYTES, text + strlen(prefix),
			      length - strlen(prefix), NULL, &size, NULL, BASE64) != 0 ||
	    size <= CHECK_BYTES)
		return 0;
	size -= CHECK_BYTES;
	dn_digest_of(bytes, size, digest);
	return memcmp(digest, bytes + size, CHECK_BYTES) == 0 ? size : 0;
}

DnHostToken *dn_host_token_decode(const char *text, GError **error)
{
	dn_autoguarded uint8_t *bytes = dn_seal_memory_new(BODY_LIMIT + CHECK_BYTES);
	g_autoptr(DnHostToken) self = dn_host_token_new();
	Reader reader = {.at = bytes, .left = decode(text, bytes)};

	if (reader.left == 0 || !read_body(self, &reader)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "not a whole host token: copy all of the line that 'dnode host token' "
			    "printed, from 'dnt1.' to its end");
		return NULL;
	}
	return g_steal_pointer(&self);
}

bool dn_host_token_is_expired(const DnHostToken *self, uint64_t now_s)
{
	return now_s >= self->expires_s;
}

void dn_token_secret_hash(const uint8_t secret[static DN_TOKEN_SECRET_BYTES],
			  uint8_t hash[static DN_TOKEN_HASH_BYTES])
{
	dn_seal_start();
	/* 256 random bits need no slow hash; the key keeps this hash apart from every other. */
	crypto_generichash(hash, DN_TOKEN_HASH_BYTES, secret, DN_TOKEN_SECRET_BYTES,
			   (const uint8_t *)context, sizeof(context) - 1);
}

bool dn_token_secret_matches(const uint8_t secret[static DN_TOKEN_SECRET_BYTES],
			     const uint8_t hash[static DN_TOKEN_HASH_BYTES])
{
	uint8_t computed[DN_TOKEN_HASH_BYTES];

	dn_token_secret_hash(secret, computed);
	return sodium_memcmp(computed, hash, sizeof(computed)) == 0;
}
