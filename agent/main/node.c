/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/damage.h"
#include "main/guard.h"
#include "main/incident.h"
#include "main/journal.h"
#include "main/watch.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "core/life.h"
#include "wire/json.h"

enum {
	NODE_LOG_SHOWN = 256,
};

Node *dn_node_new(Agent *agent, uint32_t slot, const char *id, DnManifest *manifest, DnRole role)
{
	Node *self = g_new0(Node, 1);

	g_assert(agent->slots[slot] == NULL);
	self->agent = agent;
	self->id = g_strdup(id);
	self->slot = slot;
	self->manifest = dn_manifest_ref(manifest);
	self->run.uid = -1;
	self->role = role;
	self->state = DN_NODE_CREATING;
	self->made_ns = dn_clock_monotonic_ns();
	self->fifo_fd = self->pidfd = self->mounts_fd = -1;
	self->network.diag_fd = -1;
	self->cgroup.freeze_fd = self->cgroup.events_fd = -1;
	agent->slots[slot] = self;
	return self;
}

void dn_source_clear(GSource **source)
{
	if (*source != NULL) {
		g_source_destroy(*source);
		g_clear_pointer(source, g_source_unref);
	}
}

void dn_node_free(Node *self)
{
	if (self == NULL)
		return;
	if (self->agent->slots[self->slot] == self)
		self->agent->slots[self->slot] = NULL;
	dn_source_clear(&self->exited);
	dn_source_clear(&self->timer);
	dn_drill_free(self->drilling);
	dn_cgroup_close(&self->cgroup);
	dn_network_close(&self->network);
	dn_fd_clear(&self->fifo_fd);
	dn_fd_clear(&self->pidfd);
	dn_source_clear(&self->mounts);
	dn_fd_clear(&self->mounts_fd);
	dn_subject_unref(self->subject);
	dn_kept_free(self->kept);
	g_queue_clear_full(&self->doubts, g_free);
	dn_run_clear(&self->run);
	dn_manifest_unref(self->manifest);
	g_free(self->id);
	g_free(self->address);
	g_free(self->incident);
	g_free(self->replaces);
	g_free(self->indicator_path);
	g_free(self->indicator_comm);
	g_free(self);
}

Node *dn_agent_find_node(Agent *agent, const char *id)
{
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && g_str_equal(agent->slots[i]->id, id))
			return agent->slots[i];
	return NULL;
}

Service *dn_node_service(const Node *self)
{
	return dn_service_get(self->agent, self->manifest->service);
}

DnNodeRecord *dn_node_record(const Node *self)
{
	DnNodeRecord *record = dn_node_record_new();

	record->id = g_strdup(self->id);
	record->service = g_strdup(self->manifest->service);
	record->host = g_strdup(self->agent->instance->name);
	record->address = g_strdup(self->address);
	record->state = self->state;
	record->role = self->role;
	record->healthy = self->health.healthy;
	record->image_ref = g_strdup(self->manifest->image_ref);
	record->image_commit = g_strdup(self->manifest->image_commit);
	record->epoch = self->manifest->epoch;
	record->digest = g_strdup(self->manifest->digest);
	record->started_ns = self->started_ns;
	record->incident = g_strdup(self->incident);
	return record;
}

static char *save_path(const Node *self)
{
	g_autofree char *file = g_strconcat(self->id, ".json", NULL);

	return g_build_filename(self->agent->instance->run_dir, "nodes", file, NULL);
}

/* What the next agent needs beside what the kernel tells: see adopt.c. */
void dn_node_save(const Node *self)
{
	g_autofree char *path = save_path(self);
	g_autoptr(GError) error = NULL;
	JsonObject *object = json_object_new();

	dn_json_set_string(object, "id", self->id);
	json_object_set_int_member(object, "slot", self->slot);
	dn_json_set_string(object, "digest", self->manifest->digest);
	dn_json_set_string(object, "state", dn_node_state_name(self->state));
	json_object_set_boolean_member(object, "standby", self->role == DN_ROLE_STANDBY);
	json_object_set_boolean_member(object, "healthy", self->health.healthy);
	json_object_set_int_member(object, "started", (gint64)self->started_ns);
	json_object_set_int_member(object, "image", self->image);
	json_object_set_int_member(object, "uid", self->run.uid);
	dn_json_set_string(object, "incident", self->incident);
	dn_json_set_string(object, "mounts",
			   self->subject != NULL ? dn_subject_mounts(self->subject) : NULL);
	g_autoptr(GBytes) bytes = dn_json_print(object);
	/* The run directory does not outlive the boot, so there is nothing to make durable. */
	if (!dn_failpoint("agent.node.save.before", &error) ||
	    !dn_file_replace_volatile(path, bytes, 0600, &error))
		g_warning("node %s would not be found again by a new agent: %s", self->id,
			  error->message);
	dn_kept_written(self->kept);
}

void dn_node_forget(const Node *self)
{
	g_autofree char *path = save_path(self);

	if (unlink(path) < 0 && errno != ENOENT)
		g_warning("%s remains: %s", path, g_strerror(errno));
}

void dn_node_become(Node *self, DnNodeState state)
{
	if (self->state == state)
		return;
	g_debug("node %s: %s -> %s", self->id, dn_node_state_name(self->state),
		dn_node_state_name(state));
	self->state = state;
	if (self->built)
		dn_node_save(self);
	dn_agent_journal_node(self);
	dn_report_node(self);
}

void dn_node_go_on_under(Node *self, DnManifest *manifest)
{
	g_message("node %s goes on under epoch %" G_GUINT64_FORMAT, self->id, manifest->epoch);
	dn_failpoint_pass("agent.node.relabel.before");
	dn_manifest_unref(self->manifest);
	self->manifest = dn_manifest_ref(manifest);
	dn_node_save(self);
	dn_failpoint_pass("agent.node.relabel.after");
	dn_agent_journal_node(self);
	dn_report_node(self);
}

void dn_node_set_timer(Node *self, unsigned after_ms, GSourceFunc call)
{
	dn_source_clear(&self->timer);
	self->timer = g_timeout_source_new(after_ms);
	g_source_set_callback(self->timer, call, self, NULL);
	g_source_attach(self->timer, NULL);
}

/* The last thing it said is usually why. */
static void tell_exit(Node *self)
{
	g_autofree char *folder = dn_node_log_dir(self->agent, self->id);
	g_autofree char *log = dn_logs_read_now(folder, 1, NULL, NULL);

	dn_report_event(self->agent, "warning", "node.exited", self->manifest->service, self->id,
			"node %s ended by itself%s%.*s", self->id,
			log != NULL && *log != '\0' ? "; it last said: " : "", NODE_LOG_SHOWN,
			log != NULL ? g_strchomp(log) : "");
}

static gboolean on_exited(int fd, GIOCondition condition, gpointer data)
{
	Node *self = data;
	Service *service = dn_node_service(self);

	/* A marked node is evidence, whatever became of its first process. */
	DnNodeState next = dn_life_after_exit(self->state,
					      dn_sensor_is_marked(self->agent->sensor, self->slot));
	if (dn_node_is_isolated(self))
		dn_isolation_end(self, "its first process ended");
	/* Nobody of ours does that before its evidence is destroyed. */
	if (self->state == DN_NODE_QUARANTINED && !self->busy)
		dn_report_event(self->agent, "critical", "quarantine.process-ended",
				self->manifest->service, self->id,
				"the first process of node %s, which is quarantined, has ended: it "
				"was killed, or memory ran out; what is left stays cut and listed",
				self->id);
	if (next == self->state)
		return G_SOURCE_REMOVE;
	dn_source_clear(&self->timer);
	if (next == DN_NODE_FAILED) {
		dn_backoffs_failed(service->backoffs, self->manifest->digest, false,
				   dn_clock_monotonic_ns());
		tell_exit(self);
	}
	dn_node_become(self, next);
	dn_agent_settle(self->agent);
	return G_SOURCE_REMOVE;
}

bool dn_node_watch(Node *self, GError **error)
{
	if (!dn_failpoint("agent.node.pidfd.before", error))
		return false;
	self->pidfd = (int)syscall(SYS_pidfd_open, self->container.pid, 0);
	if (self->pidfd < 0)
		return dn_throw_errno(error, errno, "pidfd_open of node %s", self->id);
	self->exited = g_unix_fd_source_new(self->pidfd, G_IO_IN);
	g_source_set_callback(self->exited, G_SOURCE_FUNC(on_exited), self, NULL);
	g_source_attach(self->exited, NULL);
	return true;
}

static void started(Node *self)
{
	self->started_ns = dn_clock_realtime_ns();
	self->started_monotonic_ns = dn_clock_monotonic_ns();
	self->health = (DnHealth){.unhealthy_since_ns = self->started_monotonic_ns};
	dn_node_become(self, DN_NODE_STARTING);
	dn_node_probe(self);
}

typedef struct {
	Agent *agent;
	char *id; /* also the result's address: the node may be gone by then */
} Start;

static void start_free(gpointer data)
{
	Start *start = data;

	g_free(start->id);
	g_free(start);
}

/* worker */
static void start_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Start *start = data;
	GError *error = NULL;

	if (dn_failpoint("agent.node.start.before", &error) &&
	    dn_container_start_now(start->agent->instance, &start->agent->ability, start->id,
				   &error) &&
	    dn_failpoint("agent.node.start.after", &error))
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

static void on_started(GObject *source, GAsyncResult *result, gpointer data)
{
	const Start *start = g_task_get_task_data(G_TASK(result));
	Node *self = dn_agent_find_node(start->agent, start->id);
	g_autoptr(GError) error = NULL;

	if (self == NULL)
		return;
	self->busy = false;
	bool done = g_task_propagate_boolean(G_TASK(result), &error);
	/* Meanwhile it may have ended, or been cut, which counts; a marked one is evidence. */
	if (self->state == DN_NODE_CREATED && done) {
		started(self);
	} else if (self->state == DN_NODE_CREATED &&
		   !dn_sensor_is_marked(self->agent->sensor, self->slot)) {
		dn_report_event(self->agent, "warning", "node.start-failed",
				self->manifest->service, self->id, "%s", error->message);
		dn_node_become(self, DN_NODE_FAILED);
	}
	dn_agent_settle(self->agent);
}

void dn_node_start(Node *self)
{
	if (self->fifo_fd >= 0 && self->agent->ability.fast_start) {
		/* The reflex may have released it for a node that was cut, and could not wait. */
		bool released = dn_failpoint("agent.node.release.before", NULL) &&
				(dn_container_is_released(self->fifo_fd) ||
				 dn_container_release_fifo(self->fifo_fd));

		dn_cut_let_go(self->agent, self);
		if (released) {
			dn_failpoint_pass("agent.node.release.after");
			started(self);
			return;
		}
	}
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_started, NULL);
	Start *start = g_new0(Start, 1);
	start->agent = self->agent;
	start->id = g_strdup(self->id);
	self->busy = true;
	g_task_set_task_data(task, start, start_free);
	dn_work_begin(self->agent, task, start_in_thread);
}

bool dn_node_is_being_made(const Node *self)
{
	return self->busy && (self->state == DN_NODE_CREATING || self->state == DN_NODE_CREATED);
}

void dn_node_promote(Node *self)
{
	dn_failpoint_pass("agent.node.promote.before");
	self->role = DN_ROLE_ACTIVE;
	if (self->state == DN_NODE_STANDBY)
		dn_node_become(self, DN_NODE_READY);
	else if (self->state == DN_NODE_CREATED && !self->busy)
		dn_node_start(self);
	dn_node_save(self);
	dn_balance_apply(self->agent);
	/* It may have stood by for long: is what it executes still what was verified? */
	dn_damage_verify_soon(self->agent, self->manifest->image_commit);
	dn_failpoint_pass("agent.node.promote.after");
}

static gboolean on_grace_over(gpointer data)
{
	Node *self = data;

	(void)syscall(SYS_pidfd_send_signal, self->pidfd, SIGKILL, NULL, 0);
	return G_SOURCE_REMOVE;
}

void dn_node_stop(Node *self)
{
	bool running = self->started_ns != 0 && self->pidfd >= 0;
	/* One that never started, or is beyond hope, is owed no grace. */
	bool polite = running && self->health.healthy;

	dn_node_become(self, DN_NODE_STOPPING);
	dn_failpoint_pass("agent.node.stop.before");
	dn_balance_apply(self->agent);
	(void)syscall(SYS_pidfd_send_signal, self->pidfd,
		      polite ? self->manifest->run.stop_signal : SIGKILL, NULL, 0);
	dn_failpoint_pass("agent.node.stop.after");
	dn_node_set_timer(self, polite ? self->manifest->run.stop_grace_ms : 1000, on_grace_over);
}
