/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "seal/guarded.h"
#include "seal/keys.h"
#include "seal/secret-key.h"

/*
 * key-file    = "untrusted comment: " text LF base64(payload) [LF]
 * secret      = "Ed" kdf "B2" salt opslimit memlimit id seed public checksum
 * public      = "Ed" id public
 * kdf         = 0 0 (no password) | "Sc" (scrypt; refused here)
 * checksum    = BLAKE2b-256("Ed" id seed public), or zeros as minisign writes without a password
 */
typedef struct {
	uint8_t algorithm[2];
	uint8_t kdf[2];
	uint8_t checksum_algorithm[2];
	uint8_t salt[32];
	uint8_t opslimit[8];
	uint8_t memlimit[8];
	uint8_t id[DN_KEY_ID_BYTES];
	uint8_t secret[DN_SECRET_BYTES];
	uint8_t checksum[32];
} SecretPayload;
_Static_assert(sizeof(SecretPayload) == 158, "minisign's layout has no holes");

typedef struct {
	uint8_t algorithm[2];
	uint8_t id[DN_KEY_ID_BYTES];
	uint8_t key[DN_PUBLIC_KEY_BYTES];
} PublicPayload;
_Static_assert(sizeof(PublicPayload) == 42, "minisign's layout has no holes");

enum { FILE_LIMIT = 2048, BASE64 = sodium_base64_VARIANT_ORIGINAL };

static const char comment_prefix[] = "untrusted comment: ";

/* The line that holds the payload: the second after a comment, otherwise the only one. */
static bool find_payload(const char *text, const char **line, size_t *length)
{
	if (g_str_has_prefix(text, comment_prefix)) {
		text = strchr(text, '\n');
		if (text == NULL)
			return false;
		text++;
	}
	*line = text;
	*length = strcspn(text, "\n");
	text += *length;
	return text[0] == '\0' || text[1] == '\0';
}

static bool decode(const char *text, void *payload, size_t size)
{
	const char *line = NULL;
	size_t length = 0, decoded = 0;

	return find_payload(text, &line, &length) &&
	       sodium_base642bin(payload, size, line, length, NULL, &decoded, NULL, BASE64) == 0 &&
	       decoded == size;
}

static void compute_checksum(const SecretPayload *payload, uint8_t checksum[static 32])
{
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, 32);
	crypto_generichash_update(&state, payload->algorithm, sizeof(payload->algorithm));
	crypto_generichash_update(&state, payload->id, sizeof(payload->id));
	crypto_generichash_update(&state, payload->secret, sizeof(payload->secret));
	crypto_generichash_final(&state, checksum, 32);
	sodium_memzero(&state, sizeof(state));
}

static bool has_good_checksum(const SecretPayload *payload)
{
	uint8_t expected[32];

	compute_checksum(payload, expected);
	return sodium_is_zero(payload->checksum, sizeof(payload->checksum)) ||
	       sodium_memcmp(expected, payload->checksum, sizeof(expected)) == 0;
}

static bool refuse(const char *path, const char *why, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "key %s: %s", path, why);
	return false;
}

/* Read the file straight into guarded memory: a buffer of stdio or GLib would stay in the heap. */
static bool read_guarded(const char *path, char *text, GError **error)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat info = {0};
	size_t length = 0;

	if (fd < 0 || fstat(fd, &info) < 0)
		return dn_throw_errno(error, errno, "open key %s", path);
	if (!S_ISREG(info.st_mode))
		return refuse(path, "not a regular file", error);
	if ((info.st_mode & 077) != 0) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_INVALID,
			"key %s: mode %04o lets others use it: run chmod 600 %s, and make a new "
			"key if it was ever shared",
			path, info.st_mode & 07777, path);
		return false;
	}
	while (length < FILE_LIMIT) {
		ssize_t got = read(fd, text + length, FILE_LIMIT - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return dn_throw_errno(error, errno, "read key %s", path);
		if (got == 0)
			break;
		length += (size_t)got;
	}
	text[length] = '\0';
	if (length == FILE_LIMIT || strlen(text) != length)
		return refuse(path, "not a minisign secret key file", error);
	return true;
}

static DnSecretKey *open_payload(const char *path, const SecretPayload *payload, GError **error)
{
	if (memcmp(payload->kdf, "Sc", 2) == 0) {
		refuse(path,
		       "protected by a password, which dnode cannot ask for: make a key with "
		       "'dnode key gen' or 'minisign -G -W', or remove the password with "
		       "'minisign -C -W -s FILE'",
		       error);
		return NULL;
	}
	if (memcmp(payload->algorithm, "Ed", 2) != 0 || memcmp(payload->kdf, "\0", 2) != 0 ||
	    memcmp(payload->checksum_algorithm, "B2", 2) != 0) {
		refuse(path, "not an Ed25519 key file of minisign", error);
		return NULL;
	}

	DnSecretKey *key = NULL;
	if (has_good_checksum(payload))
		key = dn_secret_key_new(payload->id, payload->secret);
	if (key == NULL)
		refuse(path, "damaged (its checksum or its public half does not fit)", error);
	return key;
}

DnSecretKey *dn_secret_key_load(const char *path, GError **error)
{
	dn_autoguarded char *text = dn_seal_memory_new(FILE_LIMIT + 1);
	dn_autoguarded SecretPayload *payload = dn_seal_memory_new(sizeof(*payload));

	if (!read_guarded(path, text, error))
		return NULL;
	if (!decode(text, payload, sizeof(*payload))) {
		refuse(path, "not a minisign secret key file", error);
		return NULL;
	}
	return open_payload(path, payload, error);
}

/* @temporary becomes @path, which must not exist; 0 or errno. It is gone either way. */
static int put_in_place(const char *temporary, const char *path)
{
	int errsv = link(temporary, path) == 0 ? 0 : errno;

	(void)unlink(temporary);
	return errsv;
}

/*
 * Create @path, which must not exist, with @text as its durable content. It appears when it is
 * whole: half a key would say that a host is enrolled, and keep it from enrolling.
 */
static bool write_new(const char *path, const char *text, mode_t mode, GError **error)
{
	g_autofree char *suffix = dn_id_new(6);
	g_autofree char *temporary = g_strdup_printf("%s.%s.tmp", path, suffix);
	g_autofree char *parent = g_path_get_dirname(path);
	size_t length = strlen(text);
	dn_autofd int fd =
		open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);

	if (fd < 0)
		return dn_throw_errno(error, errno, "create %s", path);
	dn_autofd int parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent_fd < 0 || fchmod(fd, mode) < 0 || !dn_failpoint("key.file.write.before", NULL) ||
	    write(fd, text, length) != (ssize_t)length ||
	    !dn_failpoint("key.file.write.after", NULL) || fsync(fd) < 0) {
		int saved = errno;

		(void)unlink(temporary);
		return dn_throw_errno(error, saved, "write %s", path);
	}
	int errsv = put_in_place(temporary, path);
	if (errsv == EEXIST) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s exists already and is not overwritten: choose another name", path);
		return false;
	}
	if (errsv != 0)
		return dn_throw_errno(error, errsv, "write %s", path);
	if (!dn_failpoint("key.file.sync.before", NULL) || fsync(parent_fd) < 0) {
		int saved = errno;

		(void)unlink(path);
		return dn_throw_errno(error, saved, "write %s", path);
	}
	return true;
}

bool dn_secret_key_save(const DnSecretKey *self, const char *path, GError **error)
{
	enum { ENCODED = sodium_base64_ENCODED_LEN(sizeof(SecretPayload), BASE64) };
	static const char head[] = "untrusted comment: dnode secret key\n";
	dn_autoguarded SecretPayload *payload = dn_seal_memory_new(sizeof(*payload));
	dn_autoguarded char *text = dn_seal_memory_new(sizeof(head) + ENCODED + 1);

	memset(payload, 0, sizeof(*payload));
	memcpy(payload->algorithm, "Ed", 2);
	memcpy(payload->checksum_algorithm, "B2", 2);
	memcpy(payload->id, self->id, sizeof(payload->id));
	memcpy(payload->secret, self->secret, sizeof(payload->secret));
	compute_checksum(payload, payload->checksum);

	memcpy(text, head, sizeof(head) - 1);
	sodium_bin2base64(text + sizeof(head) - 1, ENCODED, (const uint8_t *)payload,
			  sizeof(*payload), BASE64);
	strcat(text, "\n");
	return write_new(path, text, 0600, error);
}

bool dn_secret_key_save_public(const DnSecretKey *self, const char *path, GError **error)
{
	g_autofree char *line = dn_secret_key_public_text(self);
	g_autofree char *text = g_strconcat(comment_prefix, "dnode public key\n", line, "\n", NULL);

	return write_new(path, text, 0644, error);
}

bool dn_secret_key_save_pair(const DnSecretKey *self, const char *stem, GError **error)
{
	g_autofree char *secret_path = g_strconcat(stem, ".key", NULL);
	g_autofree char *public_path = g_strconcat(stem, ".pub", NULL);

	if (!dn_secret_key_save(self, secret_path, error))
		return false;
	if (!dn_secret_key_save_public(self, public_path, error)) {
		(void)unlink(secret_path);
		return false;
	}
	return true;
}

char *dn_public_key_text_with_id(const uint8_t id[static DN_KEY_ID_BYTES],
				 const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	PublicPayload payload = {.algorithm = {'E', 'd'}};

	memcpy(payload.id, id, sizeof(payload.id));
	memcpy(payload.key, key, sizeof(payload.key));
	return g_base64_encode((const guchar *)&payload, sizeof(payload));
}

bool dn_public_key_is_sound(const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	dn_seal_start();
	return crypto_core_ed25519_is_valid_point(key) == 1;
}

bool dn_public_key_parse(const char *text, uint8_t key[static DN_PUBLIC_KEY_BYTES], GError **error)
{
	PublicPayload payload;
	uint8_t bare[DN_PUBLIC_KEY_BYTES];

	dn_seal_start();
	if (decode(text, &payload, sizeof(payload)) && memcmp(payload.algorithm, "Ed", 2) == 0) {
		memcpy(bare, payload.key, sizeof(bare));
	} else if (!decode(text, bare, sizeof(bare))) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "not a public key: give minisign's line beginning with RW, its .pub "
			    "file, or the base64 of the 32 bytes");
		return false;
	}
	if (!dn_public_key_is_sound(bare)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "not a public key: these 32 bytes are no point that can verify");
		return false;
	}
	memcpy(key, bare, sizeof(bare));
	return true;
}

bool dn_public_key_load(const char *path, uint8_t key[static DN_PUBLIC_KEY_BYTES], GError **error)
{
	g_autoptr(GBytes) bytes = dn_file_read(path, FILE_LIMIT, error);

	if (bytes == NULL)
		return false;
	if (strlen(g_bytes_get_data(bytes, NULL)) != g_bytes_get_size(bytes)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s: not a public key file", path);
		return false;
	}
	if (!dn_public_key_parse(g_bytes_get_data(bytes, NULL), key, error)) {
		g_prefix_error(error, "%s: ", path);
		return false;
	}
	return true;
}
