/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "http/client.h"
#include "lab/command.h"
#include "lab/home.h"
#include "lab/lab.h"
#include "lab/lock.h"
#include "lab/monitor.h"
#include "lab/mounts.h"
#include "lab/record.h"
#include "lab/wires.h"
#include "manifest/cluster-file.h"
#include "wire/json.h"

#define SUPERVISOR_NS (30 * DN_NS_PER_S)
#define HOSTS_NS (60 * DN_NS_PER_S)
#define POLL_US (50 * 1000)
#define FILE_LIMIT (256u << 10)
#define TOKEN_LIMIT 4096
#define STATE_LIMIT 64
#define LIST_LIMIT 1024

static char *read_vip_cidr(const DnLab *lab, GError **error)
{
	g_autofree char *path = g_build_filename(lab->home, "cluster.yaml", NULL);
	g_autoptr(GBytes) bytes = dn_file_read(path, FILE_LIMIT, error);
	g_autoptr(DnCluster) cluster =
		bytes != NULL ? dn_cluster_file_parse(bytes, path, error) : NULL;

	return cluster != NULL ? g_strdup(cluster->vip_cidr) : NULL;
}

/* The supervisor, and of the hosts those that are enrolled. */
static bool list_daemons(const DnLab *lab, const DnLabPrograms *programs, const DnLabRecord *record,
			 GError **error)
{
	g_autoptr(GPtrArray) daemons =
		g_ptr_array_new_with_free_func((GDestroyNotify)dn_lab_daemon_free);
	g_autofree char *state = g_build_filename(lab->state_dir, "supervisor", NULL);
	g_autofree char *run = g_path_get_dirname(lab->socket);
	const char *supervisor[] = {
		programs->supervisor, "--config", lab->home, "--state", state, "--run", run, NULL};

	g_ptr_array_add(daemons,
			dn_lab_daemon_new("supervisor", lab->supervisor_netns, supervisor));
	for (unsigned i = 0; i < lab->hosts->len; i++) {
		const DnLabHost *host = lab->hosts->pdata[i];
		const char *agent[] = {programs->agent, "--config", host->config, NULL};
		if (dn_lab_record_has(record, host->name))
			g_ptr_array_add(daemons, dn_lab_daemon_new(host->name, host->netns, agent));
	}
	return dn_lab_daemons_save(lab, daemons, error);
}

/* The supervisor answers on its socket. */
static bool await_supervisor(const DnLab *lab, DnHttp *http, GError **error)
{
	uint64_t deadline = dn_clock_monotonic_ns() + SUPERVISOR_NS;

	for (;;) {
		g_autoptr(GError) cause = NULL;
		g_autoptr(JsonObject) answer = dn_http_get(http, "/v1/cluster", &cause);
		if (answer != NULL)
			return true;
		if (dn_clock_monotonic_ns() > deadline) {
			g_propagate_prefixed_error(
				error, g_steal_pointer(&cause),
				"the supervisor did not start, see %s/supervisor.log: ",
				lab->log_dir);
			return false;
		}
		g_usleep(POLL_US);
	}
}

static bool enrol(const DnLabPrograms *programs, DnHttp *http, const DnLabHost *host,
		  GError **error)
{
	g_autoptr(JsonObject) body = json_object_new();

	json_object_set_string_member(body, "host", host->name);
	g_autoptr(JsonObject) answer = dn_http_post(http, "/v1/hosts/tokens", body, error);
	g_autofree char *token =
		answer != NULL ? dn_json_string(answer, "token", TOKEN_LIMIT, error) : NULL;
	if (token == NULL)
		return false;
	const char *argv[] = {programs->agent, "--config", host->config, "enrol", token, NULL};
	return dn_command_run(host->netns, argv, NULL, NULL, error);
}

static bool enrol_all(const DnLab *lab, const DnLabPrograms *programs, DnHttp *http,
		      DnLabRecord *record, DnOutput *output, GError **error)
{
	for (unsigned i = 0; i < lab->hosts->len; i++) {
		const DnLabHost *host = lab->hosts->pdata[i];
		if (dn_lab_record_has(record, host->name))
			continue;
		dn_output_progress(output, "lab: enrolling %s", host->name);
		if (!enrol(programs, http, host, error)) {
			g_prefix_error(error, "enrol %s: ", host->name);
			return false;
		}
		g_ptr_array_add(record->enrolled, g_strdup(host->name));
		if (!dn_lab_record_save(lab, record, error))
			return false;
	}
	return true;
}

/* How many hosts the supervisor hears. */
static bool count_up(DnHttp *http, unsigned *up, GError **error)
{
	g_autoptr(JsonObject) answer = dn_http_get(http, "/v1/hosts", error);
	JsonArray *hosts =
		answer != NULL ? dn_json_array(answer, "hosts", LIST_LIMIT, error) : NULL;

	*up = 0;
	for (unsigned i = 0; hosts != NULL && i < json_array_get_length(hosts); i++) {
		g_autoptr(GError) cause = NULL;
		JsonObject *host = dn_json_object_at(hosts, i, &cause);
		g_autofree char *state =
			host != NULL ? dn_json_string(host, "state", STATE_LIMIT, &cause) : NULL;
		*up += g_strcmp0(state, "up") == 0;
	}
	return hosts != NULL;
}

static bool await_hosts(const DnLab *lab, DnHttp *http, GError **error)
{
	uint64_t deadline = dn_clock_monotonic_ns() + HOSTS_NS;
	unsigned up = 0;

	for (;;) {
		if (!count_up(http, &up, error))
			return false;
		if (up >= lab->hosts->len)
			return true;
		if (dn_clock_monotonic_ns() > deadline)
			break;
		g_usleep(POLL_US);
	}
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "%u of %u hosts came up; see the agents' logs in %s", up, lab->hosts->len,
		    lab->log_dir);
	return false;
}

static bool prepare(const DnLab *lab, const DnLabPrograms *programs, DnLabRecord *record,
		    DnOutput *output, GError **error)
{
	/* The record comes first: whatever fails from here on, `down` knows what to undo. */
	if (!dn_file_make_directory(lab->state_dir, 0711, error))
		return false;
	dn_output_progress(output, "lab: mounts and keys");
	if (!dn_lab_mounts_plan(record->mounts, error) || !dn_lab_record_save(lab, record, error) ||
	    !dn_lab_mounts_make(record->mounts, error))
		return false;
	if (!dn_lab_home_make(lab, programs, error) || !dn_lab_home_configure(lab, programs, error))
		return false;
	g_autofree char *vip_cidr = read_vip_cidr(lab, error);
	if (vip_cidr == NULL)
		return false;
	dn_output_progress(output, "lab: namespaces of %u hosts", lab->hosts->len);
	return dn_lab_wires_make(lab, vip_cidr, error);
}

static bool run_daemons(const DnLab *lab, const DnLabPrograms *programs, DnLabRecord *record,
			DnOutput *output, GError **error)
{
	g_autofree char *target = g_strconcat("unix:", lab->socket, NULL);
	g_autoptr(DnHttp) http = dn_http_new(target, error);

	if (http == NULL)
		return false;
	dn_output_progress(output, "lab: starting the supervisor");
	if (!list_daemons(lab, programs, record, error))
		return false;
	if (dn_lab_monitor_pid(lab) == 0 && !dn_lab_monitor_start(lab, programs->dnode, error))
		return false;
	if (!await_supervisor(lab, http, error) ||
	    !enrol_all(lab, programs, http, record, output, error) ||
	    !list_daemons(lab, programs, record, error) || !dn_lab_monitor_reload(lab, error))
		return false;
	dn_output_progress(output, "lab: waiting for the agents");
	return await_hosts(lab, http, error);
}

static bool up(const DnLab *lab, DnOutput *output, GError **error)
{
	g_autoptr(DnLabPrograms) programs = dn_lab_programs_find(error);
	g_autoptr(DnLabRecord) record = programs != NULL ? dn_lab_record_load(lab, error) : NULL;
	if (record == NULL)
		return false;
	if (dn_lab_monitor_pid(lab) != 0 && record->n_hosts != lab->hosts->len) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "the lab is up with %u hosts; take it down first: dnode lab down "
			    "--name %s",
			    record->n_hosts, lab->name);
		return false;
	}
	record->n_hosts = lab->hosts->len;
	return prepare(lab, programs, record, output, error) &&
	       run_daemons(lab, programs, record, output, error);
}

bool dn_lab_up(const DnLab *lab, DnOutput *output, GError **error)
{
	if (!dn_command_need_root(error))
		return false;
	int lock_fd = dn_lab_lock_take(lab, output, error);
	if (lock_fd < 0)
		return false;
	bool done = up(lab, output, error);
	dn_lab_lock_give(lab, lock_fd);
	return done;
}
