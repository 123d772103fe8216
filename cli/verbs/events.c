/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "verbs/all.h"
#include "verbs/answer.h"
#include "wire/records.h"

#define DEFAULT_COUNT "50"
#define MOST G_STRINGIFY(DN_EVENTS_LIMIT)
#define KEPT G_STRINGIFY(DN_EVENTS_KEPT)

static void print_event(DnCall *call, JsonObject *event)
{
	const char *about[] = {dn_answer_text(event, "host"), dn_answer_text(event, "node"),
			       dn_answer_text(event, "incident")};
	g_autoptr(GString) subject = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(about); i++)
		if (about[i] != NULL)
			g_string_append_printf(subject, " %s", about[i]);
	if (subject->len == 0 && dn_answer_text(event, "service") != NULL)
		g_string_append_printf(subject, " %s", dn_answer_text(event, "service"));
	dn_output_line(call->output, "%s %-8s %s%s: %s", dn_answer_word(event, "time"),
		       dn_answer_word(event, "severity"), dn_answer_word(event, "kind"),
		       subject->str, dn_answer_word(event, "text"));
}

static bool on_event(const char *id, JsonObject *event, gpointer data)
{
	DnCall *call = data;
	g_autoptr(GError) error = NULL;

	(void)id;
	if (call->json)
		dn_output_json_line(call->output, event);
	else
		print_event(call, event);
	return dn_output_finish(call->output, &error);
}

static bool print_last(DnCall *call, DnHttp *http, uint64_t count, int64_t *last, GError **error)
{
	/* Whoever follows goes on after the last one, also when none is to be printed. */
	uint64_t asked = dn_call_has(call, "f") ? MAX(count, 1) : count;
	g_autofree char *path = g_strdup_printf("/v1/events?limit=%" G_GUINT64_FORMAT, asked);
	g_autoptr(JsonObject) answer = dn_http_get(http, path, error);
	JsonArray *events = dn_answer_array(answer, "events");

	if (answer == NULL)
		return false;
	for (unsigned i = 0; i < dn_answer_length(events); i++)
		*last = MAX(*last, dn_answer_number(dn_answer_at(events, i), "id", 0));
	if (call->json && !dn_call_has(call, "f")) {
		dn_output_json(call->output, answer);
		return true;
	}
	for (unsigned i = 0; count > 0 && i < dn_answer_length(events); i++)
		on_event(NULL, dn_answer_at(events, i), call);
	return true;
}

static bool run(DnCall *call, GError **error)
{
	const char *wanted = dn_call_option(call, "n");
	uint64_t count = 0;
	int64_t last = 0;

	if (!dn_text_parse_u64(wanted != NULL ? wanted : DEFAULT_COUNT, DN_EVENTS_LIMIT, &count)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "-n %s: a number up to " MOST,
			    wanted);
		return false;
	}
	if (call->agent != NULL && count > DN_EVENTS_KEPT)
		dn_output_note(call->output, "an agent keeps its last " KEPT " events");
	if (call->agent != NULL && dn_call_has(call, "f")) {
		g_set_error_literal(
			error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			"-f: an agent has no stream of events; ask again, or follow its "
			"log");
		return false;
	}
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	if (http == NULL || !print_last(call, http, count, &last, error))
		return false;
	if (!dn_call_has(call, "f"))
		return true;
	g_autofree char *path = g_strdup_printf("/v1/events?since=%" G_GINT64_FORMAT, last);
	return dn_http_follow(http, path, on_event, call, NULL, error);
}

const DnVerb dn_verb_events = {
	.noun = "event",
	.verb = "ls",
	.help = "what happened in the fleet",
	.more = "With --json and -f: one JSON object a line. An agent has those since it was\n"
		"started, at most the last " KEPT ".",
	.options = {{"f", NULL, "go on printing events as they happen"},
		    {"n", "COUNT",
		     "begin with this many last events (" DEFAULT_COUNT "), at most " MOST}},
	.on_agent = true,
	.run = run,
};
