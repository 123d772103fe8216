/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/codec-parts.h"

#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "wire/codec.h"
#include "wire/json.h"
#include "wire/records.h"

enum {
	NAME_LIMIT = 64,
	TEXT_LIMIT = 1024,
	PARTS_LIMIT = 64,
	ENDPOINTS_LIMIT = 16384,
	ROUTES_LIMIT = 1024,
	COUNT_LIMIT = 100000,
};

static JsonObject *write_exposed(const DnExposed *exposed)
{
	JsonObject *object = json_object_new();

	json_object_set_int_member(object, "port", exposed->port);
	dn_json_set_string(object, "protocol", dn_protocol_name(exposed->protocol));
	return object;
}

JsonObject *dn_assign_to_json(const DnAssign *assign)
{
	JsonObject *object = json_object_new();
	JsonArray *exposed = json_array_new();
	JsonArray *parts = json_array_new();
	JsonArray *endpoints = json_array_new();

	for (guint i = 0; i < assign->exposed->len; i++)
		json_array_add_object_element(
			exposed, write_exposed(&g_array_index(assign->exposed, DnExposed, i)));
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);
		JsonObject *to = json_object_new();

		dn_json_set_string(to, "digest", part->digest);
		json_object_set_int_member(to, "epoch", (gint64)part->epoch);
		json_object_set_int_member(to, "running", part->running);
		json_object_set_int_member(to, "standby", part->standby);
		json_array_add_object_element(parts, to);
	}
	for (guint i = 0; i < assign->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(assign->endpoints, i);
		JsonObject *to = json_object_new();

		json_object_set_object_member(to, "expose", write_exposed(&endpoint->expose));
		dn_json_set_string(to, "address", endpoint->address);
		json_object_set_int_member(to, "port", endpoint->port);
		json_array_add_object_element(endpoints, to);
	}
	dn_json_set_string(object, "service", assign->service);
	dn_json_set_string(object, "vip", assign->vip);
	json_object_set_array_member(object, "exposed", exposed);
	json_object_set_array_member(object, "parts", parts);
	json_object_set_array_member(object, "endpoints", endpoints);
	json_object_set_int_member(object, "respawn_grant", assign->respawn_grant);
	return object;
}

static DnExposed read_exposed(JsonObject *object, GError **error)
{
	g_autofree char *protocol = dn_json_string(object, "protocol", NAME_LIMIT, error);
	DnExposed exposed = {.port = (uint16_t)dn_json_u64(object, "port", G_MAXUINT16, error)};

	if (*error == NULL &&
	    (exposed.port == 0 || !dn_protocol_parse(protocol, &exposed.protocol)))
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "a port of a VIP must be 1 to 65535 and tcp or udp");
	return exposed;
}

static void read_all_exposed(JsonObject *object, DnAssign *assign, GError **error)
{
	JsonArray *array = dn_json_array(object, "exposed", DN_ASSIGN_PORTS, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		DnExposed exposed = read_exposed(dn_json_object_at(array, i, error), error);

		if (*error == NULL)
			g_array_append_val(assign->exposed, exposed);
	}
}

static void read_parts(JsonObject *object, DnAssign *assign, GError **error)
{
	JsonArray *array = dn_json_array(object, "parts", PARTS_LIMIT, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		JsonObject *from = dn_json_object_at(array, i, error);
		DnPart *part = g_new0(DnPart, 1);

		g_ptr_array_add(assign->parts, part);
		part->digest = dn_json_string(from, "digest", NAME_LIMIT, error);
		part->epoch = dn_json_u64(from, "epoch", DN_EPOCH_LIMIT, error);
		part->running = (uint32_t)dn_json_u64(from, "running", COUNT_LIMIT, error);
		part->standby = (uint32_t)dn_json_u64(from, "standby", COUNT_LIMIT, error);
	}
}

static void read_endpoints(JsonObject *object, DnAssign *assign, GError **error)
{
	JsonArray *array = dn_json_array(object, "endpoints", ENDPOINTS_LIMIT, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		JsonObject *from = dn_json_object_at(array, i, error);
		DnRemoteEndpoint *endpoint = g_new0(DnRemoteEndpoint, 1);

		g_ptr_array_add(assign->endpoints, endpoint);
		endpoint->expose = read_exposed(dn_json_object(from, "expose", error), error);
		endpoint->address = dn_json_string(from, "address", NAME_LIMIT, error);
		endpoint->port = (uint16_t)dn_json_u64(from, "port", G_MAXUINT16, error);
	}
}

DnAssign *dn_assign_from_json(JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autofree char *service = dn_json_name(object, "service", &failed);
	g_autofree char *vip = dn_json_string(object, "vip", NAME_LIMIT, &failed);
	g_autoptr(DnAssign) assign = dn_assign_new(service, vip);

	read_all_exposed(object, assign, &failed);
	read_parts(object, assign, &failed);
	read_endpoints(object, assign, &failed);
	assign->respawn_grant =
		(uint32_t)dn_json_u64(object, "respawn_grant", COUNT_LIMIT, &failed);
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "assignment: ");
		return NULL;
	}
	return g_steal_pointer(&assign);
}

static void write_routes(JsonObject *object, const GPtrArray *routes)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < routes->len; i++) {
		const DnRoute *route = g_ptr_array_index(routes, i);
		JsonObject *to = json_object_new();

		dn_json_set_string(to, "cidr", route->cidr);
		dn_json_set_string(to, "via", route->via);
		json_array_add_object_element(array, to);
	}
	json_object_set_array_member(object, "routes", array);
}

static void write_body(JsonObject *object, const DnOrder *order)
{
	switch (order->kind) {
	case DN_ORDER_MANIFEST:
		dn_json_set_base64(object, "manifest", order->manifest);
		dn_record_write_signatures(object, order->signatures);
		break;
	case DN_ORDER_ASSIGN:
		json_object_set_object_member(object, "assign", dn_assign_to_json(order->assign));
		break;
	case DN_ORDER_FORGET:
		dn_json_set_string(object, "service", order->service);
		break;
	case DN_ORDER_ROUTES:
		write_routes(object, order->routes);
		break;
	case DN_ORDER_QUARANTINE:
		dn_json_set_string(object, "node", order->node);
		dn_json_set_text(object, "reason", order->reason, TEXT_LIMIT);
		break;
	case DN_ORDER_DRILL:
		dn_json_set_string(object, "node", order->node);
		dn_json_set_string(object, "class", order->class);
		break;
	case DN_ORDER_DESTROY:
		dn_json_set_string(object, "incident", order->incident);
		dn_json_set_base64(object, "statement", order->statement);
		dn_record_write_signatures(object, order->signatures);
		break;
	case DN_ORDER_STAMP:
		dn_json_set_string(object, "incident", order->incident);
		dn_json_set_string(object, "stage", dn_stage_name(order->stage));
		break;
	case DN_ORDER_LOGS:
		dn_json_set_string(object, "node", order->node);
		json_object_set_int_member(object, "lines", order->lines);
		json_object_set_int_member(object, "offset", (gint64)order->offset);
		break;
	case DN_ORDER_AUDIT:
		dn_json_set_string(object, "node", order->node);
		break;
	case DN_ORDER_SWEEP:
		dn_json_set_string(object, "incident", order->incident);
		dn_json_set_string(object, "commit", order->commit);
		dn_json_set_text(object, "class", order->class, NAME_LIMIT);
		dn_json_set_text(object, "path", order->path, TEXT_LIMIT);
		dn_json_set_text(object, "comm", order->comm, NAME_LIMIT);
		json_object_set_boolean_member(object, "drill", order->drill);
		break;
	case DN_ORDER_DROPPED:
		dn_json_set_string(object, "node", order->node);
		break;
	case DN_ORDER_N:
		g_assert_not_reached();
	}
}

JsonObject *dn_codec_write_order(const DnOrder *order)
{
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "type", "order");
	dn_json_set_string(object, "kind", dn_order_kind_name(order->kind));
	dn_json_set_string(object, "cluster", order->cluster);
	json_object_set_int_member(object, "term", (gint64)order->term);
	dn_json_set_string(object, "session", order->session);
	json_object_set_int_member(object, "sequence", (gint64)order->sequence);
	dn_codec_write_head(object, &order->head);
	write_body(object, order);
	return object;
}

static void read_routes(JsonObject *object, GPtrArray *routes, GError **error)
{
	JsonArray *array = dn_json_array(object, "routes", ROUTES_LIMIT, error);

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		JsonObject *from = dn_json_object_at(array, i, error);
		DnRoute *route = g_new0(DnRoute, 1);

		g_ptr_array_add(routes, route);
		route->cidr = dn_json_string(from, "cidr", NAME_LIMIT, error);
		route->via = dn_json_string(from, "via", NAME_LIMIT, error);
	}
}

static void read_stage(JsonObject *object, DnOrder *order, GError **error)
{
	g_autofree char *stage = dn_json_string(object, "stage", NAME_LIMIT, error);

	if (stage != NULL && !dn_stage_parse(stage, &order->stage)) {
		g_autofree char *shown = dn_text_printable(stage, strlen(stage));

		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no stage is called \"%s\"", shown);
	}
}

static void read_body(JsonObject *object, DnOrder *order, GError **error)
{
	switch (order->kind) {
	case DN_ORDER_MANIFEST:
		order->manifest = dn_json_base64(object, "manifest", DN_MANIFEST_LIMIT, error);
		dn_record_read_signatures(object, order->signatures, error);
		break;
	case DN_ORDER_ASSIGN: {
		JsonObject *assign = dn_json_object(object, "assign", error);

		if (assign != NULL)
			order->assign = dn_assign_from_json(assign, error);
		break;
	}
	case DN_ORDER_FORGET:
		order->service = dn_json_name(object, "service", error);
		break;
	case DN_ORDER_ROUTES:
		read_routes(object, order->routes, error);
		break;
	case DN_ORDER_QUARANTINE:
		order->node = dn_json_string(object, "node", NAME_LIMIT, error);
		order->reason = dn_json_string(object, "reason", TEXT_LIMIT, error);
		break;
	case DN_ORDER_DRILL:
		order->node = dn_json_string(object, "node", NAME_LIMIT, error);
		order->class = dn_json_string(object, "class", NAME_LIMIT, error);
		break;
	case DN_ORDER_DESTROY:
		order->incident = dn_json_string(object, "incident", NAME_LIMIT, error);
		order->statement = dn_json_base64(object, "statement", 4096, error);
		dn_record_read_signatures(object, order->signatures, error);
		break;
	case DN_ORDER_STAMP:
		order->incident = dn_json_string(object, "incident", NAME_LIMIT, error);
		read_stage(object, order, error);
		break;
	case DN_ORDER_LOGS:
		order->node = dn_json_string(object, "node", NAME_LIMIT, error);
		order->lines = (uint32_t)dn_json_u64(object, "lines", 10000, error);
		order->offset = dn_json_u64(object, "offset", G_MAXINT64, error);
		break;
	case DN_ORDER_AUDIT:
		order->node = dn_json_string_or_null(object, "node", NAME_LIMIT, error);
		break;
	case DN_ORDER_SWEEP:
		order->incident = dn_json_string(object, "incident", NAME_LIMIT, error);
		order->commit = dn_json_string(object, "commit", NAME_LIMIT, error);
		order->class = dn_json_string(object, "class", NAME_LIMIT, error);
		order->path = dn_json_string_or_null(object, "path", TEXT_LIMIT, error);
		order->comm = dn_json_string_or_null(object, "comm", NAME_LIMIT, error);
		order->drill = dn_json_bool(object, "drill", error);
		break;
	case DN_ORDER_DROPPED:
		order->node = dn_json_string(object, "node", NAME_LIMIT, error);
		break;
	case DN_ORDER_N:
		g_assert_not_reached();
	}
}

static bool parse_kind(const char *name, DnOrderKind *kind)
{
	for (unsigned i = 0; i < DN_ORDER_N; i++)
		if (g_str_equal(dn_order_kind_name((DnOrderKind)i), name)) {
			*kind = (DnOrderKind)i;
			return true;
		}
	return false;
}

DnOrder *dn_codec_read_order(JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autofree char *name = dn_json_string(object, "kind", NAME_LIMIT, &failed);
	DnOrderKind kind = DN_ORDER_N;

	if (failed == NULL && !parse_kind(name, &kind))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "no order is called so");
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "order: ");
		return NULL;
	}
	g_autoptr(DnOrder) order = dn_order_new(kind);
	order->cluster = dn_json_string(object, "cluster", NAME_LIMIT, &failed);
	order->term = dn_json_u64(object, "term", G_MAXINT64, &failed);
	order->session = dn_json_string(object, "session", NAME_LIMIT, &failed);
	order->sequence = dn_json_u64(object, "sequence", G_MAXINT64, &failed);
	dn_codec_read_head(object, &order->head, &failed);
	if (failed == NULL)
		read_body(object, order, &failed);
	if (failed != NULL) {
		g_propagate_prefixed_error(error, failed, "order %s: ", name);
		return NULL;
	}
	return g_steal_pointer(&order);
}
