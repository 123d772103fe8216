/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/incident-show.h"

#include "model/incident.h"
#include "output/table.h"

static void show_list(DnOutput *output, JsonArray *incidents)
{
	static const char *const titles[] = {"INCIDENT", "STATE", "CLASS",  "SERVICE",
					     "NODE",     "HOST",  "AGE",    "FROZEN",
					     "REPLACED", "DRILL", "ATTACK", NULL};
	static const DnStage shown[] = {DN_STAGE_FROZEN, DN_STAGE_REPLACEMENT_READY};
	static const char *const keys[] = {"class", "service", "node", "host"};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(incidents); i++) {
		JsonObject *incident = dn_answer_at(incidents, i);
		JsonObject *stages = dn_answer_object(incident, "stages");
		g_autofree char *age = dn_answer_age(dn_answer_text(incident, "event_time"));
		dn_table_add(table, dn_answer_text(incident, "id"));
		dn_table_add_format(table, "%s%s", dn_answer_word(incident, "state"),
				    dn_incident_shows_isolated(incident) ? ", isolated" : "");
		for (unsigned k = 0; k < G_N_ELEMENTS(keys); k++)
			dn_table_add(table, dn_answer_text(incident, keys[k]));
		dn_table_add(table, age);
		for (unsigned k = 0; k < G_N_ELEMENTS(shown); k++) {
			int64_t us = dn_answer_number(stages, dn_stage_name(shown[k]), -1);
			if (us >= 0)
				dn_table_add_format(table, "%.1f ms", (double)us / 1000.0);
			else
				dn_table_add(table, NULL);
		}
		dn_table_add(table, dn_answer_bool(incident, "drill") ? "yes" : "no");
		dn_table_add(table, dn_answer_text(incident, "attack"));
	}
	dn_output_table(output, table, "incidents");
}

static bool run_ls(DnCall *call, GError **error)
{
	return dn_answer_list(call, "/v1/incidents", "incidents", show_list, error);
}

const DnVerb dn_verb_incident_ls = {
	.noun = "incident",
	.verb = "ls",
	.help = "quarantined nodes",
	.on_agent = true,
	.run = run_ls,
};

static bool run_show(DnCall *call, GError **error)
{
	g_autofree char *id = dn_http_escape(dn_call_operand(call, 0));
	g_autofree char *path = g_strconcat("/v1/incidents/", id, NULL);

	return dn_answer_one(call, path, "incident", dn_incident_show, error);
}

const DnVerb dn_verb_incident_show = {
	.noun = "incident",
	.verb = "show",
	.operands = "ID",
	.least = 1,
	.most = 1,
	.help = "one incident: what was seen, and every stage of the answer",
	.on_agent = true,
	.run = run_show,
};
