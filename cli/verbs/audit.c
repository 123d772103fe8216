/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/answer.h"

#include <gio/gio.h>

#include "output/table.h"

static void show(DnOutput *output, JsonObject *audit)
{
	static const char *const titles[] = {"ID", "RESULT", "WHAT HOLDS", "WHAT WAS SEEN", NULL};
	JsonArray *items = dn_answer_array(audit, "items");
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(items); i++) {
		JsonObject *item = dn_answer_at(items, i);

		dn_table_add(table, dn_answer_text(item, "id"));
		dn_table_add(table, dn_answer_text(item, "result"));
		dn_table_add(table, dn_answer_text(item, "title"));
		dn_table_add(table, dn_answer_text(item, "seen"));
	}
	dn_output_table(output, table, "items");
}

/* A node's id and a host's name look alike, and no node is called as a host is. */
static JsonObject *ask(DnHttp *http, const char *name, GError **error)
{
	g_autofree char *escaped = dn_http_escape(name);
	g_autofree char *node = g_strdup_printf("/v1/nodes/%s/audit", escaped);
	g_autofree char *host = g_strdup_printf("/v1/hosts/%s/audit", escaped);
	GError *failed = NULL;
	JsonObject *answer = dn_http_get(http, node, &failed);

	if (answer != NULL || !g_error_matches(failed, DN_ERROR, DN_ERROR_INVALID)) {
		if (failed != NULL)
			g_propagate_error(error, failed);
		return answer;
	}
	g_clear_error(&failed);
	answer = dn_http_get(http, host, &failed);
	if (answer == NULL && g_error_matches(failed, DN_ERROR, DN_ERROR_INVALID)) {
		g_error_free(failed);
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "no node and no host is named '%s'; see 'dnode nodes' and 'dnode "
			    "hosts'",
			    name);
	} else if (answer == NULL)
		g_propagate_error(error, failed);
	return answer;
}

/* Not one of DnErrorCode: nothing went wrong, and nothing is to be tried again. Hence exit 1. */
static bool judge(JsonObject *audit, const char *name, GError **error)
{
	int64_t failed = dn_answer_number(audit, "failed", 0);

	if (failed == 0)
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
		    "%s: %" G_GINT64_FORMAT " of %u items fail", name, failed,
		    dn_answer_length(dn_answer_array(audit, "items")));
	return false;
}

static bool run(DnCall *call, GError **error)
{
	const char *name = dn_call_operand(call, 0);
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) answer = http != NULL ? ask(http, name, error) : NULL;

	if (answer == NULL)
		return false;
	JsonObject *audit = dn_answer_object(answer, "audit");
	if (audit == NULL || dn_answer_array(audit, "items") == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "the answer has no 'audit': is it of another version?");
		return false;
	}
	if (call->json)
		dn_output_json(call->output, answer);
	else
		show(call->output, audit);
	return dn_output_finish(call->output, error) && judge(audit, name, error);
}

const DnVerb dn_verb_audit = {
	.noun = "audit",
	.operands = "NODE|HOST",
	.least = 1,
	.most = 1,
	.help = "whether a node or a host is as it should be, by what its kernel shows",
	.more = "IDs with a dot are those of the CIS Docker Benchmark, section 5. The exit code is "
		"1\nwhen an item fails.",
	.on_agent = true,
	.run = run,
};
