/* SPDX-License-Identifier: Apache-2.0 */
#include "model/trust.h"

#include <string.h>

static const char *const role_names[] = {
	[DN_KEY_RELEASE] = "release",
	[DN_KEY_DEPLOY] = "deploy",
	[DN_KEY_RESPONDER] = "responder",
	[DN_KEY_PERSON] = "person",
};
_Static_assert(G_N_ELEMENTS(role_names) == DN_KEY_N_ROLES, "every role needs a name");

const char *dn_key_role_name(DnKeyRole role)
{
	g_assert(role < DN_KEY_N_ROLES);
	return role_names[role];
}

bool dn_key_role_parse(const char *name, DnKeyRole *role)
{
	for (unsigned i = 0; i < DN_KEY_N_ROLES; i++)
		if (g_str_equal(role_names[i], name)) {
			*role = (DnKeyRole)i;
			return true;
		}
	return false;
}

void dn_trusted_key_free(DnTrustedKey *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	g_free(self);
}

void dn_trust_rule_free(DnTrustRule *self)
{
	if (self == NULL)
		return;
	g_free(self->pattern);
	g_strfreev(self->keys);
	g_free(self);
}

static void free_key(gpointer key)
{
	dn_trusted_key_free(key);
}

static void free_rule(gpointer rule)
{
	dn_trust_rule_free(rule);
}

DnTrustPolicy *dn_trust_policy_new(void)
{
	DnTrustPolicy *self = g_new0(DnTrustPolicy, 1);

	self->keys = g_ptr_array_new_with_free_func(free_key);
	self->images = g_ptr_array_new_with_free_func(free_rule);
	self->services = g_ptr_array_new_with_free_func(free_rule);
	self->responders = 1;
	self->minimum_epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return self;
}

void dn_trust_policy_free(DnTrustPolicy *self)
{
	if (self == NULL)
		return;
	g_free(self->cluster);
	g_ptr_array_unref(self->keys);
	g_ptr_array_unref(self->images);
	g_ptr_array_unref(self->services);
	g_hash_table_unref(self->minimum_epochs);
	g_free(self);
}

const DnTrustedKey *dn_trust_policy_find_key(const DnTrustPolicy *self, const char *name)
{
	for (guint i = 0; i < self->keys->len; i++) {
		const DnTrustedKey *key = g_ptr_array_index(self->keys, i);

		if (g_str_equal(key->name, name))
			return key;
	}
	return NULL;
}

bool dn_trust_pattern_matches(const char *pattern, const char *word)
{
	const char *retry_pattern = NULL, *retry_word = NULL;

	/* Refs have as many parts as people like: there must be a way to say all of them. */
	if (strcmp(pattern, "*") == 0)
		return true;
	/* One star is remembered, the last: giving an earlier one more can never help. */
	while (*word != '\0') {
		if (*pattern == '*') {
			retry_pattern = ++pattern;
			retry_word = word;
		} else if (*pattern == *word || (*pattern == '?' && *word != '/')) {
			pattern++;
			word++;
		} else if (retry_pattern != NULL && *retry_word != '/') {
			pattern = retry_pattern;
			word = ++retry_word;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}
