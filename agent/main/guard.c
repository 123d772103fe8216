/* SPDX-License-Identifier: Apache-2.0 */
#include "main/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "firewall/watch.h"
#include "main/watch.h"

enum {
	LOOK_MS = 500,
	STATUS_BYTES = 4096,
	RESTART_S = 60, /* a package that was upgraded restarts its daemon within this time */
};

/* A file as it was when it was last looked at: nobody can write to it and leave all of this. */
typedef struct {
	char *path; /* owned */
	bool there;
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed; /* status change time: a clock that is set back shows as well */
	mode_t mode;
} File;

static File look_at_file(const char *path)
{
	File file = {.path = g_strdup(path)};
	struct stat info = {0};

	if (stat(path, &info) < 0)
		return file;
	file.there = true;
	file.dev = info.st_dev;
	file.ino = info.st_ino;
	file.size = info.st_size;
	file.changed = info.st_ctim;
	file.mode = info.st_mode;
	return file;
}

static bool is_same(const File *a, const File *b)
{
	return a->there == b->there && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->mode == b->mode;
}

/* Has it changed since? What is there now is what it is compared with the next time. */
static bool has_changed(File *file)
{
	File now = look_at_file(file->path);
	bool same = is_same(file, &now);

	g_free(file->path);
	*file = now;
	return !same;
}

/* ---- one node ---- */

struct DnKept {
	File record, config;
	char *root;
	uint64_t mount; /* its id; 0: this kernel does not tell */
	bool is_loose;  /* it was told that the mount lost its flags */
};

static uint64_t mount_at(const char *path)
{
	struct statx info = {0};

	return statx(AT_FDCWD, path, 0, STATX_MNT_ID, &info) == 0 && info.stx_mask & STATX_MNT_ID
		       ? info.stx_mnt_id
		       : 0;
}

DnKept *dn_kept_new(const Agent *agent, const char *node)
{
	const char *run = agent->instance->run_dir;
	DnKept *self = g_new0(DnKept, 1);
	g_autofree char *name = g_strconcat(node, ".json", NULL);
	g_autofree char *record = g_build_filename(run, "nodes", name, NULL);
	g_autofree char *config = g_build_filename(run, "bundles", node, "config.json", NULL);

	self->record = look_at_file(record);
	self->config = look_at_file(config);
	self->root = dn_node_root_path(agent, node);
	self->mount = mount_at(self->root);
	return self;
}

void dn_kept_free(DnKept *self)
{
	if (self == NULL)
		return;
	g_free(self->record.path);
	g_free(self->config.path);
	g_free(self->root);
	g_free(self);
}

void dn_kept_written(DnKept *self)
{
	if (self != NULL)
		(void)has_changed(&self->record);
}

/* What the agent wrote for it was changed by somebody else. */
static const char *look_at_files(DnKept *kept)
{
	if (has_changed(&kept->record))
		return "the agent's record of it was changed by somebody else";
	if (has_changed(&kept->config))
		return "its runtime configuration was changed after its start";
	return NULL;
}

/* The node has its own clone of this mount, which no process of the node can reach either. */
static const char *look_at_root(DnKept *kept)
{
	struct statvfs info = {0};
	const unsigned long wanted = ST_RDONLY | ST_NOSUID | ST_NODEV;

	if (mount_at(kept->root) != kept->mount) {
		kept->mount = mount_at(kept->root);
		return "the mount of its root was taken away or covered";
	}
	bool was_loose = kept->is_loose;
	kept->is_loose = statvfs(kept->root, &info) == 0 && (info.f_flag & wanted) != wanted;
	if (kept->is_loose && !was_loose)
		return "the mount of its root is no longer read-only, nosuid, nodev";
	return NULL;
}

static void found(Node *node, enum dn_drift_class drift, const char *what)
{
	Agent *agent = node->agent;
	g_autofree char *kind = g_strdup_printf("drift.%s", dn_drift_name(drift));
	bool drill = dn_drill_is(node, drift, 0);

	dn_report_event(agent, "critical", kind, node->manifest->service, node->id, "node %s: %s%s",
			node->id, drill ? "drill: " : "", what);
	if (drill && node->manifest->drift[drift] == DN_ANSWER_OBSERVE)
		dn_drill_noticed(node);
	if (!node->cut_taken && node->manifest->drift[drift] != DN_ANSWER_OBSERVE &&
	    dn_sensor_mark(agent->sensor, node->slot, drift, what, 0))
		dn_reflex_ring(agent->reflex);
}

static void look_at_node(Node *node)
{
	const char *files = look_at_files(node->kept);
	const char *root = look_at_root(node->kept);

	if (files != NULL) {
		found(node, DN_DRIFT_AGENT, files);
		dn_node_save(node);
	}
	if (root != NULL)
		found(node, DN_DRIFT_IMAGE, root);
}

/* Evidence that moves again is no evidence. */
static void keep_frozen(Node *node)
{
	if (node->cgroup.events_fd < 0 || dn_cgroup_is_frozen(&node->cgroup))
		return;
	bool again = dn_cgroup_freeze(&node->cgroup);

	if (node->thaws++ == 0)
		dn_report_event(node->agent, "critical", "quarantine.thawed",
				node->manifest->service, node->id,
				"node %s, which is quarantined, was thawed by somebody; it %s",
				node->id, again ? "is frozen again" : "could not be frozen again");
}

/* ---- this host ---- */

struct Guard {
	File program, trust, key;
	uint64_t program_changed_ns; /* CLOCK_MONOTONIC; 0: it is as it was */
	bool program_told, traced;
	int firewall_fd; /* owned */
	GSource *firewall;
	guint timer;
};

static gboolean on_firewall_changed(int fd, GIOCondition condition, gpointer data)
{
	Agent *agent = data;
	g_autofree char *who = NULL;

	if (!dn_firewall_watch_read(fd, &who) || agent->firewall == NULL)
		return G_SOURCE_CONTINUE;
	dn_firewall_distrust(agent->firewall);
	bool again = dn_balance_apply(agent);
	dn_report_event(agent, "critical", "firewall.tampered", NULL, NULL,
			"the table of the firewall was changed by %s and %s",
			who != NULL ? who : "somebody else",
			again ? "was replaced as a whole" : "could not be replaced");
	return G_SOURCE_CONTINUE;
}

void dn_guard_firewall(Agent *agent)
{
	struct Guard *guard = agent->guard;
	g_autoptr(GError) error = NULL;

	if (guard == NULL || guard->firewall != NULL)
		return;
	guard->firewall_fd = dn_firewall_watch_open(&error);
	if (guard->firewall_fd < 0) {
		g_warning("changes of the firewall by others will not be seen: %s", error->message);
		return;
	}
	guard->firewall = g_unix_fd_source_new(guard->firewall_fd, G_IO_IN | G_IO_ERR);
	g_source_set_callback(guard->firewall, G_SOURCE_FUNC(on_firewall_changed), agent, NULL);
	g_source_attach(guard->firewall, NULL);
}

/* Somebody attached a debugger to this agent: it may say and do anything from now on. */
static void look_for_tracer(Agent *agent)
{
	g_autofree char *status = dn_file_read_kernel("/proc/self/status", STATUS_BYTES, NULL);
	const char *line = status != NULL ? strstr(status, "\nTracerPid:\t") : NULL;
	bool traced = line != NULL && atoi(line + strlen("\nTracerPid:\t")) != 0;

	if (traced && !agent->guard->traced)
		dn_report_suspect(agent, "the agent is being traced by a debugger");
	agent->guard->traced = traced;
}

/* A program that runs cannot be written to, so what is at its path now was put there instead. */
static bool is_what_runs(const char *path)
{
	g_autoptr(GMappedFile) running = g_mapped_file_new("/proc/self/exe", FALSE, NULL);
	g_autoptr(GMappedFile) there = g_mapped_file_new(path, FALSE, NULL);
	gsize size = running != NULL ? g_mapped_file_get_length(running) : 0;

	return size > 0 && there != NULL && g_mapped_file_get_length(there) == size &&
	       memcmp(g_mapped_file_get_contents(running), g_mapped_file_get_contents(there),
		      size) == 0;
}

/* Replaced by an upgrade, it is restarted soon; replaced by somebody else, it is not. */
static void look_at_program(Agent *agent)
{
	struct Guard *guard = agent->guard;
	bool touched = has_changed(&guard->program);

	if (touched && is_what_runs(guard->program.path)) {
		guard->program_changed_ns = 0;
	} else if (touched) {
		guard->program_changed_ns = dn_clock_monotonic_ns();
		guard->program_told = false;
		dn_report_event(
			agent, "critical", "agent.program-changed", NULL, NULL,
			"%s is no longer the program that runs: restart the agent if it was "
			"upgraded, else look who changed it",
			guard->program.path);
	}
	if (guard->program_changed_ns == 0 || guard->program_told ||
	    dn_clock_monotonic_ns() - guard->program_changed_ns < RESTART_S * DN_NS_PER_S)
		return;
	guard->program_told = true;
	dn_report_suspect(agent, "the agent's program on disk is not the one that runs");
}

static void look_at_host(Agent *agent)
{
	struct Guard *guard = agent->guard;

	look_at_program(agent);
	look_for_tracer(agent);
	if (has_changed(&guard->trust))
		dn_report_event(agent, "critical", "agent.trust-changed", NULL, NULL,
				"%s was changed; this agent goes on by what it read at its start",
				guard->trust.path);
	if (has_changed(&guard->key))
		dn_report_event(agent, "critical", "agent.key-changed", NULL, NULL,
				"%s was changed; this agent goes on by what it read at its start",
				guard->key.path);
}

static gboolean on_time(gpointer data)
{
	Agent *agent = data;

	for (unsigned i = 0; i < DN_SLOTS; i++) {
		Node *node = agent->slots[i];

		if (node == NULL || node->busy || !node->built)
			continue;
		if (node->state == DN_NODE_QUARANTINED)
			keep_frozen(node);
		else if (node->kept != NULL)
			look_at_node(node);
	}
	look_at_host(agent);
	return G_SOURCE_CONTINUE;
}

void dn_guard_start(Agent *agent)
{
	struct Guard *guard = g_new0(struct Guard, 1);
	const char *state = agent->instance->state_dir;
	g_autofree char *program = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *trust = g_build_filename(state, "trust.yaml", NULL);
	g_autofree char *key = g_build_filename(state, "agent.key", NULL);

	guard->program = look_at_file(program != NULL ? program : "/proc/self/exe");
	guard->trust = look_at_file(trust);
	guard->key = look_at_file(key);
	guard->firewall_fd = -1;
	agent->guard = guard;
	guard->timer = g_timeout_add(LOOK_MS, on_time, agent);
	if (agent->firewall != NULL)
		dn_guard_firewall(agent);
}

void dn_guard_stop(Agent *agent)
{
	struct Guard *guard = g_steal_pointer(&agent->guard);

	if (guard == NULL)
		return;
	(void)g_source_remove(guard->timer);
	dn_source_clear(&guard->firewall);
	dn_fd_clear(&guard->firewall_fd);
	g_free(guard->program.path);
	g_free(guard->trust.path);
	g_free(guard->key.path);
	g_free(guard);
}
