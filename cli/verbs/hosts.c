/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/answer.h"

#include "output/table.h"

static void show(DnOutput *output, JsonArray *hosts)
{
	static const char *const titles[] = {"HOST",  "STATE",     "ADDRESS",    "CIDR", "VERSION",
					     "NODES", "INCIDENTS", "FAST START", "SEEN", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(hosts); i++) {
		JsonObject *host = dn_answer_at(hosts, i);
		JsonObject *capabilities = dn_answer_object(host, "capabilities");
		g_autofree char *seen = dn_answer_age(dn_answer_text(host, "last_seen"));
		dn_table_add(table, dn_answer_text(host, "name"));
		dn_table_add(table, dn_answer_text(host, "state"));
		dn_table_add(table, dn_answer_text(host, "address"));
		dn_table_add(table, dn_answer_text(host, "cidr"));
		dn_table_add(table, dn_answer_text(host, "version"));
		dn_table_add_format(table, "%" G_GINT64_FORMAT, dn_answer_number(host, "nodes", 0));
		dn_table_add_format(table, "%" G_GINT64_FORMAT,
				    dn_answer_number(host, "incidents", 0));
		dn_table_add(table, dn_answer_text(capabilities, "fast_start"));
		dn_table_add(table, seen);
	}
	dn_output_table(output, table, "hosts");
}

static bool run_ls(DnCall *call, GError **error)
{
	return dn_answer_list(call, "/v1/hosts", "hosts", show, error);
}

const DnVerb dn_verb_host_ls = {
	.noun = "host",
	.verb = "ls",
	.help = "hosts: agents, their versions and what they can do",
	.run = run_ls,
};

static bool run_token(DnCall *call, GError **error)
{
	g_autoptr(JsonObject) body = json_object_new();
	g_autoptr(DnHttp) http = dn_call_connect(call, error);

	json_object_set_string_member(body, "host", dn_call_operand(call, 0));
	g_autoptr(JsonObject) answer =
		http != NULL ? dn_http_post(http, "/v1/hosts/tokens", body, error) : NULL;
	if (answer == NULL)
		return false;
	const char *token = dn_answer_text(answer, "token");
	if (token == NULL) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "the supervisor's answer has no 'token'");
		return false;
	}
	if (call->json) {
		dn_output_json(call->output, answer);
		return true;
	}
	dn_output_line(call->output, "%s", token);
	dn_output_note(call->output,
		       "shown once, good until %s; on the host: dnode-agent enrol TOKEN",
		       dn_answer_text(answer, "expires"));
	return true;
}

const DnVerb dn_verb_host_token = {
	.noun = "host",
	.verb = "token",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.help = "a one-time token with which one host may enrol",
	.more = "Whoever reads the token may enrol a host under this name until it expires.",
	.run = run_token,
};
