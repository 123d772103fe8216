/* SPDX-License-Identifier: Apache-2.0 */
#include "seal/minisign.h"
#include "verbs/all.h"
#include "verbs/incident-show.h"
#include "verbs/statement.h"

/* The statement about the incident as the supervisor knows it; its host compares every line. */
static GBytes *write_statement(DnCall *call, DnHttp *http, GError **error)
{
	g_autofree char *id = dn_http_escape(dn_call_operand(call, 0));
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
			.reason = dn_call_option(call, "reason"),
		},
		error);
}

static JsonObject *sign(const DnSecretKey *key, GBytes *statement, const char *incident,
			GError **error)
{
	g_autofree char *comment = dn_statement_comment(incident);
	g_autoptr(GBytes) signature = dn_minisign_sign(key, statement, comment, error);

	if (signature == NULL)
		return NULL;
	size_t size = 0;
	const void *data = g_bytes_get_data(signature, &size);
	g_autofree char *text = g_base64_encode(data, size);
	JsonObject *body = json_object_new();
	JsonArray *signatures = json_array_new();
	json_array_add_string_element(signatures, text);
	dn_json_set_base64(body, "statement", statement);
	json_object_set_array_member(body, "signatures", signatures);
	return body;
}

static bool run(DnCall *call, GError **error)
{
	const char *incident = dn_call_operand(call, 0);

	if (dn_call_need(call, "reason", error) == NULL)
		return false;
	g_autoptr(DnSecretKey) key = dn_call_key(call, error);
	g_autoptr(DnHttp) http = key != NULL ? dn_call_connect(call, error) : NULL;
	g_autoptr(GBytes) statement = http != NULL ? write_statement(call, http, error) : NULL;
	g_autoptr(JsonObject) body =
		statement != NULL ? sign(key, statement, incident, error) : NULL;
	if (body == NULL)
		return false;
	g_autofree char *id = dn_http_escape(incident);
	g_autofree char *path = g_strdup_printf("/v1/incidents/%s/destroy", id);
	g_autoptr(JsonObject) answer = dn_http_post(http, path, body, error);
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
	.options = {{"key", "KEY", "the responder key: a file, or a name in the home's keys"},
		    {"reason", "TEXT", "why; it stands in the signed statement"}},
	.run = run,
};
