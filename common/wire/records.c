/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/records.h"

#include "base/error.h"
#include "wire/codec.h"
#include "wire/json.h"

enum {
	NAME_LIMIT = 64,
	TEXT_LIMIT = 1024,
	EVENT_LIMIT = 4096,
	SOCKET_LIMIT = 4096,
};

static void set_image(JsonObject *object, const char *ref, const char *commit)
{
	JsonObject *image = json_object_new();

	dn_json_set_string(image, "ref", ref);
	dn_json_set_string(image, "commit", commit);
	json_object_set_object_member(object, "image", image);
}

static void get_image(JsonObject *object, char **ref, char **commit, GError **error)
{
	JsonObject *image = dn_json_object(object, "image", error);

	*ref = dn_json_string_or_null(image, "ref", 256, error);
	*commit = dn_json_string_or_null(image, "commit", NAME_LIMIT, error);
}

JsonObject *dn_record_from_node(const DnNodeRecord *node)
{
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "id", node->id);
	dn_json_set_string(object, "service", node->service);
	dn_json_set_string(object, "host", node->host);
	dn_json_set_string(object, "address", node->address);
	dn_json_set_string(object, "state", dn_node_state_name(node->state));
	dn_json_set_string(object, "health", node->healthy ? "healthy" : "unhealthy");
	dn_json_set_string(object, "role", node->role == DN_ROLE_STANDBY ? "standby" : "active");
	set_image(object, node->image_ref, node->image_commit);
	json_object_set_int_member(object, "epoch", (gint64)node->epoch);
	dn_json_set_string(object, "digest", node->digest);
	dn_json_set_time(object, "started", node->started_ns);
	dn_json_set_string(object, "incident", node->incident);
	return object;
}

DnNodeRecord *dn_record_to_node(JsonObject *object, GError **error)
{
	g_autoptr(DnNodeRecord) node = dn_node_record_new();
	GError *failed = NULL;

	node->id = dn_json_string(object, "id", NAME_LIMIT, &failed);
	node->service = dn_json_string(object, "service", NAME_LIMIT, &failed);
	node->host = dn_json_string(object, "host", NAME_LIMIT, &failed);
	node->address = dn_json_string_or_null(object, "address", NAME_LIMIT, &failed);
	g_autofree char *state = dn_json_string(object, "state", NAME_LIMIT, &failed);
	g_autofree char *health = dn_json_string(object, "health", NAME_LIMIT, &failed);
	g_autofree char *role = dn_json_string(object, "role", NAME_LIMIT, &failed);
	get_image(object, &node->image_ref, &node->image_commit, &failed);
	node->epoch = dn_json_u64(object, "epoch", DN_EPOCH_LIMIT, &failed);
	node->digest = dn_json_string_or_null(object, "digest", NAME_LIMIT, &failed);
	node->started_ns = dn_json_time_or_zero(object, "started", &failed);
	node->incident = dn_json_string_or_null(object, "incident", NAME_LIMIT, &failed);
	if (failed == NULL && !dn_node_state_parse(state, &node->state))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "no node state is called so");
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "node record: ");
		return NULL;
	}
	node->healthy = g_str_equal(health, "healthy");
	node->role = g_str_equal(role, "standby") ? DN_ROLE_STANDBY : DN_ROLE_ACTIVE;
	return g_steal_pointer(&node);
}

static JsonObject *from_stages(const DnIncident *incident)
{
	JsonObject *stages = json_object_new();

	for (unsigned i = 0; i < DN_STAGE_N; i++)
		if (incident->stages_us[i] >= 0)
			json_object_set_int_member(stages, dn_stage_name((DnStage)i),
						   incident->stages_us[i]);
	return stages;
}

static JsonArray *from_strings(const GPtrArray *strings)
{
	JsonArray *array = json_array_sized_new(strings->len);

	for (guint i = 0; i < strings->len; i++)
		json_array_add_string_element(array, g_ptr_array_index(strings, i));
	return array;
}

static JsonArray *from_sockets(const GPtrArray *sockets)
{
	JsonArray *array = json_array_sized_new(sockets->len);

	for (guint i = 0; i < sockets->len; i++) {
		const DnSocketRecord *socket = g_ptr_array_index(sockets, i);
		JsonObject *object = json_object_new();

		dn_json_set_string(object, "protocol", socket->protocol);
		dn_json_set_string(object, "state", socket->state);
		dn_json_set_string(object, "local", socket->local);
		dn_json_set_string(object, "peer", socket->peer);
		json_object_set_boolean_member(object, "accepted", socket->accepted);
		json_object_set_int_member(object, "bytes_sent", (gint64)socket->bytes_sent);
		json_object_set_int_member(object, "bytes_received",
					   (gint64)socket->bytes_received);
		json_object_set_int_member(object, "rtt", socket->rtt_us);
		json_array_add_object_element(array, object);
	}
	return array;
}

static void set_or_null(JsonObject *object, const char *name, int64_t value)
{
	if (value >= 0)
		json_object_set_int_member(object, name, value);
	else
		json_object_set_null_member(object, name);
}

static void from_isolation(JsonObject *object, const DnIncident *incident)
{
	if (incident->isolated_us < 0) {
		json_object_set_null_member(object, "isolated");
		return;
	}
	JsonObject *isolated = json_object_new();
	json_object_set_int_member(isolated, "since", incident->isolated_us);
	set_or_null(isolated, "verified", incident->isolated_verified_us);
	set_or_null(isolated, "until", incident->stages_us[DN_STAGE_CUT]);
	json_object_set_object_member(object, "isolated", isolated);
}

static void from_indicator(JsonObject *object, const DnIncident *incident)
{
	if (incident->indicator_path == NULL && incident->indicator_comm == NULL) {
		json_object_set_null_member(object, "indicator");
		return;
	}
	JsonObject *indicator = json_object_new();
	dn_json_set_text(indicator, "path", incident->indicator_path, TEXT_LIMIT);
	dn_json_set_text(indicator, "comm", incident->indicator_comm, NAME_LIMIT);
	json_object_set_object_member(object, "indicator", indicator);
}

static JsonObject *from_count(const DnSiblings *siblings)
{
	JsonObject *object = json_object_new();

	json_object_set_int_member(object, "looked", siblings->looked);
	json_object_set_int_member(object, "found", siblings->found);
	set_or_null(object, "time_us", siblings->time_us);
	return object;
}

/* What people want to know is the sum; where it comes from stands beside it. */
static void from_siblings(JsonObject *object, const DnIncident *incident)
{
	const DnSiblings *here = &incident->here, *elsewhere = &incident->elsewhere;

	if (here->time_us < 0 && elsewhere->time_us < 0) {
		json_object_set_null_member(object, "siblings");
		return;
	}
	DnSiblings all = {MAX(here->time_us, elsewhere->time_us), here->looked + elsewhere->looked,
			  here->found + elsewhere->found};
	JsonObject *siblings = from_count(&all);
	json_object_set_object_member(siblings, "here", from_count(here));
	json_object_set_object_member(siblings, "elsewhere", from_count(elsewhere));
	json_object_set_object_member(object, "siblings", siblings);
}

JsonObject *dn_record_from_incident(const DnIncident *incident)
{
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "id", incident->id);
	dn_json_set_string(object, "service", incident->service);
	dn_json_set_string(object, "node", incident->node);
	dn_json_set_string(object, "host", incident->host);
	dn_json_set_string(object, "address", incident->address);
	dn_json_set_string(object, "digest", incident->digest);
	dn_json_set_text(object, "class", incident->class, NAME_LIMIT);
	dn_json_set_text(object, "detail", incident->detail, TEXT_LIMIT);
	json_object_set_boolean_member(object, "drill", incident->drill);
	set_image(object, incident->image_ref, incident->image_commit);
	json_object_set_int_member(object, "epoch", (gint64)incident->epoch);
	dn_json_set_time(object, "event_time", incident->event_time_ns);
	dn_json_set_string(object, "state", dn_incident_state_name(incident->state));
	json_object_set_array_member(object, "replacements", from_strings(incident->replacements));
	json_object_set_object_member(object, "stages", from_stages(incident));
	if (incident->first_drop_us >= 0)
		json_object_set_int_member(object, "first_drop", incident->first_drop_us);
	else
		json_object_set_null_member(object, "first_drop");
	json_object_set_int_member(object, "packets_after_cut",
				   (gint64)incident->packets_after_cut);
	from_isolation(object, incident);
	from_indicator(object, incident);
	from_siblings(object, incident);
	dn_json_set_string(object, "attack", incident->attack);
	json_object_set_array_member(object, "sockets", from_sockets(incident->sockets));
	json_object_set_array_member(object, "conntrack", from_strings(incident->conntrack));
	json_object_set_int_member(object, "event_monotonic", (gint64)incident->event_monotonic_ns);
	return object;
}

static void to_strings(JsonObject *object, const char *name, unsigned limit, GPtrArray *strings,
		       GError **error)
{
	JsonArray *array = dn_json_array(object, name, limit, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		const char *text = dn_json_string_at(array, i, TEXT_LIMIT, error);

		if (text != NULL)
			g_ptr_array_add(strings, g_strdup(text));
	}
}

static void to_sockets(JsonObject *object, GPtrArray *sockets, GError **error)
{
	JsonArray *array = dn_json_array(object, "sockets", SOCKET_LIMIT, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		JsonObject *from = dn_json_object_at(array, i, error);
		DnSocketRecord *socket = g_new0(DnSocketRecord, 1);

		g_ptr_array_add(sockets, socket);
		socket->protocol = dn_json_string(from, "protocol", NAME_LIMIT, error);
		socket->state = dn_json_string(from, "state", NAME_LIMIT, error);
		socket->local = dn_json_string(from, "local", NAME_LIMIT, error);
		socket->peer = dn_json_string(from, "peer", NAME_LIMIT, error);
		socket->accepted = dn_json_bool(from, "accepted", error);
		socket->bytes_sent = (uint64_t)dn_json_i64_or(from, "bytes_sent", 0, error);
		socket->bytes_received = (uint64_t)dn_json_i64_or(from, "bytes_received", 0, error);
		socket->rtt_us = (uint32_t)dn_json_i64_or(from, "rtt", 0, error);
	}
}

static void to_stages(JsonObject *object, DnIncident *incident, GError **error)
{
	JsonObject *stages = dn_json_object(object, "stages", error);

	for (unsigned i = 0; stages != NULL && i < DN_STAGE_N; i++)
		incident->stages_us[i] =
			dn_json_i64_or(stages, dn_stage_name((DnStage)i), -1, error);
}

/* A member that records of before there was such a thing lack. */
static JsonObject *object_or_null(JsonObject *object, const char *name, GError **error)
{
	JsonNode *node = object == NULL ? NULL : json_object_get_member(object, name);

	return node == NULL || JSON_NODE_HOLDS_NULL(node) ? NULL
							  : dn_json_object(object, name, error);
}

static void to_count(JsonObject *object, const char *name, DnSiblings *siblings, GError **error)
{
	JsonObject *from = dn_json_object(object, name, error);

	if (from == NULL)
		return;
	siblings->looked = (uint32_t)dn_json_u64(from, "looked", G_MAXUINT32, error);
	siblings->found = (uint32_t)dn_json_u64(from, "found", G_MAXUINT32, error);
	siblings->time_us = dn_json_i64_or(from, "time_us", -1, error);
}

static void to_response(JsonObject *object, DnIncident *incident, GError **error)
{
	JsonObject *isolated = object_or_null(object, "isolated", error);
	JsonObject *indicator = object_or_null(object, "indicator", error);
	JsonObject *siblings = object_or_null(object, "siblings", error);

	if (isolated != NULL) {
		incident->isolated_us = dn_json_i64_or(isolated, "since", -1, error);
		incident->isolated_verified_us = dn_json_i64_or(isolated, "verified", -1, error);
	}
	if (indicator != NULL) {
		incident->indicator_path =
			dn_json_string_or_null(indicator, "path", TEXT_LIMIT, error);
		incident->indicator_comm =
			dn_json_string_or_null(indicator, "comm", NAME_LIMIT, error);
	}
	if (siblings != NULL) {
		to_count(siblings, "here", &incident->here, error);
		to_count(siblings, "elsewhere", &incident->elsewhere, error);
	}
	if (object != NULL && json_object_has_member(object, "attack"))
		incident->attack = dn_json_string_or_null(object, "attack", NAME_LIMIT, error);
}

DnIncident *dn_record_to_incident(JsonObject *object, GError **error)
{
	g_autoptr(DnIncident) incident = dn_incident_new();
	GError *failed = NULL;

	incident->id = dn_json_string(object, "id", NAME_LIMIT, &failed);
	incident->service = dn_json_string(object, "service", NAME_LIMIT, &failed);
	incident->node = dn_json_string(object, "node", NAME_LIMIT, &failed);
	incident->host = dn_json_string(object, "host", NAME_LIMIT, &failed);
	incident->address = dn_json_string_or_null(object, "address", NAME_LIMIT, &failed);
	incident->digest = dn_json_string_or_null(object, "digest", NAME_LIMIT, &failed);
	incident->class = dn_json_string(object, "class", NAME_LIMIT, &failed);
	incident->detail = dn_json_string_or_null(object, "detail", TEXT_LIMIT, &failed);
	incident->drill = dn_json_bool(object, "drill", &failed);
	get_image(object, &incident->image_ref, &incident->image_commit, &failed);
	incident->epoch = dn_json_u64(object, "epoch", DN_EPOCH_LIMIT, &failed);
	incident->event_time_ns = dn_json_time_or_zero(object, "event_time", &failed);
	g_autofree char *state = dn_json_string(object, "state", NAME_LIMIT, &failed);
	to_strings(object, "replacements", SOCKET_LIMIT, incident->replacements, &failed);
	to_stages(object, incident, &failed);
	incident->first_drop_us = dn_json_i64_or(object, "first_drop", -1, &failed);
	incident->packets_after_cut = dn_json_u64(object, "packets_after_cut", G_MAXINT64, &failed);
	to_response(object, incident, &failed);
	to_sockets(object, incident->sockets, &failed);
	to_strings(object, "conntrack", SOCKET_LIMIT, incident->conntrack, &failed);
	incident->event_monotonic_ns =
		(uint64_t)dn_json_i64_or(object, "event_monotonic", 0, &failed);
	if (failed == NULL && !dn_incident_state_parse(state, &incident->state))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "no incident state is called so");
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "incident record: ");
		return NULL;
	}
	return g_steal_pointer(&incident);
}

JsonObject *dn_record_from_event(const DnEvent *event)
{
	JsonObject *object = json_object_new();

	json_object_set_int_member(object, "id", (gint64)event->id);
	json_object_set_int_member(object, "seq", (gint64)event->seq);
	dn_json_set_time(object, "time", event->time_ns);
	dn_json_set_string(object, "kind", event->kind);
	dn_json_set_string(object, "severity", event->severity);
	dn_json_set_string(object, "host", event->host);
	dn_json_set_string(object, "service", event->service);
	dn_json_set_string(object, "node", event->node);
	dn_json_set_string(object, "incident", event->incident);
	dn_json_set_text(object, "text", event->text, EVENT_LIMIT);
	return object;
}

DnEvent *dn_record_to_event(JsonObject *object, GError **error)
{
	g_autoptr(DnEvent) event = dn_event_new(NULL, NULL, NULL);
	GError *failed = NULL;

	event->id = dn_json_u64(object, "id", G_MAXINT64, &failed);
	event->seq = dn_json_u64(object, "seq", G_MAXINT64, &failed);
	event->time_ns = dn_json_time_or_zero(object, "time", &failed);
	event->kind = dn_json_string(object, "kind", NAME_LIMIT, &failed);
	event->severity = dn_json_string(object, "severity", NAME_LIMIT, &failed);
	event->host = dn_json_string_or_null(object, "host", NAME_LIMIT, &failed);
	event->service = dn_json_string_or_null(object, "service", NAME_LIMIT, &failed);
	event->node = dn_json_string_or_null(object, "node", NAME_LIMIT, &failed);
	event->incident = dn_json_string_or_null(object, "incident", NAME_LIMIT, &failed);
	event->text = dn_json_string(object, "text", EVENT_LIMIT, &failed);
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "event record: ");
		return NULL;
	}
	return g_steal_pointer(&event);
}

void dn_record_write_signatures(JsonObject *object, const GPtrArray *signatures)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < signatures->len; i++) {
		gsize length = 0;
		const guchar *data = g_bytes_get_data(g_ptr_array_index(signatures, i), &length);
		g_autofree char *text = g_base64_encode(data, length);

		json_array_add_string_element(array, text);
	}
	json_object_set_array_member(object, "signatures", array);
}

void dn_record_read_signatures(JsonObject *object, GPtrArray *signatures, GError **error)
{
	JsonArray *array = dn_json_array(object, "signatures", DN_SIGNATURES_LIMIT, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		GBytes *bytes = dn_json_base64_at(array, i, DN_SIGNATURE_LIMIT, error);

		if (bytes != NULL)
			g_ptr_array_add(signatures, bytes);
	}
}
