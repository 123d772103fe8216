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

/* A key that is being made, under the lock of its home. */
typedef struct {
	DnCall *call;        /* borrowed */
	DnTrustedKey *key;   /* borrowed */
	DnSecretKey *secret; /* owned */
	char *home;          /* owned */
	char *stem;          /* owned; HOME/keys/NAME, of NAME.key and NAME.pub */
	char *mark;          /* owned; NAME.begun: there until all of it is done */
	bool resumed;        /* one that was killed had begun it */
	bool trusted;        /* there is a trust file, which takes it */
} Making;

static void making_clear(Making *self)
{
	dn_secret_key_free(self->secret);
	g_free(self->home);
	g_free(self->stem);
	g_free(self->mark);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Making, making_clear)

/*
 * A new key, or the one that was begun. Only the mark tells: a key that is there without it may be
 * one that somebody took out of the trust file, and is not to be trusted again.
 */
static bool take_secret(Making *self, GError **error)
{
	g_autofree char *path = g_strconcat(self->stem, ".key", NULL);
	bool there = access(path, F_OK) == 0;

	self->resumed = there && access(self->mark, F_OK) == 0;
	if (there && !self->resumed) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s exists already and is not overwritten: choose another name", path);
		return false;
	}
	self->secret = there ? dn_secret_key_load(path, error) : dn_secret_key_generate();
	if (self->secret != NULL)
		dn_secret_key_public(self->secret, self->key->key);
	return self->secret != NULL;
}

static bool save_pair(const Making *self, GError **error)
{
	g_autofree char *public = g_strconcat(self->stem, ".pub", NULL);
	g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);

	if (self->resumed)
		return access(public, F_OK) == 0 ||
		       dn_secret_key_save_public(self->secret, public, error);
	if (!dn_file_replace(self->mark, nothing, 0600, error))
		return false;
	if (dn_secret_key_save_pair(self->secret, self->stem, error))
		return true;
	(void)unlink(self->mark);
	return false;
}

/* Of one that was killed at its very end. */
static bool is_trusted_already(const Making *self, GBytes *file, const char *path)
{
	g_autoptr(DnTrustPolicy) policy = dn_home_parse_trust(file, path, NULL);
	const DnTrustedKey *known =
		policy != NULL ? dn_trust_policy_find_key(policy, self->key->name) : NULL;

	return self->resumed && known != NULL && known->role == self->key->role &&
	       memcmp(known->key, self->key->key, DN_PUBLIC_KEY_BYTES) == 0;
}

/* The text of the trust file @path with the key. */
static GBytes *trust_with(const Making *self, const char *path, GError **error)
{
	const char *pattern = dn_call_option(self->call, "for");
	g_autoptr(GBytes) old = dn_file_read(path, DN_HOME_FILE_LIMIT, error);

	if (old == NULL || is_trusted_already(self, old, path))
		return g_steal_pointer(&old);
	g_autoptr(GBytes) text = dn_trust_file_add_key(old, path, self->key, pattern, error);
	g_autoptr(DnTrustPolicy) policy =
		text != NULL ? dn_home_parse_trust(text, path, error) : NULL;
	return policy != NULL ? g_steal_pointer(&text) : NULL;
}

/* Write the pair, and add the public key to HOME/trust.yaml, when there is one. */
static bool save(Making *self, GError **error)
{
	g_autofree char *path = g_build_filename(self->home, "trust.yaml", NULL);
	g_autoptr(GBytes) text = NULL;

	self->trusted = access(path, F_OK) == 0;
	/* What the trust file cannot take leaves no key behind, whose name would be gone. */
	if (self->trusted && (text = trust_with(self, path, error)) == NULL)
		return false;
	if (!save_pair(self, error))
		return false;
	if (self->trusted && !dn_file_replace(path, text, 0644, error)) {
		g_prefix_error(error, "%s.key is made, but not trusted; try again: ", self->stem);
		return false;
	}
	return dn_file_remove(self->mark, error);
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
			       "a supervisor that runs believes it once it is started anew; hosts "
			       "that are enrolled keep the trust file they got");
}

static bool generate(DnCall *call, DnTrustedKey *key, GError **error)
{
	g_auto(Making) making = {.call = call, .key = key, .home = dn_call_home(call, error)};
	g_autofree char *keys =
		making.home != NULL ? g_build_filename(making.home, "keys", NULL) : NULL;

	if (keys == NULL || !dn_file_make_directory(keys, 0700, error))
		return false;
	dn_autofd int lock = dn_home_lock(making.home, error);
	if (lock < 0)
		return false;
	/* Nobody else writes there while the lock is held. */
	dn_file_sweep(keys);
	making.stem = g_build_filename(keys, key->name, NULL);
	making.mark = g_strconcat(making.stem, ".begun", NULL);
	if (!take_secret(&making, error) || !save(&making, error))
		return false;
	if (making.resumed)
		dn_output_note(call->output,
			       "%s.key was made by a command that was killed; it is finished now",
			       making.stem);
	report(call, key, making.stem, making.trusted);
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
		"responder key the destruction of quarantined nodes. The supervisor reads that "
		"file\n"
		"when it starts; hosts that are enrolled keep the one they got.",
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
