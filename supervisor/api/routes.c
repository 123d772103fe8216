/* SPDX-License-Identifier: Apache-2.0 */

/* Every request of docs/formats/api.md, one function each, and the table that names them. */

#include <string.h>

#include "api/internal.h"
#include "base/text.h"
#include "http/failpoints.h"
#include "wire/codec.h"
#include "wire/json.h"
#include "wire/records.h"

enum {
	NAME_LIMIT = 64,
	REASON_LIMIT = 512,
	OBJECTS_LIMIT = 10000,
	METADATA_LIMIT = 64 * 1024,
	STATEMENT_LIMIT = 4096,
	REF_LIMIT = 256,
	LINES_DEFAULT = 100,
	LINES_LIMIT = 10000,
	EVENTS_DEFAULT = 100,
};

static GPtrArray *signatures_of(JsonObject *body, GError **error)
{
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	GError *failed = NULL;
	JsonArray *array = dn_json_array(body, "signatures", DN_SIGNATURES_LIMIT, &failed);

	for (guint i = 0; failed == NULL && i < json_array_get_length(array); i++) {
		GBytes *signature = dn_json_base64_at(array, i, DN_SIGNATURE_LIMIT, &failed);

		if (signature != NULL)
			g_ptr_array_add(signatures, signature);
	}
	if (failed != NULL) {
		g_propagate_error(error, failed);
		return NULL;
	}
	return g_steal_pointer(&signatures);
}

/* ---- the cluster, services ---- */

static void get_cluster(DnApiRequest *request)
{
	dn_http_answer_one(request, "cluster",
			   dn_api_of(request)->ops.cluster(dn_api_of(request)->data));
}

static void list_services(DnApiRequest *request)
{
	g_autoptr(GPtrArray) views = dn_fleet_core_services(dn_api_of(request)->core);
	JsonArray *array = json_array_new();

	for (guint i = 0; i < views->len; i++)
		json_array_add_object_element(array,
					      dn_json_of_service(g_ptr_array_index(views, i)));
	dn_http_answer_list(request, "services", array);
}

static void get_service(DnApiRequest *request)
{
	g_autoptr(DnServiceView) view =
		dn_fleet_core_service(dn_api_of(request)->core, request->argument);

	if (view == NULL)
		dn_http_not_found(request, "service", request->argument, "dnode services");
	else
		dn_http_answer_one(request, "service", dn_json_of_service(view));
}

static void get_manifest(DnApiRequest *request)
{
	g_autoptr(DnServiceView) view =
		dn_fleet_core_service(dn_api_of(request)->core, request->argument);

	if (view == NULL) {
		dn_http_not_found(request, "service", request->argument, "dnode services");
		return;
	}
	JsonObject *document = json_object_new();
	dn_json_set_base64(document, "manifest", view->current->bytes);
	json_object_set_array_member(document, "signatures",
				     dn_json_of_signatures(view->current->signatures));
	dn_json_set_string(document, "digest", view->current->manifest->digest);
	json_object_set_int_member(document, "epoch", (gint64)view->current->manifest->epoch);
	dn_json_set_string(document, "service", view->name);
	dn_http_answer(request, document);
}

static void post_manifest(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autoptr(GBytes) manifest =
		dn_json_base64(request->body, "manifest", DN_MANIFEST_LIMIT, &failed);
	bool plan = dn_json_bool_or(request->body, "plan", false, &failed);
	g_autoptr(GPtrArray) signatures =
		failed == NULL ? signatures_of(request->body, &failed) : NULL;
	g_autoptr(GError) error = failed;

	if (error != NULL)
		dn_http_answer_error(request, error);
	else
		dn_api_of(request)->ops.apply(manifest, signatures, plan, dn_http_defer(request),
					      dn_api_of(request)->data);
}

/* ---- nodes ---- */

static void list_nodes(DnApiRequest *request)
{
	g_autoptr(GPtrArray) nodes =
		dn_fleet_core_nodes(dn_api_of(request)->core, dn_http_query(request, "service"));
	JsonArray *array = json_array_new();

	for (guint i = 0; i < nodes->len; i++)
		json_array_add_object_element(array,
					      dn_record_from_node(g_ptr_array_index(nodes, i)));
	dn_http_answer_list(request, "nodes", array);
}

/* False when it has been answered: there is no such node. */
static bool names_node(DnApiRequest *request)
{
	const DnFleetCore *core = dn_api_of(request)->core;
	const char *silent = dn_fleet_core_silent_host(core);

	if (dn_fleet_core_has_node(core, request->argument))
		return true;
	if (silent == NULL) {
		dn_http_not_found(request, "node", request->argument, "dnode nodes");
		return false;
	}
	g_autofree char *shown = dn_text_printable(request->argument, strlen(request->argument));
	g_autoptr(GError) error = g_error_new(
		DN_ERROR, DN_ERROR_UNAVAILABLE,
		"no node \"%.64s\" is known yet: %s has not told of its nodes since this "
		"supervisor started; try again, see dnode hosts",
		shown, silent);
	dn_http_answer_error(request, error);
	return false;
}

static void get_logs(DnApiRequest *request)
{
	g_autoptr(GError) error = NULL;
	uint64_t lines = LINES_DEFAULT, offset = 0;

	if (!names_node(request))
		return;
	if (dn_http_query_u64(request, "lines", LINES_LIMIT, &lines, &error) &&
	    dn_http_query_u64(request, "offset", DN_EPOCH_LIMIT, &offset, &error))
		dn_api_of(request)->ops.logs(request->argument, (uint32_t)lines, offset,
					     dn_http_defer(request), dn_api_of(request)->data);
	else
		dn_http_answer_error(request, error);
}

static void audit_node(DnApiRequest *request)
{
	if (names_node(request))
		dn_api_of(request)->ops.audit(request->argument, NULL, dn_http_defer(request),
					      dn_api_of(request)->data);
}

static void post_quarantine(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autofree char *reason = dn_json_string(request->body, "reason", REASON_LIMIT, &failed);
	g_autoptr(GError) error = failed;

	if (error == NULL && reason[0] == '\0')
		g_set_error(&error, DN_ERROR, DN_ERROR_INVALID,
			    "reason: say why, for those who read the incident");
	if (error != NULL)
		dn_http_answer_error(request, error);
	else if (names_node(request))
		dn_api_of(request)->ops.quarantine(request->argument, reason,
						   dn_http_defer(request),
						   dn_api_of(request)->data);
}

/* ---- hosts ---- */

static void list_hosts(DnApiRequest *request)
{
	g_autoptr(GPtrArray) views = dn_fleet_core_hosts(dn_api_of(request)->core);
	JsonArray *array = json_array_new();

	for (guint i = 0; i < views->len; i++)
		json_array_add_object_element(array, dn_json_of_host(g_ptr_array_index(views, i)));
	dn_http_answer_list(request, "hosts", array);
}

static void audit_host(DnApiRequest *request)
{
	if (dn_fleet_core_host_cidr(dn_api_of(request)->core, request->argument) == NULL)
		dn_http_not_found(request, "host", request->argument, "dnode hosts");
	else
		dn_api_of(request)->ops.audit(NULL, request->argument, dn_http_defer(request),
					      dn_api_of(request)->data);
}

static void post_token(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autofree char *host = dn_json_string(request->body, "host", NAME_LIMIT, &failed);
	g_autoptr(GError) error = failed;

	if (error != NULL)
		dn_http_answer_error(request, error);
	else
		dn_api_of(request)->ops.token(host, dn_http_defer(request),
					      dn_api_of(request)->data);
}

static void answer_cordon(DnApiRequest *request, bool cordon)
{
	if (dn_fleet_core_host_cidr(dn_api_of(request)->core, request->argument) == NULL)
		dn_http_not_found(request, "host", request->argument, "dnode hosts");
	else
		dn_api_of(request)->ops.cordon(request->argument, cordon, dn_http_defer(request),
					       dn_api_of(request)->data);
}

static void post_cordon(DnApiRequest *request)
{
	answer_cordon(request, true);
}

static void post_uncordon(DnApiRequest *request)
{
	answer_cordon(request, false);
}

static void post_fence(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autofree char *reason = dn_json_string(request->body, "reason", REASON_LIMIT, &failed);
	g_autoptr(GError) error = failed;

	if (error == NULL && reason[0] == '\0')
		g_set_error(&error, DN_ERROR, DN_ERROR_INVALID,
			    "reason: say why, for those who look at the host");
	if (dn_fleet_core_host_cidr(dn_api_of(request)->core, request->argument) == NULL)
		dn_http_not_found(request, "host", request->argument, "dnode hosts");
	else if (error != NULL)
		dn_http_answer_error(request, error);
	else
		dn_api_of(request)->ops.fence(request->argument, reason, dn_http_defer(request),
					      dn_api_of(request)->data);
}

/* ---- drills and incidents ---- */

static void list_drills(DnApiRequest *request)
{
	JsonArray *array = json_array_new();

	for (enum dn_drift_class drift = DN_DRIFT_EXEC; drift < DN_DRIFT_N; drift++) {
		if (!dn_drift_is_watched(drift))
			continue;
		JsonObject *class = json_object_new();
		dn_json_set_string(class, "name", dn_drift_name(drift));
		dn_json_set_string(class, "tier", dn_tier_name(dn_drift_tier(drift)));
		json_array_add_object_element(array, class);
	}
	dn_http_answer_list(request, "classes", array);
}

static void post_drill(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autofree char *class = dn_json_string(request->body, "class", NAME_LIMIT, &failed);
	g_autofree char *service = dn_json_string(request->body, "service", NAME_LIMIT, &failed);
	g_autoptr(GError) error = failed;
	g_autoptr(DnServiceView) view =
		error == NULL ? dn_fleet_core_service(dn_api_of(request)->core, service) : NULL;

	if (error != NULL)
		dn_http_answer_error(request, error);
	else if (view == NULL)
		dn_http_not_found(request, "service", service, "dnode services");
	else
		dn_api_of(request)->ops.drill(class, service, dn_http_defer(request),
					      dn_api_of(request)->data);
}

static void list_incidents(DnApiRequest *request)
{
	g_autoptr(GPtrArray) incidents =
		dn_fleet_core_incidents(dn_api_of(request)->core, dn_http_query(request, "service"),
					dn_http_query(request, "node"));
	JsonArray *array = json_array_new();

	for (guint i = 0; i < incidents->len; i++)
		json_array_add_object_element(
			array, dn_record_from_incident(g_ptr_array_index(incidents, i)));
	JsonObject *document = json_object_new();
	json_object_set_array_member(document, "incidents", array);
	json_object_set_int_member(document, "older",
				   dn_fleet_core_past_incidents(dn_api_of(request)->core,
								dn_http_query(request, "service"),
								dn_http_query(request, "node")));
	dn_http_answer(request, document);
}

static void get_incident(DnApiRequest *request)
{
	const DnIncident *incident =
		dn_fleet_core_incident(dn_api_of(request)->core, request->argument);

	if (incident == NULL && dn_fleet_core_is_past(dn_api_of(request)->core, request->argument))
		dn_api_of(request)->ops.incident(request->argument, dn_http_defer(request),
						 dn_api_of(request)->data);
	else if (incident == NULL)
		dn_http_not_found(request, "incident", request->argument, "dnode incidents");
	else
		dn_http_answer_one(request, "incident", dn_record_from_incident(incident));
}

static void post_destroy(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autoptr(GBytes) statement =
		dn_json_base64(request->body, "statement", STATEMENT_LIMIT, &failed);
	g_autoptr(GPtrArray) signatures =
		failed == NULL ? signatures_of(request->body, &failed) : NULL;
	g_autoptr(GError) error = failed;

	if (error != NULL)
		dn_http_answer_error(request, error);
	else if (dn_fleet_core_incident(dn_api_of(request)->core, request->argument) == NULL &&
		 !dn_fleet_core_is_past(dn_api_of(request)->core, request->argument))
		dn_http_not_found(request, "incident", request->argument, "dnode incidents");
	else
		dn_api_of(request)->ops.destroy(request->argument, statement, signatures,
						dn_http_defer(request), dn_api_of(request)->data);
}

/* ---- events ---- */

static bool wants_stream(const DnApiRequest *request)
{
	const char *accept = soup_message_headers_get_one(
		soup_server_message_get_request_headers(request->message), "Accept");

	return accept != NULL && strstr(accept, "text/event-stream") != NULL;
}

static void list_events(DnApiRequest *request)
{
	uint64_t since = 0, limit = EVENTS_DEFAULT;
	g_autoptr(GError) error = NULL;

	if (wants_stream(request)) {
		dn_stream_begin(request);
		return;
	}
	if (!dn_http_query_u64(request, "since", DN_EPOCH_LIMIT, &since, &error) ||
	    !dn_http_query_u64(request, "limit", DN_EVENTS_LIMIT, &limit, &error)) {
		dn_http_answer_error(request, error);
		return;
	}
	g_autoptr(GPtrArray) events =
		dn_api_of(request)->ops.events(since, (unsigned)limit, dn_api_of(request)->data);
	JsonArray *array = json_array_new();
	for (guint i = 0; i < events->len; i++)
		json_array_add_object_element(array,
					      dn_record_from_event(g_ptr_array_index(events, i)));
	dn_http_answer_list(request, "events", array);
}

/* ---- images ---- */

static void list_images(DnApiRequest *request)
{
	dn_api_of(request)->ops.images(dn_http_defer(request), dn_api_of(request)->data);
}

static void post_missing(DnApiRequest *request)
{
	g_autoptr(GPtrArray) objects = g_ptr_array_new_with_free_func(g_free);
	GError *failed = NULL;
	JsonArray *array = dn_json_array(request->body, "objects", OBJECTS_LIMIT, &failed);

	for (guint i = 0; failed == NULL && i < json_array_get_length(array); i++)
		g_ptr_array_add(objects,
				g_strdup(dn_json_string_at(array, i, NAME_LIMIT * 2, &failed)));
	g_autoptr(GError) error = failed;
	if (error != NULL)
		dn_http_answer_error(request, error);
	else
		dn_api_of(request)->ops.images_missing(objects, dn_http_defer(request),
						       dn_api_of(request)->data);
}

static void put_object(DnApiRequest *request)
{
	dn_api_of(request)->ops.image_object(request->argument, request->spool_fd,
					     dn_http_defer(request), dn_api_of(request)->data);
}

static void post_image(DnApiRequest *request)
{
	GError *failed = NULL;
	g_autofree char *ref = dn_json_string(request->body, "ref", REF_LIMIT, &failed);
	g_autofree char *commit = dn_json_string(request->body, "commit", NAME_LIMIT, &failed);
	g_autoptr(GBytes) metadata =
		dn_json_base64(request->body, "metadata", METADATA_LIMIT, &failed);
	g_autoptr(GError) error = failed;

	if (error != NULL)
		dn_http_answer_error(request, error);
	else
		dn_api_of(request)->ops.image_set(ref, commit, metadata, dn_http_defer(request),
						  dn_api_of(request)->data);
}

const DnHttpRoute dn_api_routes[] = {
	{"GET", "/v1/cluster", DN_BODY_NONE, get_cluster},
	{"GET", "/v1/services", DN_BODY_NONE, list_services},
	{"GET", "/v1/services/*", DN_BODY_NONE, get_service},
	{"GET", "/v1/services/*/manifest", DN_BODY_NONE, get_manifest},
	{"POST", "/v1/manifests", DN_BODY_JSON, post_manifest},
	{"GET", "/v1/nodes", DN_BODY_NONE, list_nodes},
	{"GET", "/v1/nodes/*/audit", DN_BODY_NONE, audit_node},
	{"GET", "/v1/nodes/*/logs", DN_BODY_NONE, get_logs},
	{"POST", "/v1/nodes/*/quarantine", DN_BODY_JSON, post_quarantine},
	{"GET", "/v1/hosts", DN_BODY_NONE, list_hosts},
	{"GET", "/v1/hosts/*/audit", DN_BODY_NONE, audit_host},
	{"POST", "/v1/hosts/tokens", DN_BODY_JSON, post_token},
	{"POST", "/v1/hosts/*/cordon", DN_BODY_JSON, post_cordon},
	{"POST", "/v1/hosts/*/uncordon", DN_BODY_JSON, post_uncordon},
	{"POST", "/v1/hosts/*/fence", DN_BODY_JSON, post_fence},
	{"GET", "/v1/drills", DN_BODY_NONE, list_drills},
	{"POST", "/v1/drills", DN_BODY_JSON, post_drill},
	{"GET", "/v1/incidents", DN_BODY_NONE, list_incidents},
	{"GET", "/v1/incidents/*", DN_BODY_NONE, get_incident},
	{"POST", "/v1/incidents/*/destroy", DN_BODY_JSON, post_destroy},
	{"GET", "/v1/events", DN_BODY_NONE, list_events},
	{"GET", "/v1/images", DN_BODY_NONE, list_images},
	{"POST", "/v1/images", DN_BODY_JSON, post_image},
	{"POST", "/v1/images/missing", DN_BODY_JSON, post_missing},
	{"PUT", "/v1/images/objects/*", DN_BODY_OBJECT, put_object},
	DN_HTTP_FAILPOINT_ROUTES /* in debug builds */
	{NULL, NULL, DN_BODY_NONE, NULL},
};
