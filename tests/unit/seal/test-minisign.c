/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "seal/minisign.h"
#include "support/suite.h"
#include "tool.h"

#define COMMENT "dnode manifest web 7"

static Tool tool;
static DnSecretKey *key;
static uint8_t public_key[32];
static GBytes *data;

static void setup(void)
{
	tool_init(&tool);
	key = dn_secret_key_generate();
	dn_secret_key_public(key, public_key);
	data = g_bytes_new_static("dnode: v1\n", 10);
}

static void teardown(void)
{
	g_clear_pointer(&key, dn_secret_key_free);
	g_clear_pointer(&data, g_bytes_unref);
	tool_clear(&tool);
	dn_suite_end();
}

TestSuite(minisign, .init = setup, .fini = teardown);

static GBytes *sign(void)
{
	g_autoptr(GError) error = NULL;
	GBytes *minisig = dn_minisign_sign(key, data, COMMENT, &error);

	cr_assert(minisig != NULL, "%s", error != NULL ? error->message : "");
	return minisig;
}

static bool verifies(GBytes *document, GBytes *minisig, int code)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *comment = NULL;
	bool good = dn_minisign_verify(document, minisig, public_key, &comment, &error);

	if (!good)
		cr_assert(g_error_matches(error, DN_ERROR, code), "%s", error->message);
	else
		cr_assert_str_eq(comment, COMMENT);
	return good;
}

/* @minisig with the first @from replaced by @to. */
static GBytes *edit(GBytes *minisig, const char *from, const char *to)
{
	g_autofree char *text =
		g_strndup(g_bytes_get_data(minisig, NULL), g_bytes_get_size(minisig));
	g_auto(GStrv) parts = g_strsplit(text, from, 2);

	cr_assert(eq(int, (int)g_strv_length(parts), 2), "nothing to replace");
	char *edited = g_strjoinv(to, parts);
	return g_bytes_new_take(edited, strlen(edited));
}

Test(minisign, what_is_signed_here_verifies_here)
{
	g_autoptr(GBytes) minisig = sign();

	cr_assert(verifies(data, minisig, 0));
}

Test(minisign, the_real_minisign_verifies_what_is_signed_here)
{
	g_autofree char *line = dn_secret_key_public_text(key);
	g_autoptr(GBytes) minisig = sign();
	g_autofree char *verify = g_strdup_printf("-V -H -P %s -m f", line);
	g_autofree char *text =
		g_strndup(g_bytes_get_data(minisig, NULL), g_bytes_get_size(minisig));

	tool_write(&tool, "f", "dnode: v1\n");
	tool_write(&tool, "f.minisig", text);
	cr_assert(tool_minisign(&tool, verify));
	tool_write(&tool, "f", "dnode: v2\n");
	cr_assert(not(tool_minisign(&tool, verify)));
}

Test(minisign, what_the_real_minisign_signs_with_its_own_key_verifies_here)
{
	g_autofree char *public_path = tool_path(&tool, "m.pub");
	g_autoptr(GError) error = NULL;

	tool_write(&tool, "f", "dnode: v1\n");
	cr_assert(tool_minisign(&tool, "-G -W -p m.pub -s m.key"));
	cr_assert(tool_minisign(&tool, "-S -s m.key -m f -t '" COMMENT "'"));
	cr_assert(dn_public_key_load(public_path, public_key, &error));
	g_autoptr(GBytes) minisig = tool_read(&tool, "f.minisig");
	cr_assert(verifies(data, minisig, 0));
}

Test(minisign, the_real_minisign_signs_with_a_key_made_here)
{
	g_autofree char *stem = tool_path(&tool, "k");
	g_autoptr(GError) error = NULL;

	tool_write(&tool, "f", "dnode: v1\n");
	cr_assert(dn_secret_key_save_pair(key, stem, &error));
	cr_assert(tool_minisign(&tool, "-S -s k.key -m f -t '" COMMENT "'"));
	cr_assert(tool_minisign(&tool, "-V -p k.pub -m f"));
	g_autoptr(GBytes) minisig = tool_read(&tool, "f.minisig");
	cr_assert(verifies(data, minisig, 0));
}

Test(minisign, the_older_format_of_minisign_is_refused)
{
	g_autofree char *stem = tool_path(&tool, "k");
	g_autoptr(GError) error = NULL;

	tool_write(&tool, "f", "dnode: v1\n");
	cr_assert(dn_secret_key_save_pair(key, stem, &error));
	cr_assert(tool_minisign(&tool, "-S -l -s k.key -m f -t '" COMMENT "'"));
	g_autoptr(GBytes) minisig = tool_read(&tool, "f.minisig");
	cr_assert(not(verifies(data, minisig, DN_ERROR_INVALID)));
}

Test(minisign, a_signature_is_for_one_document_and_one_key)
{
	g_autoptr(GBytes) minisig = sign();
	g_autoptr(GBytes) longer = g_bytes_new_static("dnode: v1\n\n", 11);
	g_autoptr(DnSecretKey) other = dn_secret_key_generate();

	cr_assert(not(verifies(longer, minisig, DN_ERROR_UNTRUSTED)));
	dn_secret_key_public(other, public_key);
	cr_assert(not(verifies(data, minisig, DN_ERROR_UNTRUSTED)));
}

Test(minisign, a_changed_trusted_comment_is_found)
{
	g_autoptr(GBytes) minisig = sign();
	g_autoptr(GBytes) edited = edit(minisig, "web 7", "web 8");

	cr_assert(not(verifies(data, edited, DN_ERROR_UNTRUSTED)));
}

Test(minisign, the_untrusted_comment_and_the_last_line_end_do_not_matter)
{
	g_autoptr(GBytes) minisig = sign();
	g_autoptr(GBytes) edited = edit(minisig, "dnode signature", "anything");
	g_autoptr(GBytes) shorter =
		g_bytes_new_from_bytes(minisig, 0, g_bytes_get_size(minisig) - 1);

	cr_assert(verifies(data, edited, 0));
	cr_assert(verifies(data, shorter, 0));
}

Test(minisign, every_flipped_byte_of_both_signatures_is_found)
{
	g_autoptr(GBytes) minisig = sign();
	gsize size = 0;
	const char *text = g_bytes_get_data(minisig, &size);
	const char *ends = g_strstr_len(text, (gssize)size, "\ntrusted comment: ");

	for (gsize at = 0; at < size; at++) {
		bool untrusted_line = text + at <= strchr(text, '\n');
		/* The key id, 8 bytes after "ED", is a label: changing it changes nothing. */
		const char *payload = strchr(text, '\n') + 1;
		bool label = text + at >= payload + 2 && text + at < payload + 14;

		if (untrusted_line || label || at == size - 1)
			continue;
		g_autofree char *copy = g_memdup2(text, size);
		copy[at] ^= 1;
		g_autoptr(GBytes) edited = g_bytes_new(copy, size);
		g_autoptr(GError) error = NULL;
		cr_assert(not(dn_minisign_verify(data, edited, public_key, NULL, &error)),
			  "byte %zu", at);
	}
	cr_assert(ends != NULL);
}

Test(minisign, what_is_not_exactly_four_lines_is_refused)
{
	g_autoptr(GBytes) minisig = sign();
	g_autofree char *filler = g_strnfill(1100, 'x');
	const char *const edits[][2] = {
		{"untrusted comment: ", "comment: "},
		{"\ntrusted comment: ", "\ncomment: "},
		{"dnode signature\n", ""},
		{"\ntrusted", "\n\ntrusted"},
		{"web 7\n", "web 7\r\n"},
		{"web 7\n", "web 7\n\n"},
		{"web 7", "web \033[2J"},
		{"web 7", "web \xff"},
		{"\nRU", "\n RU"},
		{"\ntrusted comment: ", "=\ntrusted comment: "},
		{"web 7", filler},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(edits); i++) {
		g_autoptr(GBytes) edited = edit(minisig, edits[i][0], edits[i][1]);

		cr_assert(not(verifies(data, edited, DN_ERROR_INVALID)), "edit %zu", i);
	}
	g_autofree char *big = g_strnfill(DN_MINISIGN_LIMIT + 1, '\n');
	g_autoptr(GBytes) huge = g_bytes_new(big, strlen(big));
	g_autoptr(GBytes) empty = g_bytes_new(NULL, 0);
	cr_assert(not(verifies(data, huge, DN_ERROR_INVALID)));
	cr_assert(not(verifies(data, empty, DN_ERROR_INVALID)));
}

Test(minisign, a_comment_of_two_lines_cannot_be_signed)
{
	const char *const bad[] = {"a\nb", "a\tb", "\xff", "a\rb"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(GBytes) minisig = dn_minisign_sign(key, data, bad[i], &error);

		cr_assert(eq(ptr, minisig, NULL));
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}

Test(minisign, the_claimed_comment_can_be_read_before_anything_is_verified)
{
	g_autoptr(GBytes) minisig = sign();
	g_autoptr(GError) error = NULL;
	g_autofree char *comment = dn_minisign_peek(minisig, &error);

	cr_assert_str_eq(comment, COMMENT);
}
