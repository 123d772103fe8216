/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/all.h"
#include "verbs/drill-all.h"
#include "verbs/drill-once.h"
#include "verbs/incident-show.h"

#include <string.h>

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

static void show_event(DnCall *call, const DnDrilled *drilled)
{
	if (call->json) {
		g_autoptr(JsonObject) document = dn_drilled_document(drilled);

		dn_output_json(call->output, document);
		return;
	}
	dn_output_line(call->output, "detected: drift.%s event: %s", drilled->class,
		       dn_answer_word(drilled->event, "text"));
	dn_output_line(call->output,
		       "the manifest of node %s answers this class with %s: it serves on",
		       drilled->node, drilled->answer);
}

static bool drill(DnCall *call, GError **error)
{
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(DnDrilled) drilled = http != NULL ? dn_drill_once(http, dn_call_operand(call, 0),
								    dn_call_operand(call, 1), error)
						    : NULL;

	if (drilled == NULL)
		return false;
	if (drilled->incident != NULL) {
		dn_incident_print(call, drilled->incident);
		if (!dn_incident_is_replaced(drilled->incident))
			dn_output_note(call->output, "no replacement yet; see 'dnode events'");
		return true;
	}
	if (dn_drilled_is_detected(drilled)) {
		show_event(call, drilled);
		return true;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "%s; see 'dnode events'",
		    drilled->failed);
	return false;
}

static bool run(DnCall *call, GError **error)
{
	const char *class = dn_call_operand(call, 0), *service = dn_call_operand(call, 1);

	if (dn_call_has(call, "list"))
		return dn_answer_list(call, "/v1/drills", "classes", show_classes, error);
	if (service == NULL) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID,
				    "usage: dnode drill CLASS|all SERVICE, or dnode drill --list");
		return false;
	}
	return strcmp(class, "all") == 0 ? dn_drill_all(call, service, error) : drill(call, error);
}

const DnVerb dn_verb_drill = {
	.noun = "drill",
	.operands = "CLASS|all SERVICE",
	.most = 2,
	.help = "make a harmless drift on purpose and time the answer",
	.more = "One node of the service is cut, frozen and replaced as if the drift were real; "
		"where "
		"the\n"
		"manifest only observes or denies the class, the event that tells of it is shown.\n"
		"With all: a drill of every class in turn, and a report over them.",
	.many = "key",
	.options = {{"list", NULL, "the classes there are drills for"},
		    {"rounds", "N", "with all: how often each class, 1 unless said otherwise"},
		    {"report", "FILE", "with all: every figure and drill, as JSON"},
		    {"key", "KEY",
		     "with all: a responder key that lets each quarantined node go; may be given "
		     "again"},
		    {"reason", "TEXT", "why; it stands in the signed statements"}},
	.run = run,
};
