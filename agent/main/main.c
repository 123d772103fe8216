/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/check.h"
#include "main/damage.h"
#include "main/guard.h"
#include "main/incident.h"
#include "main/journal.h"
#include "main/state.h"
#include "main/watch.h"

#include <dnode/version.h>
#include <errno.h>
#include <glib-unix.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/notify.h"
#include "base/text.h"

enum { HEARTBEAT_S = 2, FILES = 65536 };

static uint64_t get_term(void *data)
{
	Agent *agent = data;

	return agent->envelope.term;
}

static const char *draw_session(void *data)
{
	Agent *agent = data;
	g_autofree char *session = dn_id_new(16);

	g_strlcpy(agent->session, session, sizeof(agent->session));
	dn_envelope_begin(&agent->envelope, agent->session);
	return agent->session;
}

static void on_link_closed(const char *reason, void *data)
{
	Agent *agent = data;

	agent->linked = false;
	dn_agent_journal_link_closed(agent);
	dn_report_link_closed(agent);
	g_message("no link to the supervisor: %s", reason);
}

static gboolean on_heartbeat(gpointer data)
{
	Agent *agent = data;
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_HEARTBEAT);

	if (agent->journal != NULL)
		fact->head = dn_journal_head(agent->journal);
	dn_uplink_send_fact(agent->uplink, fact);
	dn_report_tick(agent);
	dn_past_tick(agent);
	dn_isolation_tick(agent);
	dn_floor_tick(agent);
	dn_disk_tick(agent);
	dn_balance_tick(agent);
	dn_agent_tend_journal(agent);
	dn_gap_look(agent);
	/* Deadlines that no event announces: start deadlines, replace_after. */
	dn_agent_settle(agent);
	return G_SOURCE_CONTINUE;
}

static gboolean on_terminate(gpointer data)
{
	Agent *agent = data;

	g_main_loop_quit(agent->loop);
	return G_SOURCE_CONTINUE;
}

static void read_host(Agent *agent)
{
	struct utsname host = {0};

	(void)uname(&host);
	agent->kernel = g_strdup(host.release);
	agent->boot_id = g_strdup(dn_clock_boot_id());
}

static void free_manifest(gpointer manifest)
{
	dn_manifest_unref(manifest);
}

static void free_service(gpointer service)
{
	dn_service_free(service);
}

static void free_incident(gpointer incident)
{
	dn_incident_free(incident);
}

static Agent *agent_new(DnInstance *instance)
{
	Agent *agent = g_new0(Agent, 1);

	agent->instance = instance;
	agent->epochs = dn_epochs_new();
	agent->manifests = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_manifest);
	agent->services = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_service);
	agent->incidents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_incident);
	agent->unread = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	agent->udp = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	agent->images = dn_image_table_new();
	agent->loop = g_main_loop_new(NULL, FALSE);
	g_mutex_init(&agent->store_lock);
	read_host(agent);
	return agent;
}

/* Nodes, programs and table stay: they outlive the agent. */
static void agent_free(Agent *agent)
{
	g_clear_pointer(&agent->local, dn_local_free);
	dn_agent_close_journal(agent);
	g_clear_pointer(&agent->uplink, dn_uplink_free);
	/* What a worker still uses goes with the process, which is about to end. */
	if (!dn_work_is_done(agent)) {
		dn_disk_close(agent);
		return;
	}
	dn_damage_stop(agent);
	dn_guard_stop(agent);
	dn_cut_close(agent);
	dn_disk_close(agent);
	dn_spares_close(agent);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		dn_node_free(agent->slots[i]);
	if (agent->settle != NULL)
		g_source_destroy(agent->settle);
	g_clear_pointer(&agent->settle, g_source_unref);
	dn_source_clear(&agent->retry);
	dn_report_close(agent);
	while (!g_queue_is_empty(&agent->recent))
		dn_event_free(g_queue_pop_head(&agent->recent));
	g_free(agent->strangers);
	g_hash_table_unref(agent->services);
	g_hash_table_unref(agent->manifests);
	g_hash_table_unref(agent->incidents);
	g_hash_table_unref(agent->unread);
	g_hash_table_unref(agent->epochs);
	dn_image_table_free(agent->images);
	g_hash_table_unref(agent->udp);
	dn_firewall_free(agent->firewall);
	dn_image_store_free(agent->store);
	dn_sensor_close(agent->sensor);
	dn_runtime_ability_clear(&agent->ability);
	g_clear_pointer(&agent->checks, g_ptr_array_unref);
	dn_secret_key_free(agent->key);
	dn_trust_policy_free(agent->trust);
	dn_envelope_clear(&agent->envelope);
	g_free(agent->host_cidr);
	g_free(agent->node_cidr);
	g_free(agent->vip_cidr);
	g_free(agent->repo);
	g_free(agent->suspected);
	g_free(agent->kernel);
	g_free(agent->boot_id);
	g_mutex_clear(&agent->store_lock);
	g_main_loop_unref(agent->loop);
	dn_config_free(agent->instance);
	g_free(agent);
}

/* Everything the host itself needs, before the first word with a supervisor. */
static bool open_host(Agent *agent, GError **error)
{
	DnInstance *instance = agent->instance;

	if (!dn_state_load(agent, error) || !dn_disk_open(agent, error) ||
	    !dn_report_open(agent, error))
		return false;
	dn_agent_open_journal(agent);
	if (!dn_cgroup_prepare(instance, &agent->cgroup_level, error) ||
	    !dn_network_prepare_host(instance, error))
		return false;
	agent->sensor = dn_sensor_open(instance, agent->cgroup_level, error);
	if (agent->sensor == NULL)
		return false;
	dn_gap_open(agent);
	agent->store = dn_image_store_new(instance, agent->trust, error);
	return agent->store != NULL && dn_cut_open(agent, error);
}

static void resume(Node *node)
{
	/* The agent before has died between making it and starting it. */
	if (node->state == DN_NODE_CREATED &&
	    (node->role == DN_ROLE_ACTIVE || node->manifest->standby_started))
		dn_node_start(node);
	/* Its timers died with it; without one a node that ignores its signal would never end. */
	else if (node->state == DN_NODE_DRAINING)
		dn_node_drain(node);
	else if (node->state == DN_NODE_STOPPING)
		dn_node_stop(node);
	else
		dn_node_probe(node);
}

/* Marks made while no agent ran are answered now, before anything else is started. */
static bool take_over(Agent *agent, GError **error)
{
	if (!dn_agent_adopt(agent, error))
		return false;
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL)
			dn_incident_adopt(agent, agent->slots[i]);
	dn_incidents_release(agent);
	if (agent->host_cidr == NULL)
		return true;
	if (!dn_agent_open_firewall(agent, error))
		return false;
	dn_cut_firewall_opened(agent);
	/* What the kernel refuses now is tried again: the table of before goes on meanwhile. */
	(void)dn_balance_apply(agent);
	dn_reflex_ring(agent->reflex);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL)
			resume(agent->slots[i]);
	return true;
}

static void on_head(const DnJournalHead *head, void *data)
{
	dn_agent_journal_head(data, head);
}

static bool link_up(Agent *agent, GError **error)
{
	static const DnUplinkOps ops = {.welcomed = dn_agent_welcome,
					.order = dn_agent_order,
					.stored = dn_report_stored,
					.head = on_head,
					.closed = on_link_closed};
	uint8_t seed[DN_SEED_BYTES];
	DnUplinkConfig config = {
		.address = agent->instance->supervisor_address,
		.host = agent->instance->name,
		.seed = seed,
		.supervisor_key = agent->supervisor_key,
		.term = get_term,
		.session = draw_session,
	};

	dn_secret_key_export_seed(agent->key, seed);
	agent->uplink = dn_uplink_new(&config, &ops, agent, error);
	explicit_bzero(seed, sizeof(seed));
	return agent->uplink != NULL;
}

static void check_host(Agent *agent)
{
	const char *why = NULL;
	bool denies = dn_sensor_denies(agent->sensor, &why);

	agent->checks = dn_checks_now(agent->instance);
	dn_checks_set_lsm(agent->checks, denies, why);
}

/* Several descriptors a node, and a soft limit that is often 1024. */
static void allow_files(void)
{
	struct rlimit limit = {0};

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= MIN(limit.rlim_max, FILES))
		return;
	limit.rlim_cur = MIN(limit.rlim_max, FILES);
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		g_warning("the limit of open files stays as it is: %s", g_strerror(errno));
}

static bool serve(Agent *agent, GError **error)
{
	g_autoptr(DnNotify) notify = dn_notify_new();
	DnInstance *instance = agent->instance;
	dn_autofd int locked = -1;

	if (instance->supervisor_address == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "the configuration names no supervisor: HOST:PORT");
		return false;
	}
	allow_files();
	/* o+x up to the nodes' roots, for their mapped users (PLATFORM: the runtime needs it). */
	if (!dn_file_make_directory(instance->run_dir, 0711, error) ||
	    !dn_file_make_directory(instance->runtime_root, 0711, error) ||
	    !dn_agent_lock(instance, 0, &locked, error) || !open_host(agent, error))
		return false;
	check_host(agent);
	if (!dn_runtime_probe_now(instance, &agent->ability, error))
		return false;
	dn_checks_add_holes(agent->checks, agent->ability.version);
	if (!take_over(agent, error) || !dn_damage_start(agent, error) ||
	    !dn_desk_open(agent, error) || !link_up(agent, error))
		return false;
	g_unix_signal_add(SIGTERM, on_terminate, agent);
	g_unix_signal_add(SIGINT, on_terminate, agent);
	g_timeout_add_seconds(HEARTBEAT_S, on_heartbeat, agent);
	dn_watch_start(agent);
	dn_guard_start(agent);
	dn_agent_settle(agent);
	g_message("dnode-agent %s of host %s runs", DN_VERSION, instance->name);
	dn_notify_ready(notify);
	g_main_loop_run(agent->loop);
	dn_notify_stopping(notify);
	return true;
}

/*
 * Before the nodes, but not as a group (sched(7), autogroup): the reflex polls, and would then go
 * before the standby it waits for.
 */
static void set_priority(void)
{
	if (setpriority(PRIO_PROCESS, 0, DN_NICE_AGENT) < 0)
		g_message("no priority over the nodes: %s", g_strerror(errno));
}

static int fail(const GError *error)
{
	dn_text_complain("dnode-agent", error->message);
	if (error->domain != DN_ERROR)
		return 1;
	switch ((DnErrorCode)error->code) {
	case DN_ERROR_INVALID:
		return 2;
	case DN_ERROR_UNTRUSTED:
		return 3;
	case DN_ERROR_CONFLICT:
		return 4;
	case DN_ERROR_UNAVAILABLE:
		return 5;
	case DN_ERROR_EXHAUSTED:
		return 6;
	case DN_ERROR_UNSUPPORTED:
		return 7;
	}
	return 1;
}

static bool dispatch(DnInstance *instance, int argc, char **argv, bool force, GError **error)
{
	if (argc == 1) {
		set_priority(); /* of every thread that is made from here */
		Agent *agent = agent_new(instance);
		bool served = serve(agent, error);

		agent_free(agent);
		return served;
	}
	bool done = false;
	if (argc == 3 && g_str_equal(argv[1], "enrol"))
		done = dn_agent_enrol(instance, argv[2], error);
	else if (argc == 2 && g_str_equal(argv[1], "cleanup"))
		done = dn_agent_cleanup(instance, force, error);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unknown verb; there are 'enrol TOKEN', 'check' and 'cleanup', or none "
			    "to run");
	dn_config_free(instance);
	return done;
}

/* A host may be judged before it is configured, and whatever it lacks. */
static bool check(const char *path, bool json, GError **error)
{
	static const char usual[] = "/etc/dnode/agent.yaml";

	if (path == NULL && g_file_test(usual, G_FILE_TEST_EXISTS))
		path = usual;
	DnInstance *instance = dn_config_look(path, error);
	bool able = instance != NULL && dn_agent_check(instance, json, error);
	dn_config_free(instance);
	return able;
}

int main(int argc, char **argv)
{
	g_autofree char *path = NULL;
	gboolean version = FALSE, json = FALSE, force = FALSE;
	const GOptionEntry entries[] = {
		{"config", 'c', 0, G_OPTION_ARG_FILENAME, &path,
		 "configuration (default /etc/dnode/agent.yaml)", "FILE"},
		{"json", 0, 0, G_OPTION_ARG_NONE, &json, "with check: one JSON document", NULL},
		{"force", 0, 0, G_OPTION_ARG_NONE, &force, "with cleanup: also what is evidence",
		 NULL},
		{"version", 0, 0, G_OPTION_ARG_NONE, &version, "print the version", NULL},
		G_OPTION_ENTRY_NULL,
	};
	g_autoptr(GOptionContext) options = g_option_context_new("[enrol TOKEN | check | cleanup]");
	g_autoptr(GError) error = NULL;

	setlocale(LC_ALL, "C.UTF-8");
	g_option_context_add_main_entries(options, entries, NULL);
	if (!g_option_context_parse(options, &argc, &argv, &error)) {
		dn_text_complain("dnode-agent", error->message);
		return 2;
	}
	if (version) {
		printf("dnode-agent %s\n", DN_VERSION);
		return 0;
	}
	if (argc == 2 && g_str_equal(argv[1], "check"))
		return check(path, json, &error) ? 0 : fail(error);
	DnInstance *instance =
		dn_config_load(path != NULL ? path : "/etc/dnode/agent.yaml", &error);
	dn_failpoints_begin(instance != NULL && argc == 1 ? instance->run_dir : NULL);
	if (instance == NULL || !dispatch(instance, argc, argv, force, &error))
		return fail(error);
	return 0;
}
