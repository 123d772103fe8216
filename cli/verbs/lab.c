/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/lab.h"
#include "base/text.h"
#include "lab/monitor.h"
#include "output/table.h"
#include "verbs/all.h"
#include "verbs/answer.h"

#define DEFAULT_HOSTS "3"

#define NAME_OPTION                                                                                \
	{                                                                                          \
		"name", "NAME", "another lab beside the first (" DN_LAB_NAME ")"                   \
	}

static void show(DnOutput *output, JsonObject *status)
{
	static const char *const titles[] = {"DAEMON", "STATE", "PID", "RESTARTS", "NETNS", NULL};
	static const char *const texts[] = {"name", "state"};
	JsonArray *hosts = dn_answer_array(status, "hosts");
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(hosts) + 1; i++) {
		JsonObject *daemon = i == 0 ? dn_answer_object(status, "supervisor")
					    : dn_answer_at(hosts, i - 1);
		int64_t pid = dn_answer_number(daemon, "pid", 0);
		for (unsigned k = 0; k < G_N_ELEMENTS(texts); k++)
			dn_table_add(table, dn_answer_text(daemon, texts[k]));
		if (pid > 0)
			dn_table_add_format(table, "%" G_GINT64_FORMAT, pid);
		else
			dn_table_add(table, NULL);
		dn_table_add_format(table, "%" G_GINT64_FORMAT,
				    dn_answer_number(daemon, "restarts", 0));
		dn_table_add(table, dn_answer_text(daemon, "netns"));
	}
	dn_output_line(output, "lab %s is %s", dn_answer_word(status, "name"),
		       dn_answer_word(status, "state"));
	if (g_strcmp0(dn_answer_text(status, "state"), "down") == 0)
		return;
	dn_output_line(output, "home %s, logs %s", dn_answer_word(status, "home"),
		       dn_answer_word(status, "logs"));
	if (g_strcmp0(dn_answer_text(status, "name"), DN_LAB_NAME) != 0)
		dn_output_line(output, "use it with: export DNODE_HOME=%s DNODE_SUPERVISOR=unix:%s",
			       dn_answer_word(status, "home"),
			       dn_answer_word(dn_answer_object(status, "supervisor"), "socket"));
	dn_output_line(output, "try VIPs with: nsenter --net=/run/netns/%s curl http://VIP/",
		       dn_answer_word(status, "client_netns"));
	dn_output_table(output, table, "daemons");
}

static bool print(DnCall *call, const DnLab *lab, GError **error)
{
	g_autoptr(JsonObject) status = dn_lab_status(lab, error);

	if (status == NULL)
		return false;
	if (call->json)
		dn_output_json(call->output, status);
	else
		show(call->output, status);
	return true;
}

static bool run_up(DnCall *call, GError **error)
{
	const char *wanted = dn_call_option(call, "hosts");
	uint64_t n = 0;

	if (!dn_text_parse_u64(wanted != NULL ? wanted : DEFAULT_HOSTS, DN_LAB_HOSTS_LIMIT, &n) ||
	    n == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "--hosts %s: a number from 1 to %d",
			    wanted, DN_LAB_HOSTS_LIMIT);
		return false;
	}
	g_autoptr(DnLab) lab = dn_lab_new(dn_call_option(call, "name"), (unsigned)n, error);
	return lab != NULL && dn_lab_up(lab, call->output, error) && print(call, lab, error);
}

const DnVerb dn_verb_lab_up = {
	.noun = "lab",
	.verb = "up",
	.help = "a whole fleet on this machine, hosts made of network namespaces",
	.more = "Makes a cluster with the keys release, deploy and responder, a supervisor and\n"
		"enrolled agents. The commands find it by themselves when no other cluster is "
		"here.",
	.options = {{"hosts", "N", "how many hosts (" DEFAULT_HOSTS ")"}, NAME_OPTION},
	.run = run_up,
};

static bool run_down(DnCall *call, GError **error)
{
	g_autoptr(DnLab) lab = dn_lab_find(dn_call_option(call, "name"), error);

	if (lab == NULL || !dn_lab_down(lab, call->output, error))
		return false;
	return !call->json || print(call, lab, error);
}

const DnVerb dn_verb_lab_down = {
	.noun = "lab",
	.verb = "down",
	.help = "remove the lab with everything in it",
	.options = {NAME_OPTION},
	.run = run_down,
};

static bool run_status(DnCall *call, GError **error)
{
	g_autoptr(DnLab) lab = dn_lab_find(dn_call_option(call, "name"), error);

	return lab != NULL && print(call, lab, error);
}

const DnVerb dn_verb_lab_status = {
	.noun = "lab",
	.verb = "status",
	.help = "the lab's daemons, and where VIPs can be tried from",
	.options = {NAME_OPTION},
	.run = run_status,
};

static bool run_monitor(DnCall *call, GError **error)
{
	g_autoptr(DnLab) lab = dn_lab_find(dn_call_option(call, "name"), error);

	return lab != NULL && dn_lab_monitor_run(lab, error);
}

const DnVerb dn_verb_lab_monitor = {
	.noun = "lab",
	.verb = "monitor",
	.hidden = true,
	.help = "keep the lab's daemons running; started by lab up",
	.options = {NAME_OPTION},
	.run = run_monitor,
};
