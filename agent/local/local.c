/* SPDX-License-Identifier: Apache-2.0 */
#include "local/local.h"

#include "base/clock.h"
#include "http/failpoints.h"
#include "http/server.h"
#include "wire/json.h"
#include "wire/records.h"

enum {
	SOCKET_MODE = 0600,
	REASON_LIMIT = 512,
	LINES_DEFAULT = 100,
	LINES_LIMIT = 10000,
	EVENTS_DEFAULT = 100,
};

struct DnLocal {
	DnLocalOps ops;
	void *data; /* borrowed, the caller's */
	DnHttpServer *server;
};

static DnLocal *local_of(const DnHttpRequest *request)
{
	return request->owner;
}

static DnHostReport *report_of(const DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);

	return self->ops.report(self->data);
}

/* ---- the host ---- */

static JsonObject *write_capabilities(const DnHostReport *report)
{
	JsonObject *object = json_object_new();
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	g_hash_table_iter_init(&iter, report->capabilities);
	while (g_hash_table_iter_next(&iter, &name, &value))
		dn_json_set_string(object, name, value);
	return object;
}

static unsigned count_open(const GPtrArray *incidents)
{
	unsigned count = 0;

	for (guint i = 0; i < incidents->len; i++)
		if (((const DnIncident *)g_ptr_array_index(incidents, i))->state !=
		    DN_INCIDENT_DESTROYED)
			count++;
	return count;
}

static void list_hosts(DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);
	g_autoptr(DnHostReport) report = report_of(request);
	JsonObject *host = json_object_new();
	JsonArray *list = json_array_new();

	dn_json_set_string(host, "name", report->host);
	dn_json_set_string(host, "state", self->ops.is_linked(self->data) ? "linked" : "alone");
	dn_json_set_string(host, "version", report->version);
	dn_json_set_string(host, "kernel", report->kernel);
	json_object_set_object_member(host, "capabilities", write_capabilities(report));
	json_object_set_int_member(host, "nodes", report->nodes->len);
	json_object_set_int_member(host, "incidents", count_open(report->incidents));
	dn_json_set_time(host, "last_seen", dn_clock_realtime_ns());
	dn_json_set_string(host, "cidr", self->ops.cidr(self->data));
	json_object_set_null_member(host, "address");
	json_array_add_object_element(list, host);
	dn_http_answer_list(request, "hosts", list);
}

/* ---- nodes ---- */

static bool is_wanted(const DnHttpRequest *request, const char *name, const char *value)
{
	const char *wanted = dn_http_query(request, name);

	return wanted == NULL || g_strcmp0(wanted, value) == 0;
}

static void list_nodes(DnHttpRequest *request)
{
	g_autoptr(DnHostReport) report = report_of(request);
	JsonArray *list = json_array_new();

	for (guint i = 0; i < report->nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(report->nodes, i);

		if (is_wanted(request, "service", node->service))
			json_array_add_object_element(list, dn_record_from_node(node));
	}
	dn_http_answer_list(request, "nodes", list);
}

/* False when it has been answered: this host has no such node. */
static bool names_node(DnHttpRequest *request)
{
	g_autoptr(DnHostReport) report = report_of(request);

	for (guint i = 0; i < report->nodes->len; i++)
		if (g_str_equal(((const DnNodeRecord *)g_ptr_array_index(report->nodes, i))->id,
				request->argument))
			return true;
	dn_http_not_found(request, "node on this host", request->argument, "dnode --agent nodes");
	return false;
}

static void post_quarantine(DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);
	GError *failed = NULL;
	g_autofree char *reason = dn_json_string(request->body, "reason", REASON_LIMIT, &failed);
	g_autoptr(GError) error = failed;

	if (error == NULL && reason[0] == '\0')
		g_set_error(&error, DN_ERROR, DN_ERROR_INVALID,
			    "reason: say why, for those who read the incident");
	if (error == NULL && !names_node(request))
		return;
	if (error != NULL)
		dn_http_answer_error(request, error);
	else
		self->ops.quarantine(request->argument, reason, dn_http_defer(request), self->data);
}

/* Not only of nodes that are there: logs outlive them for a while. */
static void get_logs(DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	uint64_t lines = LINES_DEFAULT, offset = 0;

	if (dn_http_query_u64(request, "lines", LINES_LIMIT, &lines, &error) &&
	    dn_http_query_u64(request, "offset", DN_EPOCH_LIMIT, &offset, &error))
		text = self->ops.logs(request->argument, (uint32_t)lines, &offset, self->data,
				      &error);
	if (text == NULL) {
		dn_http_answer_error(request, error);
		return;
	}
	JsonObject *logs = json_object_new();
	dn_json_set_string(logs, "node", request->argument);
	dn_json_set_string(logs, "text", text);
	json_object_set_int_member(logs, "offset", (gint64)offset);
	dn_http_answer_one(request, "logs", logs);
}

static void audit_node(DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);

	if (names_node(request))
		self->ops.audit(request->argument, dn_http_defer(request), self->data);
}

static void audit_host(DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);
	g_autoptr(DnHostReport) report = report_of(request);

	if (g_str_equal(report->host, request->argument))
		self->ops.audit(NULL, dn_http_defer(request), self->data);
	else
		dn_http_not_found(request, "host", request->argument, "dnode --agent hosts");
}

/* ---- incidents, events ---- */

static void list_incidents(DnHttpRequest *request)
{
	g_autoptr(DnHostReport) report = report_of(request);
	JsonArray *list = json_array_new();

	for (guint i = 0; i < report->incidents->len; i++) {
		const DnIncident *incident = g_ptr_array_index(report->incidents, i);

		if (is_wanted(request, "service", incident->service) &&
		    is_wanted(request, "node", incident->node))
			json_array_add_object_element(list, dn_record_from_incident(incident));
	}
	dn_http_answer_list(request, "incidents", list);
}

static void get_incident(DnHttpRequest *request)
{
	g_autoptr(DnHostReport) report = report_of(request);

	for (guint i = 0; i < report->incidents->len; i++) {
		const DnIncident *incident = g_ptr_array_index(report->incidents, i);

		if (!g_str_equal(incident->id, request->argument))
			continue;
		dn_http_answer_one(request, "incident", dn_record_from_incident(incident));
		return;
	}
	dn_http_not_found(request, "incident on this host", request->argument,
			  "dnode --agent incidents");
}

static void list_events(DnHttpRequest *request)
{
	const DnLocal *self = local_of(request);
	uint64_t since = 0, limit = EVENTS_DEFAULT;
	g_autoptr(GError) error = NULL;

	if (!dn_http_query_u64(request, "since", DN_EPOCH_LIMIT, &since, &error) ||
	    !dn_http_query_u64(request, "limit", DN_EVENTS_LIMIT, &limit, &error)) {
		dn_http_answer_error(request, error);
		return;
	}
	g_autoptr(GPtrArray) events = self->ops.events(since, (unsigned)limit, self->data);
	JsonArray *list = json_array_new();
	for (guint i = 0; i < events->len; i++)
		json_array_add_object_element(list,
					      dn_record_from_event(g_ptr_array_index(events, i)));
	dn_http_answer_list(request, "events", list);
}

static const DnHttpRoute routes[] = {
	{"GET", "/v1/hosts", DN_BODY_NONE, list_hosts},
	{"GET", "/v1/hosts/*/audit", DN_BODY_NONE, audit_host},
	{"GET", "/v1/nodes", DN_BODY_NONE, list_nodes},
	{"GET", "/v1/nodes/*/audit", DN_BODY_NONE, audit_node},
	{"GET", "/v1/nodes/*/logs", DN_BODY_NONE, get_logs},
	{"POST", "/v1/nodes/*/quarantine", DN_BODY_JSON, post_quarantine},
	{"GET", "/v1/incidents", DN_BODY_NONE, list_incidents},
	{"GET", "/v1/incidents/*", DN_BODY_NONE, get_incident},
	{"GET", "/v1/events", DN_BODY_NONE, list_events},
	DN_HTTP_FAILPOINT_ROUTES /* in debug builds */
	{NULL, NULL, DN_BODY_NONE, NULL},
};

static void on_crowded(unsigned count, void *owner)
{
	g_warning("%u requests at this agent's socket were turned away or ended for being slow in "
		  "a minute; see which process of root asks so much",
		  count);
}

DnLocal *dn_local_new(const char *socket_path, const DnLocalOps *ops, void *data, GError **error)
{
	g_autoptr(DnLocal) self = g_new0(DnLocal, 1);

	self->ops = *ops;
	self->data = data;
	self->server = dn_http_server_new(&(DnHttpServerConfig){.socket_path = socket_path,
								.mode = SOCKET_MODE,
								.root_only = true,
								.routes = routes,
								.owner = self,
								.crowded = on_crowded},
					  error);
	return self->server != NULL ? g_steal_pointer(&self) : NULL;
}

void dn_local_free(DnLocal *self)
{
	if (self == NULL)
		return;
	dn_http_server_free(self->server);
	g_free(self);
}
