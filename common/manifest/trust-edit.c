/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/text.h"
#include "manifest/grammar.h"
#include "manifest/patch.h"
#include "manifest/trust-file.h"

GBytes *dn_trust_file_new(const char *cluster)
{
	static const char form[] =
		"# Whom the hosts of this cluster believe. Hosts compare the digest of this file "
		"when\n"
		"# they are enrolled; change it with care, and hand it to them like a key.\n"
		"dnode: trust/v1\n"
		"cluster: \"%s\"\n"
		"\n"
		"# Public keys: {name, role: release | deploy | responder | person, key}.\n"
		"keys: []\n"
		"\n"
		"# Which release keys may sign which images, which deploy keys which services. "
		"The\n"
		"# first rule whose pattern matches decides.\n"
		"images: []\n"
		"services: []\n"
		"\n"
		"# How many distinct responder keys it takes to destroy a quarantined node.\n"
		"responders: 1\n";
	g_autoptr(GString) text = g_string_new(form);

	g_string_replace(text, "%s", cluster, 1);
	return g_bytes_new(text->str, text->len);
}

static bool check_addition(const DnTrustPolicy *policy, const DnTrustedKey *key,
			   const char *pattern, const char *name, GError **error)
{
	if (!dn_text_is_name(key->name)) {
		g_autofree char *quoted = dn_text_printable(key->name, strlen(key->name));
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "\"%s\" is no name for a key: a-z, 0-9 and -, beginning with a letter",
			    quoted);
		return false;
	}
	if (dn_trust_policy_find_key(policy, key->name) != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s: a key with the name \"%s\" is there already", name, key->name);
		return false;
	}
	if (strchr(pattern, '"') != NULL || strchr(pattern, '\\') != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "a pattern consists of a-z, 0-9, '.', '_', '-', '/', * and ?");
		return false;
	}
	return true;
}

/* Add @item to the list @key of @root, before item @before; the list is made if need be. */
static void add_to_list(DnPatch *patch, const DnYamlNode *root, const char *key, guint before,
			const char *item)
{
	const DnYamlNode *list = dn_yaml_get(root, key);

	if (list != NULL) {
		dn_patch_add_item(patch, list, before, item);
		return;
	}
	g_autofree char *made = g_strdup_printf("[%s]", item);
	dn_patch_add_key(patch, root, NULL, key, made);
}

/* The number of the rule for @pattern, or G_MAXUINT. */
static guint find_rule(const GPtrArray *rules, const char *pattern)
{
	for (guint i = 0; i < rules->len; i++) {
		const DnTrustRule *rule = g_ptr_array_index(rules, i);

		if (g_str_equal(rule->pattern, pattern))
			return i;
	}
	return G_MAXUINT;
}

/*
 * A word that a rule matches only if it matches whatever @pattern does: no letter of a pattern is
 * \001, and no '?' is as long as what stands for a '*'.
 */
static char *word_of(const char *pattern)
{
	enum { RUN = 128 };
	GString *word = g_string_new(NULL);

	for (; *pattern != '\0'; pattern++)
		if (*pattern == '*')
			for (unsigned i = 0; i < RUN; i++)
				g_string_append_c(word, '\001');
		else
			g_string_append_c(word, *pattern == '?' ? '\001' : *pattern);
	return g_string_free(word, FALSE);
}

/* The first rule that decides about all that @pattern matches; G_MAXUINT: none does. */
static guint find_decisive(const GPtrArray *rules, const char *pattern)
{
	g_autofree char *word = word_of(pattern);

	for (guint i = 0; i < rules->len; i++) {
		const DnTrustRule *rule = g_ptr_array_index(rules, i);

		if (g_str_equal(rule->pattern, pattern) ||
		    dn_trust_pattern_matches(rule->pattern, word))
			return i;
	}
	return G_MAXUINT;
}

static void add_to_rule(DnPatch *patch, const DnYamlNode *root, const GPtrArray *rules,
			const DnTrustedKey *key, const char *pattern)
{
	bool release = key->role == DN_KEY_RELEASE;
	const char *section = release ? "images" : "services";
	guint found = find_rule(rules, pattern);

	if (found != G_MAXUINT) {
		const DnYamlNode *list = dn_yaml_get(root, section);
		const DnYamlNode *rule = g_ptr_array_index(list->items, found);

		dn_patch_add_item(patch, dn_yaml_get(rule, "keys"), G_MAXUINT, key->name);
		return;
	}
	g_autofree char *item = g_strdup_printf("{%s: \"%s\", keys: [%s], threshold: 1}",
						release ? "refs" : "services", pattern, key->name);
	/* Before whatever would decide in its place. */
	add_to_list(patch, root, section, find_decisive(rules, pattern), item);
}

/* Whether the rule for @pattern names the key in the text that came out. */
static bool is_added(const DnTrustPolicy *policy, const DnTrustedKey *key, const char *pattern)
{
	const DnTrustedKey *added = dn_trust_policy_find_key(policy, key->name);
	const GPtrArray *rules = key->role == DN_KEY_RELEASE ? policy->images : policy->services;

	if (added == NULL || added->role != key->role ||
	    memcmp(added->key, key->key, DN_PUBLIC_KEY_BYTES) != 0)
		return false;
	if (key->role != DN_KEY_RELEASE && key->role != DN_KEY_DEPLOY)
		return true;
	guint found = find_rule(rules, pattern);
	if (found == G_MAXUINT)
		return false;
	const DnTrustRule *rule = g_ptr_array_index(rules, found);
	return g_strv_contains((const char *const *)rule->keys, key->name);
}

/* The pattern of a rule before that for @pattern that decides in its place, or NULL. */
static const char *hidden_by(const DnTrustPolicy *policy, const DnTrustedKey *key,
			     const char *pattern)
{
	const GPtrArray *rules = key->role == DN_KEY_RELEASE ? policy->images : policy->services;

	if (key->role != DN_KEY_RELEASE && key->role != DN_KEY_DEPLOY)
		return NULL;
	guint decisive = find_decisive(rules, pattern);
	if (decisive == G_MAXUINT || decisive == find_rule(rules, pattern))
		return NULL;
	const DnTrustRule *rule = g_ptr_array_index(rules, decisive);
	return rule->pattern;
}

GBytes *dn_trust_file_add_key(GBytes *old, const char *name, const DnTrustedKey *key,
			      const char *pattern, GError **error)
{
	g_autoptr(DnTrustPolicy) before = dn_trust_file_parse(old, name, error);

	if (pattern == NULL)
		pattern = "*";
	if (before == NULL || !check_addition(before, key, pattern, name, error))
		return NULL;
	g_autoptr(DnFaults) faults = dn_faults_new(name);
	g_autoptr(DnYamlNode) root = dn_yaml_load(old, faults);
	g_autoptr(DnPatch) patch = dn_patch_new(old);
	g_autofree char *encoded = g_base64_encode(key->key, DN_PUBLIC_KEY_BYTES);
	g_autofree char *item = g_strdup_printf("{name: %s, role: %s, key: \"%s\"}", key->name,
						dn_key_role_name(key->role), encoded);
	add_to_list(patch, root, "keys", G_MAXUINT, item);
	if (key->role == DN_KEY_RELEASE)
		add_to_rule(patch, root, before->images, key, pattern);
	else if (key->role == DN_KEY_DEPLOY)
		add_to_rule(patch, root, before->services, key, pattern);

	g_autoptr(GBytes) text = dn_patch_apply(patch);
	g_autoptr(DnTrustPolicy) after = dn_trust_file_parse(text, name, error);
	if (after == NULL) {
		g_prefix_error(error, "with the key added: ");
		return NULL;
	}
	const char *hidden = hidden_by(after, key, pattern);
	if (hidden != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s: the rule for \"%s\" comes before the one for \"%s\" and decides "
			    "in its "
			    "place; move it down by hand first",
			    name, hidden, pattern);
		return NULL;
	}
	if (!is_added(after, key, pattern)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: written in a way that cannot be edited; add the key by hand",
			    name);
		return NULL;
	}
	return g_steal_pointer(&text);
}
