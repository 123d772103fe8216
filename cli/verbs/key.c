/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "manifest/trust-file.h"
#include "output/table.h"
#include "verbs/all.h"
#include "verbs/home.h"
#include "verbs/named.h"

static bool needs_pattern(DnKeyRole role)
{
	return role == DN_KEY_RELEASE || role == DN_KEY_DEPLOY;
}

/* Write the pair, and add the public key to HOME/trust.yaml, when there is one. */
static bool save(DnCall *call, const DnTrustedKey *key, const DnSecretKey *secret, const char *stem,
		 bool *trusted, GError **error)
{
	const char *pattern = dn_call_option(call, "for");
	g_autofree char *home = dn_call_home(call, error);
	dn_autofd int lock = home != NULL ? dn_home_lock(home, error) : -1;

	if (lock < 0)
		return false;
	g_autofree char *path = g_build_filename(home, "trust.yaml", NULL);
	*trusted = access(path, F_OK) == 0;
	if (!*trusted)
		return dn_secret_key_save_pair(secret, stem, error);
	/* What the trust file cannot take leaves no key behind, whose name would be gone. */
	g_autoptr(GBytes) old = dn_file_read(path, DN_HOME_FILE_LIMIT, error);
	g_autoptr(GBytes) text =
		old != NULL ? dn_trust_file_add_key(old, path, key, pattern, error) : NULL;
	g_autoptr(DnTrustPolicy) policy =
		text != NULL ? dn_home_parse_trust(text, path, error) : NULL;
	if (policy == NULL || !dn_secret_key_save_pair(secret, stem, error))
		return false;
	if (dn_file_replace(path, text, 0644, error))
		return true;
	g_prefix_error(error, "%s.key is made, but not trusted: ", stem);
	return false;
}

static void report(DnCall *call, const DnTrustedKey *key, const char *stem, bool trusted)
{
	const char *pattern = dn_call_option(call, "for");
	g_autofree char *fingerprint = dn_public_key_fingerprint(key->key);
	g_autofree char *text = dn_public_key_text(key->key);
	g_autofree char *file = g_strconcat(stem, ".key", NULL);

	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();
		JsonObject *object = json_object_new();
		json_object_set_string_member(object, "name", key->name);
		json_object_set_string_member(object, "role", dn_key_role_name(key->role));
		json_object_set_string_member(object, "public", text);
		json_object_set_string_member(object, "fingerprint", fingerprint);
		json_object_set_string_member(object, "file", file);
		json_object_set_boolean_member(object, "trusted", trusted);
		json_object_set_object_member(document, "key", object);
		dn_output_json(call->output, document);
		return;
	}
	dn_output_line(call->output, "key %s (%s) in %s", key->name, dn_key_role_name(key->role),
		       file);
	dn_output_line(call->output, "public %s", text);
	dn_output_line(call->output, "fingerprint %s", fingerprint);
	if (!trusted)
		dn_output_note(call->output, "no trust.yaml beside it: nobody trusts this key yet");
	else if (needs_pattern(key->role))
		dn_output_line(call->output, "added to trust.yaml for %s '%s'",
			       key->role == DN_KEY_RELEASE ? "images" : "services",
			       pattern != NULL ? pattern : "*");
	else
		dn_output_line(call->output, "added to trust.yaml");
	if (trusted)
		dn_output_note(call->output,
			       "hosts that are enrolled keep the trust file they got");
}

static bool generate(DnCall *call, DnTrustedKey *key, GError **error)
{
	g_autofree char *keys = dn_home_path(call, "keys", error);

	if (keys == NULL || !dn_file_make_directory(keys, 0700, error))
		return false;
	g_autofree char *stem = g_build_filename(keys, key->name, NULL);
	g_autoptr(DnSecretKey) secret = dn_secret_key_generate();
	bool trusted = false;
	dn_secret_key_public(secret, key->key);
	if (!save(call, key, secret, stem, &trusted, error))
		return false;
	report(call, key, stem, trusted);
	return true;
}

static bool run_gen(DnCall *call, GError **error)
{
	const char *role = dn_call_need(call, "role", error);
	DnTrustedKey key = {.name = (char *)dn_call_operand(call, 0)};

	if (role == NULL)
		return false;
	if (!dn_text_is_name(key.name)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "'%s' cannot name a key: 1 to 40 of a-z, 0-9 and '-', beginning with a "
			    "letter",
			    key.name);
		return false;
	}
	if (!dn_key_role_parse(role, &key.role)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unknown role '%s': one of release, deploy, responder, person", role);
		return false;
	}
	if (dn_call_has(call, "for") && !needs_pattern(key.role)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "--for is for release keys (image refs) and deploy keys (services)");
		return false;
	}
	return generate(call, &key, error);
}

const DnVerb dn_verb_key_gen = {
	.noun = "key",
	.verb = "gen",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.help = "a new signing key in the cluster directory's keys/",
	.more = "The secret half is readable by its owner only and never printed. The public half\n"
		"is added to trust.yaml: a release key signs images, a deploy key manifests, a\n"
		"responder key the destruction of quarantined nodes.",
	.options = {{"role", "ROLE", "release, deploy, responder or person"},
		    {"for", "PATTERN", "the image refs or services it may sign ('*')"}},
	.run = run_gen,
};

/* The public file that @name means: a name in HOME/keys, else a path. */
static char *public_path(DnCall *call, const char *name, GError **error)
{
	if (!dn_text_is_name(name))
		return g_strdup(name);

	g_autofree char *file = g_strdup_printf("keys/%s.pub", name);
	return dn_home_path(call, file, error);
}

static bool run_show(DnCall *call, GError **error)
{
	const char *name = dn_call_operand(call, 0);
	g_autofree char *path = public_path(call, name, error);
	uint8_t key[DN_PUBLIC_KEY_BYTES];

	if (path == NULL || !dn_public_key_load(path, key, error)) {
		dn_named_blame(error, "give a .pub file, or a name in the home's keys");
		return false;
	}
	g_autofree char *fingerprint = dn_public_key_fingerprint(key);
	g_autofree char *text = dn_public_key_text(key);
	if (call->json) {
		g_autoptr(JsonObject) document = dn_json_document();
		JsonObject *object = json_object_new();
		json_object_set_string_member(object, "file", path);
		json_object_set_string_member(object, "public", text);
		json_object_set_string_member(object, "fingerprint", fingerprint);
		json_object_set_object_member(document, "key", object);
		dn_output_json(call->output, document);
		return true;
	}
	dn_output_line(call->output, "public %s", text);
	dn_output_line(call->output, "fingerprint %s", fingerprint);
	return true;
}

const DnVerb dn_verb_key_show = {
	.noun = "key",
	.verb = "show",
	.operands = "NAME|FILE.pub",
	.least = 1,
	.most = 1,
	.help = "the public half of a key and its fingerprint",
	.run = run_show,
};
