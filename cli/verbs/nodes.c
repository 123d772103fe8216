/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/answer.h"

#include "output/table.h"

static void show(DnOutput *output, JsonArray *nodes)
{
	static const char *const titles[] = {"NODE",   "SERVICE", "HOST", "ADDRESS",  "STATE",
					     "HEALTH", "EPOCH",   "AGE",  "INCIDENT", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(nodes); i++) {
		JsonObject *node = dn_answer_at(nodes, i);
		g_autofree char *age = dn_answer_age(dn_answer_text(node, "started"));
		dn_table_add(table, dn_answer_text(node, "id"));
		dn_table_add(table, dn_answer_text(node, "service"));
		dn_table_add(table, dn_answer_text(node, "host"));
		dn_table_add(table, dn_answer_text(node, "address"));
		dn_table_add(table, dn_answer_text(node, "state"));
		dn_table_add(table, dn_answer_text(node, "health"));
		dn_table_add_format(table, "%" G_GINT64_FORMAT, dn_answer_number(node, "epoch", 0));
		dn_table_add(table, age);
		dn_table_add(table, dn_answer_text(node, "incident"));
	}
	dn_output_table(output, table, "nodes");
}

static bool run(DnCall *call, GError **error)
{
	const char *service = dn_call_operand(call, 0);
	g_autofree char *name = service != NULL ? dn_http_escape(service) : NULL;
	g_autofree char *path =
		g_strconcat("/v1/nodes", name != NULL ? "?service=" : NULL, name, NULL);

	return dn_answer_list(call, path, "nodes", show, error);
}

const DnVerb dn_verb_node_ls = {
	.noun = "node",
	.verb = "ls",
	.operands = "[SERVICE]",
	.most = 1,
	.help = "nodes: where they run and how they are",
	.on_agent = true,
	.run = run,
};
