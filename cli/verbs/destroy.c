/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/destroy.h"
#include "seal/minisign.h"
#include "verbs/all.h"
#include "verbs/incident-show.h"
#include "verbs/statement.h"
#include "wire/records.h"

/* The statement about the incident as the supervisor knows it; its host compares every line. */
static GBytes *write_statement(DnHttp *http, const char *name, const char *reason, GError **error)
{
	g_autofree char *id = dn_http_escape(name);
	g_autofree char *path = g_strconcat("/v1/incidents/", id, NULL);
	g_autoptr(JsonObject) found = dn_http_get(http, path, error);
	g_autoptr(JsonObject) cluster =
		found != NULL ? dn_http_get(http, "/v1/cluster", error) : NULL;

	if (cluster == NULL)
		return NULL;
	JsonObject *incident = dn_answer_object(found, "incident");
	return dn_statement_write(
		&(DnStatement){
			.cluster = dn_answer_text(dn_answer_object(cluster, "cluster"), "id"),
			.host = dn_answer_text(incident, "host"),
			.incident = dn_answer_text(incident, "id"),
			.evidence = dn_answer_text(incident, "evidence"),
			.reason = reason,
		},
		error);
}

static JsonObject *sign(const GPtrArray *keys, GBytes *statement, const char *incident,
			GError **error)
{
	g_autofree char *comment = dn_statement_comment(incident);
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

	for (unsigned i = 0; i < keys->len; i++) {
		GBytes *signature = dn_minisign_sign(keys->pdata[i], statement, comment, error);

		if (signature == NULL)
			return NULL;
		g_ptr_array_add(signatures, signature);
	}
	JsonObject *body = json_object_new();
	dn_json_set_base64(body, "statement", statement);
	dn_record_write_signatures(body, signatures);
	return body;
}

JsonObject *dn_incident_destroy(DnHttp *http, const GPtrArray *keys, const char *incident,
				const char *reason, GError **error)
{
	g_autoptr(GBytes) statement = write_statement(http, incident, reason, error);
	g_autoptr(JsonObject) body =
		statement != NULL ? sign(keys, statement, incident, error) : NULL;

	if (body == NULL)
		return NULL;
	g_autofree char *id = dn_http_escape(incident);
	g_autofree char *path = g_strdup_printf("/v1/incidents/%s/destroy", id);
	return dn_http_post(http, path, body, error);
}

static bool run(DnCall *call, GError **error)
{
	const char *incident = dn_call_operand(call, 0);
	const char *reason = dn_call_need(call, "reason", error);

	if (reason == NULL)
		return false;
	g_autoptr(GPtrArray) keys = dn_call_keys(call, error);
	g_autoptr(DnHttp) http = keys != NULL ? dn_call_connect(call, error) : NULL;
	g_autoptr(JsonObject) answer =
		http != NULL ? dn_incident_destroy(http, keys, incident, reason, error) : NULL;
	if (answer == NULL)
		return false;
	if (call->json)
		dn_output_json(call->output, answer);
	else
		dn_output_line(call->output, "incident %s: the node is destroyed", incident);
	return true;
}

const DnVerb dn_verb_incident_destroy = {
	.noun = "incident",
	.verb = "destroy",
	.operands = "ID",
	.least = 1,
	.most = 1,
	.help = "let a quarantined node go, for good",
	.more = "The only way out of quarantine. The host does it only for a statement that "
		"enough\n"
		"responder keys of its own trust file have signed.",
	.many = "key",
	.options = {{"key", "KEY", DN_KEYS_HELP("responder")},
		    {"reason", "TEXT", "why; it stands in the signed statement"}},
	.run = run,
};
