/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/submit.h"

#include "manifest/manifest.h"
#include "seal/minisign.h"
#include "seal/trust.h"
#include "verbs/await.h"
#include "wire/records.h"

GBytes *dn_submit_sign(const DnSecretKey *key, GBytes *bytes, const DnManifest *manifest,
		       GError **error)
{
	g_autofree char *comment = dn_trust_manifest_comment(manifest->service, manifest->epoch);

	return dn_minisign_sign(key, bytes, comment, error);
}

static bool sign_all(DnCall *call, GBytes *bytes, const DnManifest *manifest, GPtrArray *list,
		     GError **error)
{
	g_autoptr(GPtrArray) keys = dn_call_keys(call, error);

	for (unsigned i = 0; keys != NULL && i < keys->len; i++) {
		GBytes *made = dn_submit_sign(keys->pdata[i], bytes, manifest, error);

		if (made == NULL)
			return false;
		g_ptr_array_add(list, made);
	}
	return keys != NULL;
}

/*
 * All signatures of a document must say the same, and the file that somebody changes and signs
 * anew often has its last epoch's signature still beside it.
 */
static bool fits(DnCall *call, const char *name, GBytes *signature, const char *comment)
{
	g_autoptr(GError) cause = NULL;
	g_autofree char *found = dn_minisign_peek(signature, &cause);

	if (g_strcmp0(found, comment) == 0)
		return true;
	if (found != NULL)
		dn_output_note(call->output, "%s: left out a signature beside it, of '%s'", name,
			       found);
	else
		dn_output_note(call->output, "%s: left out a signature beside it: %s", name,
			       cause->message);
	return false;
}

/* What is sent: those that came with the file, and one by each --key. */
static GPtrArray *signatures_of(DnCall *call, const DnSubmission *submission,
				const DnManifest *manifest, GError **error)
{
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	g_autofree char *comment = dn_trust_manifest_comment(manifest->service, manifest->epoch);
	const GPtrArray *beside = submission->signatures;
	bool sign = dn_call_has(call, "key");

	if (sign && !sign_all(call, submission->manifest, manifest, list, error))
		return NULL;
	for (unsigned i = 0; beside != NULL && i < beside->len; i++)
		if (!sign || fits(call, submission->name, beside->pdata[i], comment))
			g_ptr_array_add(list, g_bytes_ref(beside->pdata[i]));
	return g_steal_pointer(&list);
}

static void show_changes(DnOutput *output, JsonObject *answer)
{
	JsonArray *changes = dn_answer_array(answer, "changes");
	JsonArray *placement = dn_answer_array(answer, "placement");
	unsigned n = dn_answer_length(changes);

	if (n == 0)
		dn_output_line(output, "nothing changes");
	for (unsigned i = 0; i < n; i++) {
		JsonNode *line = json_array_get_element(changes, i);
		if (json_node_get_value_type(line) == G_TYPE_STRING)
			dn_output_line(output, "  %s", json_node_get_string(line));
	}
	for (unsigned i = 0; i < dn_answer_length(placement); i++) {
		JsonObject *share = dn_answer_at(placement, i);
		dn_output_line(output,
			       "  on %s: %" G_GINT64_FORMAT " running, %" G_GINT64_FORMAT
			       " standby",
			       dn_answer_word(share, "host"), dn_answer_number(share, "running", 0),
			       dn_answer_number(share, "standby", 0));
	}
}

static void show(DnCall *call, const DnManifest *manifest, JsonObject *answer)
{
	bool plan = dn_call_has(call, "plan");

	if (call->json) {
		dn_output_json(call->output, answer);
		return;
	}
	dn_output_line(call->output, "%s epoch %" G_GUINT64_FORMAT "%s", manifest->service,
		       manifest->epoch,
		       plan                                ? ", planned: nothing is changed yet"
		       : dn_answer_bool(answer, "changed") ? " accepted"
							   : " was in force already");
	show_changes(call->output, answer);
}

bool dn_submit(DnCall *call, const DnSubmission *submission, GError **error)
{
	g_autoptr(DnManifest) manifest =
		dn_manifest_parse(submission->manifest, submission->name, error);
	g_autoptr(GPtrArray) signatures =
		manifest != NULL ? signatures_of(call, submission, manifest, error) : NULL;

	if (signatures == NULL)
		return false;
	g_autoptr(JsonObject) body = json_object_new();
	dn_json_set_base64(body, "manifest", submission->manifest);
	dn_record_write_signatures(body, signatures);
	json_object_set_boolean_member(body, "plan", dn_call_has(call, "plan"));
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) answer =
		http != NULL ? dn_http_post(http, "/v1/manifests", body, error) : NULL;
	if (answer == NULL)
		return false;
	bool wait = dn_call_has(call, "wait") && !dn_call_has(call, "plan");
	if (wait && !dn_await_service(call, http, manifest, error))
		return false;
	show(call, manifest, answer);
	return true;
}
