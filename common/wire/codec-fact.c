/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/codec-parts.h"

#include "base/error.h"
#include "base/text.h"
#include "wire/json.h"
#include "wire/records.h"

enum { NAME_LIMIT = 64, TEXT_LIMIT = 1024, NODES_LIMIT = 1024, SERVICES_LIMIT = 10000 };

static const char *const kind_names[] = {
	[DN_FACT_REPORT] = "report",       [DN_FACT_NODE] = "node",
	[DN_FACT_NODE_GONE] = "node-gone", [DN_FACT_INCIDENT] = "incident",
	[DN_FACT_EVENT] = "event",         [DN_FACT_HEARTBEAT] = "heartbeat",
};
_Static_assert(G_N_ELEMENTS(kind_names) == DN_FACT_N, "every kind needs a name");

JsonObject *dn_codec_write_epochs(GHashTable *epochs)
{
	JsonObject *object = json_object_new();
	GHashTableIter iter;
	gpointer service = NULL, epoch = NULL;

	g_hash_table_iter_init(&iter, epochs);
	while (g_hash_table_iter_next(&iter, &service, &epoch))
		json_object_set_int_member(object, service, (gint64) * (const uint64_t *)epoch);
	return object;
}

void dn_codec_read_epochs(JsonObject *object, const char *name, GHashTable *epochs, GError **error)
{
	JsonObject *from = dn_json_object(object, name, error);
	g_autoptr(GList) services = from == NULL ? NULL : json_object_get_members(from);

	if (from != NULL && json_object_get_size(from) > SERVICES_LIMIT) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "\"%s\" has too many members",
			    name);
		return;
	}
	for (GList *i = services; i != NULL; i = i->next) {
		uint64_t epoch = dn_json_u64(from, i->data, DN_EPOCH_LIMIT, error);

		if (*error == NULL && !dn_text_is_name(i->data))
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "\"%s\" has a member that is no service's name", name);
		g_hash_table_insert(epochs, g_strdup(i->data), g_memdup2(&epoch, sizeof(epoch)));
	}
}

static JsonObject *write_report(const DnHostReport *report)
{
	JsonObject *object = json_object_new();
	JsonObject *capabilities = json_object_new();
	JsonArray *nodes = json_array_new();
	JsonArray *incidents = json_array_new();
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	g_hash_table_iter_init(&iter, report->capabilities);
	while (g_hash_table_iter_next(&iter, &name, &value))
		dn_json_set_text(capabilities, name, value, TEXT_LIMIT);
	for (guint i = 0; i < report->nodes->len; i++)
		json_array_add_object_element(
			nodes, dn_record_from_node(g_ptr_array_index(report->nodes, i)));
	for (guint i = 0; i < report->incidents->len; i++)
		json_array_add_object_element(incidents, dn_record_from_incident(g_ptr_array_index(
								 report->incidents, i)));
	dn_json_set_string(object, "host", report->host);
	dn_json_set_string(object, "version", report->version);
	dn_json_set_string(object, "kernel", report->kernel);
	dn_json_set_string(object, "boot_id", report->boot_id);
	json_object_set_object_member(object, "capabilities", capabilities);
	json_object_set_int_member(object, "slots", report->slots);
	json_object_set_int_member(object, "slots_used", report->slots_used);
	json_object_set_array_member(object, "nodes", nodes);
	json_object_set_array_member(object, "incidents", incidents);
	json_object_set_object_member(object, "epochs", dn_codec_write_epochs(report->epochs));
	return object;
}

static void read_capabilities(JsonObject *object, GHashTable *capabilities, GError **error)
{
	JsonObject *from = dn_json_object(object, "capabilities", error);
	g_autoptr(GList) names = from == NULL ? NULL : json_object_get_members(from);
	unsigned left = NAME_LIMIT;

	for (GList *i = names; i != NULL && left > 0; i = i->next, left--) {
		char *value = dn_json_string(from, i->data, TEXT_LIMIT, error);

		if (value != NULL && strlen(i->data) <= NAME_LIMIT)
			g_hash_table_insert(capabilities, g_strdup(i->data), value);
		else
			g_free(value);
	}
}

static void read_lists(JsonObject *object, DnHostReport *report, GError **error)
{
	JsonArray *nodes = dn_json_array(object, "nodes", NODES_LIMIT, error);
	JsonArray *incidents = dn_json_array(object, "incidents", NODES_LIMIT, error);

	for (guint i = 0; nodes != NULL && *error == NULL && i < json_array_get_length(nodes);
	     i++) {
		JsonObject *from = dn_json_object_at(nodes, i, error);
		DnNodeRecord *node = from == NULL ? NULL : dn_record_to_node(from, error);

		if (node != NULL)
			g_ptr_array_add(report->nodes, node);
	}
	for (guint i = 0;
	     incidents != NULL && *error == NULL && i < json_array_get_length(incidents); i++) {
		JsonObject *from = dn_json_object_at(incidents, i, error);
		DnIncident *incident = from == NULL ? NULL : dn_record_to_incident(from, error);

		if (incident != NULL)
			g_ptr_array_add(report->incidents, incident);
	}
}

static DnHostReport *read_report(JsonObject *object, GError **error)
{
	DnHostReport *report = dn_host_report_new();

	report->host = dn_json_string(object, "host", NAME_LIMIT, error);
	report->version = dn_json_string(object, "version", NAME_LIMIT, error);
	report->kernel = dn_json_string(object, "kernel", 256, error);
	report->boot_id = dn_json_string(object, "boot_id", NAME_LIMIT, error);
	read_capabilities(object, report->capabilities, error);
	report->slots = (uint32_t)dn_json_u64(object, "slots", NODES_LIMIT, error);
	report->slots_used = (uint32_t)dn_json_u64(object, "slots_used", NODES_LIMIT, error);
	read_lists(object, report, error);
	dn_codec_read_epochs(object, "epochs", report->epochs, error);
	return report;
}

JsonObject *dn_codec_write_fact(const DnFact *fact)
{
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "type", "fact");
	dn_json_set_string(object, "kind", kind_names[fact->kind]);
	json_object_set_int_member(object, "seq", (gint64)fact->seq);
	if (fact->spool != NULL) {
		dn_json_set_string(object, "spool", fact->spool);
		json_object_set_int_member(object, "number", (gint64)fact->number);
		json_object_set_int_member(object, "previous", (gint64)fact->previous);
	}
	switch (fact->kind) {
	case DN_FACT_REPORT:
		json_object_set_object_member(object, "report", write_report(fact->report));
		break;
	case DN_FACT_NODE:
		json_object_set_object_member(object, "node", dn_record_from_node(fact->node));
		break;
	case DN_FACT_NODE_GONE:
		dn_json_set_string(object, "id", fact->id);
		break;
	case DN_FACT_INCIDENT:
		json_object_set_object_member(object, "incident",
					      dn_record_from_incident(fact->incident));
		break;
	case DN_FACT_EVENT:
		json_object_set_object_member(object, "event", dn_record_from_event(fact->event));
		break;
	case DN_FACT_HEARTBEAT:
		dn_codec_write_head(object, &fact->head);
		break;
	case DN_FACT_N:
		g_assert_not_reached();
	}
	return object;
}

static void read_body(JsonObject *object, DnFact *fact, GError **error)
{
	JsonObject *body = NULL;

	switch (fact->kind) {
	case DN_FACT_REPORT:
		body = dn_json_object(object, "report", error);
		if (body != NULL)
			fact->report = read_report(body, error);
		break;
	case DN_FACT_NODE:
		body = dn_json_object(object, "node", error);
		if (body != NULL)
			fact->node = dn_record_to_node(body, error);
		break;
	case DN_FACT_NODE_GONE:
		fact->id = dn_json_string(object, "id", NAME_LIMIT, error);
		break;
	case DN_FACT_INCIDENT:
		body = dn_json_object(object, "incident", error);
		if (body != NULL)
			fact->incident = dn_record_to_incident(body, error);
		break;
	case DN_FACT_EVENT:
		body = dn_json_object(object, "event", error);
		if (body != NULL)
			fact->event = dn_record_to_event(body, error);
		break;
	case DN_FACT_HEARTBEAT:
		dn_codec_read_head(object, &fact->head, error);
		break;
	case DN_FACT_N:
		g_assert_not_reached();
	}
}

static DnFactKind parse_kind(const char *name)
{
	unsigned kind = 0;

	while (kind < DN_FACT_N && (name == NULL || !g_str_equal(kind_names[kind], name)))
		kind++;
	return (DnFactKind)kind;
}

DnFact *dn_codec_read_fact(JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autofree char *name = dn_json_string(object, "kind", NAME_LIMIT, &failed);
	DnFactKind kind = parse_kind(name);

	if (failed == NULL && kind == DN_FACT_N)
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "no fact is called so");
	g_autoptr(DnFact) fact = dn_fact_new(kind);
	fact->seq = dn_json_u64(object, "seq", G_MAXINT64, &failed);
	fact->spool = dn_json_string_or_null(object, "spool", NAME_LIMIT, &failed);
	if (fact->spool != NULL) {
		fact->number = dn_json_u64(object, "number", G_MAXINT64, &failed);
		fact->previous = dn_json_u64(object, "previous", G_MAXINT64, &failed);
	}
	if (failed == NULL)
		read_body(object, fact, &failed);
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "fact: ");
		return NULL;
	}
	return g_steal_pointer(&fact);
}
