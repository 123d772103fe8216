/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/trust.h"

#include <string.h>

#include "base/text.h"
#include "seal/keys.h"
#include "seal/minisign.h"

/* Has @key made @signature over @document? Both are of the kind that the case is about. */
typedef bool (*SignedBy)(const void *signature, const void *document,
			 const uint8_t key[static DN_PUBLIC_KEY_BYTES]);

typedef struct {
	const DnTrustPolicy *policy; /* borrowed from the caller */
	const char *what;            /* borrowed; "manifest of service web" */
	const char *scope;           /* borrowed; "service web" */
	DnKeyRole role;
	const char *const *names; /* borrowed from a rule; NULL: every key of the role */
	uint32_t threshold;
	SignedBy signed_by;
	const void *document;  /* borrowed */
	GPtrArray *signatures; /* borrowed; of what signed_by takes */
} Case;

bool dn_trust_check_keys(const DnTrustPolicy *policy, const char *file, GError **error)
{
	for (guint i = 0; i < policy->keys->len; i++) {
		const DnTrustedKey *key = g_ptr_array_index(policy->keys, i);

		if (dn_public_key_is_sound(key->key))
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: the key of \"%s\" is no point that can verify, and belongs to "
			    "nobody; put the right one there or take it away",
			    file, key->name);
		return false;
	}
	return true;
}

static const DnTrustRule *find_rule(const GPtrArray *rules, const char *word)
{
	for (guint i = 0; i < rules->len; i++) {
		const DnTrustRule *rule = g_ptr_array_index(rules, i);

		if (dn_trust_pattern_matches(rule->pattern, word))
			return rule;
	}
	return NULL;
}

const DnTrustRule *dn_trust_rule_for_image(const DnTrustPolicy *policy, const char *ref)
{
	return find_rule(policy->images, ref);
}

const DnTrustRule *dn_trust_rule_for_service(const DnTrustPolicy *policy, const char *service)
{
	return find_rule(policy->services, service);
}

static bool is_same_key(const DnTrustedKey *a, const DnTrustedKey *b)
{
	return memcmp(a->key, b->key, DN_PUBLIC_KEY_BYTES) == 0;
}

static bool is_allowed(const Case *self, const DnTrustedKey *key)
{
	return key->role == self->role &&
	       (self->names == NULL || g_strv_contains(self->names, key->name));
}

/* The keys whose signature counts, each once whatever its names. Borrowed from the policy. */
static GPtrArray *allowed_keys(const Case *self)
{
	GPtrArray *allowed = g_ptr_array_new();

	for (guint i = 0; i < self->policy->keys->len; i++) {
		DnTrustedKey *key = g_ptr_array_index(self->policy->keys, i);
		bool is_new = is_allowed(self, key);

		for (guint j = 0; is_new && j < allowed->len; j++)
			is_new = !is_same_key(key, g_ptr_array_index(allowed, j));
		if (is_new)
			g_ptr_array_add(allowed, key);
	}
	return allowed;
}

static bool anybody_signed(const Case *self, const DnTrustedKey *key)
{
	for (guint i = 0; i < self->signatures->len; i++)
		if (self->signed_by(g_ptr_array_index(self->signatures, i), self->document,
				    key->key))
			return true;
	return false;
}

/* Why nothing more counts, in words for the person who signed. */
static char *explain(const Case *self)
{
	if (self->signatures->len == 0)
		return g_strdup("it carries no signature");
	for (guint i = 0; i < self->policy->keys->len; i++) {
		const DnTrustedKey *key = g_ptr_array_index(self->policy->keys, i);

		if (!is_allowed(self, key) && anybody_signed(self, key))
			return g_strdup_printf("no signature by a key allowed for %s; key %s (%s), "
					       "which signed it, is not",
					       self->scope, key->name, dn_key_role_name(key->role));
	}
	return g_strdup_printf("no signature by a key allowed for %s fits these bytes",
			       self->scope);
}

static bool judge(const Case *self, GError **error)
{
	g_autoptr(GPtrArray) allowed = allowed_keys(self);
	/* A rule that asks for nothing must not let everything in. */
	uint32_t needed = MAX(self->threshold, 1);
	uint32_t found = 0;

	if (self->signatures->len > DN_SIGNATURES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "%s: %u signatures, at most %d",
			    self->what, self->signatures->len, DN_SIGNATURES_LIMIT);
		return false;
	}
	for (guint i = 0; i < allowed->len && found < needed; i++)
		found += anybody_signed(self, g_ptr_array_index(allowed, i));
	if (found >= needed)
		return true;

	g_autofree char *why =
		found > 0 ? g_strdup("more distinct keys have to sign") : explain(self);
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "%s: %u of %u signatures: %s", self->what,
		    found, needed, why);
	return false;
}

static bool refuse_without_rule(const char *what, const char *scope, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "%s: no rule of the trust file is for %s",
		    what, scope);
	return false;
}

static bool minisig_signed_by(const void *signature, const void *document,
			      const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	return dn_minisig_is_by(signature, document, key);
}

static bool raw_signed_by(const void *signature, const void *document,
			  const uint8_t key[static DN_PUBLIC_KEY_BYTES])
{
	GBytes *bytes = (GBytes *)document;

	return dn_public_key_has_signed(key, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
					g_bytes_get_data((GBytes *)signature, NULL));
}

static void free_minisig(gpointer minisig)
{
	dn_minisig_free(minisig);
}

/* Parse every file of @signatures; all must carry the same trusted comment. */
static GPtrArray *parse_signatures(GPtrArray *signatures, const char *what, GError **error)
{
	g_autoptr(GPtrArray) parsed = g_ptr_array_new_with_free_func(free_minisig);

	if (signatures->len > DN_SIGNATURES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "%s: %u signatures, at most %d",
			    what, signatures->len, DN_SIGNATURES_LIMIT);
		return NULL;
	}
	for (guint i = 0; i < signatures->len; i++) {
		DnMinisig *minisig = dn_minisig_parse(g_ptr_array_index(signatures, i), error);

		if (minisig == NULL) {
			g_prefix_error(error, "%s: ", what);
			return NULL;
		}
		g_ptr_array_add(parsed, minisig);
	}
	for (guint i = 1; i < parsed->len; i++) {
		const char *first = dn_minisig_comment(g_ptr_array_index(parsed, 0));
		const char *other = dn_minisig_comment(g_ptr_array_index(parsed, i));

		if (!g_str_equal(first, other)) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
				    "%s: its signatures disagree: '%s' and '%s'", what, first,
				    other);
			return NULL;
		}
	}
	return g_steal_pointer(&parsed);
}

char *dn_trust_manifest_comment(const char *service, uint64_t epoch)
{
	return g_strdup_printf("dnode manifest %s %" G_GUINT64_FORMAT, service, epoch);
}

/* comment = "dnode manifest " service " " epoch, the epoch in its shortest form */
static bool parse_comment(const char *comment, char **service, uint64_t *epoch)
{
	g_auto(GStrv) words = g_strsplit(comment, " ", 5);

	if (g_strv_length(words) != 4 || !dn_text_is_name(words[2]) ||
	    !dn_text_parse_u64(words[3], DN_EPOCH_LIMIT, epoch) || *epoch == 0)
		return false;
	g_autofree char *again = dn_trust_manifest_comment(words[2], *epoch);
	if (!g_str_equal(again, comment))
		return false;
	*service = g_strdup(words[2]);
	return true;
}

static bool check_minimum(const DnTrustPolicy *policy, const char *service, uint64_t epoch,
			  GError **error)
{
	const uint64_t *minimum = g_hash_table_lookup(policy->minimum_epochs, service);

	if (minimum == NULL || epoch >= *minimum)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "manifest of service %s: epoch %" G_GUINT64_FORMAT
		    " is below %" G_GUINT64_FORMAT ", the least the trust file allows",
		    service, epoch, *minimum);
	return false;
}

static bool judge_manifest(const DnTrustPolicy *policy, const char *service, GBytes *bytes,
			   GPtrArray *parsed, GError **error)
{
	const DnTrustRule *rule = dn_trust_rule_for_service(policy, service);
	g_autofree char *what = g_strdup_printf("manifest of service %s", service);
	g_autofree char *scope = g_strdup_printf("service %s", service);
	uint8_t hash[DN_MINISIGN_HASH_BYTES];

	if (rule == NULL)
		return refuse_without_rule(what, scope, error);
	dn_minisign_hash(bytes, hash);
	const Case manifest = {
		.policy = policy,
		.what = what,
		.scope = scope,
		.role = DN_KEY_DEPLOY,
		.names = (const char *const *)rule->keys,
		.threshold = rule->threshold,
		.signed_by = minisig_signed_by,
		.document = hash,
		.signatures = parsed,
	};
	return judge(&manifest, error);
}

bool dn_trust_verify_manifest(const DnTrustPolicy *policy, GBytes *bytes, GPtrArray *signatures,
			      char **service, uint64_t *epoch, GError **error)
{
	g_autofree char *claimed = NULL;
	uint64_t claimed_epoch = 0;

	if (g_bytes_get_size(bytes) > DN_MANIFEST_BYTES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "manifest: %zu bytes, at most %d are read", g_bytes_get_size(bytes),
			    DN_MANIFEST_BYTES_LIMIT);
		return false;
	}
	g_autoptr(GPtrArray) parsed = parse_signatures(signatures, "manifest", error);
	if (parsed == NULL)
		return false;
	if (parsed->len == 0) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_UNTRUSTED,
			"manifest: it carries no signature: sign it with 'dnode manifest sign'");
		return false;
	}
	const char *comment = dn_minisig_comment(g_ptr_array_index(parsed, 0));
	if (!parse_comment(comment, &claimed, &claimed_epoch)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "manifest: the trusted comment is '%s', not 'dnode manifest SERVICE "
			    "EPOCH': sign it with 'dnode manifest sign'",
			    comment);
		return false;
	}
	if (!judge_manifest(policy, claimed, bytes, parsed, error) ||
	    !check_minimum(policy, claimed, claimed_epoch, error))
		return false;
	*service = g_steal_pointer(&claimed);
	*epoch = claimed_epoch;
	return true;
}

bool dn_trust_check_manifest(const DnTrustPolicy *policy, const char *service, GBytes *bytes,
			     GPtrArray *signatures, uint64_t epoch, GError **error)
{
	g_autofree char *signed_service = NULL;
	uint64_t signed_epoch = 0;

	if (!dn_trust_verify_manifest(policy, bytes, signatures, &signed_service, &signed_epoch,
				      error))
		return false;
	if (g_str_equal(signed_service, service) && (epoch == 0 || epoch == signed_epoch))
		return true;
	g_autofree char *expected = epoch != 0 ? dn_trust_manifest_comment(service, epoch)
					       : g_strdup_printf("dnode manifest %s", service);
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "manifest of service %s: signed as 'dnode manifest %s %" G_GUINT64_FORMAT
		    "', expected '%s'",
		    service, signed_service, signed_epoch, expected);
	return false;
}

bool dn_trust_check_image(const DnTrustPolicy *policy, const char *ref, GBytes *commit_bytes,
			  GPtrArray *signatures, GError **error)
{
	const DnTrustRule *rule = dn_trust_rule_for_image(policy, ref);
	g_autofree char *what = g_strdup_printf("image %s", ref);

	if (rule == NULL)
		return refuse_without_rule(what, what, error);
	for (guint i = 0; i < signatures->len; i++)
		if (g_bytes_get_size(g_ptr_array_index(signatures, i)) != DN_SIGNATURE_BYTES) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "%s: signature %u is not 64 bytes long", what, i + 1);
			return false;
		}
	const Case image = {
		.policy = policy,
		.what = what,
		.scope = what,
		.role = DN_KEY_RELEASE,
		.names = (const char *const *)rule->keys,
		.threshold = rule->threshold,
		.signed_by = raw_signed_by,
		.document = commit_bytes,
		.signatures = signatures,
	};
	return judge(&image, error);
}

bool dn_trust_check_statement(const DnTrustPolicy *policy, GBytes *statement, GPtrArray *signatures,
			      const char *comment, GError **error)
{
	uint8_t hash[DN_MINISIGN_HASH_BYTES];
	g_autofree char *what = g_strdup_printf("statement '%s'", comment);
	g_autoptr(GPtrArray) parsed = parse_signatures(signatures, what, error);

	if (parsed == NULL)
		return false;
	if (parsed->len > 0) {
		const char *found = dn_minisig_comment(g_ptr_array_index(parsed, 0));

		if (!g_str_equal(found, comment)) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "%s: signed as '%s'", what,
				    found);
			return false;
		}
	}
	dn_minisign_hash(statement, hash);
	const Case responders = {
		.policy = policy,
		.what = what,
		.scope = "the destruction of evidence",
		.role = DN_KEY_RESPONDER,
		.threshold = policy->responders,
		.signed_by = minisig_signed_by,
		.document = hash,
		.signatures = parsed,
	};
	return judge(&responders, error);
}
