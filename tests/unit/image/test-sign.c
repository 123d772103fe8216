/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "image/catalog.h"
#include "image/check.h"
#include "image/sign.h"
#include "support/suite.h"
#include "workshop.h"

static Workshop shop;
static DnSecretKey *keys[2];
static DnImageRepo *repo;
static char *commit;

static void setup(void)
{
	workshop_open(&shop);
	keys[0] = dn_secret_key_generate();
	keys[1] = dn_secret_key_generate();
	workshop_write(&shop, "app", "app", 0755);
	workshop_add(&shop, "app", "/bin/app", 0755);
	commit = workshop_build(&shop);
	repo = workshop_repo(&shop);
}

static void teardown(void)
{
	dn_image_repo_free(repo);
	g_free(commit);
	dn_secret_key_free(keys[0]);
	dn_secret_key_free(keys[1]);
	workshop_close(&shop);
	dn_suite_end();
}

TestSuite(sign, .init = setup, .fini = teardown);

static void refuse(const DnTrustPolicy *trust, const char *ref, DnErrorCode code)
{
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_image_check_now(repo, trust, ref, commit, &error)), "it was accepted");
	cr_assert(g_error_matches(error, DN_ERROR, (int)code), "%s", error->message);
}

Test(sign, a_signed_commit_is_believed_for_its_ref_and_no_other)
{
	g_autoptr(DnTrustPolicy) trust = workshop_trust("apps/*", DN_KEY_RELEASE, keys, 1);

	refuse(trust, "apps/test", DN_ERROR_UNTRUSTED);
	cr_assert(dn_image_sign_now(repo, commit, keys[0], NULL));
	cr_assert(dn_image_check_now(repo, trust, "apps/test", commit, NULL));
	refuse(trust, "apps/other", DN_ERROR_UNTRUSTED);
	refuse(trust, "tools/test", DN_ERROR_UNTRUSTED);
	refuse(trust, "../apps/test", DN_ERROR_INVALID);
}

Test(sign, another_key_or_another_role_convinces_nobody)
{
	g_autoptr(DnTrustPolicy) wrong = workshop_trust("apps/*", DN_KEY_RELEASE, keys + 1, 1);
	g_autoptr(DnTrustPolicy) role = workshop_trust("apps/*", DN_KEY_DEPLOY, keys, 1);

	cr_assert(dn_image_sign_now(repo, commit, keys[0], NULL));
	refuse(wrong, "apps/test", DN_ERROR_UNTRUSTED);
	refuse(role, "apps/test", DN_ERROR_UNTRUSTED);
}

Test(sign, two_of_two_takes_two_different_keys)
{
	g_autoptr(DnTrustPolicy) trust = workshop_trust("apps/*", DN_KEY_RELEASE, keys, 2);

	cr_assert(dn_image_sign_now(repo, commit, keys[0], NULL));
	cr_assert(dn_image_sign_now(repo, commit, keys[0], NULL));
	refuse(trust, "apps/test", DN_ERROR_UNTRUSTED);
	cr_assert(dn_image_sign_now(repo, commit, keys[1], NULL));
	cr_assert(dn_image_check_now(repo, trust, "apps/test", commit, NULL));
	g_autoptr(GBytes) metadata = dn_image_metadata_now(repo, commit, NULL);
	g_autoptr(GPtrArray) signatures = dn_image_signatures(metadata, NULL);
	cr_assert(eq(u32, signatures->len, 2));
}

Test(sign, the_signature_is_plain_ed25519_over_the_bytes_of_the_commit)
{
	uint8_t public[DN_PUBLIC_KEY_BYTES];

	cr_assert(dn_image_sign_now(repo, commit, keys[0], NULL));
	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(repo, commit, NULL);
	g_autoptr(GBytes) metadata = dn_image_metadata_now(repo, commit, NULL);
	g_autoptr(GPtrArray) signatures = dn_image_signatures(metadata, NULL);
	dn_secret_key_public(keys[0], public);
	cr_assert(dn_public_key_has_signed(public, g_bytes_get_data(bytes, NULL),
					   g_bytes_get_size(bytes),
					   g_bytes_get_data(signatures->pdata[0], NULL)));
}

Test(sign, bytes_that_are_not_the_commit_are_refused_whatever_signs_them)
{
	g_autoptr(DnTrustPolicy) trust = workshop_trust("*/*", DN_KEY_RELEASE, keys, 1);
	g_autoptr(GBytes) other = g_bytes_new_static("other", 5);
	g_autoptr(GError) error = NULL;

	cr_assert(dn_image_sign_now(repo, commit, keys[0], NULL));
	g_autoptr(GBytes) metadata = dn_image_metadata_now(repo, commit, NULL);
	cr_assert(not(dn_image_check(trust, "apps/test", commit, other, metadata, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED));
}

Test(sign, metadata_from_a_stranger_is_bounded_and_never_believed_malformed)
{
	g_autofree char *zeros = g_malloc0(DN_IMAGE_METADATA_LIMIT + 1);
	g_autoptr(GBytes) large = g_bytes_new(zeros, DN_IMAGE_METADATA_LIMIT + 1);
	g_autoptr(GError) error = NULL;

	cr_assert(eq(ptr, dn_image_signatures(large, &error), NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED));
	for (size_t size = 1; size < 64; size++) {
		g_autofree char *noise = g_malloc(size);
		memset(noise, (int)(size * 37), size);
		g_autoptr(GBytes) bytes = g_bytes_new(noise, size);
		g_autoptr(GError) why = NULL;
		g_autoptr(GPtrArray) found = dn_image_signatures(bytes, &why);

		cr_assert(found == NULL ? why != NULL : found->len == 0);
	}
}

Test(sign, an_image_is_found_by_ref_by_id_and_by_the_start_of_its_id)
{
	g_autofree char *start = g_strndup(commit, 8);
	g_autofree char *short_start = g_strndup(commit, 7);
	g_autofree char *by_ref = dn_image_resolve_now(repo, "apps/test", NULL);
	g_autofree char *by_id = dn_image_resolve_now(repo, commit, NULL);
	g_autofree char *by_start = dn_image_resolve_now(repo, start, NULL);
	static const char *const unknown[] = {"apps/nothing", "deadbeef", "../x", "HEAD^", ""};

	cr_assert_str_eq(by_ref, commit);
	cr_assert_str_eq(by_id, commit);
	cr_assert_str_eq(by_start, commit);
	cr_assert(eq(ptr, dn_image_resolve_now(repo, short_start, NULL), NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++) {
		g_autoptr(GError) error = NULL;

		cr_assert(eq(ptr, dn_image_resolve_now(repo, unknown[i], &error), NULL));
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID), "%s", error->message);
	}
}
