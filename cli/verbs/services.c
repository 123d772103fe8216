/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/answer.h"

#include "output/table.h"

/* "80, 443/udp": the VIP's ports. */
static char *ports_of(JsonObject *service)
{
	GString *text = g_string_new(NULL);
	JsonArray *ports = dn_answer_array(service, "ports");

	for (unsigned i = 0; i < dn_answer_length(ports); i++) {
		JsonObject *port = dn_answer_at(ports, i);
		bool udp = g_strcmp0(dn_answer_text(port, "protocol"), "udp") == 0;
		g_string_append_printf(text, "%s%" G_GINT64_FORMAT "%s", i > 0 ? "," : "",
				       dn_answer_number(port, "expose", 0), udp ? "/udp" : "");
	}
	if (text->len == 0 && dn_answer_number(service, "port", 0) > 0)
		g_string_printf(text, "%" G_GINT64_FORMAT, dn_answer_number(service, "port", 0));
	return g_string_free(text, FALSE);
}

static void show(DnOutput *output, JsonArray *services)
{
	static const char *const titles[] = {"SERVICE", "STATE",   "VIP",   "PORT",   "EPOCH",
					     "READY",   "STANDBY", "IMAGE", "COMMIT", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < dn_answer_length(services); i++) {
		JsonObject *service = dn_answer_at(services, i);
		JsonObject *image = dn_answer_object(service, "image");
		g_autofree char *ports = ports_of(service);
		g_autofree char *commit = dn_answer_short(dn_answer_text(image, "commit"));
		dn_table_add(table, dn_answer_text(service, "name"));
		dn_table_add(table, dn_answer_text(service, "state"));
		dn_table_add(table, dn_answer_text(service, "vip"));
		dn_table_add(table, ports);
		dn_table_add_format(table, "%" G_GINT64_FORMAT,
				    dn_answer_number(service, "epoch", 0));
		dn_table_add_format(table, "%" G_GINT64_FORMAT "/%" G_GINT64_FORMAT,
				    dn_answer_number(service, "ready", 0),
				    dn_answer_number(service, "replicas", 0));
		dn_table_add_format(table, "%" G_GINT64_FORMAT,
				    dn_answer_number(service, "standby", 0));
		dn_table_add(table, dn_answer_text(image, "ref"));
		dn_table_add(table, commit);
	}
	dn_output_table(output, table, "services");
	for (unsigned i = 0; i < dn_answer_length(services); i++) {
		JsonObject *service = dn_answer_at(services, i);
		const char *why = dn_answer_text(service, "why");

		if (why != NULL)
			dn_output_line(output, "%s: %s", dn_answer_text(service, "name"), why);
	}
}

static bool run(DnCall *call, GError **error)
{
	return dn_answer_list(call, "/v1/services", "services", show, error);
}

const DnVerb dn_verb_service_ls = {
	.noun = "service",
	.verb = "ls",
	.help = "services: address, epoch, how many nodes are ready",
	.run = run,
};
