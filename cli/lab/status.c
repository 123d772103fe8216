/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "http/client.h"
#include "lab/lab.h"
#include "lab/monitor.h"
#include "lab/record.h"
#include "lab/wires.h"
#include "wire/json.h"

#define LIST_LIMIT 1024
#define TEXT_LIMIT 64

DnLab *dn_lab_find(const char *name, GError **error)
{
	g_autoptr(DnLab) empty = dn_lab_new(name, 0, error);
	g_autoptr(DnLabRecord) record = empty != NULL ? dn_lab_record_load(empty, error) : NULL;

	return record != NULL ? dn_lab_new(name, record->n_hosts, error) : NULL;
}

/* What the supervisor says about host @name, or NULL: it may be down itself. */
static char *state_of(JsonArray *hosts, const char *name)
{
	for (unsigned i = 0; hosts != NULL && i < json_array_get_length(hosts); i++) {
		g_autoptr(GError) cause = NULL;
		JsonObject *host = dn_json_object_at(hosts, i, &cause);
		g_autofree char *found =
			host != NULL ? dn_json_string(host, "name", TEXT_LIMIT, &cause) : NULL;
		if (found != NULL && strcmp(found, name) == 0)
			return dn_json_string(host, "state", TEXT_LIMIT, &cause);
	}
	return NULL;
}

static JsonObject *describe(const DnLab *lab, const char *name, const char *netns,
			    const char *state)
{
	JsonObject *object = json_object_new();
	unsigned restarts = 0;
	/* Daemons end with their monitor; what is left of it may be a number somebody else has. */
	pid_t pid = dn_lab_monitor_pid(lab) != 0 ? dn_lab_pid(lab, name, &restarts) : 0;

	json_object_set_string_member(object, "name", name);
	json_object_set_string_member(object, "netns", netns);
	if (pid > 0)
		json_object_set_int_member(object, "pid", pid);
	else
		json_object_set_null_member(object, "pid");
	json_object_set_int_member(object, "restarts", restarts);
	json_object_set_string_member(object, "state",
				      state != NULL && pid > 0 ? state
				      : pid > 0                ? "running"
							       : "dead");
	return object;
}

static JsonArray *ask_hosts(const DnLab *lab, JsonObject **answer)
{
	g_autofree char *target = g_strconcat("unix:", lab->socket, NULL);
	g_autoptr(GError) cause = NULL;
	g_autoptr(DnHttp) http = dn_http_new(target, &cause);

	*answer = http != NULL ? dn_http_get(http, "/v1/hosts", &cause) : NULL;
	return *answer != NULL ? dn_json_array(*answer, "hosts", LIST_LIMIT, &cause) : NULL;
}

JsonObject *dn_lab_status(const DnLab *lab, GError **error)
{
	g_autoptr(DnLabRecord) record = dn_lab_record_load(lab, error);
	g_autoptr(JsonObject) answer = NULL;

	if (record == NULL)
		return NULL;
	JsonObject *document = dn_json_document();
	JsonArray *hosts = json_array_new(), *known = ask_hosts(lab, &answer);
	JsonObject *supervisor =
		describe(lab, "supervisor", lab->supervisor_netns, known != NULL ? "up" : NULL);
	bool all = dn_lab_monitor_pid(lab) != 0 && known != NULL;
	bool any = dn_lab_monitor_pid(lab) != 0 || dn_lab_wires_has(lab->switch_netns);

	json_object_set_string_member(supervisor, "socket", lab->socket);
	for (unsigned i = 0; i < lab->hosts->len; i++) {
		const DnLabHost *host = lab->hosts->pdata[i];
		g_autofree char *state = state_of(known, host->name);
		JsonObject *item = describe(lab, host->name, host->netns, state);
		json_object_set_string_member(item, "address", host->address);
		json_object_set_string_member(item, "config", host->config);
		g_autofree char *socket = g_build_filename(host->run_dir, "agent.sock", NULL);
		json_object_set_string_member(item, "socket", socket);
		json_array_add_object_element(hosts, item);
		all = all && g_strcmp0(state, "up") == 0;
	}
	json_object_set_string_member(document, "name", lab->name);
	json_object_set_string_member(document, "state",
				      all && any ? "up"
				      : any      ? "partial"
						 : "down");
	json_object_set_string_member(document, "home", lab->home);
	json_object_set_string_member(document, "logs", lab->log_dir);
	json_object_set_string_member(document, "client_netns", lab->client_netns);
	json_object_set_object_member(document, "supervisor", supervisor);
	json_object_set_array_member(document, "hosts", hosts);
	return document;
}
