/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

/*
 * read(2), not mmap: no slower for large files, twice as fast for small ones, and a file that is
 * cut off meanwhile is a short read in place of a SIGBUS.
 */
enum { READ_BYTES = 256 * 1024 };

struct DnDigest {
	EVP_MD_CTX *context; /* owned */
	uint8_t *buffer;     /* owned; made by the first read */
};

/* Looked up once: an implicit fetch costs more than the digest of a small file. */
static const EVP_MD *sha256(void)
{
	static gsize once;

	if (g_once_init_enter(&once)) {
		EVP_MD *fetched = EVP_MD_fetch(NULL, "SHA256", NULL);

		if (fetched == NULL)
			g_error("OpenSSL offers no SHA-256");
		g_once_init_leave(&once, (gsize)fetched);
	}
	return (const EVP_MD *)once;
}

static void begin(EVP_MD_CTX *context)
{
	if (context == NULL || EVP_DigestInit_ex2(context, sha256(), NULL) != 1)
		g_error("OpenSSL cannot begin a SHA-256");
}

DnDigest *dn_digest_new(void)
{
	DnDigest *self = g_new0(DnDigest, 1);

	self->context = EVP_MD_CTX_new();
	begin(self->context);
	return self;
}

void dn_digest_free(DnDigest *self)
{
	if (self == NULL)
		return;
	EVP_MD_CTX_free(self->context);
	g_free(self->buffer);
	g_free(self);
}

void dn_digest_add(DnDigest *self, const void *data, size_t size)
{
	if (EVP_DigestUpdate(self->context, data, size) != 1)
		g_error("OpenSSL cannot go on with a SHA-256");
}

void dn_digest_finish(DnDigest *self, uint8_t digest[static DN_DIGEST_BYTES])
{
	if (EVP_DigestFinal_ex(self->context, digest, NULL) != 1)
		g_error("OpenSSL cannot finish a SHA-256");
	begin(self->context);
}

bool dn_digest_add_fd(DnDigest *self, int fd, uint64_t *size, GError **error)
{
	uint64_t total = 0;

	if (self->buffer == NULL)
		self->buffer = g_malloc(READ_BYTES);
	for (;;) {
		ssize_t got = read(fd, self->buffer, READ_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dn_throw_errno(error, errno, "read for a digest");
		if (got == 0)
			break;
		dn_digest_add(self, self->buffer, (size_t)got);
		total += (uint64_t)got;
	}
	if (size != NULL)
		*size = total;
	return true;
}

bool dn_digest_fd(int fd, uint8_t digest[static DN_DIGEST_BYTES], uint64_t *size, GError **error)
{
	g_autoptr(DnDigest) self = dn_digest_new();

	if (!dn_digest_add_fd(self, fd, size, error))
		return false;
	dn_digest_finish(self, digest);
	return true;
}

void dn_digest_of(const void *data, size_t size, uint8_t digest[static DN_DIGEST_BYTES])
{
	g_autoptr(DnDigest) self = dn_digest_new();

	dn_digest_add(self, data, size);
	dn_digest_finish(self, digest);
}

char *dn_digest_text(const uint8_t digest[static DN_DIGEST_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *text = g_malloc(2 * DN_DIGEST_BYTES + 1);

	for (size_t i = 0; i < DN_DIGEST_BYTES; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	text[2 * DN_DIGEST_BYTES] = '\0';
	return text;
}

char *dn_digest_bytes(GBytes *bytes)
{
	uint8_t digest[DN_DIGEST_BYTES];

	dn_digest_of(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), digest);
	return dn_digest_text(digest);
}
