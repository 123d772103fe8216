/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/drill-report.h"

#include <string.h>

#include "model/incident.h"
#include "output/table.h"

/* What every quarantine goes through before its replacement serves. */
static const DnStage stages[] = {DN_STAGE_VERDICT,      DN_STAGE_CUT,   DN_STAGE_FROZEN,
				 DN_STAGE_LB_OUT_LOCAL, DN_STAGE_RESET, DN_STAGE_REPLACEMENT_READY};
enum { STAGES = G_N_ELEMENTS(stages) };

typedef struct {
	char *name, *tier, *answer;
	unsigned drills, detected, denied;
	GPtrArray *missed;     /* of char * */
	GArray *times[STAGES]; /* of int64_t, sorted when they are looked at */
	JsonArray *samples;
} Class;

struct DnDrillReport {
	char *service;
	unsigned rounds;
	GPtrArray *classes; /* of Class *, in the order of their first drill */
};

static void class_free(gpointer data)
{
	Class *self = data;

	g_free(self->name);
	g_free(self->tier);
	g_free(self->answer);
	g_ptr_array_unref(self->missed);
	for (unsigned i = 0; i < STAGES; i++)
		g_array_unref(self->times[i]);
	json_array_unref(self->samples);
	g_free(self);
}

DnDrillReport *dn_drill_report_new(const char *service, unsigned rounds)
{
	DnDrillReport *self = g_new0(DnDrillReport, 1);

	self->service = g_strdup(service);
	self->rounds = rounds;
	self->classes = g_ptr_array_new_with_free_func(class_free);
	return self;
}

void dn_drill_report_free(DnDrillReport *self)
{
	if (self == NULL)
		return;
	g_free(self->service);
	g_ptr_array_unref(self->classes);
	g_free(self);
}

static Class *class_of(DnDrillReport *self, const char *tier, const DnDrilled *drilled)
{
	for (guint i = 0; i < self->classes->len; i++) {
		Class *class = g_ptr_array_index(self->classes, i);

		if (strcmp(class->name, drilled->class) == 0)
			return class;
	}
	Class *class = g_new0(Class, 1);
	class->name = g_strdup(drilled->class);
	class->tier = g_strdup(tier);
	class->answer = g_strdup(drilled->answer);
	class->missed = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < STAGES; i++)
		class->times[i] = g_array_new(FALSE, FALSE, sizeof(int64_t));
	class->samples = json_array_new();
	g_ptr_array_add(self->classes, class);
	return class;
}

static void add_stages(Class *class, const DnDrilled *drilled, JsonObject *sample)
{
	JsonObject *reached = dn_answer_object(drilled->incident, "stages");
	g_autoptr(GString) lacking = g_string_new(NULL);

	for (unsigned i = 0; i < STAGES; i++) {
		int64_t us = dn_answer_number(reached, dn_stage_name(stages[i]), -1);

		if (us >= 0)
			g_array_append_val(class->times[i], us);
		else
			g_string_append_printf(lacking, " %s", dn_stage_name(stages[i]));
	}
	if (lacking->len > 0)
		g_ptr_array_add(class->missed,
				g_strdup_printf("%s: not reached:%s", drilled->node, lacking->str));
	if (reached != NULL)
		json_object_set_object_member(sample, "stages", json_object_ref(reached));
}

static void set_text(JsonObject *object, const char *name, JsonObject *from, const char *member)
{
	const char *text = dn_answer_text(from, member);

	if (text != NULL)
		json_object_set_string_member(object, name, text);
	else
		json_object_set_null_member(object, name);
}

void dn_drill_report_add(DnDrillReport *self, const char *tier, const DnDrilled *drilled)
{
	Class *class = class_of(self, tier, drilled);
	JsonObject *sample = json_object_new();
	bool detected = dn_drilled_is_detected(drilled);
	bool denied = detected && dn_drilled_is_denied(drilled);

	class->drills++;
	class->detected += detected;
	class->denied += denied;
	json_object_set_string_member(sample, "node", drilled->node);
	set_text(sample, "incident", drilled->incident, "id");
	set_text(sample, "event", drilled->event, "text");
	json_object_set_boolean_member(sample, "detected", detected);
	json_object_set_boolean_member(sample, "denied", denied);
	if (!detected)
		g_ptr_array_add(
			class->missed,
			drilled->failed != NULL
				? g_strdup(drilled->failed)
				: g_strdup_printf("%s: taken for class %s", drilled->node,
						  dn_answer_word(drilled->incident, "class")));
	else if (drilled->incident != NULL)
		add_stages(class, drilled, sample);
	json_array_add_object_element(class->samples, sample);
}

unsigned dn_drill_report_missed(const DnDrillReport *self)
{
	unsigned missed = 0;

	for (guint i = 0; i < self->classes->len; i++)
		missed += ((Class *)g_ptr_array_index(self->classes, i))->missed->len;
	return missed;
}

static gint compare(gconstpointer a, gconstpointer b)
{
	int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;

	return (one > other) - (one < other);
}

/* The time that @percent of a hundred did not exceed; there is at least one. */
static int64_t quantile(GArray *times, unsigned percent)
{
	g_array_sort(times, compare);
	return g_array_index(times, int64_t, (times->len - 1) * percent / 100);
}

static JsonObject *figures_of(GArray *times)
{
	JsonObject *figures = json_object_new();

	json_object_set_int_member(figures, "n", times->len);
	json_object_set_int_member(figures, "p50", quantile(times, 50));
	json_object_set_int_member(figures, "p95", quantile(times, 95));
	json_object_set_int_member(figures, "max", quantile(times, 100));
	return figures;
}

static JsonObject *class_document(const Class *class)
{
	JsonObject *object = json_object_new();
	JsonObject *figures = json_object_new();
	JsonArray *missed = json_array_new();

	json_object_set_string_member(object, "name", class->name);
	json_object_set_string_member(object, "tier", class->tier);
	json_object_set_string_member(object, "answer", class->answer);
	json_object_set_int_member(object, "drills", class->drills);
	json_object_set_int_member(object, "detected", class->detected);
	json_object_set_int_member(object, "denied", class->denied);
	for (guint i = 0; i < class->missed->len; i++)
		json_array_add_string_element(missed, g_ptr_array_index(class->missed, i));
	json_object_set_array_member(object, "missed", missed);
	for (unsigned i = 0; i < STAGES; i++)
		if (class->times[i]->len > 0)
			json_object_set_object_member(figures, dn_stage_name(stages[i]),
						      figures_of(class->times[i]));
	json_object_set_object_member(object, "stages", figures);
	json_object_set_array_member(object, "samples", json_array_ref(class->samples));
	return object;
}

JsonObject *dn_drill_report_document(const DnDrillReport *self)
{
	JsonObject *document = dn_json_document();
	JsonArray *classes = json_array_new();

	json_object_set_string_member(document, "service", self->service);
	json_object_set_int_member(document, "rounds", self->rounds);
	for (guint i = 0; i < self->classes->len; i++)
		json_array_add_object_element(classes,
					      class_document(g_ptr_array_index(self->classes, i)));
	json_object_set_array_member(document, "classes", classes);
	return document;
}

void dn_drill_report_show(const DnDrillReport *self, DnOutput *output)
{
	static const char *const titles[] = {
		"CLASS",        "ANSWER", "DETECTED",          "DENIED", "VERDICT", "CUT", "FROZEN",
		"LB_OUT_LOCAL", "RESET",  "REPLACEMENT_READY", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	for (guint i = 0; i < self->classes->len; i++) {
		const Class *class = g_ptr_array_index(self->classes, i);

		dn_table_add(table, class->name);
		dn_table_add(table, class->answer);
		dn_table_add_format(table, "%u/%u", class->detected, class->drills);
		dn_table_add_format(table, "%u/%u", class->denied, class->drills);
		for (unsigned stage = 0; stage < STAGES; stage++) {
			GArray *times = class->times[stage];

			if (times->len == 0)
				dn_table_add(table, NULL);
			else
				dn_table_add_format(table, "%.2f/%.2f/%.2f",
						    (double)quantile(times, 50) / 1000,
						    (double)quantile(times, 95) / 1000,
						    (double)quantile(times, 100) / 1000);
		}
	}
	dn_output_table(output, table, "drills");
	dn_output_line(output, "%s", "stages: milliseconds after the event, p50/p95/max");
	for (guint i = 0; i < self->classes->len; i++) {
		const Class *class = g_ptr_array_index(self->classes, i);

		for (guint j = 0; j < class->missed->len; j++)
			dn_output_line(output, "missed: %s: %s", class->name,
				       (const char *)g_ptr_array_index(class->missed, j));
	}
}
