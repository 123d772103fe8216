/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"
#include "api/internal.h"

static void set_image(JsonObject *object, const DnManifest *manifest)
{
	if (manifest->image_ref == NULL) {
		json_object_set_null_member(object, "image");
		return;
	}
	JsonObject *image = json_object_new();
	dn_json_set_string(image, "ref", manifest->image_ref);
	dn_json_set_string(image, "commit", manifest->image_commit);
	json_object_set_object_member(object, "image", image);
}

static JsonArray *ports_of(const DnManifest *manifest)
{
	JsonArray *ports = json_array_new();

	for (guint i = 0; i < manifest->listen->len; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);
		JsonObject *port = json_object_new();

		json_object_set_int_member(port, "expose", listen->expose);
		json_object_set_int_member(port, "port", listen->port);
		dn_json_set_string(port, "protocol",
				   listen->protocol == DN_PROTOCOL_UDP ? "udp" : "tcp");
		json_array_add_object_element(ports, port);
	}
	return ports;
}

static void set_rolling(JsonObject *object, const DnServiceView *view)
{
	if (!view->rolling) {
		json_object_set_null_member(object, "rolling");
		return;
	}
	JsonObject *rolling = json_object_new();
	json_object_set_int_member(rolling, "epoch", (gint64)view->current->manifest->epoch);
	json_object_set_int_member(rolling, "ready", view->roll_ready);
	json_object_set_int_member(rolling, "wanted", view->current->manifest->replicas);
	dn_json_set_time(rolling, "started", view->roll_started_ns);
	dn_json_set_string(rolling, "error", view->roll_error);
	json_object_set_object_member(object, "rolling", rolling);
}

JsonObject *dn_json_of_service(const DnServiceView *view)
{
	const DnManifest *manifest = view->current->manifest;
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "name", view->name);
	dn_json_set_string(object, "vip", view->vip);
	if (manifest->listen->len > 0)
		json_object_set_int_member(object, "port",
					   g_array_index(manifest->listen, DnListen, 0).expose);
	else
		json_object_set_null_member(object, "port");
	json_object_set_array_member(object, "ports", ports_of(manifest));
	json_object_set_int_member(object, "epoch", (gint64)manifest->epoch);
	dn_json_set_string(object, "digest", manifest->digest);
	set_image(object, manifest);
	json_object_set_int_member(object, "replicas", manifest->removed ? 0 : manifest->replicas);
	json_object_set_int_member(object, "ready", view->ready);
	json_object_set_int_member(object, "standby", view->standby);
	dn_json_set_string(object, "state", dn_service_state_name(view->state));
	set_rolling(object, view);
	dn_json_set_string(object, "why", view->why);
	return object;
}

JsonObject *dn_json_of_host(const DnHostView *view)
{
	JsonObject *object = json_object_new();
	JsonObject *capabilities = json_object_new();
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(view->capabilities),
					     (GCompareFunc)(void (*)(void))g_strcmp0);

	for (GList *at = names; at != NULL; at = at->next)
		dn_json_set_string(capabilities, at->data,
				   g_hash_table_lookup(view->capabilities, at->data));
	dn_json_set_string(object, "name", view->name);
	dn_json_set_string(object, "state", dn_host_state_name(view->state));
	json_object_set_boolean_member(object, "cordoned", view->cordoned);
	dn_json_set_string(object, "suspect", view->suspect);
	dn_json_set_string(object, "fenced", view->fenced);
	dn_json_set_string(object, "version", view->version);
	dn_json_set_string(object, "kernel", view->kernel);
	json_object_set_object_member(object, "capabilities", capabilities);
	json_object_set_int_member(object, "nodes", view->nodes);
	json_object_set_int_member(object, "incidents", view->incidents);
	dn_json_set_time(object, "last_seen", view->last_seen_ns);
	dn_json_set_string(object, "cidr", view->cidr);
	dn_json_set_string(object, "address", view->address);
	return object;
}

JsonArray *dn_json_of_signatures(GPtrArray *signatures)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < signatures->len; i++) {
		GBytes *bytes = g_ptr_array_index(signatures, i);
		gsize size = 0;
		const guchar *data = g_bytes_get_data(bytes, &size);
		g_autofree char *text = g_base64_encode(data, size);

		json_array_add_string_element(array, text);
	}
	return array;
}
