/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/drill-once.h"

#include <string.h>

#include "base/clock.h"
#include "model/drift.h"
#include "verbs/incident-show.h"

#define KERNEL_NS (10 * DN_NS_PER_S) /* the kernel tells of these at once */
#define AGENT_NS (70 * DN_NS_PER_S)  /* these are found when the node's turn comes */
#define POLL_US (20 * 1000)
#define EVENTS 1000

void dn_drilled_free(DnDrilled *self)
{
	if (self == NULL)
		return;
	g_free(self->class);
	g_free(self->node);
	g_free(self->answer);
	g_free(self->failed);
	g_clear_pointer(&self->incident, json_object_unref);
	g_clear_pointer(&self->event, json_object_unref);
	g_free(self);
}

static bool last_event(DnHttp *http, int64_t *last, GError **error)
{
	g_autoptr(JsonObject) answer = dn_http_get(http, "/v1/events?limit=1", error);
	JsonArray *events = dn_answer_array(answer, "events");

	for (unsigned i = 0; i < dn_answer_length(events); i++)
		*last = MAX(*last, dn_answer_number(dn_answer_at(events, i), "id", 0));
	return answer != NULL;
}

static bool look_for_incident(DnDrilled *self, DnHttp *http, GError **error)
{
	g_autofree char *name = dn_http_escape(self->node);
	g_autofree char *path = g_strconcat("/v1/incidents?node=", name, NULL);
	g_autoptr(JsonObject) answer = dn_http_get(http, path, error);
	JsonObject *found = answer != NULL ? dn_incident_find(answer, self->node) : NULL;

	if (found != NULL) {
		g_clear_pointer(&self->incident, json_object_unref);
		self->incident = json_object_ref(found);
	}
	return answer != NULL;
}

static void judge_event(DnDrilled *self, JsonObject *event)
{
	g_autofree char *kind = g_strconcat("drift.", self->class, NULL);
	const char *text = dn_answer_word(event, "text");

	if (strcmp(dn_answer_word(event, "node"), self->node) != 0)
		return;
	if (strcmp(dn_answer_word(event, "kind"), "drill.failed") == 0 && self->failed == NULL)
		self->failed = g_strdup(text);
	if (strcmp(dn_answer_word(event, "kind"), kind) == 0 && strstr(text, "drill: ") != NULL &&
	    self->event == NULL)
		self->event = json_object_ref(event);
}

static bool look_for_event(DnDrilled *self, DnHttp *http, int64_t *last, GError **error)
{
	g_autofree char *path =
		g_strdup_printf("/v1/events?since=%" G_GINT64_FORMAT "&limit=%d", *last, EVENTS);
	g_autoptr(JsonObject) answer = dn_http_get(http, path, error);
	JsonArray *events = dn_answer_array(answer, "events");

	for (unsigned i = 0; i < dn_answer_length(events); i++) {
		judge_event(self, dn_answer_at(events, i));
		*last = MAX(*last, dn_answer_number(dn_answer_at(events, i), "id", 0));
	}
	return answer != NULL;
}

static bool is_over(const DnDrilled *self)
{
	if (self->incident != NULL)
		return dn_incident_is_replaced(self->incident);
	return self->failed != NULL ||
	       (self->event != NULL && strcmp(self->answer, "quarantine") != 0);
}

/* A node cannot do these to itself, and the kernel does not tell of them. */
static bool is_of_agent(const char *class)
{
	enum dn_drift_class drift = DN_DRIFT_NONE;

	return dn_drift_parse(class, &drift) &&
	       (drift == DN_DRIFT_IMAGE || drift == DN_DRIFT_SENSOR || drift == DN_DRIFT_AGENT);
}

static bool await(DnDrilled *self, DnHttp *http, int64_t last, GError **error)
{
	uint64_t limit = is_of_agent(self->class) ? AGENT_NS : KERNEL_NS;
	uint64_t deadline = dn_clock_monotonic_ns() + limit;

	while (!is_over(self) && dn_clock_monotonic_ns() < deadline) {
		if (!look_for_incident(self, http, error) ||
		    !look_for_event(self, http, &last, error))
			return false;
		if (!is_over(self))
			g_usleep(POLL_US);
	}
	if (!dn_drilled_is_detected(self) && self->failed == NULL)
		self->failed = g_strdup_printf("no incident and no event of %s after %u s",
					       self->node, (unsigned)(limit / DN_NS_PER_S));
	return true;
}

DnDrilled *dn_drill_once(DnHttp *http, const char *class, const char *service, GError **error)
{
	g_autoptr(DnDrilled) self = g_new0(DnDrilled, 1);
	g_autoptr(JsonObject) body = json_object_new();
	int64_t last = 0;

	json_object_set_string_member(body, "class", class);
	json_object_set_string_member(body, "service", service);
	if (!last_event(http, &last, error))
		return NULL;
	g_autoptr(JsonObject) answer = dn_http_post(http, "/v1/drills", body, error);
	if (answer == NULL)
		return NULL;
	JsonObject *ordered = dn_answer_object(answer, "drill");
	const char *say = dn_answer_text(ordered, "answer");
	self->class = g_strdup(class);
	self->node = g_strdup(dn_answer_text(ordered, "node"));
	self->answer = g_strdup(say != NULL ? say : "quarantine");
	if (self->node == NULL) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "the supervisor's answer names no node");
		return NULL;
	}
	return await(self, http, last, error) ? g_steal_pointer(&self) : NULL;
}

bool dn_drilled_is_detected(const DnDrilled *self)
{
	if (self->incident != NULL)
		return strcmp(dn_answer_word(self->incident, "class"), self->class) == 0;
	return self->event != NULL && strcmp(self->answer, "quarantine") != 0;
}

bool dn_drilled_is_denied(const DnDrilled *self)
{
	static const char *const signs[] = {"(system call ", "was refused to ",
					    "; it was killed before its first"};
	const char *finding = self->incident != NULL ? dn_answer_word(self->incident, "detail")
						     : dn_answer_word(self->event, "text");

	for (size_t i = 0; i < G_N_ELEMENTS(signs); i++)
		if (strstr(finding, signs[i]) != NULL)
			return true;
	return false;
}

JsonObject *dn_drilled_document(const DnDrilled *self)
{
	JsonObject *document = dn_json_document();
	JsonObject *drill = json_object_new();

	json_object_set_string_member(drill, "class", self->class);
	json_object_set_string_member(drill, "node", self->node);
	json_object_set_string_member(drill, "answer", self->answer);
	json_object_set_boolean_member(drill, "detected", dn_drilled_is_detected(self));
	if (self->event != NULL)
		json_object_set_object_member(drill, "event", json_object_ref(self->event));
	else
		json_object_set_null_member(drill, "event");
	json_object_set_object_member(document, "drill", drill);
	return document;
}
