/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "manifest/trust-file.h"
#include "seal/minisign.h"
#include "support/suite.h"
#include "verbs/current.h"

#define MANIFEST(service_, more_)                                                                  \
	"dnode: v1\nservice: " service_ "\nepoch: 4\nimage: {ref: apps/hello, commit: "            \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}\n"                      \
	"resources: {memory: 64MiB, cpu: 0.5, pids: 32, files: 256}\n" more_

/* Whom the trust file names for every service, and who stands in none. */
static DnSecretKey *deployer, *stranger;
static DnTrustPolicy *policy;
static GPtrArray *signatures;

static void setup(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) empty = dn_trust_file_new("0123456789abcdef");
	DnTrustedKey key = {.name = (char *)"ann", .role = DN_KEY_DEPLOY};

	deployer = dn_secret_key_generate();
	stranger = dn_secret_key_generate();
	dn_secret_key_public(deployer, key.key);
	g_autoptr(GBytes) text = dn_trust_file_add_key(empty, "trust.yaml", &key, NULL, &error);
	cr_assert_not_null(text);
	policy = dn_trust_file_parse(text, "trust.yaml", &error);
	cr_assert_not_null(policy);
	signatures = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
}

static void teardown(void)
{
	g_clear_pointer(&deployer, dn_secret_key_free);
	g_clear_pointer(&stranger, dn_secret_key_free);
	g_clear_pointer(&policy, dn_trust_policy_free);
	g_clear_pointer(&signatures, g_ptr_array_unref);
	dn_suite_end();
}

TestSuite(current, .init = setup, .fini = teardown);

static void sign(const DnSecretKey *key, const char *text, const char *comment)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = g_bytes_new_static(text, strlen(text));
	GBytes *signature = dn_minisign_sign(key, bytes, comment, &error);

	cr_assert_not_null(signature);
	g_ptr_array_add(signatures, signature);
}

/* What is said of @text as the manifest of web; "" when it is believed. */
static char *judge(const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = g_bytes_new_static(text, strlen(text));

	if (dn_current_check(policy, "web", bytes, signatures, &error))
		return g_strdup("");
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	return g_strdup(error->message);
}

static void refused_for(const char *text, const char *why)
{
	g_autofree char *said = judge(text);

	cr_assert_not_null(strstr(said, why), "'%s'", said);
}

Test(current, a_manifest_that_was_signed_for_its_service_is_believed)
{
	sign(deployer, MANIFEST("web", ""), "dnode manifest web 4");

	g_autofree char *said = judge(MANIFEST("web", ""));
	cr_assert_str_eq(said, "");
}

Test(current, a_manifest_past_its_time_is_believed)
{
	sign(deployer, MANIFEST("web", "valid_until: 2020-01-01T00:00:00Z\n"),
	     "dnode manifest web 4");

	g_autofree char *said = judge(MANIFEST("web", "valid_until: 2020-01-01T00:00:00Z\n"));
	cr_assert_str_eq(said, "");
}

Test(current, bytes_that_nobody_who_may_has_signed_are_refused)
{
	refused_for(MANIFEST("web", ""), "no signature");
	sign(stranger, MANIFEST("web", ""), "dnode manifest web 4");
	refused_for(MANIFEST("web", ""), "0 of 1 signatures");
	sign(deployer, MANIFEST("web", ""), "dnode manifest web 4");
	refused_for(MANIFEST("web", "replicas: 9\n"), "0 of 1 signatures");
}

Test(current, the_manifest_of_another_service_is_refused)
{
	sign(deployer, MANIFEST("site", ""), "dnode manifest site 4");

	refused_for(MANIFEST("site", ""), "signed as one of site");
}

Test(current, what_says_another_service_or_epoch_than_its_signature_is_refused)
{
	sign(deployer, MANIFEST("site", ""), "dnode manifest web 4");
	refused_for(MANIFEST("site", ""), "it is of site, epoch 4, but was signed as web, epoch 4");

	g_ptr_array_set_size(signatures, 0);
	sign(deployer, MANIFEST("web", ""), "dnode manifest web 9");
	refused_for(MANIFEST("web", ""), "it is of web, epoch 4, but was signed as web, epoch 9");
}
