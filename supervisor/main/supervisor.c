/* SPDX-License-Identifier: Apache-2.0 */
#include "main/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/file.h"
#include "main/internal.h"
#include "manifest/cluster-file.h"
#include "manifest/trust-file.h"
#include "seal/trust.h"

enum { FILE_LIMIT = 256 * 1024, DIRECTORY_MODE = 0755, PRIVATE_MODE = 0700 };

/* ---- the configuration ---- */

static GBytes *read_config(const DnSupervisorOptions *options, const char *name, GError **error)
{
	g_autofree char *path = g_build_filename(options->config_dir, name, NULL);
	GBytes *bytes = dn_file_read(path, FILE_LIMIT, error);

	if (bytes == NULL)
		g_prefix_error(error, "%s: ", path);
	return bytes;
}

static bool load_key(DnSupervisor *self, const DnSupervisorOptions *options, GError **error)
{
	g_autofree char *path = g_build_filename(options->config_dir, "supervisor.key", NULL);
	uint8_t seed[DN_SEED_BYTES];

	self->secret = dn_secret_key_load(path, error);
	if (self->secret == NULL)
		return false;
	dn_secret_key_public(self->secret, self->key);
	dn_secret_key_export_seed(self->secret, seed);
	self->identity = dn_link_identity_new(seed, error);
	explicit_bzero(seed, sizeof(seed));
	return self->identity != NULL;
}

static bool load_config(DnSupervisor *self, const DnSupervisorOptions *options, GError **error)
{
	g_autoptr(GBytes) cluster = read_config(options, "cluster.yaml", error);

	if (cluster == NULL)
		return false;
	self->cluster = dn_cluster_file_parse(cluster, "cluster.yaml", error);
	if (self->cluster == NULL)
		return false;
	self->trust_bytes = read_config(options, "trust.yaml", error);
	if (self->trust_bytes == NULL)
		return false;
	self->trust = dn_trust_file_parse(self->trust_bytes, "trust.yaml", error);
	if (self->trust == NULL || !dn_trust_check_keys(self->trust, "trust.yaml", error))
		return false;
	if (g_strcmp0(self->trust->cluster, self->cluster->id) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "trust.yaml is of cluster %s, cluster.yaml of %s; put the files of one "
			    "cluster together",
			    self->trust->cluster, self->cluster->id);
		return false;
	}
	return load_key(self, options, error);
}

/* ---- the state ---- */

/* Two daemons on one state directory would each undo what the other has promised. */
static bool lock_state(DnSupervisor *self, const char *state_dir, GError **error)
{
	g_autofree char *path = g_build_filename(state_dir, "lock", NULL);

	self->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (self->lock_fd < 0)
		return dn_throw_errno(error, errno, "open %s", path);
	if (flock(self->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno != EWOULDBLOCK)
		return dn_throw_errno(error, errno, "lock %s", path);
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "%s is in use by another supervisor; stop it, or choose another --state",
		    state_dir);
	return false;
}

/* On a full disk the reserve makes room for the term and what a start has to say. */
static bool open_store(DnSupervisor *self, const char *path, const DnStoreFloor *floor,
		       GError **error)
{
	GError *failed = NULL;

	for (;;) {
		self->store = dn_store_open_sqlite(path, floor, &failed);
		if (self->store != NULL && dn_supervisor_restore(self, &failed))
			return true;
		g_clear_pointer(&self->store, dn_store_close);
		if (!g_error_matches(failed, DN_ERROR, DN_ERROR_EXHAUSTED) ||
		    !dn_supervisor_give_up_reserve(self))
			break;
		g_clear_error(&failed);
	}
	g_propagate_error(error, failed);
	return false;
}

static bool open_state(DnSupervisor *self, const DnSupervisorOptions *options, GError **error)
{
	g_autofree char *db = g_build_filename(options->state_dir, "store.db", NULL);
	g_autofree char *spool = g_build_filename(options->state_dir, "spool", NULL);
	g_autofree char *repo = g_build_filename(options->state_dir, "repo", NULL);

	DnStoreFloor floor = {0};

	self->state_dir = g_strdup(options->state_dir);
	if (!dn_file_make_directory(options->state_dir, PRIVATE_MODE, error) ||
	    !dn_file_make_directory(spool, PRIVATE_MODE, error) ||
	    !dn_file_make_directory(options->run_dir, DIRECTORY_MODE, error) ||
	    !lock_state(self, options->state_dir, error) ||
	    !dn_supervisor_open_journal(self, &floor, error))
		return false;
	self->repo = dn_repo_new(repo, self->trust, error);
	if (self->repo == NULL)
		return false;
	if (!open_store(self, db, &floor, error))
		return false;
	dn_supervisor_make_reserve(self);
	return true;
}

/* ---- serving ---- */

/* Where hosts find images: where the repository listens, or by the name they know us by. */
static char *repo_url(const DnCluster *cluster, uint16_t port)
{
	const char *known = dn_cluster_is_any_address(cluster->repo_listen) ? cluster->advertise
									    : cluster->repo_listen;
	g_autofree char *host = g_strndup(known, (gsize)(strrchr(known, ':') - known));

	return g_strdup_printf("http://%s:%u/repo", host, port);
}

static bool serve_hosts(DnSupervisor *self, const DnSupervisorOptions *options, GError **error)
{
	g_autofree char *repo = g_build_filename(options->state_dir, "repo", NULL);

	self->repo_server =
		dn_repo_server_new(&(DnRepoServerConfig){.path = repo,
							 .listen = self->cluster->repo_listen,
							 .crowded = dn_supervisor_crowded,
							 .data = self},
				   error);
	if (self->repo_server == NULL)
		return false;
	self->repo_url = repo_url(self->cluster, dn_repo_server_port(self->repo_server));
	self->sessions = dn_sessions_new(
		&(DnSessionsConfig){
			.listen = self->cluster->listen,
			.identity = self->identity,
			.cluster = self->cluster->id,
			.term = self->term,
			.node_cidr = self->cluster->node_cidr,
			.vip_cidr = self->cluster->vip_cidr,
			.repo = self->repo_url,
			.trust = self->trust_bytes,
		},
		&dn_supervisor_sessions_ops, self, error);
	return self->sessions != NULL;
}

static bool serve_people(DnSupervisor *self, const DnSupervisorOptions *options, GError **error)
{
	g_autofree char *socket = g_build_filename(options->run_dir, "supervisor.sock", NULL);
	g_autofree char *spool = g_build_filename(options->state_dir, "spool", NULL);

	self->api = dn_api_new(
		&(DnApiConfig){.socket_path = socket, .spool_dir = spool, .core = self->core},
		&dn_supervisor_api_ops, self, error);
	return self->api != NULL;
}

static gboolean on_tick(gpointer data)
{
	DnSupervisor *self = data;
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_fleet_core_tick(self->core, dn_supervisor_now(), acts);
	dn_supervisor_carry_out(self, acts);
	dn_supervisor_check_term(self);
	dn_supervisor_look_after_disk(self);
	return G_SOURCE_CONTINUE;
}

static gboolean on_signal(gpointer data)
{
	DnSupervisor *self = data;

	g_main_loop_quit(self->loop);
	return G_SOURCE_CONTINUE;
}

static GSource *attach(GSource *source, GSourceFunc call, DnSupervisor *self)
{
	g_source_set_callback(source, call, self, NULL);
	g_source_attach(source, NULL);
	return source;
}

static void free_wait(gpointer wait)
{
	dn_person_wait_free(wait);
}

static void begin(DnSupervisor *self)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_acts_event(acts, dn_clock_realtime_ns(), "supervisor.started", "info",
		      "supervisor of cluster %s has started term %" G_GUINT64_FORMAT,
		      self->cluster->id, self->term);
	dn_supervisor_carry_out(self, acts);
	self->tick = attach(g_timeout_source_new(DN_FLEET_TICK_MS), on_tick, self);
	self->stop_term = attach(g_unix_signal_source_new(SIGTERM), on_signal, self);
	self->stop_int = attach(g_unix_signal_source_new(SIGINT), on_signal, self);
}

DnSupervisor *dn_supervisor_new(const DnSupervisorOptions *options, GError **error)
{
	g_autoptr(DnSupervisor) self = g_new0(DnSupervisor, 1);

	self->lock_fd = -1;
	self->loop = g_main_loop_new(NULL, FALSE);
	self->ring = dn_ring_new();
	self->peers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	self->waits = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, free_wait);
	if (!load_config(self, options, error))
		return NULL;
	self->core = dn_fleet_core_new(self->cluster, error);
	if (self->core == NULL || !open_state(self, options, error))
		return NULL;
	self->filling = dn_batch_new(self->term);
	if (!serve_hosts(self, options, error) || !serve_people(self, options, error))
		return NULL;
	begin(self);
	return g_steal_pointer(&self);
}

bool dn_supervisor_run(DnSupervisor *self, GError **error)
{
	if (self->failed == NULL)
		g_main_loop_run(self->loop);
	if (self->failed == NULL)
		return true;
	g_propagate_error(error, g_steal_pointer(&self->failed));
	return false;
}

static void stop_source(GSource *source)
{
	if (source == NULL)
		return;
	g_source_destroy(source);
	g_source_unref(source);
}

/*
 * What is decided is still written and answered: the batch under way and the one that is filling.
 * Hosts and people who go on meanwhile fill one that is never written, and hear of no success.
 */
static void settle(DnSupervisor *self)
{
	self->closing = true;
	while ((self->writing != NULL && self->held == NULL) || self->imaging > 0)
		g_main_context_iteration(NULL, TRUE);
}

void dn_supervisor_free(DnSupervisor *self)
{
	if (self == NULL)
		return;
	stop_source(self->tick);
	stop_source(self->stop_term);
	stop_source(self->stop_int);
	if (self->filling != NULL)
		settle(self);
	stop_source(self->retry);
	self->ending = true;
	g_hash_table_remove_all(self->waits);
	dn_api_free(self->api);
	dn_sessions_free(self->sessions);
	dn_repo_server_free(self->repo_server);
	dn_supervisor_close_journal(self);
	dn_store_close(self->store);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	dn_batch_free(self->writing);
	dn_batch_free(self->filling);
	dn_repo_free(self->repo);
	dn_fleet_core_free(self->core);
	dn_ring_free(self->ring);
	g_hash_table_unref(self->waits);
	g_hash_table_unref(self->peers);
	dn_secret_key_free(self->secret);
	g_clear_pointer(&self->identity, dn_link_identity_unref);
	g_clear_pointer(&self->trust_bytes, g_bytes_unref);
	dn_trust_policy_free(self->trust);
	dn_cluster_free(self->cluster);
	g_clear_error(&self->failed);
	g_clear_error(&self->held);
	g_free(self->state_dir);
	g_main_loop_unref(self->loop);
	g_free(self->repo_url);
	dn_fd_clear(&self->lock_fd);
	g_free(self);
}
