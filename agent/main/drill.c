/* SPDX-License-Identifier: Apache-2.0 */
#include "main/incident.h"
#include "main/journal.h"
#include "main/state.h"
#include "main/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"

/*
 * Drifts made on purpose. Most are made by a helper in the node's cgroup (agent/drill/drill.c),
 * which waits until the sensor expects it and stays until its drift was noticed; what a node cannot
 * do to itself the agent does to it.
 */

enum {
	HELPER_MS = 5000, /* the kernel tells of these at once */
	AGENT_MS = 60000, /* these are found when their node's turn comes */
};

struct Drill {
	Node *node;   /* borrowed: it owns this */
	int input_fd; /* of the helper, which leaves when it is closed */
	GSource *deadline;
	struct stat shell; /* the helper's file, while it passes for a shell of the image */
	bool lent, exited, noticed;
};

static char *helper_path(const Agent *agent)
{
	return g_build_filename(agent->instance->libexec_dir, "dnode-drill", NULL);
}

static void take_back(Drill *self)
{
	const Node *node = self->node;
	g_autoptr(GError) error = NULL;

	if (self->lent &&
	    !dn_sensor_pass_no_more(node->agent->sensor, node->image, &self->shell, &error))
		g_warning("the helper of drills still passes for a shell of node %s: %s", node->id,
			  error->message);
	self->lent = false;
}

void dn_drill_free(Drill *self)
{
	if (self == NULL)
		return;
	take_back(self);
	dn_fd_clear(&self->input_fd);
	dn_source_clear(&self->deadline);
	g_free(self);
}

static void expect_nobody(const Node *node)
{
	g_autoptr(GError) error = NULL;

	if (!dn_sensor_expect_guest(node->agent->sensor, node->cgroup.id, 0, &error))
		g_warning("node %s: a helper of drills is still let in: %s", node->id,
			  error->message);
}

/* Who made the mark of a node that is cut stays known. */
static void end(Node *node)
{
	if (node->drill > 0)
		expect_nobody(node);
	g_clear_pointer(&node->drilling, dn_drill_free);
	if (!node->cut_taken)
		node->drill = 0;
}

static void give_up(Node *node, const char *why)
{
	dn_report_event(node->agent, "warning", "drill.failed", node->manifest->service, node->id,
			"node %s: the drill of class %s showed nothing: %s", node->id,
			dn_drift_name(node->drill_class), why);
	end(node);
	dn_balance_apply(node->agent);
}

static gboolean on_deadline(gpointer data)
{
	Drill *self = data;

	/* What was noticed and does not end: nobody waits for it any more. */
	if (self->noticed)
		end(self->node);
	else
		give_up(self->node, "its drift was made and not noticed in time");
	return G_SOURCE_REMOVE;
}

static Drill *begin(Node *node, enum dn_drift_class drift, unsigned limit_ms)
{
	Drill *self = g_new0(Drill, 1);

	self->node = node;
	self->input_fd = -1;
	self->deadline = g_timeout_source_new(limit_ms);
	g_source_set_callback(self->deadline, on_deadline, self, NULL);
	g_source_attach(self->deadline, NULL);
	node->drilling = self;
	/* A drill is not charged to the budget: plan with that before it can happen. */
	node->drill = -1;
	node->drill_class = drift;
	dn_balance_apply(node->agent);
	return self;
}

bool dn_drill_is(const Node *node, enum dn_drift_class drift, uint32_t pid)
{
	if (node->drill > 0)
		return pid == (uint32_t)node->drill;
	return node->drill < 0 && drift == node->drill_class;
}

void dn_drill_noticed(Node *node)
{
	Drill *self = node->drilling;

	if (self == NULL)
		return;
	self->noticed = true;
	take_back(self);
	dn_fd_clear(&self->input_fd);
	if (self->exited || node->drill < 0 || node->cut_taken)
		end(node);
}

/* ---- the helper ---- */

/* @denies: the sensor refuses drifts itself, and tells of them. */
static const char *reason_of(int status, bool denies)
{
	if (WIFSIGNALED(status))
		return NULL; /* killed for its drift: what tells of it is on its way here */
	switch (WEXITSTATUS(status)) {
	case 0:
	case 99:
		return NULL; /* let go on by a node that only observes: the same */
	case 4:
		return denies ? NULL : "this kernel did not let the helper make it";
	}
	return "the helper could not join the node";
}

static void on_helper_exit(GPid pid, gint status, gpointer data)
{
	Agent *agent = data;
	const char *why = NULL;
	const char *reason = reason_of(status, dn_sensor_denies(agent->sensor, &why));

	g_spawn_close_pid(pid);
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		Node *node = agent->slots[i];

		if (node == NULL || node->drill != pid || node->drilling == NULL)
			continue;
		node->drilling->exited = true;
		if (node->drilling->noticed)
			end(node);
		else if (reason != NULL)
			give_up(node, reason);
	}
}

static bool spawn(const Node *node, GPid *pid, int *input_fd, GError **error)
{
	const DnInstance *instance = node->agent->instance;
	g_autofree char *helper = helper_path(node->agent);
	g_autofree char *procs = g_build_filename(instance->cgroup_root, instance->cgroup_parent,
						  node->id, "cgroup.procs", NULL);
	gint64 user =
		(gint64)instance->uid_base + (gint64)node->slot * DN_UIDS_PER_NODE + node->run.uid;
	g_autofree char *uid = g_strdup_printf("%" G_GINT64_FORMAT, user);
	const char *argv[] = {helper, procs, uid, uid, dn_drift_name(node->drill_class), NULL};
	const char *environment[] = {NULL};
	/* Not a pipe: to write to one that nobody reads any more is a signal. */
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return dn_throw_errno(error, errno, "socketpair for the helper of drills");
	dn_autofd int theirs_fd = ends[0];
	dn_autofd int ours_fd = ends[1];
	if (!dn_failpoint("agent.drill.spawn.before", error) ||
	    !g_spawn_async_with_pipes_and_fds(
		    NULL, argv, environment,
		    G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
			    G_SPAWN_STDERR_TO_DEV_NULL,
		    NULL, NULL, theirs_fd, -1, -1, NULL, NULL, 0, pid, NULL, NULL, NULL, error))
		return false;
	*input_fd = g_steal_fd(&ours_fd);
	return true;
}

static bool lend(Drill *self, GError **error)
{
	const Node *node = self->node;
	g_autofree char *helper = helper_path(node->agent);

	if (stat(helper, &self->shell) < 0)
		return dn_throw_errno(error, errno, "%s", helper);
	if (!dn_sensor_pass_as_shell(node->agent->sensor, node->image, &self->shell, error))
		return false;
	self->lent = true;
	return true;
}

static bool send_helper(Node *node, enum dn_drift_class drift, GError **error)
{
	Drill *self = begin(node, drift, HELPER_MS);
	GPid pid = 0;

	if ((drift == DN_DRIFT_SHELL && !lend(self, error)) ||
	    !spawn(node, &pid, &self->input_fd, error))
		return false;
	node->drill = pid;
	g_child_watch_add(pid, on_helper_exit, node->agent);
	dn_failpoint_pass("agent.drill.spawn.after");
	/* To come unannounced is what class process-foreign is about. */
	if (drift != DN_DRIFT_PROCESS_FOREIGN &&
	    !dn_sensor_expect_guest(node->agent->sensor, node->cgroup.id, (uint32_t)pid, error))
		return false;
	if (send(self->input_fd, "g", 1, MSG_NOSIGNAL) != 1)
		return dn_throw_errno(error, errno, "tell the helper of drills to go");
	return true;
}

/* ---- what the agent does itself ---- */

/* The node's own mount of its image goes away; its container has a clone of it. */
static bool lose_root(Node *node, GError **error)
{
	g_autofree char *path = dn_node_root_path(node->agent, node->id);

	return umount2(path, MNT_DETACH) == 0 || dn_throw_errno(error, errno, "unmount %s", path);
}

/* The programs that look at the node's packets are taken off its interface. */
static bool lose_filters(Node *node, GError **error)
{
	return dn_sensor_detach(node->network.ifindex, error);
}

/* A byte that is not ours at the end of the node's record. */
static bool spoil_record(Node *node, GError **error)
{
	g_autofree char *file = g_strconcat(node->id, ".json", NULL);
	g_autofree char *path =
		g_build_filename(node->agent->instance->run_dir, "nodes", file, NULL);
	dn_autofd int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);

	return (fd >= 0 && write(fd, "!", 1) == 1) ||
	       dn_throw_errno(error, errno, "append to %s", path);
}

typedef bool (*Deed)(Node *node, GError **error);

static const Deed deeds[DN_DRIFT_N] = {
	[DN_DRIFT_IMAGE] = lose_root,
	[DN_DRIFT_SENSOR] = lose_filters,
	[DN_DRIFT_AGENT] = spoil_record,
};

static bool drift_by_agent(Node *node, enum dn_drift_class drift, GError **error)
{
	begin(node, drift, AGENT_MS);
	if (!deeds[drift](node, error))
		return false;
	dn_watch_soon(node->agent, node);
	return true;
}

/* ---- one drill ---- */

/*
 * By the count that the signed manifest allows, whatever the supervisor says: drills cut nodes, and
 * their replacements are not charged to respawn. On disk before the helper goes, so that no restart
 * of the agent gives it back.
 */
static bool spend(Agent *agent, const Node *node, GError **error)
{
	Service *service = dn_node_service(node);
	g_autoptr(GError) refused = NULL;
	uint64_t now_ns = dn_clock_monotonic_ns();

	if (!dn_budget_allows_drill(&service->drills, node->manifest, now_ns, &refused)) {
		dn_report_event(agent, "critical", "drill.refused", service->name, node->id, "%s",
				refused->message);
		g_propagate_error(error, g_steal_pointer(&refused));
		return false;
	}
	dn_budget_spend_drill(&service->drills, node->manifest, now_ns);
	dn_agent_journal_budget(agent, "drill.spent", service, node->id);
	return dn_state_save_service(agent, service, error);
}

static bool may_drill(const Node *node, const char *class, enum dn_drift_class *drift,
		      GError **error)
{
	if (!dn_drift_parse(class, drift) || !dn_drift_is_watched(*drift)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "there is no drill for class \"%s\" yet; 'dnode drill --list' names "
			    "those there are",
			    class);
		return false;
	}
	if (node->drilling != NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "a drill of class %s is under way in node %s; try again when it is "
			    "over, after a minute at most",
			    dn_drift_name(node->drill_class), node->id);
		return false;
	}
	return true;
}

bool dn_agent_drill(Agent *agent, const char *id, const char *class, GError **error)
{
	Node *node = dn_agent_find_cuttable(agent, id, error);
	enum dn_drift_class drift = DN_DRIFT_NONE;

	if (node == NULL || !may_drill(node, class, &drift, error) || !spend(agent, node, error))
		return false;
	if (deeds[drift] != NULL ? drift_by_agent(node, drift, error)
				 : send_helper(node, drift, error))
		return true;
	end(node);
	dn_balance_apply(agent);
	return false;
}

void dn_drill_clean(const Node *node)
{
	g_autofree char *helper = helper_path(node->agent);
	g_autoptr(GError) error = NULL;
	struct stat info = {0};

	if (stat(helper, &info) == 0 &&
	    !dn_sensor_pass_no_more(node->agent->sensor, node->image, &info, &error))
		g_warning("node %s: %s", node->id, error->message);
}
