/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/incident-show.h"

static bool run(DnCall *call, GError **error)
{
	const char *node = dn_call_operand(call, 0);
	const char *reason = dn_call_need(call, "reason", error);

	if (reason == NULL)
		return false;
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	if (http == NULL)
		return false;

	g_autoptr(JsonObject) body = json_object_new();
	g_autofree char *name = dn_http_escape(node);
	g_autofree char *path = g_strconcat("/v1/nodes/", name, "/quarantine", NULL);
	json_object_set_string_member(body, "reason", reason);
	g_autoptr(JsonObject) answer = dn_http_post(http, path, body, error);
	return answer != NULL && dn_incident_await(call, http, node, error);
}

const DnVerb dn_verb_quarantine = {
	.noun = "quarantine",
	.operands = "NODE",
	.least = 1,
	.most = 1,
	.help = "cut, freeze and replace a node by hand",
	.more = "There is no way back: a quarantined node can only be destroyed, by a responder.",
	.options = {{"reason", "TEXT", "why; it stands in the incident"}},
	.on_agent = true,
	.run = run,
};
