/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/stat.h>

#include "seal/keys.h"
#include "support/suite.h"
#include "tool.h"

static Tool tool;

static void setup(void)
{
	tool_init(&tool);
}

static void teardown(void)
{
	tool_clear(&tool);
	dn_suite_end();
}

TestSuite(keys, .init = setup, .fini = teardown);

static DnSecretKey *load(const char *name, GError **error)
{
	g_autofree char *path = tool_path(&tool, name);

	return dn_secret_key_load(path, error);
}

/* Save a new key as STEM.key and STEM.pub and return it. */
static DnSecretKey *make(const char *stem)
{
	g_autofree char *path = tool_path(&tool, stem);
	g_autoptr(GError) error = NULL;
	DnSecretKey *key = dn_secret_key_generate();

	cr_assert(dn_secret_key_save_pair(key, path, &error), "%s",
		  error != NULL ? error->message : "");
	return key;
}

/* Loading @name must fail as the input's fault; the message is returned. */
static char *refusal(const char *name)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnSecretKey) key = load(name, &error);

	cr_assert(eq(ptr, key, NULL), "%s was loaded", name);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID), "%s", error->message);
	return g_strdup(error->message);
}

/* Make @name from the file of a good key with the byte at @offset of its payload changed. */
static void damage(const char *name, gsize offset)
{
	g_autoptr(GBytes) whole = tool_read(&tool, "good.key");
	g_auto(GStrv) lines = g_strsplit(g_bytes_get_data(whole, NULL), "\n", 3);
	gsize size = 0;
	g_autofree guchar *payload = g_base64_decode(lines[1], &size);
	g_autofree char *path = tool_path(&tool, name);

	payload[offset] ^= 0x40;
	g_autofree char *line = g_base64_encode(payload, size);
	g_autofree char *text = g_strconcat(lines[0], "\n", line, "\n", NULL);
	tool_write(&tool, name, text);
	cr_assert(eq(int, chmod(path, 0600), 0));
}

Test(keys, a_key_comes_back_from_its_file_unchanged)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnSecretKey) made = make("k");
	g_autoptr(DnSecretKey) loaded = load("k.key", &error);
	g_autofree char *path = tool_path(&tool, "k.key");
	uint8_t a[32], b[32], seed_a[32], seed_b[32];
	struct stat info;

	cr_assert(loaded != NULL, "%s", error != NULL ? error->message : "");
	dn_secret_key_public(made, a);
	dn_secret_key_public(loaded, b);
	dn_secret_key_export_seed(made, seed_a);
	dn_secret_key_export_seed(loaded, seed_b);
	cr_assert(eq(int, memcmp(a, b, sizeof(a)), 0));
	cr_assert(eq(int, memcmp(seed_a, seed_b, sizeof(seed_a)), 0));
	cr_assert(eq(int, stat(path, &info), 0));
	cr_assert(eq(int, info.st_mode & 07777, 0600));
}

Test(keys, no_existing_file_is_overwritten)
{
	g_autoptr(DnSecretKey) first G_GNUC_UNUSED = make("k");
	g_autoptr(DnSecretKey) second = dn_secret_key_generate();
	g_autofree char *stem = tool_path(&tool, "k");
	g_autofree char *other = tool_path(&tool, "other");
	g_autofree char *secret = tool_path(&tool, "other.key");
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_secret_key_save_pair(second, stem, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	g_clear_error(&error);

	tool_write(&tool, "other.pub", "someone's");
	cr_assert(not(dn_secret_key_save_pair(second, other, &error)));
	cr_assert(not(g_file_test(secret, G_FILE_TEST_EXISTS)), "half a pair was left");
}

Test(keys, a_key_that_others_can_read_is_refused)
{
	g_autoptr(DnSecretKey) key G_GNUC_UNUSED = make("k");
	g_autofree char *path = tool_path(&tool, "k.key");
	const mode_t bad[] = {0640, 0604, 0660, 0610, 0601};
	g_autoptr(GError) error = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		cr_assert(eq(int, chmod(path, bad[i]), 0));
		g_autofree char *message = refusal("k.key");
		cr_assert(strstr(message, "chmod 600") != NULL, "%s", message);
	}
	cr_assert(eq(int, chmod(path, 0400), 0));
	g_autoptr(DnSecretKey) strict = load("k.key", &error);
	cr_assert(strict != NULL);
}

Test(keys, a_damaged_key_is_refused)
{
	enum { ID = 54, SEED = 62, PUBLIC = 94, CHECKSUM = 126 };
	const gsize offsets[] = {0, 2, 4, ID, SEED, PUBLIC, CHECKSUM};
	g_autoptr(DnSecretKey) key G_GNUC_UNUSED = make("good");

	for (size_t i = 0; i < G_N_ELEMENTS(offsets); i++) {
		damage("bad.key", offsets[i]);
		g_free(refusal("bad.key"));
	}
}

Test(keys, a_key_whose_public_half_is_not_its_own_is_refused_without_a_checksum_too)
{
	g_autoptr(DnSecretKey) mine G_GNUC_UNUSED = make("mine");
	g_autoptr(DnSecretKey) other = make("other");
	g_autofree char *path = tool_path(&tool, "bad.key");
	g_autoptr(GBytes) whole = tool_read(&tool, "mine.key");
	g_auto(GStrv) lines = g_strsplit(g_bytes_get_data(whole, NULL), "\n", 3);
	gsize size = 0;
	g_autofree guchar *payload = g_base64_decode(lines[1], &size);

	cr_assert(eq(sz, size, 158));
	dn_secret_key_public(other, payload + 94);
	memset(payload + 126, 0, 32);
	g_autofree char *line = g_base64_encode(payload, size);
	g_autofree char *text = g_strconcat(lines[0], "\n", line, "\n", NULL);
	tool_write(&tool, "bad.key", text);
	cr_assert(eq(int, chmod(path, 0600), 0));
	g_free(refusal("bad.key"));
}

Test(keys, what_is_no_key_file_is_refused)
{
	const char *const bad[] = {"", "\n", "untrusted comment: x", "untrusted comment: x\nRWQ=\n",
				   "untrusted comment: x\n!!!\n"};
	g_autofree char *path = tool_path(&tool, "bad.key");
	g_autofree char *huge = g_strnfill(5000, 'A');

	for (size_t i = 0; i <= G_N_ELEMENTS(bad); i++) {
		tool_write(&tool, "bad.key", i < G_N_ELEMENTS(bad) ? bad[i] : huge);
		cr_assert(eq(int, chmod(path, 0600), 0));
		g_free(refusal("bad.key"));
	}
}

Test(keys, a_key_made_by_minisign_is_the_same_key_here)
{
	uint8_t from_secret[32], from_file[32], from_text[32];
	g_autofree char *public_path = tool_path(&tool, "m.pub");
	g_autoptr(GError) error = NULL;

	cr_assert(tool_minisign(&tool, "-G -W -p m.pub -s m.key"));
	g_autoptr(DnSecretKey) key = load("m.key", &error);
	cr_assert(key != NULL, "%s", error != NULL ? error->message : "");
	g_autofree char *text = dn_secret_key_public_text(key);

	dn_secret_key_public(key, from_secret);
	cr_assert(dn_public_key_load(public_path, from_file, &error));
	cr_assert(dn_public_key_parse(text, from_text, &error));
	cr_assert(eq(int, memcmp(from_secret, from_file, 32), 0));
	cr_assert(eq(int, memcmp(from_secret, from_text, 32), 0));

	g_autoptr(GBytes) file = tool_read(&tool, "m.pub");
	cr_assert(strstr(g_bytes_get_data(file, NULL), text) != NULL, "another key id");
}

Test(keys, minisign_takes_our_secret_key_for_its_own)
{
	g_autoptr(DnSecretKey) key = make("k");
	g_autofree char *text = dn_secret_key_public_text(key);

	cr_assert(tool_minisign(&tool, "-R -s k.key -p again.pub"));
	g_autoptr(GBytes) again = tool_read(&tool, "again.pub");
	cr_assert(strstr(g_bytes_get_data(again, NULL), text) != NULL);
}

Test(keys, a_key_under_a_password_is_refused_with_the_way_out)
{
	g_autofree char *path = tool_path(&tool, "e.key");
	g_autoptr(DnSecretKey) key G_GNUC_UNUSED = make("good");
	g_autoptr(GBytes) whole = tool_read(&tool, "good.key");
	g_auto(GStrv) lines = g_strsplit(g_bytes_get_data(whole, NULL), "\n", 3);
	gsize size = 0;
	g_autofree guchar *payload = g_base64_decode(lines[1], &size);

	/* What minisign -G writes without -W; deriving its key takes a second and 1 GiB. */
	memcpy(payload + 2, "Sc", 2);
	g_autofree char *line = g_base64_encode(payload, size);
	g_autofree char *text = g_strconcat(lines[0], "\n", line, "\n", NULL);
	tool_write(&tool, "e.key", text);
	cr_assert(eq(int, chmod(path, 0600), 0));
	g_autofree char *message = refusal("e.key");
	cr_assert(strstr(message, "minisign -C -W") != NULL, "%s", message);
}

Test(keys, a_public_key_is_read_in_each_of_its_three_forms)
{
	g_autoptr(DnSecretKey) key = dn_secret_key_generate();
	uint8_t expected[32], got[32];
	g_autoptr(GError) error = NULL;

	dn_secret_key_public(key, expected);
	g_autofree char *line = dn_public_key_text(expected);
	g_autofree char *file = g_strconcat("untrusted comment: x\n", line, "\n", NULL);
	g_autofree char *bare = g_base64_encode(expected, sizeof(expected));
	const char *const forms[] = {line, file, bare};

	for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
		memset(got, 0, sizeof(got));
		cr_assert(dn_public_key_parse(forms[i], got, &error), "%s", forms[i]);
		cr_assert(eq(int, memcmp(expected, got, 32), 0));
	}
	cr_assert(eq(int, strncmp(line, "RW", 2), 0));
}

Test(keys, bytes_by_which_anybody_could_sign_are_no_public_key)
{
	/* The neutral element, and a point of order 8. */
	uint8_t low[2][32] = {{1}, {0}};
	uint8_t got[32];

	for (size_t i = 0; i < G_N_ELEMENTS(low); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *text = g_base64_encode(low[i], 32);

		cr_assert(not(dn_public_key_parse(text, got, &error)));
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}

Test(keys, the_fingerprint_is_the_digest_of_the_32_bytes)
{
	uint8_t key[32] = {0};
	g_autofree char *fingerprint = dn_public_key_fingerprint(key);

	/* sha256sum of 32 zero bytes */
	cr_assert_str_eq(fingerprint,
			 "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925");
}
