/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "seal/minisign.h"
#include "seal/trust.h"
#include "support/suite.h"

/* ann and bob deploy, rel releases, ria and ray respond; eve is nobody's. */
enum { ANN, BOB, REL, RIA, RAY, EVE, N_PEOPLE };

static DnSecretKey *people[N_PEOPLE];
static DnTrustPolicy *policy;
static GBytes *manifest;

static void add_key(const char *name, DnKeyRole role, const DnSecretKey *secret)
{
	DnTrustedKey *key = g_new0(DnTrustedKey, 1);

	key->name = g_strdup(name);
	key->role = role;
	dn_secret_key_public(secret, key->key);
	g_ptr_array_add(policy->keys, key);
}

static void add_rule(GPtrArray *rules, const char *pattern, const char *keys, uint32_t threshold)
{
	DnTrustRule *rule = g_new0(DnTrustRule, 1);

	rule->pattern = g_strdup(pattern);
	rule->keys = g_strsplit(keys, " ", -1);
	rule->threshold = threshold;
	g_ptr_array_add(rules, rule);
}

static void setup(void)
{
	for (unsigned i = 0; i < N_PEOPLE; i++)
		people[i] = dn_secret_key_generate();
	policy = dn_trust_policy_new();
	add_key("ann", DN_KEY_DEPLOY, people[ANN]);
	add_key("bob", DN_KEY_DEPLOY, people[BOB]);
	add_key("rel", DN_KEY_RELEASE, people[REL]);
	add_key("ria", DN_KEY_RESPONDER, people[RIA]);
	add_key("ray", DN_KEY_RESPONDER, people[RAY]);
	add_rule(policy->services, "web", "ann", 1);
	add_rule(policy->services, "pay-*", "ann bob", 2);
	add_rule(policy->services, "db", "rel", 1);
	add_rule(policy->services, "*", "bob", 1);
	add_rule(policy->images, "apps/*", "rel", 1);
	add_rule(policy->images, "base/?", "ann", 1);
	manifest = g_bytes_new_static("service: web\n", 13);
}

static void teardown(void)
{
	for (unsigned i = 0; i < N_PEOPLE; i++)
		g_clear_pointer(&people[i], dn_secret_key_free);
	g_clear_pointer(&policy, dn_trust_policy_free);
	g_clear_pointer(&manifest, g_bytes_unref);
	dn_suite_end();
}

TestSuite(trust, .init = setup, .fini = teardown);

static void free_bytes(gpointer bytes)
{
	g_bytes_unref(bytes);
}

static GPtrArray *no_signatures(void)
{
	return g_ptr_array_new_with_free_func(free_bytes);
}

static void add_minisig(GPtrArray *signatures, int who, GBytes *data, const char *comment)
{
	g_autoptr(GError) error = NULL;

	g_ptr_array_add(signatures, dn_minisign_sign(people[who], data, comment, &error));
	cr_assert(eq(ptr, error, NULL));
}

/* The manifest signed by @who under @comment. */
static GPtrArray *signed_by(int who, const char *comment)
{
	GPtrArray *signatures = no_signatures();

	add_minisig(signatures, who, manifest, comment);
	return signatures;
}

/* NULL when the manifest is believed, else the line that says why not. */
static char *judge(GPtrArray *signatures, int code)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *service = NULL;
	uint64_t epoch = 0;

	if (dn_trust_verify_manifest(policy, manifest, signatures, &service, &epoch, &error)) {
		cr_assert(service != NULL && epoch > 0);
		return NULL;
	}
	cr_assert(g_error_matches(error, DN_ERROR, code), "%s", error->message);
	cr_assert(eq(ptr, service, NULL));
	cr_assert(eq(ptr, strchr(error->message, '\n'), NULL), "more than one line");
	return g_strdup(error->message);
}

static void assert_refused(GPtrArray *signatures, const char *why)
{
	g_autofree char *message = judge(signatures, DN_ERROR_UNTRUSTED);

	cr_assert(message != NULL, "it was believed");
	cr_assert(strstr(message, why) != NULL, "'%s' does not say '%s'", message, why);
}

Test(trust, a_manifest_by_an_allowed_key_tells_its_service_and_epoch)
{
	g_autoptr(GPtrArray) signatures = signed_by(ANN, "dnode manifest web 7");
	g_autofree char *service = NULL;
	g_autoptr(GError) error = NULL;
	uint64_t epoch = 0;

	cr_assert(dn_trust_verify_manifest(policy, manifest, signatures, &service, &epoch, &error),
		  "%s", error != NULL ? error->message : "");
	cr_assert_str_eq(service, "web");
	cr_assert(eq(u64, epoch, 7));
	cr_assert(dn_trust_check_manifest(policy, "web", manifest, signatures, 7, &error));
	cr_assert(dn_trust_check_manifest(policy, "web", manifest, signatures, 0, &error));
}

Test(trust, a_manifest_for_another_service_or_epoch_is_refused)
{
	g_autoptr(GPtrArray) signatures = signed_by(BOB, "dnode manifest mail 7");
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_trust_check_manifest(policy, "shop", manifest, signatures, 7, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED));
	g_clear_error(&error);
	cr_assert(not(dn_trust_check_manifest(policy, "mail", manifest, signatures, 8, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED));
}

Test(trust, an_unknown_key_is_refused)
{
	g_autoptr(GPtrArray) signatures = signed_by(EVE, "dnode manifest web 7");

	assert_refused(signatures, "no signature by a key allowed for service web");
}

Test(trust, a_known_key_that_is_not_allowed_for_the_service_is_named)
{
	g_autoptr(GPtrArray) signatures = signed_by(BOB, "dnode manifest web 7");

	assert_refused(signatures, "key bob (deploy), which signed it, is not");
}

Test(trust, a_rule_cannot_make_a_release_key_sign_manifests)
{
	g_autoptr(GPtrArray) signatures = signed_by(REL, "dnode manifest db 7");

	assert_refused(signatures, "key rel (release)");
}

Test(trust, the_first_matching_rule_decides)
{
	/* bob may sign whatever only "*" matches, but not web, whose rule comes first. */
	g_autoptr(GPtrArray) other = signed_by(BOB, "dnode manifest other 7");
	g_autoptr(GPtrArray) web = signed_by(BOB, "dnode manifest web 7");

	cr_assert(eq(ptr, judge(other, 0), NULL));
	assert_refused(web, "0 of 1");
}

Test(trust, without_a_rule_nothing_is_believed)
{
	g_autoptr(GPtrArray) signatures = signed_by(ANN, "dnode manifest web 7");

	g_ptr_array_set_size(policy->services, 0);
	assert_refused(signatures, "no rule of the trust file is for service web");
}

Test(trust, two_of_two_takes_two_distinct_keys)
{
	g_autoptr(GPtrArray) signatures = signed_by(ANN, "dnode manifest pay-eu 1");

	assert_refused(signatures, "1 of 2");
	add_minisig(signatures, ANN, manifest, "dnode manifest pay-eu 1");
	assert_refused(signatures, "1 of 2");
	add_minisig(signatures, BOB, manifest, "dnode manifest pay-eu 1");
	cr_assert(eq(ptr, judge(signatures, 0), NULL));
}

Test(trust, one_key_under_two_names_counts_once)
{
	g_autoptr(GPtrArray) signatures = signed_by(ANN, "dnode manifest twin 1");

	add_key("ann2", DN_KEY_DEPLOY, people[ANN]);
	g_ptr_array_set_size(policy->services, 0);
	add_rule(policy->services, "twin", "ann ann2", 2);
	assert_refused(signatures, "1 of 2");
}

Test(trust, a_key_by_which_anybody_could_sign_is_refused_by_its_name)
{
	g_autoptr(GError) error = NULL;
	DnTrustedKey *ray = g_ptr_array_index(policy->keys, policy->keys->len - 1);

	cr_assert(dn_trust_check_keys(policy, "trust.yaml", &error));
	/* The neutral element, a point of order 1. */
	memset(ray->key, 0, sizeof(ray->key));
	ray->key[0] = 1;
	cr_assert(not(dn_trust_check_keys(policy, "trust.yaml", &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	cr_assert(g_str_has_prefix(error->message, "trust.yaml: the key of \"ray\""), "%s",
		  error->message);
}

Test(trust, a_threshold_of_zero_still_takes_a_signature)
{
	g_autoptr(GPtrArray) signatures = signed_by(EVE, "dnode manifest open 1");

	g_ptr_array_set_size(policy->services, 0);
	add_rule(policy->services, "open", "ann", 0);
	assert_refused(signatures, "0 of 1");
}

Test(trust, signatures_that_disagree_about_the_epoch_are_refused)
{
	g_autoptr(GPtrArray) signatures = signed_by(ANN, "dnode manifest pay-eu 1");

	add_minisig(signatures, BOB, manifest, "dnode manifest pay-eu 2");
	assert_refused(signatures, "disagree");
}

Test(trust, a_trusted_comment_in_any_other_form_is_refused)
{
	const char *const bad[] = {"",
				   "timestamp:1",
				   "dnode manifest web",
				   "dnode manifest web 0",
				   "dnode manifest web 07",
				   "dnode manifest web +7",
				   "dnode manifest web 7 ",
				   "dnode  manifest web 7",
				   "dnode manifest web 9007199254740992",
				   "dnode manifest ../web 7",
				   "dnode destroy web 7"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GPtrArray) signatures = signed_by(ANN, bad[i]);

		assert_refused(signatures, "trusted comment");
	}
}

Test(trust, an_unsigned_manifest_is_refused)
{
	g_autoptr(GPtrArray) signatures = no_signatures();

	assert_refused(signatures, "no signature");
}

Test(trust, a_changed_manifest_is_refused)
{
	g_autoptr(GPtrArray) signatures = signed_by(ANN, "dnode manifest web 7");

	g_bytes_unref(manifest);
	manifest = g_bytes_new_static("service: wEb\n", 13);
	assert_refused(signatures, "fits these bytes");
}

Test(trust, an_epoch_below_the_pinned_minimum_is_refused)
{
	g_autoptr(GPtrArray) old = signed_by(ANN, "dnode manifest web 4");
	g_autoptr(GPtrArray) least = signed_by(ANN, "dnode manifest web 5");
	uint64_t *minimum = g_new(uint64_t, 1);

	*minimum = 5;
	g_hash_table_insert(policy->minimum_epochs, g_strdup("web"), minimum);
	assert_refused(old, "below 5");
	cr_assert(eq(ptr, judge(least, 0), NULL));
}

Test(trust, too_much_is_refused_before_it_costs_anything)
{
	g_autoptr(GPtrArray) many = signed_by(ANN, "dnode manifest web 7");
	g_autoptr(GPtrArray) one = signed_by(ANN, "dnode manifest web 7");
	g_autofree char *big = g_strnfill(DN_MANIFEST_BYTES_LIMIT + 1, '#');

	for (int i = 0; i < DN_SIGNATURES_LIMIT; i++)
		add_minisig(many, EVE, manifest, "dnode manifest web 7");
	g_autofree char *message = judge(many, DN_ERROR_EXHAUSTED);
	cr_assert(message != NULL);

	g_bytes_unref(manifest);
	manifest = g_bytes_new(big, DN_MANIFEST_BYTES_LIMIT + 1);
	g_autofree char *other = judge(one, DN_ERROR_EXHAUSTED);
	cr_assert(other != NULL);
}

/* 64 raw bytes over @data by @who. */
static GPtrArray *raw(int who, GBytes *data)
{
	GPtrArray *signatures = no_signatures();
	uint8_t signature[DN_SIGNATURE_BYTES];

	dn_secret_key_sign(people[who], g_bytes_get_data(data, NULL), g_bytes_get_size(data),
			   signature);
	g_ptr_array_add(signatures, g_bytes_new(signature, sizeof(signature)));
	return signatures;
}

static bool image_is_believed(const char *ref, GBytes *commit, GPtrArray *signatures)
{
	g_autoptr(GError) error = NULL;

	if (dn_trust_check_image(policy, ref, commit, signatures, &error))
		return true;
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	cr_assert(strstr(error->message, ref) != NULL, "%s", error->message);
	return false;
}

Test(trust, an_image_is_believed_for_the_refs_of_its_release_key_alone)
{
	g_autoptr(GBytes) commit = g_bytes_new_static("commit", 6);
	g_autoptr(GBytes) other = g_bytes_new_static("commiT", 6);
	g_autoptr(GPtrArray) by_rel = raw(REL, commit);
	g_autoptr(GPtrArray) by_ann = raw(ANN, commit);

	cr_assert(image_is_believed("apps/hello", commit, by_rel));
	cr_assert(not(image_is_believed("apps/hello", other, by_rel)));
	cr_assert(not(image_is_believed("apps/a/b", commit, by_rel)));
	cr_assert(not(image_is_believed("tools/x", commit, by_rel)));
	cr_assert(not(image_is_believed("apps/hello", commit, by_ann)));
	cr_assert(not(image_is_believed("base/x", commit, by_ann)), "ann has no release key");
}

Test(trust, a_raw_signature_of_another_length_is_refused)
{
	g_autoptr(GBytes) commit = g_bytes_new_static("commit", 6);
	g_autoptr(GPtrArray) signatures = no_signatures();
	g_autoptr(GError) error = NULL;

	g_ptr_array_add(signatures, g_bytes_new_static("short", 5));
	cr_assert(not(dn_trust_check_image(policy, "apps/hello", commit, signatures, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
}

static bool destruction_is_believed(GPtrArray *signatures, const char *comment)
{
	g_autoptr(GError) error = NULL;

	if (dn_trust_check_statement(policy, manifest, signatures, comment, &error))
		return true;
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	return false;
}

Test(trust, a_statement_takes_as_many_responders_as_the_policy_says)
{
	g_autoptr(GPtrArray) signatures = signed_by(RIA, "dnode destroy i1");
	g_autoptr(GPtrArray) by_ann = signed_by(ANN, "dnode destroy i1");
	g_autoptr(GPtrArray) none = no_signatures();

	cr_assert(destruction_is_believed(signatures, "dnode destroy i1"));
	cr_assert(not(destruction_is_believed(signatures, "dnode destroy i2")));
	cr_assert(not(destruction_is_believed(by_ann, "dnode destroy i1")));
	cr_assert(not(destruction_is_believed(none, "dnode destroy i1")));

	policy->responders = 2;
	cr_assert(not(destruction_is_believed(signatures, "dnode destroy i1")));
	add_minisig(signatures, RAY, manifest, "dnode destroy i1");
	cr_assert(destruction_is_believed(signatures, "dnode destroy i1"));
}

Test(trust, a_star_stops_at_a_slash_and_the_whole_word_must_match)
{
	static const struct {
		const char *pattern, *word;
		bool matches;
	} cases[] = {
		{"apps/*", "apps/hello", true},
		{"apps/*", "apps/", true},
		{"apps/*", "apps/a/b", false},
		{"*", "a", true},
		{"*", "", true},
		{"*", "a/b", true},
		{"a*", "a/b", false},
		{"a?c", "abc", true},
		{"a?c", "a/c", false},
		{"a?c", "ac", false},
		{"*-eu", "pay-eu-eu", true},
		{"*-eu", "pay-eu-us", false},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false},
		{"web", "web2", false},
		{"web2", "web", false},
		{"", "", true},
		{"", "a", false},
		{"*/x", "a/x", true},
		{"*/x", "a/b/x", false},
		{"**", "ab", true},
		{"a*/b*", "a1/b2", true},
		{"a*/b*", "a1/c/b2", false},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
		cr_assert(eq(int, dn_trust_pattern_matches(cases[i].pattern, cases[i].word),
			     cases[i].matches),
			  "%s %s", cases[i].pattern, cases[i].word);
}
