/* SPDX-License-Identifier: Apache-2.0 */
#include "main/records.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "manifest/manifest.h"
#include "model/budget.h"
#include "wire/codec.h"
#include "wire/json.h"
#include "wire/records.h"

enum {
	NAME_LIMIT = 128,
	ERROR_LIMIT = 4096,
	VALUE_LIMIT = 16 * 1024 * 1024,
	RELEASES_LIMIT = 64,
	HASH_DIGITS = 64,
	FORMER_LIMIT = 1000,
};

static const char *const prefixes[] = {
	[DN_RECORD_SERVICE] = "service/",
	[DN_RECORD_HOST] = "host/",
	[DN_RECORD_TOKEN] = "token/",
	[DN_RECORD_INCIDENT] = "incident/",
};
_Static_assert(G_N_ELEMENTS(prefixes) == DN_RECORD_N, "every kind needs a prefix");

char *dn_record_key(DnRecordKind kind, const char *name)
{
	return g_strconcat(prefixes[kind], name, NULL);
}

char *dn_record_event_key(uint64_t id)
{
	return g_strdup_printf(DN_RECORD_EVENTS "%020" G_GUINT64_FORMAT, id);
}

/* ---- services ---- */

static JsonObject *write_release(const DnReleaseRecord *release)
{
	JsonObject *object = json_object_new();
	JsonArray *signatures = json_array_new();
	JsonArray *shares = json_array_new();
	JsonArray *former = json_array_new();

	dn_json_set_base64(object, "manifest", release->declaration->bytes);
	for (guint i = 0; i < release->declaration->signatures->len; i++) {
		gsize size = 0;
		const guchar *data = g_bytes_get_data(
			g_ptr_array_index(release->declaration->signatures, i), &size);
		g_autofree char *text = g_base64_encode(data, size);

		json_array_add_string_element(signatures, text);
	}
	json_object_set_array_member(object, "signatures", signatures);
	for (guint i = 0; i < release->shares->len; i++) {
		const DnShare *share = g_ptr_array_index(release->shares, i);
		JsonObject *one = json_object_new();

		dn_json_set_string(one, "host", share->host);
		json_object_set_int_member(one, "running", share->running);
		json_object_set_int_member(one, "standby", share->standby);
		json_array_add_object_element(shares, one);
	}
	json_object_set_array_member(object, "shares", shares);
	for (guint i = 0; i < release->former->len; i++)
		json_array_add_string_element(former, g_ptr_array_index(release->former, i));
	json_object_set_array_member(object, "former", former);
	return object;
}

static JsonArray *write_times(const GArray *times)
{
	JsonArray *array = json_array_new();

	for (guint i = 0; i < times->len; i++)
		json_array_add_int_element(array, (gint64)g_array_index(times, uint64_t, i));
	return array;
}

static JsonObject *write_service(const DnServiceRecord *record)
{
	JsonObject *object = dn_json_document();
	JsonArray *releases = json_array_new();

	dn_json_set_string(object, "name", record->name);
	dn_json_set_string(object, "vip", record->vip);
	for (guint i = 0; i < record->releases->len; i++)
		json_array_add_object_element(
			releases, write_release(g_ptr_array_index(record->releases, i)));
	json_object_set_array_member(object, "releases", releases);
	json_object_set_boolean_member(object, "rolling", record->rolling);
	json_object_set_array_member(object, "drills", write_times(record->drills));
	dn_json_set_string(object, "boot", dn_clock_boot_id());
	dn_json_set_time(object, "roll_started", record->roll_started_ns);
	dn_json_set_string(object, "roll_error", record->roll_error);
	return object;
}

static void free_share(gpointer share)
{
	dn_share_free(share);
}

static GPtrArray *read_shares(JsonObject *object, GError **error)
{
	GPtrArray *shares = g_ptr_array_new_with_free_func(free_share);
	GError *failed = NULL;
	JsonArray *array = dn_json_array(object, "shares", DN_FLEET_HOSTS, &failed);

	for (guint i = 0; failed == NULL && i < json_array_get_length(array); i++) {
		JsonObject *one = dn_json_object_at(array, i, &failed);
		g_autofree char *host = dn_json_string(one, "host", NAME_LIMIT, &failed);
		uint64_t running = dn_json_u64(one, "running", UINT32_MAX, &failed);
		uint64_t standby = dn_json_u64(one, "standby", UINT32_MAX, &failed);

		if (failed == NULL)
			g_ptr_array_add(shares,
					dn_share_new(host, (uint32_t)running, (uint32_t)standby));
	}
	if (failed != NULL)
		g_propagate_error(error, failed);
	return shares;
}

static GPtrArray *read_signatures(JsonObject *object, GError **error)
{
	GPtrArray *signatures = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	GError *failed = NULL;
	JsonArray *array = dn_json_array(object, "signatures", DN_SIGNATURES_LIMIT, &failed);

	for (guint i = 0; failed == NULL && i < json_array_get_length(array); i++) {
		GBytes *signature = dn_json_base64_at(array, i, DN_SIGNATURE_LIMIT, &failed);

		if (signature != NULL)
			g_ptr_array_add(signatures, signature);
	}
	if (failed != NULL)
		g_propagate_error(error, failed);
	return signatures;
}

/* Stores of before nodes went on under a later manifest have none. */
static GPtrArray *read_former(JsonObject *object, GError **error)
{
	GPtrArray *former = g_ptr_array_new_with_free_func(g_free);
	JsonArray *array = json_object_has_member(object, "former")
				   ? dn_json_array(object, "former", FORMER_LIMIT, error)
				   : NULL;

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++)
		g_ptr_array_add(former, g_strdup(dn_json_string_at(array, i, HASH_DIGITS, error)));
	return former;
}

static bool read_release(DnServiceRecord *record, JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autoptr(GBytes) bytes = dn_json_base64(object, "manifest", DN_MANIFEST_LIMIT, &failed);
	g_autoptr(GPtrArray) signatures = failed == NULL ? read_signatures(object, &failed) : NULL;
	g_autoptr(GPtrArray) shares = failed == NULL ? read_shares(object, &failed) : NULL;
	g_autoptr(GPtrArray) former = failed == NULL ? read_former(object, &failed) : NULL;
	g_autoptr(DnManifest) manifest =
		failed == NULL ? dn_manifest_parse(bytes, record->name, &failed) : NULL;

	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	g_autoptr(DnDeclaration) declaration = dn_declaration_new(manifest, bytes, signatures);
	dn_service_record_add(record, declaration, shares, former);
	return true;
}

/*
 * Stores of before there was this budget have no "drills"; in those of before there was a "boot"
 * they are times of day. Of another boot they count as ordered when this one began.
 */
static void read_drills(DnServiceRecord *record, JsonObject *object, GError **error)
{
	JsonArray *array = json_object_has_member(object, "drills")
				   ? dn_json_array(object, "drills", DN_BUDGET_LIMIT, error)
				   : NULL;
	g_autofree char *boot = json_object_has_member(object, "boot")
					? dn_json_string(object, "boot", NAME_LIMIT, error)
					: NULL;
	bool is_ours = g_strcmp0(boot, dn_clock_boot_id()) == 0;

	for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
		JsonNode *node = json_array_get_element(array, i);
		gint64 when = is_ours && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_int(node) : 0;
		uint64_t when_ns = (uint64_t)MAX(when, 0);

		g_array_append_val(record->drills, when_ns);
	}
}

static bool restore_service(DnFleetCore *core, JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autofree char *name = dn_json_string(object, "name", NAME_LIMIT, &failed);
	g_autofree char *vip = dn_json_string(object, "vip", NAME_LIMIT, &failed);
	JsonArray *releases = dn_json_array(object, "releases", RELEASES_LIMIT, &failed);
	g_autoptr(DnServiceRecord) record = dn_service_record_new(name, vip);

	record->rolling = dn_json_bool(object, "rolling", &failed);
	record->roll_started_ns = dn_json_time_or_zero(object, "roll_started", &failed);
	record->roll_error = dn_json_string_or_null(object, "roll_error", ERROR_LIMIT, &failed);
	if (failed == NULL)
		read_drills(record, object, &failed);
	for (guint i = 0; failed == NULL && i < json_array_get_length(releases); i++) {
		JsonObject *release = dn_json_object_at(releases, i, &failed);

		if (release != NULL && !read_release(record, release, &failed))
			break;
	}
	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	return dn_fleet_core_restore_service(core, record, error);
}

/* ---- hosts, tokens ---- */

static JsonObject *write_host(const DnHostRecord *record)
{
	JsonObject *object = dn_json_document();
	g_autoptr(GBytes) key = g_bytes_new(record->key, sizeof(record->key));

	dn_json_set_string(object, "name", record->name);
	dn_json_set_base64(object, "key", key);
	dn_json_set_string(object, "cidr", record->cidr);
	dn_json_set_string(object, "address", record->address);
	json_object_set_boolean_member(object, "cordoned", record->cordoned);
	dn_json_set_string(object, "suspect", record->suspect);
	dn_json_set_string(object, "fenced", record->fenced);
	dn_json_set_string(object, "spool", record->spool);
	json_object_set_int_member(object, "stored", (gint64)record->stored);
	return object;
}

static bool restore_host(DnFleetCore *core, JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autofree char *name = dn_json_string(object, "name", NAME_LIMIT, &failed);
	g_autoptr(GBytes) key = dn_json_base64(object, "key", DN_PUBLIC_KEY_BYTES, &failed);
	g_autofree char *cidr = dn_json_string(object, "cidr", NAME_LIMIT, &failed);
	g_autofree char *address = dn_json_string_or_null(object, "address", NAME_LIMIT, &failed);
	bool cordoned = dn_json_bool_or(object, "cordoned", false, &failed);
	g_autofree char *suspect = dn_json_string_or_null(object, "suspect", ERROR_LIMIT, &failed);
	g_autofree char *fenced = dn_json_string_or_null(object, "fenced", ERROR_LIMIT, &failed);
	g_autofree char *spool = dn_json_string_or_null(object, "spool", NAME_LIMIT, &failed);
	int64_t stored = dn_json_i64_or(object, "stored", 0, &failed);

	if (failed == NULL && g_bytes_get_size(key) != DN_PUBLIC_KEY_BYTES)
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "key: not %d bytes",
			    DN_PUBLIC_KEY_BYTES);
	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	g_autoptr(DnHostRecord) record =
		dn_host_record_new(name, g_bytes_get_data(key, NULL), cidr, address);
	record->cordoned = cordoned;
	record->suspect = g_steal_pointer(&suspect);
	record->fenced = g_steal_pointer(&fenced);
	record->spool = g_steal_pointer(&spool);
	record->stored = (uint64_t)MAX(stored, 0);
	return dn_fleet_core_restore_host(core, record, error);
}

static JsonObject *write_token(const DnTokenRecord *record)
{
	JsonObject *object = dn_json_document();

	dn_json_set_string(object, "hash", record->hash);
	dn_json_set_string(object, "host", record->host);
	dn_json_set_time(object, "expires", record->expires_ns);
	return object;
}

static bool restore_token(DnFleetCore *core, JsonObject *object, GError **error)
{
	GError *failed = NULL;
	g_autofree char *hash = dn_json_string(object, "hash", HASH_DIGITS, &failed);
	g_autofree char *host = dn_json_string(object, "host", NAME_LIMIT, &failed);
	uint64_t expires_ns = dn_json_time_or_zero(object, "expires", &failed);

	if (failed != NULL) {
		g_propagate_error(error, failed);
		return false;
	}
	g_autoptr(DnTokenRecord) record = dn_token_record_new(hash, host, expires_ns);
	dn_fleet_core_restore_token(core, record);
	return true;
}

static bool restore_incident(DnFleetCore *core, JsonObject *object, GError **error)
{
	g_autoptr(DnIncident) incident = dn_record_to_incident(object, error);

	if (incident == NULL)
		return false;
	dn_fleet_core_restore_incident(core, incident);
	return true;
}

/* ---- all of them ---- */

static JsonObject *write_record(const DnFleetCore *core, DnRecordKind kind, const char *name)
{
	g_autoptr(DnServiceRecord) service = NULL;
	g_autoptr(DnHostRecord) host = NULL;
	g_autoptr(DnTokenRecord) token = NULL;
	const DnIncident *incident = NULL;

	switch (kind) {
	case DN_RECORD_SERVICE:
		service = dn_fleet_core_service_record(core, name);
		return service == NULL ? NULL : write_service(service);
	case DN_RECORD_HOST:
		host = dn_fleet_core_host_record(core, name);
		return host == NULL ? NULL : write_host(host);
	case DN_RECORD_TOKEN:
		token = dn_fleet_core_token_record(core, name);
		return token == NULL ? NULL : write_token(token);
	case DN_RECORD_INCIDENT:
		incident = dn_fleet_core_incident(core, name);
		return incident == NULL ? NULL : dn_record_from_incident(incident);
	case DN_RECORD_N:
		break;
	}
	return NULL;
}

GBytes *dn_record_encode(const DnFleetCore *core, DnRecordKind kind, const char *name)
{
	JsonObject *object = write_record(core, kind, name);

	return object == NULL ? NULL : dn_json_print(object);
}

GBytes *dn_record_encode_event(const DnEvent *event)
{
	return dn_json_print(dn_record_from_event(event));
}

DnEvent *dn_record_decode_event(GBytes *value, GError **error)
{
	JsonObject *object = dn_json_parse(value, VALUE_LIMIT, error);

	if (object == NULL)
		return NULL;
	DnEvent *event = dn_record_to_event(object, error);
	json_object_unref(object);
	return event;
}

bool dn_record_restore(DnFleetCore *core, const char *key, GBytes *value, GError **error)
{
	static bool (*const restore[])(DnFleetCore *, JsonObject *, GError **) = {
		[DN_RECORD_SERVICE] = restore_service,
		[DN_RECORD_HOST] = restore_host,
		[DN_RECORD_TOKEN] = restore_token,
		[DN_RECORD_INCIDENT] = restore_incident,
	};
	_Static_assert(G_N_ELEMENTS(restore) == DN_RECORD_N, "every kind needs its reader");

	for (unsigned kind = 0; kind < DN_RECORD_N; kind++) {
		if (!g_str_has_prefix(key, prefixes[kind]))
			continue;
		JsonObject *object = dn_json_parse(value, VALUE_LIMIT, error);
		bool done = object != NULL && restore[kind](core, object, error);

		g_clear_pointer(&object, json_object_unref);
		if (!done)
			g_prefix_error(error, "store: %s: ", key);
		return done;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "store: %s: a later version of the supervisor wrote this; use that version",
		    key);
	return false;
}
