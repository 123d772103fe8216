/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/trust-file.h"

#include <string.h>

#include "base/text.h"
#include "manifest/fields.h"
#include "manifest/patch.h"

enum {
	KEYS_LIMIT = 64,
	RULES_LIMIT = 64,
	EPOCHS_LIMIT = 1000,
	/* A minisign public key: the algorithm "Ed", 8 bytes of key id, then the key. */
	MINISIGN_HEAD = 10,
	MINISIGN_BYTES = MINISIGN_HEAD + DN_PUBLIC_KEY_BYTES,
};

/* One entry of "keys" before its key is decoded. */
typedef struct {
	char *name;
	uint32_t role;
	char *key;
} Entry;

static void entry_clear(Entry *entry)
{
	g_free(entry->name);
	g_free(entry->key);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Entry, entry_clear)

static const char *const versions[] = {"trust/v1", NULL};
/* In the order of DnKeyRole, which a test compares. */
static const char *const roles[] = {"release", "deploy", "responder", "person", NULL};

static const DnField key_fields[] = {
	{"name", DN_FIELD_NAME, DN_FIELD_REQUIRED, DN_MEMBER(Entry, name)},
	{"role", DN_FIELD_WORD, DN_FIELD_REQUIRED, DN_MEMBER(Entry, role), .words = roles},
	{"key", DN_FIELD_TEXT, DN_FIELD_REQUIRED, DN_MEMBER(Entry, key), .max = 64},
	{0},
};

#define RULE_KEYS                                                                                  \
	"keys", DN_FIELD_TEXTS, DN_FIELD_REQUIRED, DN_MEMBER(DnTrustRule, keys),                   \
		.item = DN_FIELD_NAME, .min = 1, .max = KEYS_LIMIT
#define RULE_THRESHOLD                                                                             \
	"threshold", DN_FIELD_UINT, 0, DN_MEMBER(DnTrustRule, threshold),                          \
		.min = 1, .max = KEYS_LIMIT, .fallback = "1"
#define RULE_PATTERN                                                                               \
	DN_FIELD_TEXT, DN_FIELD_REQUIRED, DN_MEMBER(DnTrustRule, pattern), .min = 1, .max = 128

static const DnField image_fields[] = {{"refs", RULE_PATTERN}, {RULE_KEYS}, {RULE_THRESHOLD}, {0}};
static const DnField service_fields[] = {
	{"services", RULE_PATTERN}, {RULE_KEYS}, {RULE_THRESHOLD}, {0}};

static void read_keys(const DnYamlNode *node, void *into, DnFaults *faults);
static void read_images(const DnYamlNode *node, void *into, DnFaults *faults);
static void read_services(const DnYamlNode *node, void *into, DnFaults *faults);
static void read_epochs(const DnYamlNode *node, void *into, DnFaults *faults);

static const DnField trust_fields[] = {
	{"dnode", DN_FIELD_WORD, DN_FIELD_REQUIRED, .words = versions},
	{"cluster", DN_FIELD_HEX, DN_FIELD_REQUIRED, DN_MEMBER(DnTrustPolicy, cluster), .max = 16},
	{"keys", DN_FIELD_OTHER, .check = read_keys},
	{"images", DN_FIELD_OTHER, .check = read_images},
	{"services", DN_FIELD_OTHER, .check = read_services},
	{"responders", DN_FIELD_UINT, 0, DN_MEMBER(DnTrustPolicy, responders), .min = 1,
	 .max = KEYS_LIMIT, .fallback = "1"},
	{"minimum_epochs", DN_FIELD_OTHER, .check = read_epochs},
	{0},
};

/* Strict: the one spelling of exactly these bytes, nothing skipped. */
static bool decode(const char *text, uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	static const uint8_t zero[DN_PUBLIC_KEY_BYTES];
	gsize length = 0;
	g_autofree guchar *bytes = g_base64_decode(text, &length);
	g_autofree char *again = g_base64_encode(bytes, length);
	const guchar *from = bytes;

	if (!g_str_equal(again, text))
		return false;
	if (length == MINISIGN_BYTES && memcmp(bytes, "Ed", 2) == 0)
		from += MINISIGN_HEAD;
	else if (length != DN_PUBLIC_KEY_BYTES)
		return false;
	memcpy(key, from, DN_PUBLIC_KEY_BYTES);
	return memcmp(key, zero, DN_PUBLIC_KEY_BYTES) != 0;
}

/* A second name for the same bytes would let one person count twice. */
static void check_known(const DnTrustPolicy *policy, const DnTrustedKey *key,
			const DnYamlNode *node, DnFaults *faults)
{
	if (dn_trust_policy_find_key(policy, key->name) != NULL)
		dn_faults_add(faults, dn_yaml_get(node, "name")->at,
			      "there are two keys with the name \"%s\"", key->name);
	for (guint i = 0; i < policy->keys->len; i++) {
		const DnTrustedKey *known = g_ptr_array_index(policy->keys, i);

		if (known->role == key->role &&
		    memcmp(known->key, key->key, DN_PUBLIC_KEY_BYTES) == 0)
			dn_faults_add(faults, dn_yaml_get(node, "key")->at,
				      "\"%s\" is the same %s key as \"%s\"", key->name,
				      roles[key->role], known->name);
	}
}

static bool is_list(const DnYamlNode *node, const char *what, guint limit, DnFaults *faults)
{
	if (node->kind == DN_YAML_LIST && node->items->len <= limit)
		return true;
	dn_faults_add(faults, node->at, "\"%s\" must be a list of at most %u maps", what, limit);
	return false;
}

static void read_keys(const DnYamlNode *node, void *into, DnFaults *faults)
{
	DnTrustPolicy *policy = into;

	if (!is_list(node, "keys", KEYS_LIMIT, faults))
		return;
	for (guint i = 0; i < node->items->len; i++) {
		const DnYamlNode *item = g_ptr_array_index(node->items, i);
		unsigned before = dn_faults_count(faults);
		g_auto(Entry) entry = {0};
		DnTrustedKey decoded = {0};

		dn_fields_read(item, key_fields, &entry, faults);
		if (dn_faults_count(faults) != before)
			continue;
		if (!decode(entry.key, decoded.key)) {
			dn_faults_add(faults, dn_yaml_get(item, "key")->at,
				      "\"key\" must be an ed25519 public key: base64 of its 32 "
				      "bytes, or a minisign public key (RW…)");
			continue;
		}
		decoded.name = entry.name;
		decoded.role = (DnKeyRole)entry.role;
		check_known(policy, &decoded, item, faults);
		DnTrustedKey *key = g_new0(DnTrustedKey, 1);
		*key = decoded;
		key->name = g_steal_pointer(&entry.name);
		g_ptr_array_add(policy->keys, key);
	}
}

static void read_rules(const DnYamlNode *node, const DnField *table, GPtrArray *rules,
		       DnFaults *faults)
{
	if (!is_list(node, table == image_fields ? "images" : "services", RULES_LIMIT, faults))
		return;
	for (guint i = 0; i < node->items->len; i++) {
		DnTrustRule *rule = g_new0(DnTrustRule, 1);

		rule->threshold = 1;
		g_ptr_array_add(rules, rule);
		dn_fields_read(g_ptr_array_index(node->items, i), table, rule, faults);
	}
}

static void read_images(const DnYamlNode *node, void *into, DnFaults *faults)
{
	read_rules(node, image_fields, ((DnTrustPolicy *)into)->images, faults);
}

static void read_services(const DnYamlNode *node, void *into, DnFaults *faults)
{
	read_rules(node, service_fields, ((DnTrustPolicy *)into)->services, faults);
}

static void read_epochs(const DnYamlNode *node, void *into, DnFaults *faults)
{
	DnTrustPolicy *policy = into;

	if (node->kind != DN_YAML_MAP || node->keys->len > EPOCHS_LIMIT) {
		dn_faults_add(faults, node->at,
			      "\"minimum_epochs\" must be a map of at most %d services",
			      EPOCHS_LIMIT);
		return;
	}
	for (guint i = 0; i < node->keys->len; i++) {
		const DnYamlNode *name = g_ptr_array_index(node->keys, i);
		DnField field = {name->text, DN_FIELD_UINT, .width = sizeof(uint64_t), .min = 1,
				 .max = (UINT64_C(1) << 53) - 1};
		g_autofree uint64_t *epoch = g_new0(uint64_t, 1);

		if (!dn_text_is_name(name->text)) {
			g_autofree char *quoted = dn_faults_quote(name->text);
			dn_faults_add(faults, name->at, "%s is no name of a service", quoted);
			continue;
		}
		dn_field_read(g_ptr_array_index(node->items, i), &field, epoch, faults);
		g_hash_table_insert(policy->minimum_epochs, g_strdup(name->text),
				    g_steal_pointer(&epoch));
	}
}

/* How many different keys the rule names; faults for those it may not. */
static unsigned check_rule_keys(const DnTrustPolicy *policy, const DnTrustRule *rule,
				DnKeyRole role, const DnYamlNode *names, DnFaults *faults)
{
	unsigned distinct = 0;

	for (size_t i = 0; rule->keys[i] != NULL; i++) {
		const DnTrustedKey *key = dn_trust_policy_find_key(policy, rule->keys[i]);
		const DnYamlNode *node = g_ptr_array_index(names->items, i);

		if (key == NULL)
			dn_faults_add(faults, node->at, "no key has the name \"%s\"",
				      rule->keys[i]);
		else if (key->role != role)
			dn_faults_add(faults, node->at, "\"%s\" is a %s key, a %s key is needed",
				      key->name, roles[key->role], roles[role]);
		else if (g_strv_contains((const char *const *)rule->keys + i + 1, rule->keys[i]))
			dn_faults_add(faults, node->at, "\"%s\" stands here twice", key->name);
		distinct++;
	}
	return distinct;
}

static bool is_pattern(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._/*?-")] == '\0';
}

static void check_rules(const DnTrustPolicy *policy, const GPtrArray *rules, DnKeyRole role,
			const DnYamlNode *list, const char *what, DnFaults *faults)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	for (guint i = 0; i < rules->len; i++) {
		const DnTrustRule *rule = g_ptr_array_index(rules, i);
		const DnYamlNode *node = g_ptr_array_index(list->items, i);
		const DnYamlNode *pattern = dn_yaml_get(node, what);

		if (!is_pattern(rule->pattern))
			dn_faults_add(
				faults, pattern->at,
				"a pattern consists of a-z, 0-9, '.', '_', '-', '/', * and ?");
		else if (!g_hash_table_add(seen, rule->pattern))
			dn_faults_add(
				faults, pattern->at,
				"an earlier rule has this pattern, so this one never decides");
		unsigned keys =
			check_rule_keys(policy, rule, role, dn_yaml_get(node, "keys"), faults);
		if (rule->threshold > keys)
			dn_faults_add(faults, dn_yaml_get(node, "threshold")->at,
				      "\"threshold\" is %u but there are only %u keys",
				      rule->threshold, keys);
	}
}

static void check_responders(const DnTrustPolicy *policy, const DnYamlNode *node, DnFaults *faults)
{
	unsigned keys = 0;

	for (guint i = 0; i < policy->keys->len; i++)
		keys += ((const DnTrustedKey *)g_ptr_array_index(policy->keys, i))->role ==
			DN_KEY_RESPONDER;
	if (node != NULL && policy->responders > MAX(keys, 1))
		dn_faults_add(faults, node->at,
			      "\"responders\" is %u but there are only %u responder keys",
			      policy->responders, keys);
}

DnTrustPolicy *dn_trust_file_parse(GBytes *bytes, const char *name, GError **error)
{
	g_autoptr(DnTrustPolicy) policy = dn_trust_policy_new();
	g_autoptr(DnFaults) faults = dn_faults_new(name);
	g_autoptr(DnYamlNode) root = dn_yaml_load(bytes, faults);

	if (root != NULL)
		dn_fields_read(root, trust_fields, policy, faults);
	/* Keys may stand below the rules that name them; half a policy would give false faults. */
	if (dn_faults_count(faults) == 0) {
		check_rules(policy, policy->images, DN_KEY_RELEASE, dn_yaml_get(root, "images"),
			    "refs", faults);
		check_rules(policy, policy->services, DN_KEY_DEPLOY, dn_yaml_get(root, "services"),
			    "services", faults);
		check_responders(policy, dn_yaml_get(root, "responders"), faults);
	}
	return dn_faults_raise(faults, error) ? g_steal_pointer(&policy) : NULL;
}
