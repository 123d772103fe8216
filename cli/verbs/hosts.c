/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/answer.h"

#include <string.h>

#include "model/cluster.h"
#include "output/table.h"
#include "seal/token.h"
#include "wire/json.h"

/* Names of what the host said "no" to. */
static char *lacks_of(JsonObject *capabilities)
{
	g_autoptr(GList) names =
		capabilities != NULL ? json_object_get_members(capabilities) : NULL;
	GString *lacks = g_string_new(NULL);

	for (GList *at = names; at != NULL; at = at->next) {
		const char *value = dn_answer_word(capabilities, at->data);
		if (strcmp(value, "no") == 0 || g_str_has_prefix(value, "no:"))
			g_string_append_printf(lacks, "%s%s", lacks->len > 0 ? "," : "",
					       (const char *)at->data);
	}
	return g_string_free(lacks, FALSE);
}

static void show(DnOutput *output, JsonArray *hosts)
{
	static const char *const titles[] = {"HOST",  "STATE",     "ADDRESS", "CIDR", "VERSION",
					     "NODES", "INCIDENTS", "LACKS",   "SEEN", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(hosts); i++) {
		JsonObject *host = dn_answer_at(hosts, i);
		JsonObject *capabilities = dn_answer_object(host, "capabilities");
		g_autofree char *lacks = lacks_of(capabilities);
		g_autofree char *seen = dn_answer_age(dn_answer_text(host, "last_seen"));
		dn_table_add(table, dn_answer_text(host, "name"));
		const char *state = dn_answer_word(host, "state");
		bool more =
			dn_answer_text(host, "suspect") != NULL && strcmp(state, "suspect") != 0;
		dn_table_add_format(table, "%s%s%s", state, more ? ", suspect" : "",
				    dn_answer_bool(host, "cordoned") ? ", cordoned" : "");
		dn_table_add(table, dn_answer_text(host, "address"));
		dn_table_add(table, dn_answer_text(host, "cidr"));
		dn_table_add(table, dn_answer_text(host, "version"));
		dn_table_add_format(table, "%" G_GINT64_FORMAT, dn_answer_number(host, "nodes", 0));
		dn_table_add_format(table, "%" G_GINT64_FORMAT,
				    dn_answer_number(host, "incidents", 0));
		dn_table_add(table, lacks);
		dn_table_add(table, seen);
	}
	dn_output_table(output, table, "hosts");
}

static void show_one(DnOutput *output, JsonObject *host)
{
	static const char *const titles[] = {"CAPABILITY", "WHAT WAS FOUND", NULL};
	JsonObject *capabilities = dn_answer_object(host, "capabilities");
	g_autoptr(GList) names =
		capabilities != NULL ? json_object_get_members(capabilities) : NULL;
	g_autoptr(DnTable) table = dn_table_new(titles);
	g_autofree char *seen = dn_answer_age(dn_answer_text(host, "last_seen"));

	dn_output_line(output, "host %s is %s, seen %s ago", dn_answer_word(host, "name"),
		       dn_answer_word(host, "state"), seen);
	if (dn_answer_text(host, "fenced") != NULL)
		dn_output_line(output, "fenced: %s", dn_answer_text(host, "fenced"));
	if (dn_answer_text(host, "suspect") != NULL)
		dn_output_line(output, "suspect: %s", dn_answer_text(host, "suspect"));
	dn_output_line(output, "address %s, nodes in %s, dnode %s, Linux %s",
		       dn_answer_word(host, "address"), dn_answer_word(host, "cidr"),
		       dn_answer_word(host, "version"), dn_answer_word(host, "kernel"));
	for (GList *at = names; at != NULL; at = at->next) {
		dn_table_add(table, at->data);
		dn_table_add(table, dn_answer_word(capabilities, at->data));
	}
	dn_output_table(output, table, "capabilities");
}

/* One host out of the list: there are few, and the API has no other way to ask for one. */
static bool run_show(DnCall *call, const char *name, GError **error)
{
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) answer = http != NULL ? dn_http_get(http, "/v1/hosts", error) : NULL;

	if (answer == NULL)
		return false;
	JsonArray *hosts = dn_answer_array(answer, "hosts");
	for (unsigned i = 0; i < dn_answer_length(hosts); i++) {
		JsonObject *host = dn_answer_at(hosts, i);
		if (strcmp(dn_answer_word(host, "name"), name) != 0)
			continue;
		if (call->json) {
			g_autoptr(JsonObject) document = dn_json_document();
			json_object_set_object_member(document, "host", json_object_ref(host));
			dn_output_json(call->output, document);
		} else
			show_one(call->output, host);
		return true;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "there is no host '%s'; see 'dnode hosts'",
		    name);
	return false;
}

static bool run_ls(DnCall *call, GError **error)
{
	if (dn_call_operand(call, 0) != NULL)
		return run_show(call, dn_call_operand(call, 0), error);
	return dn_answer_list(call, "/v1/hosts", "hosts", show, error);
}

const DnVerb dn_verb_host_ls = {
	.noun = "host",
	.verb = "ls",
	.operands = "[HOST]",
	.most = 1,
	.help = "hosts: agents, their versions and what they can do",
	.more = "LACKS names what a host cannot do; with HOST all of it is told, with the reason.\n"
		"On the host itself 'dnode-agent check' says the same without a supervisor.",
	.on_agent = true,
	.run = run_ls,
};

/* Whoever carries the token to another machine would find out there. */
static void warn_of_address(DnOutput *output, const char *text)
{
	g_autoptr(DnHostToken) token = dn_host_token_decode(text, NULL);

	if (token != NULL && dn_cluster_is_any_address(token->address))
		dn_output_note(output,
			       "it names %s, where other hosts cannot find the supervisor: set "
			       "'advertise: \"HOST:PORT\"' in cluster.yaml and start it anew",
			       token->address);
}

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
	warn_of_address(call->output, token);
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

/* What is asked of the host that the first operand names; the answer, or NULL with error. */
static JsonObject *ask_host(DnCall *call, const char *verb, JsonObject *body, GError **error)
{
	g_autofree char *name = dn_http_escape(dn_call_operand(call, 0));
	g_autofree char *path = g_strdup_printf("/v1/hosts/%s/%s", name, verb);
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) answer = http != NULL ? dn_http_post(http, path, body, error) : NULL;

	if (answer != NULL && call->json)
		dn_output_json(call->output, answer);
	return g_steal_pointer(&answer);
}

static bool set_cordon(DnCall *call, const char *verb, GError **error)
{
	g_autoptr(JsonObject) body = json_object_new();
	g_autoptr(JsonObject) answer = ask_host(call, verb, body, error);

	if (answer != NULL && !call->json)
		dn_output_line(call->output, "%s %s %sed", dn_answer_word(answer, "host"),
			       dn_answer_bool(answer, "changed") ? "is" : "was already", verb);
	return answer != NULL;
}

static bool run_cordon(DnCall *call, GError **error)
{
	return set_cordon(call, "cordon", error);
}

static bool run_uncordon(DnCall *call, GError **error)
{
	return set_cordon(call, "uncordon", error);
}

const DnVerb dn_verb_host_cordon = {
	.noun = "host",
	.verb = "cordon",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.help = "place nothing new on a host; what runs there stays",
	.more = "Its agent goes on answering drift and replacing cut nodes on the spot. Rolls\n"
		"move their new nodes to other hosts. It holds until 'dnode host uncordon' and is\n"
		"shown in 'dnode hosts'.",
	.run = run_cordon,
};

const DnVerb dn_verb_host_uncordon = {
	.noun = "host",
	.verb = "uncordon",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.help = "allow new nodes on a host again",
	.more = "Nothing that runs elsewhere is moved back; services that found no room are\n"
		"completed. Of a host that is shown as suspect, because it reported tampering, "
		"this\n"
		"says that a person has looked at it and trusts it.",
	.run = run_uncordon,
};

static bool run_fence(DnCall *call, GError **error)
{
	const char *reason = dn_call_need(call, "reason", error);

	if (reason == NULL)
		return false;
	g_autoptr(JsonObject) body = json_object_new();
	json_object_set_string_member(body, "reason", reason);
	g_autoptr(JsonObject) answer = ask_host(call, "fence", body, error);
	if (answer != NULL && !call->json)
		dn_output_line(call->output,
			       dn_answer_bool(answer, "changed")
				       ? "%s is fenced: no other host sends it requests, and its "
					 "nodes are placed elsewhere; take the machine off the "
					 "network"
				       : "%s was already fenced",
			       dn_answer_word(answer, "host"));
	return answer != NULL;
}

const DnVerb dn_verb_host_fence = {
	.noun = "host",
	.verb = "fence",
	.operands = "NAME",
	.least = 1,
	.most = 1,
	.help = "shut a host out that is not to be trusted any more",
	.more = "Its link is ended and refused, other hosts take its nodes out of their\n"
		"balancers and routes at once, and the nodes are placed on others. What runs on\n"
		"the machine stays as it is, for people to look at; clients that ask that\n"
		"machine itself are still answered by it, so take it off the network. There is\n"
		"no way back for the host: installed anew, it enrols with a new token for the\n"
		"name.",
	.options = {{"reason", "TEXT", "why; it is told to everybody who looks at the host"}},
	.run = run_fence,
};
