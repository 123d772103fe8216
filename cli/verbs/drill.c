/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/incident-show.h"

#include "output/table.h"

static void show_classes(DnOutput *output, JsonArray *classes)
{
	static const char *const titles[] = {"CLASS", "TIER", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(classes); i++) {
		dn_table_add(table, dn_answer_text(dn_answer_at(classes, i), "name"));
		dn_table_add(table, dn_answer_text(dn_answer_at(classes, i), "tier"));
	}
	dn_output_table(output, table, "drills");
}

static bool drill(DnCall *call, GError **error)
{
	g_autoptr(JsonObject) body = json_object_new();
	g_autoptr(DnHttp) http = dn_call_connect(call, error);

	json_object_set_string_member(body, "class", dn_call_operand(call, 0));
	json_object_set_string_member(body, "service", dn_call_operand(call, 1));
	g_autoptr(JsonObject) answer =
		http != NULL ? dn_http_post(http, "/v1/drills", body, error) : NULL;
	if (answer == NULL)
		return false;
	const char *node = dn_answer_text(dn_answer_object(answer, "drill"), "node");
	if (node == NULL) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "the supervisor's answer names no node");
		return false;
	}
	return dn_incident_await(call, http, node, error);
}

static bool run(DnCall *call, GError **error)
{
	if (dn_call_has(call, "list"))
		return dn_answer_list(call, "/v1/drills", "classes", show_classes, error);
	if (dn_call_operand(call, 1) == NULL) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID,
				    "usage: dnode drill CLASS SERVICE, or dnode drill --list");
		return false;
	}
	return drill(call, error);
}

const DnVerb dn_verb_drill = {
	.noun = "drill",
	.operands = "CLASS SERVICE",
	.most = 2,
	.help = "make a harmless drift on purpose and time the answer",
	.more = "One node of the service is cut, frozen and replaced as if the drift were real.",
	.options = {{"list", NULL, "the classes there are drills for"}},
	.run = run,
};
