/* SPDX-License-Identifier: Apache-2.0 */
#include "output/table.h"
#include "seal/digest.h"
#include "verbs/all.h"
#include "verbs/home.h"
#include "verbs/named.h"

#include "base/file.h"

static DnTrustPolicy *load(DnCall *call, char **path, GError **error)
{
	const char *named = dn_call_operand(call, 0);

	if (named == NULL)
		return dn_home_trust(call, path, error);
	g_autoptr(GBytes) bytes = dn_named_read(named, DN_HOME_FILE_LIMIT, error);
	*path = g_strdup(named);
	return bytes != NULL ? dn_home_parse_trust(bytes, named, error) : NULL;
}

static void show_keys(DnOutput *output, const DnTrustPolicy *policy)
{
	static const char *const titles[] = {"KEY", "ROLE", "FINGERPRINT", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < policy->keys->len; i++) {
		const DnTrustedKey *key = policy->keys->pdata[i];
		g_autofree char *fingerprint = dn_public_key_fingerprint(key->key);
		dn_table_add(table, key->name);
		dn_table_add(table, dn_key_role_name(key->role));
		dn_table_add(table, fingerprint);
	}
	dn_output_table(output, table, "keys");
}

static void show_rules(DnOutput *output, const DnTrustPolicy *policy)
{
	static const char *const titles[] = {"WHAT", "PATTERN", "NEEDS", "KEYS", NULL};
	const struct {
		const char *what;
		const GPtrArray *rules;
	} lists[] = {{"images", policy->images}, {"services", policy->services}};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned l = 0; l < G_N_ELEMENTS(lists); l++)
		for (unsigned i = 0; i < lists[l].rules->len; i++) {
			const DnTrustRule *rule = lists[l].rules->pdata[i];
			g_autofree char *keys = g_strjoinv(", ", rule->keys);
			dn_table_add(table, lists[l].what);
			dn_table_add(table, rule->pattern);
			dn_table_add_format(table, "%u", rule->threshold);
			dn_table_add(table, keys);
		}
	dn_output_line(output, "%s", "");
	dn_output_table(output, table, "rules");
}

static JsonArray *rules_to_json(const GPtrArray *rules)
{
	JsonArray *array = json_array_new();

	for (unsigned i = 0; i < rules->len; i++) {
		const DnTrustRule *rule = rules->pdata[i];
		JsonObject *object = json_object_new();
		JsonArray *keys = json_array_new();
		for (unsigned k = 0; rule->keys[k] != NULL; k++)
			json_array_add_string_element(keys, rule->keys[k]);
		json_object_set_string_member(object, "pattern", rule->pattern);
		json_object_set_int_member(object, "threshold", rule->threshold);
		json_object_set_array_member(object, "keys", keys);
		json_array_add_object_element(array, object);
	}
	return array;
}

static JsonObject *to_json(const DnTrustPolicy *policy, const char *path)
{
	JsonObject *document = dn_json_document(), *trust = json_object_new();
	JsonArray *keys = json_array_new();

	for (unsigned i = 0; i < policy->keys->len; i++) {
		const DnTrustedKey *key = policy->keys->pdata[i];
		g_autofree char *text = dn_public_key_text(key->key);
		g_autofree char *fingerprint = dn_public_key_fingerprint(key->key);
		JsonObject *object = json_object_new();
		json_object_set_string_member(object, "name", key->name);
		json_object_set_string_member(object, "role", dn_key_role_name(key->role));
		json_object_set_string_member(object, "public", text);
		json_object_set_string_member(object, "fingerprint", fingerprint);
		json_array_add_object_element(keys, object);
	}
	json_object_set_string_member(trust, "file", path);
	json_object_set_string_member(trust, "cluster", policy->cluster);
	json_object_set_array_member(trust, "keys", keys);
	json_object_set_array_member(trust, "images", rules_to_json(policy->images));
	json_object_set_array_member(trust, "services", rules_to_json(policy->services));
	json_object_set_int_member(trust, "responders", policy->responders);
	json_object_set_object_member(document, "trust", trust);
	return document;
}

static bool run_show(DnCall *call, GError **error)
{
	g_autofree char *path = NULL;
	g_autoptr(DnTrustPolicy) policy = load(call, &path, error);

	if (policy == NULL)
		return false;
	if (call->json) {
		g_autoptr(JsonObject) document = to_json(policy, path);
		dn_output_json(call->output, document);
		return true;
	}
	dn_output_line(call->output, "%s of cluster %s", path, policy->cluster);
	show_keys(call->output, policy);
	show_rules(call->output, policy);
	dn_output_line(call->output, "a destruction takes %u responder key%s", policy->responders,
		       policy->responders == 1 ? "" : "s");
	return true;
}

const DnVerb dn_verb_trust_show = {
	.noun = "trust",
	.verb = "show",
	.operands = "[FILE]",
	.most = 1,
	.help = "which keys may sign what",
	.run = run_show,
};

static unsigned count_role(const DnTrustPolicy *policy, DnKeyRole role)
{
	unsigned n = 0;

	for (unsigned i = 0; i < policy->keys->len; i++)
		n += ((const DnTrustedKey *)policy->keys->pdata[i])->role == role;
	return n;
}

/* A file that parses can still trust nobody: that is worth a word, not an error. */
static bool run_check(DnCall *call, GError **error)
{
	static const struct {
		DnKeyRole role;
		const char *consequence;
	} roles[] = {
		{DN_KEY_RELEASE, "no release key: no image can be started"},
		{DN_KEY_DEPLOY, "no deploy key: no manifest can be applied"},
		{DN_KEY_RESPONDER, "no responder key: no quarantined node can be destroyed"},
	};
	g_autofree char *path = NULL;
	g_autoptr(DnTrustPolicy) policy = load(call, &path, error);

	if (policy == NULL)
		return false;
	g_autoptr(GBytes) bytes = dn_file_read(path, DN_HOME_FILE_LIMIT, error);
	if (bytes == NULL)
		return false;
	g_autofree char *digest = dn_digest_bytes(bytes);
	for (unsigned i = 0; i < G_N_ELEMENTS(roles); i++)
		if (count_role(policy, roles[i].role) == 0)
			dn_output_note(call->output, "%s: %s", path, roles[i].consequence);
	if (policy->responders > count_role(policy, DN_KEY_RESPONDER))
		dn_output_note(call->output,
			       "%s: a destruction takes %u responder keys, but there are %u", path,
			       policy->responders, count_role(policy, DN_KEY_RESPONDER));
	if (call->json) {
		g_autoptr(JsonObject) document = to_json(policy, path);
		dn_output_json(call->output, document);
		return true;
	}
	dn_output_line(call->output, "%s is well formed, digest %s", path, digest);
	return true;
}

const DnVerb dn_verb_trust_check = {
	.noun = "trust",
	.verb = "check",
	.operands = "[FILE]",
	.most = 1,
	.help = "whether a trust file is well formed, and what it leaves out",
	.run = run_check,
};
