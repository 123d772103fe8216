/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/submit.h"

#include "manifest/manifest.h"
#include "seal/minisign.h"
#include "seal/trust.h"
#include "verbs/await.h"

GBytes *dn_submit_current(DnHttp *http, const char *service, GError **error)
{
	g_autofree char *name = dn_http_escape(service);
	g_autofree char *path = g_strdup_printf("/v1/services/%s/manifest", name);
	g_autoptr(JsonObject) answer = dn_http_get(http, path, error);

	return answer != NULL ? dn_json_base64(answer, "manifest", DN_MANIFEST_BYTES_LIMIT, error)
			      : NULL;
}

GBytes *dn_submit_sign(const DnSecretKey *key, GBytes *bytes, const DnManifest *manifest,
		       GError **error)
{
	g_autofree char *comment = dn_trust_manifest_comment(manifest->service, manifest->epoch);

	return dn_minisign_sign(key, bytes, comment, error);
}

/* The array that is sent: the signature of --key, or those that came with the file. */
static JsonArray *signatures_of(DnCall *call, const DnSubmission *submission,
				const DnManifest *manifest, GError **error)
{
	g_autoptr(JsonArray) array = json_array_new();
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	if (dn_call_has(call, "key")) {
		g_autoptr(DnSecretKey) key = dn_call_key(call, error);
		GBytes *made = key != NULL
				       ? dn_submit_sign(key, submission->manifest, manifest, error)
				       : NULL;
		if (made == NULL)
			return NULL;
		g_ptr_array_add(list, made);
	}
	const GPtrArray *chosen = list->len > 0 ? list : submission->signatures;
	for (unsigned i = 0; chosen != NULL && i < chosen->len; i++) {
		size_t size = 0;
		const void *data = g_bytes_get_data(chosen->pdata[i], &size);
		g_autofree char *text = g_base64_encode(data, size);
		json_array_add_string_element(array, text);
	}
	return g_steal_pointer(&array);
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
	JsonArray *signatures =
		manifest != NULL ? signatures_of(call, submission, manifest, error) : NULL;

	if (signatures == NULL)
		return false;
	g_autoptr(JsonObject) body = json_object_new();
	dn_json_set_base64(body, "manifest", submission->manifest);
	json_object_set_array_member(body, "signatures", signatures);
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
