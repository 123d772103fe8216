/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/incident-show.h"

#include <string.h>

#include "base/clock.h"
#include "model/incident.h"
#include "output/table.h"

#define AWAIT_NS (10 * DN_NS_PER_S)
#define POLL_US (20 * 1000)
#define SOCKETS_SHOWN 20

bool dn_incident_shows_isolated(JsonObject *incident)
{
	JsonObject *isolated = dn_answer_object(incident, "isolated");

	return isolated != NULL && dn_answer_number(isolated, "until", -1) < 0;
}

static void show_stages(DnOutput *output, JsonObject *incident)
{
	static const char *const titles[] = {"STAGE", "AFTER THE EVENT", NULL};
	JsonObject *stages = dn_answer_object(incident, "stages");
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (unsigned i = 0; i < DN_STAGE_N; i++) {
		int64_t us = dn_answer_number(stages, dn_stage_name(i), -1);
		if (us < 0)
			continue;
		dn_table_add(table, dn_stage_name(i));
		dn_table_add_format(table, "%9.3f ms", (double)us / 1000.0);
	}
	dn_output_table(output, table, "stages yet");
}

static void add_socket(DnTable *table, JsonObject *socket)
{
	bool listens = strcmp(dn_answer_word(socket, "state"), "listen") == 0;
	const char *opener = dn_answer_bool(socket, "accepted") ? "a client" : "the node";

	dn_table_add(table, dn_answer_text(socket, "protocol"));
	dn_table_add(table, dn_answer_text(socket, "state"));
	dn_table_add(table, dn_answer_text(socket, "local"));
	dn_table_add(table, dn_answer_text(socket, "peer"));
	dn_table_add(table, listens ? "-" : opener);
}

/* Connections that were over already are only counted: they would hide the others. */
static void show_sockets(DnOutput *output, JsonObject *incident)
{
	static const char *const titles[] = {"SOCKET", "STATE", "LOCAL", "PEER", "OPENED BY", NULL};
	JsonArray *sockets = dn_answer_array(incident, "sockets");
	g_autoptr(DnTable) table = dn_table_new(titles);
	unsigned n = dn_answer_length(sockets), shown = 0, over = 0;

	for (unsigned i = 0; i < n; i++) {
		JsonObject *socket = dn_answer_at(sockets, i);
		if (strcmp(dn_answer_word(socket, "state"), "time_wait") == 0)
			over++;
		else if (shown++ < SOCKETS_SHOWN)
			add_socket(table, socket);
	}
	if (n == 0)
		return;
	dn_output_line(output, "%s", "");
	dn_output_table(output, table, "open sockets");
	if (over > 0 || shown > SOCKETS_SHOWN)
		dn_output_line(output, "and %u open, %u closed ones; --json has all of them",
			       shown - MIN(shown, SOCKETS_SHOWN), over);
}

static void show_response(DnOutput *output, JsonObject *incident)
{
	JsonObject *siblings = dn_answer_object(incident, "siblings");
	const char *attack = dn_answer_text(incident, "attack");

	if (dn_incident_shows_isolated(incident))
		dn_output_line(output, "isolated      it serves its declared ports, and can begin "
				       "nothing");
	if (siblings != NULL)
		dn_output_line(output,
			       "siblings      %" G_GINT64_FORMAT " looked at, %" G_GINT64_FORMAT
			       " show the same",
			       dn_answer_number(siblings, "looked", 0),
			       dn_answer_number(siblings, "found", 0));
	if (attack != NULL)
		dn_output_line(output, "attack        one with incident %s", attack);
}

void dn_incident_show(DnOutput *output, JsonObject *incident)
{
	JsonObject *image = dn_answer_object(incident, "image");
	JsonArray *replacements = dn_answer_array(incident, "replacements");
	g_autoptr(GString) clean = g_string_new(NULL);

	for (unsigned i = 0; i < dn_answer_length(replacements); i++) {
		JsonNode *node = json_array_get_element(replacements, i);
		if (json_node_get_value_type(node) == G_TYPE_STRING)
			g_string_append_printf(clean, "%s%s", i > 0 ? ", " : "",
					       json_node_get_string(node));
	}
	dn_output_line(output, "incident      %s  (%s)%s", dn_answer_word(incident, "id"),
		       dn_answer_word(incident, "state"),
		       dn_answer_bool(incident, "drill") ? "  a drill" : "");
	dn_output_line(output, "node          %s of %s on %s", dn_answer_word(incident, "node"),
		       dn_answer_word(incident, "service"), dn_answer_word(incident, "host"));
	dn_output_line(output, "drift         %s: %s", dn_answer_word(incident, "class"),
		       dn_answer_word(incident, "detail"));
	dn_output_line(output, "image         %s %s, epoch %" G_GINT64_FORMAT,
		       dn_answer_word(image, "ref"), dn_answer_word(image, "commit"),
		       dn_answer_number(incident, "epoch", 0));
	dn_output_line(output, "event         %s", dn_answer_word(incident, "event_time"));
	dn_output_line(output, "replaced by   %s", clean->len > 0 ? clean->str : "-");
	show_response(output, incident);
	dn_output_line(output, "after the cut %" G_GINT64_FORMAT " packets passed",
		       dn_answer_number(incident, "packets_after_cut", 0));
	dn_output_line(output, "%s", "");
	show_stages(output, incident);
	show_sockets(output, incident);
}

JsonObject *dn_incident_find(JsonObject *answer, const char *node)
{
	JsonArray *incidents = dn_answer_array(answer, "incidents");

	for (unsigned i = 0; i < dn_answer_length(incidents); i++) {
		JsonObject *incident = dn_answer_at(incidents, i);
		if (strcmp(dn_answer_word(incident, "node"), node) == 0)
			return incident;
	}
	return NULL;
}

bool dn_incident_is_replaced(JsonObject *incident)
{
	JsonObject *stages = dn_answer_object(incident, "stages");

	return dn_answer_number(stages, dn_stage_name(DN_STAGE_REPLACEMENT_READY), -1) >= 0 &&
	       dn_answer_number(stages, dn_stage_name(DN_STAGE_DURABLE), -1) >= 0;
}

void dn_incident_print(DnCall *call, JsonObject *incident)
{
	if (!call->json) {
		dn_incident_show(call->output, incident);
		return;
	}
	g_autoptr(JsonObject) document = dn_json_document();
	json_object_set_object_member(document, "incident", json_object_ref(incident));
	dn_output_json(call->output, document);
}

bool dn_incident_await(DnCall *call, DnHttp *http, const char *node, GError **error)
{
	g_autofree char *name = dn_http_escape(node);
	g_autofree char *path = g_strconcat("/v1/incidents?node=", name, NULL);
	uint64_t deadline = dn_clock_monotonic_ns() + AWAIT_NS;
	g_autoptr(JsonObject) answer = NULL;
	JsonObject *incident = NULL;
	bool replaced = false;

	while (!replaced && dn_clock_monotonic_ns() < deadline) {
		g_clear_pointer(&answer, json_object_unref);
		answer = dn_http_get(http, path, error);
		if (answer == NULL)
			return false;
		incident = dn_incident_find(answer, node);
		replaced = incident != NULL && dn_incident_is_replaced(incident);
		if (!replaced)
			g_usleep(POLL_US);
	}
	if (incident == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "no incident of %s after 10 s; see 'dnode events'", node);
		return false;
	}
	dn_incident_print(call, incident);
	if (!replaced)
		dn_output_note(call->output, "no replacement after 10 s; see 'dnode events'");
	return true;
}
