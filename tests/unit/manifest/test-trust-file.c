/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include "manifest/trust-file.h"

TestSuite(trust_file, .fini = dn_suite_end);

#define HEAD_ "dnode: trust/v1\ncluster: \"0123456789abcdef\"\n"
/* 32 bytes of 0x01 and of 0x02; the first one again as minisign(1) prints it. */
#define KEY_1 "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define KEY_2 "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define MINISIGN_1 "RWQICAgICAgICAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"

static DnTrustPolicy *policy_of(const char *text)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	DnTrustPolicy *policy = dn_trust_file_parse(bytes, "t", &error);

	cr_assert(policy != NULL, "%s", error != NULL ? error->message : "no error was set");
	return policy;
}

static void says(const char *text, const char *wanted)
{
	g_autoptr(GBytes) bytes = bytes_of(text);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnTrustPolicy) policy = dn_trust_file_parse(bytes, "t", &error);

	cr_assert(policy == NULL, "it was accepted");
	cr_assert_str_eq(error->message, wanted);
}

Test(trust_file, a_whole_file_is_understood)
{
	g_autoptr(DnTrustPolicy) policy =
		policy_of(HEAD_ "images: [{refs: \"apps/*\", keys: [ci, al], threshold: 2}]\n"
				"services: [{services: \"web-?\", keys: [ops]}]\n"
				"keys:\n- {name: ci, role: release, key: " KEY_1 "}\n"
				"- {name: al, role: release, key: " KEY_2 "}\n"
				"- {name: ops, role: deploy, key: " MINISIGN_1 "}\n"
				"- {name: cert, role: responder, key: " KEY_2 "}\n"
				"responders: 1\nminimum_epochs: {web: 3}\n");
	const DnTrustRule *images = g_ptr_array_index(policy->images, 0);
	const DnTrustRule *services = g_ptr_array_index(policy->services, 0);
	const uint64_t *epoch = g_hash_table_lookup(policy->minimum_epochs, "web");
	uint8_t wanted[DN_PUBLIC_KEY_BYTES];

	memset(wanted, 1, sizeof(wanted));
	cr_assert_str_eq(policy->cluster, "0123456789abcdef");
	cr_assert(eq(uint, policy->keys->len, 4));
	for (guint i = 0; i < 4; i += 2) {
		const DnTrustedKey *key = g_ptr_array_index(policy->keys, i);
		cr_assert(zero(int, memcmp(key->key, wanted, sizeof(wanted))), "%s", key->name);
	}
	cr_assert_str_eq(images->pattern, "apps/*");
	cr_assert(eq(u32, images->threshold, 2));
	cr_assert_str_eq(images->keys[1], "al");
	cr_assert_str_eq(services->pattern, "web-?");
	cr_assert(eq(u32, services->threshold, 1));
	cr_assert(eq(u64, *epoch, 3));
	for (unsigned role = 0; role < DN_KEY_N_ROLES; role++)
		cr_assert(ne(ptr, (void *)dn_key_role_name((DnKeyRole)role), NULL));
	cr_assert(eq(int, (int)dn_trust_policy_find_key(policy, "ops")->role, DN_KEY_DEPLOY));
	cr_assert(eq(int, (int)dn_trust_policy_find_key(policy, "cert")->role, DN_KEY_RESPONDER));
}

Test(trust_file, one_key_under_two_names_cannot_reach_a_threshold)
{
	says(HEAD_ "keys:\n- {name: a, role: release, key: " KEY_1 "}\n"
		   "- {name: b, role: release, key: " MINISIGN_1 "}\n"
		   "images: [{refs: \"*\", keys: [a, b], threshold: 2}]\n",
	     "t:5:33: \"b\" is the same release key as \"a\"");
	says(HEAD_ "keys: [{name: a, role: release, key: " KEY_1 "}]\n"
		   "images: [{refs: \"*\", keys: [a, a], threshold: 2}]\n",
	     "t:4:29: \"a\" stands here twice");
}

Test(trust_file, a_rule_that_nobody_could_satisfy_is_refused)
{
	says(HEAD_ "keys: [{name: a, role: release, key: " KEY_1 "}]\n"
		   "images: [{refs: \"*\", keys: [a], threshold: 2}]\n",
	     "t:4:44: \"threshold\" is 2 but there are only 1 keys");
	says(HEAD_ "keys: [{name: a, role: deploy, key: " KEY_1 "}]\n"
		   "images: [{refs: \"*\", keys: [a, b]}, {refs: \"*\", keys: []}]\n",
	     "t:4:55: \"keys\" has 0 items, from 1 to 64 are allowed");
	says(HEAD_ "keys: [{name: a, role: deploy, key: " KEY_1 "}]\n"
		   "images: [{refs: \"*\", keys: [a, b]}, {refs: \"*\", keys: [a]}]\n"
		   "services: [{services: \"[ab]\", keys: [a]}]\n",
	     "t:4:29: \"a\" is a deploy key, a release key is needed\n"
	     "t:4:32: no key has the name \"b\"\n"
	     "t:4:44: an earlier rule has this pattern, so this one never decides\n"
	     "t:4:56: \"a\" is a deploy key, a release key is needed\n"
	     "t:5:23: a pattern consists of a-z, 0-9, '.', '_', '-', '/', * and ?");
	says(HEAD_ "responders: 2\n",
	     "t:3:13: \"responders\" is 2 but there are only 0 responder keys");
	says(HEAD_ "minimum_epochs: {../x: 1, web: 0}\n",
	     "t:3:18: \"../x\" is no name of a service\n"
	     "t:3:32: \"web\" must be a whole number from 1 to 9007199254740991, not \"0\"");
}

Test(trust_file, only_the_one_spelling_of_a_key_is_taken)
{
	static const char *const bad[] = {
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* zero: everybody's */
		"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",  /* no padding */
		"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=", /* bits behind the end */
		"\"AQEB AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"",
		"AQEBAQ==",
		"XXQICAgICAgICAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", /* not Ed */
		"\"\"",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *text = g_strconcat(
			HEAD_ "keys: [{name: a, role: deploy, key: ", bad[i], "}]\n", NULL);
		says(text, "t:3:37: \"key\" must be an ed25519 public key: base64 of its 32 bytes, "
			   "or a minisign public key (RW…)");
	}
}

static DnTrustedKey key_of(const char *name, DnKeyRole role, int byte)
{
	DnTrustedKey key = {.name = (char *)name, .role = role};

	memset(key.key, byte, sizeof(key.key));
	return key;
}

/* @text with a key added. */
static char *added(const char *text, DnTrustedKey key, const char *pattern)
{
	g_autoptr(GBytes) old = bytes_of(text);
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) new = dn_trust_file_add_key(old, "t", &key, pattern, &error);

	cr_assert(new != NULL, "%s", error != NULL ? error->message : "no error was set");
	return g_strndup(g_bytes_get_data(new, NULL), g_bytes_get_size(new));
}

Test(trust_file, keys_are_added_to_a_new_file_one_by_one)
{
	g_autoptr(GBytes) bytes = dn_trust_file_new("0123456789abcdef");
	g_autofree char *empty = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	g_autofree char *one = added(empty, key_of("ci", DN_KEY_RELEASE, 1), NULL);
	g_autofree char *two = added(one, key_of("ops", DN_KEY_DEPLOY, 2), NULL);
	g_autofree char *three = added(two, key_of("al", DN_KEY_RELEASE, 3), NULL);
	g_autofree char *four = added(three, key_of("cert", DN_KEY_RESPONDER, 4), NULL);
	g_autofree char *five = added(four, key_of("db", DN_KEY_RELEASE, 5), "db/*");
	g_autoptr(DnTrustPolicy) policy = policy_of(five);

	cr_assert(eq(uint, policy->keys->len, 5));
	cr_assert(ne(ptr, strstr(five, "\n# Public keys: "), NULL));
	cr_assert(ne(ptr,
		     strstr(five, "\nimages: [{refs: \"db/*\", keys: [db], threshold: 1}, "
				  "{refs: \"*\", keys: [ci, al], threshold: 1}]\n"),
		     NULL),
		  "%s", five);
	cr_assert(ne(ptr,
		     strstr(five, "\nservices: [{services: \"*\", keys: [ops], threshold: 1}]\n"),
		     NULL));
}

Test(trust_file, keys_are_added_to_a_file_that_a_person_has_laid_out)
{
	g_autofree char *text = added(HEAD_ "keys:\n"
					    "  # the build machine\n"
					    "  - name: ci # room 3\n"
					    "    role: release\n"
					    "    key: " KEY_1 " # long\n"
					    "  # end of keys\n"
					    "\n"
					    "images:\n"
					    "- refs: '*'\n"
					    "  keys:\n"
					    "  - ci # and only it\n"
					    "  threshold: 1\n",
				      key_of("al", DN_KEY_RELEASE, 2), NULL);
	g_autofree char *more = added(text, key_of("db", DN_KEY_RELEASE, 3), "db/*");
	g_autofree char *last = added(more, key_of("ops", DN_KEY_DEPLOY, 1), "web");

	cr_assert_str_eq(last,
			 HEAD_ "keys:\n"
			       "  # the build machine\n"
			       "  - name: ci # room 3\n"
			       "    role: release\n"
			       "    key: " KEY_1 " # long\n"
			       "  - {name: al, role: release, key: \"" KEY_2 "\"}\n"
			       "  - {name: db, role: release, key: "
			       "\"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\"}\n"
			       "  - {name: ops, role: deploy, key: \"" KEY_1 "\"}\n"
			       "  # end of keys\n"
			       "\n"
			       "images:\n"
			       "- {refs: \"db/*\", keys: [db], threshold: 1}\n"
			       "- refs: '*'\n"
			       "  keys:\n"
			       "  - ci # and only it\n"
			       "  - al\n"
			       "  threshold: 1\n"
			       "services: [{services: \"web\", keys: [ops], threshold: 1}]\n");
}

static const char *decides(GBytes *file, const char *service)
{
	g_autoptr(DnTrustPolicy) policy = dn_trust_file_parse(file, "t", NULL);

	cr_assert(policy != NULL);
	for (guint i = 0; i < policy->services->len; i++) {
		const DnTrustRule *rule = g_ptr_array_index(policy->services, i);

		if (dn_trust_pattern_matches(rule->pattern, service))
			return g_intern_string(rule->keys[0]);
	}
	return "nobody";
}

/* The first rule that matches decides, so one that says less has to come before. */
Test(trust_file, a_rule_that_is_added_decides)
{
	static const char *const patterns[] = {"*",       "db-?",    "db-*", "web-*",
					       "web-pay", "web-p??", "db"};
	g_autoptr(GBytes) file = dn_trust_file_new("0123456789abcdef");

	for (guint i = 0; i < G_N_ELEMENTS(patterns); i++) {
		g_autofree char *name = g_strdup_printf("key%u", i);
		DnTrustedKey key = {.name = name, .role = DN_KEY_DEPLOY, .key = {(uint8_t)(i + 1)}};
		g_autoptr(GError) error = NULL;
		GBytes *next = dn_trust_file_add_key(file, "t", &key, patterns[i], &error);

		cr_assert(next != NULL, "%s", error != NULL ? error->message : "");
		g_bytes_unref(file);
		file = next;
	}
	cr_assert_str_eq(decides(file, "db-1"), "key1"); /* which says less than what came later */
	cr_assert_str_eq(decides(file, "db-10"), "key2");
	cr_assert_str_eq(decides(file, "web-pay"), "key4");
	cr_assert_str_eq(decides(file, "web-put"), "key5");
	cr_assert_str_eq(decides(file, "web-shop"), "key3");
	cr_assert_str_eq(decides(file, "db"), "key6");
	cr_assert_str_eq(decides(file, "mail"), "key0");
}

Test(trust_file, a_key_is_not_added_to_a_rule_that_decides_nothing)
{
	g_autoptr(GBytes) old = bytes_of(
		HEAD_ "images: []\nservices: [{services: \"web-*\", keys: [ops]}, "
		      "{services: web-pay, keys: [ops]}]\n"
		      "keys:\n- {name: ops, role: deploy, key: " KEY_1 "}\nresponders: 1\n");
	DnTrustedKey key = {.name = (char *)"new", .role = DN_KEY_DEPLOY, .key = {7}};
	g_autoptr(GError) error = NULL;

	cr_assert(eq(ptr, dn_trust_file_add_key(old, "t", &key, "web-pay", &error), NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, "web-*"), NULL), "%s", error->message);
}

Test(trust_file, a_name_or_key_that_is_there_already_is_not_added_again)
{
	g_autoptr(GBytes) old = bytes_of(HEAD_ "keys: [{name: a, role: deploy, key: " KEY_1 "}]\n");
	DnTrustedKey same_name = key_of("a", DN_KEY_RELEASE, 2);
	DnTrustedKey same_key = key_of("b", DN_KEY_DEPLOY, 1);
	DnTrustedKey sly = key_of("b, role: deploy", DN_KEY_DEPLOY, 2);
	g_autoptr(GError) taken = NULL;
	g_autoptr(GError) twice = NULL;
	g_autoptr(GError) bad = NULL;

	cr_assert(eq(ptr, dn_trust_file_add_key(old, "t", &same_name, NULL, &taken), NULL));
	cr_assert_str_eq(taken->message, "t: a key with the name \"a\" is there already");
	cr_assert(eq(ptr, dn_trust_file_add_key(old, "t", &same_key, NULL, &twice), NULL));
	cr_assert(ne(ptr, strstr(twice->message, "\"b\" is the same deploy key as \"a\""), NULL));
	cr_assert(eq(ptr, dn_trust_file_add_key(old, "t", &sly, NULL, &bad), NULL));
	cr_assert(ne(ptr, strstr(bad->message, "is no name for a key"), NULL));
}
