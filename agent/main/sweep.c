/* SPDX-License-Identifier: Apache-2.0 */
#include "main/incident.h"
#include "main/journal.h"
#include "main/watch.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

/*
 * What an incident left behind, looked for at once in the other nodes of the same image: of this
 * host's incidents by itself, of other hosts' because the supervisor asks.
 *
 * An indicator comes from a node, or from a host that may be anybody's by now, so it points and
 * proves nothing. What counts is what no node of the image may have, whoever asked to look: a
 * process that runs a file which is not the image's, or an executable file of the indicator's name
 * in a place that the node can write to. So nobody can have clean nodes cut by naming what they
 * rightly hold. Whatever else a sibling has become shows in the round of looks (watch.h), which
 * begins anew with a sweep.
 */

/* As many as a node may have (pids: 32,768), at 11 bytes a line. */
enum { PROCS_BYTES = 512 * 1024, AT_ONCE = 8 };

/* One node that is looked at; the worker's, with what main needs to find it again. */
typedef struct {
	uint32_t slot, image, pid1;
	uint32_t pid;         /* of the process that was found, or 0 */
	bool may_run_others;  /* its manifest only observes exec */
	bool may_write_execs; /* and write-exec */
	char *id, *procs;
	char *found; /* what, printable; NULL: nothing */
} Sibling;

typedef struct {
	Agent *agent;
	char *incident, *path;
	enum dn_drift_class drift;
	bool is_drill;
	GArray *siblings;   /* of Sibling */
	DnAnswerTo *answer; /* to the supervisor, or NULL: this host's own incident */
	DnOrder *order;
	char session[sizeof(((Agent *)NULL)->session)];
} Sweep;

static void clear_sibling(void *data)
{
	Sibling *sibling = data;

	g_free(sibling->id);
	g_free(sibling->procs);
	g_free(sibling->found);
}

static void sweep_free(gpointer data)
{
	Sweep *self = data;

	g_free(self->incident);
	g_free(self->path);
	g_array_unref(self->siblings);
	dn_answer_to_free(self->answer);
	dn_order_free(self->order);
	g_free(self);
}

/* ---- looking: worker ---- */

static char *foreign_process(DnSensor *sensor, const Sibling *sibling, uint32_t *pid)
{
	g_autofree char *text = dn_file_read_kernel(sibling->procs, PROCS_BYTES, NULL);
	g_auto(GStrv) pids = g_strsplit(text != NULL ? text : "", "\n", -1);

	for (unsigned i = 0; pids[i] != NULL; i++) {
		g_autofree char *file = NULL;
		uint64_t number = 0;

		if (!dn_text_parse_u64(pids[i], INT32_MAX, &number) || number == 0 ||
		    !dn_sensor_runs_foreign(sensor, sibling->image, (uint32_t)number, &file))
			continue;
		g_autofree char *shown = dn_text_printable(file, strlen(file));
		*pid = (uint32_t)number;
		return g_strdup_printf("process %u runs %s, which is not in its image", *pid,
				       shown);
	}
	return NULL;
}

static bool is_writable_by_node(int fd, int root_fd)
{
	struct statx file = {0}, root = {0};

	return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &file) == 0 &&
	       statx(root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &root) == 0 &&
	       (file.stx_mask & root.stx_mask & STATX_MNT_ID) != 0 &&
	       file.stx_mnt_id != root.stx_mnt_id;
}

/* Never through a link, never out of the node's root, and never opened for reading. */
static bool has_executable(uint32_t pid1, const char *path)
{
	g_autofree char *link = g_strdup_printf("/proc/%u/root", pid1);
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	struct stat info = {0};
	dn_autofd int root_fd = open(link, O_PATH | O_CLOEXEC);
	dn_autofd int fd =
		root_fd < 0 ? -1 : (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));

	return fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
	       (info.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0 &&
	       is_writable_by_node(fd, root_fd);
}

static void look_at(const Sweep *self, Sibling *sibling)
{
	if (!sibling->may_run_others)
		sibling->found = foreign_process(self->agent->sensor, sibling, &sibling->pid);
	if (sibling->found != NULL || self->path == NULL || sibling->may_write_execs ||
	    !has_executable(sibling->pid1, self->path))
		return;
	sibling->found =
		g_strdup_printf("it holds %s, executable and not in its image", self->path);
}

static void look_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Sweep *self = data;

	for (guint i = 0; i < self->siblings->len; i++)
		look_at(self, &g_array_index(self->siblings, Sibling, i));
	g_task_return_boolean(task, TRUE);
}

/* ---- what is done about it ---- */

/* Whatever was found in it is gone with a node that is not the same any more. */
static void cut(Agent *agent, const Sweep *self, const Sibling *sibling)
{
	Node *node = dn_agent_find_node(agent, sibling->id);

	if (node == NULL || node->cut_taken)
		return;
	dn_report_event(agent, self->is_drill ? "warning" : "critical", "sweep.found",
			node->manifest->service, node->id,
			"%snode %s shows what incident %s left behind: %s",
			self->is_drill ? "drill: " : "", node->id, self->incident, sibling->found);
	if (self->is_drill || node->manifest->drift[self->drift] != DN_ANSWER_QUARANTINE)
		return;
	g_autofree char *what =
		g_strdup_printf("as in incident %s: %s", self->incident, sibling->found);
	if (dn_sensor_mark(agent->sensor, node->slot, self->drift, what, sibling->pid))
		dn_reflex_ring(agent->reflex);
}

static void answer(Agent *agent, Sweep *self, uint32_t found)
{
	self->answer->done = true;
	self->answer->looked = self->siblings->len;
	self->answer->found = found;
	/* The numbers of another link mean other orders. */
	if (g_str_equal(self->session, agent->session))
		dn_agent_answer(agent, self->order, true, g_steal_pointer(&self->answer));
}

static void record(Agent *agent, const Sweep *self, uint32_t found)
{
	DnIncident *incident = g_hash_table_lookup(agent->incidents, self->incident);

	if (incident == NULL)
		return;
	incident->here = (DnSiblings){
		.time_us = (int64_t)((dn_clock_monotonic_ns() - incident->event_monotonic_ns) /
				     DN_NS_PER_US),
		.looked = self->siblings->len,
		.found = found,
	};
	dn_incident_save(agent, incident);
	if (found == 0 && self->siblings->len > 0)
		dn_report_event(agent, "info", "sweep.clean", incident->service, incident->node,
				"%snone of %u other nodes of the same image on this host shows "
				"what incident %s left behind, looked at %" G_GINT64_FORMAT
				" ms after it",
				self->is_drill ? "drill: " : "", incident->here.looked,
				incident->id, incident->here.time_us / 1000);
}

static void on_looked(GObject *source, GAsyncResult *result, gpointer data)
{
	Sweep *self = g_task_get_task_data(G_TASK(result));
	Agent *agent = self->agent;
	uint32_t found = 0;

	for (guint i = 0; i < self->siblings->len; i++)
		if (g_array_index(self->siblings, Sibling, i).found != NULL)
			found++;
	if (self->answer != NULL) {
		agent->sweeps--;
		answer(agent, self, found);
	} else {
		record(agent, self, found);
	}
	for (guint i = 0; i < self->siblings->len; i++) {
		const Sibling *sibling = &g_array_index(self->siblings, Sibling, i);

		if (sibling->found != NULL)
			cut(agent, self, sibling);
	}
}

/* ---- beginning ---- */

/* Where only the node's own can be at work: the runtime is not, nor the helper of a drill. */
static bool can_be_looked_at(const Node *node, const char *commit)
{
	return node != NULL && node->built && !node->cut_taken && node->drill == 0 &&
	       g_strcmp0(node->manifest->image_commit, commit) == 0 &&
	       (node->state == DN_NODE_READY || node->state == DN_NODE_STANDBY ||
		node->state == DN_NODE_DRAINING);
}

static void look(Agent *agent, Sweep *self, const char *commit)
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_looked, NULL);

	self->agent = agent;
	self->siblings = g_array_new(FALSE, TRUE, sizeof(Sibling));
	g_array_set_clear_func(self->siblings, clear_sibling);
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];
		Sibling sibling = {.slot = i};

		if (!can_be_looked_at(node, commit))
			continue;
		sibling.image = node->image;
		sibling.pid1 = (uint32_t)node->container.pid;
		sibling.may_run_others = node->manifest->drift[DN_DRIFT_EXEC] == DN_ANSWER_OBSERVE;
		sibling.may_write_execs =
			node->manifest->drift[DN_DRIFT_WRITE_EXEC] == DN_ANSWER_OBSERVE;
		sibling.id = g_strdup(node->id);
		sibling.procs = g_build_filename(agent->instance->cgroup_root,
						 agent->instance->cgroup_parent, node->id,
						 "cgroup.procs", NULL);
		g_array_append_val(self->siblings, sibling);
	}
	g_task_set_task_data(task, self, sweep_free);
	dn_work_begin(agent, task, look_in_thread);
	dn_watch_all(agent);
}

void dn_sweep_note(Node *node, const char *path, const char *comm)
{
	g_free(node->indicator_path);
	g_free(node->indicator_comm);
	node->indicator_path =
		path[0] == '/' ? dn_text_printable(path, strnlen(path, DN_SENSOR_PATH)) : NULL;
	node->indicator_comm = comm[0] != '\0' ? dn_text_printable(comm, strnlen(comm, 16)) : NULL;
}

void dn_sweep_begin(Agent *agent, const DnIncident *incident)
{
	Sweep *self = NULL;
	enum dn_drift_class drift = DN_DRIFT_NONE;

	/* By hand: there is nothing to look for. */
	if (incident->here.time_us >= 0 || !dn_drift_parse(incident->class, &drift))
		return;
	self = g_new0(Sweep, 1);
	self->incident = g_strdup(incident->id);
	self->path = g_strdup(incident->indicator_path);
	self->drift = drift;
	self->is_drill = incident->drill;
	look(agent, self, incident->image_commit);
}

bool dn_sweep_obey(Agent *agent, const DnOrder *order, GError **error)
{
	enum dn_drift_class drift = DN_DRIFT_NONE;

	if (!dn_drift_parse(order->class, &drift)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no drift class is called so");
		return false;
	}
	if (agent->sweeps >= AT_ONCE) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "%d sweeps are under way here already, try again", AT_ONCE);
		return false;
	}
	agent->sweeps++;
	Sweep *self = g_new0(Sweep, 1);
	self->incident = g_strdup(order->incident);
	self->path = order->path != NULL && order->path[0] == '/' ? g_strdup(order->path) : NULL;
	self->drift = drift;
	self->is_drill = order->drill;
	self->answer = dn_answer_to_new(order->sequence);
	self->order = dn_order_new(DN_ORDER_SWEEP);
	self->order->session = g_strdup(order->session);
	self->order->term = order->term;
	self->order->sequence = order->sequence;
	self->order->incident = g_strdup(order->incident);
	self->order->class = g_strdup(order->class);
	g_strlcpy(self->session, agent->session, sizeof(self->session));
	look(agent, self, order->commit);
	return true;
}
