/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "seal/token.h"
#include "support/suite.h"

TestSuite(token, .fini = dn_suite_end);

static DnHostToken *make(void)
{
	DnHostToken *token = dn_host_token_new();

	token->address = g_strdup("supervisor.example:7400");
	token->cluster = g_strdup("0123456789abcdef");
	token->host = g_strdup("h1");
	token->expires_s = 1900000000;
	memset(token->supervisor_fingerprint, 0xaa, 32);
	memset(token->trust_digest, 0xbb, 32);
	return token;
}

static char *encode(const DnHostToken *token)
{
	g_autoptr(GError) error = NULL;
	char *text = dn_host_token_encode(token, &error);

	cr_assert(text != NULL, "%s", error != NULL ? error->message : "");
	return text;
}

static bool is_whole(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnHostToken) token = dn_host_token_decode(text, &error);

	if (token == NULL)
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	return token != NULL;
}

Test(token, a_token_comes_back_from_its_text_unchanged)
{
	g_autoptr(DnHostToken) made = make();
	g_autofree char *text = encode(made);
	g_autofree char *padded = g_strconcat("  ", text, "\n", NULL);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnHostToken) read = dn_host_token_decode(padded, &error);

	cr_assert(read != NULL, "%s", error != NULL ? error->message : "");
	cr_assert_str_eq(read->address, made->address);
	cr_assert_str_eq(read->cluster, made->cluster);
	cr_assert_str_eq(read->host, made->host);
	cr_assert(eq(u64, read->expires_s, made->expires_s));
	cr_assert(
		eq(int, memcmp(read->supervisor_fingerprint, made->supervisor_fingerprint, 32), 0));
	cr_assert(eq(int, memcmp(read->trust_digest, made->trust_digest, 32), 0));
	cr_assert(eq(int, memcmp(read->secret, made->secret, 32), 0));
	cr_assert(eq(int, strncmp(text, "dnt1.", 5), 0));
}

Test(token, a_token_with_any_character_missing_or_changed_is_refused)
{
	g_autoptr(DnHostToken) made = make();
	g_autofree char *text = encode(made);
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++) {
		g_autofree char *changed = g_strdup(text);
		g_autofree char *cut = g_strndup(text, i);

		changed[i] = changed[i] == 'A' ? 'B' : 'A';
		cr_assert(not(is_whole(changed)), "character %zu changed", i);
		cr_assert(not(is_whole(cut)), "cut at %zu", i);
	}
}

Test(token, text_beside_a_token_is_refused)
{
	g_autoptr(DnHostToken) made = make();
	g_autofree char *text = encode(made);
	g_autofree char *twice = g_strconcat(text, " ", text, NULL);
	g_autofree char *longer = g_strconcat(text, "AAAA", NULL);
	g_autofree char *huge = g_strnfill(1 << 20, 'A');
	g_autofree char *prefixed = g_strconcat("dnt1.", huge, NULL);

	cr_assert(not(is_whole(twice)));
	cr_assert(not(is_whole(longer)));
	cr_assert(not(is_whole(prefixed)));
	cr_assert(not(is_whole("dnt1.")));
	cr_assert(not(is_whole("")));
}

Test(token, a_field_without_its_form_is_neither_written_nor_read)
{
	static const struct {
		const char *address, *cluster, *host;
	} bad[] = {
		{"example", "0123456789abcdef", "h1"},
		{":7400", "0123456789abcdef", "h1"},
		{"example:0", "0123456789abcdef", "h1"},
		{"example:65536", "0123456789abcdef", "h1"},
		{"exa mple:7400", "0123456789abcdef", "h1"},
		{"e:1\n", "0123456789abcdef", "h1"},
		{"e:1", "0123456789ABCDEF", "h1"},
		{"e:1", "0123", "h1"},
		{"e:1", "0123456789abcdef", "../h"},
		{"e:1", "0123456789abcdef", ""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(DnHostToken) token = dn_host_token_new();
		g_autoptr(GError) error = NULL;

		token->address = g_strdup(bad[i].address);
		token->cluster = g_strdup(bad[i].cluster);
		token->host = g_strdup(bad[i].host);
		token->expires_s = 1;
		g_autofree char *text = dn_host_token_encode(token, &error);
		cr_assert(eq(ptr, text, NULL), "case %zu", i);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}

Test(token, the_longest_address_fits)
{
	g_autoptr(DnHostToken) token = make();
	g_autofree char *host = g_strnfill(250, 'a');

	g_free(token->address);
	token->address = g_strconcat(host, ":7400", NULL);
	g_autofree char *text = encode(token);
	cr_assert(is_whole(text));
}

Test(token, no_two_tokens_share_a_secret)
{
	g_autoptr(DnHostToken) a = dn_host_token_new();
	g_autoptr(DnHostToken) b = dn_host_token_new();

	cr_assert(ne(int, memcmp(a->secret, b->secret, sizeof(a->secret)), 0));
}

Test(token, only_the_secret_itself_matches_its_hash)
{
	g_autoptr(DnHostToken) token = dn_host_token_new();
	uint8_t hash[DN_TOKEN_HASH_BYTES];

	dn_token_secret_hash(token->secret, hash);
	cr_assert(dn_token_secret_matches(token->secret, hash));
	token->secret[31] ^= 1;
	cr_assert(not(dn_token_secret_matches(token->secret, hash)));
}

Test(token, a_token_expires_at_its_second)
{
	g_autoptr(DnHostToken) token = make();

	cr_assert(not(dn_host_token_is_expired(token, token->expires_s - 1)));
	cr_assert(dn_host_token_is_expired(token, token->expires_s));
}
