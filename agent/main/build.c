/* SPDX-License-Identifier: Apache-2.0 */
#include "main/damage.h"
#include "main/image.h"
#include "main/parts.h"

#include <sys/resource.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "core/address.h"

static void build_free(gpointer data)
{
	Build *build = data;

	dn_subject_unref(build->subject);
	dn_kept_free(build->kept);
	dn_cgroup_close(&build->cgroup);
	dn_network_close(&build->network);
	dn_fd_clear(&build->fifo_fd);
	dn_fd_clear(&build->ns_fd);
	dn_fd_clear(&build->owner_fd);
	dn_run_clear(&build->defaults);
	dn_run_clear(&build->run);
	dn_manifest_unref(build->manifest);
	g_free(build->id);
	g_free(build->address);
	g_free(build->url);
	g_free(build->hosts);
	g_free(build);
}

static Build *build_new(const Node *node)
{
	Build *build = g_new0(Build, 1);

	build->agent = node->agent;
	build->id = g_strdup(node->id);
	build->slot = node->slot;
	build->address = g_strdup(node->address);
	build->manifest = dn_manifest_ref(node->manifest);
	build->image.number = node->image;
	build->service = dn_node_service(node)->number;
	build->fifo_fd = build->ns_fd = build->owner_fd = -1;
	build->defaults.uid = build->run.uid = -1;
	build->network.diag_fd = -1;
	build->cgroup.freeze_fd = build->cgroup.events_fd = -1;
	return build;
}

/* ---- worker ---- */

static void build_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Build *build = data;
	GError *error = NULL;
	g_autoptr(GError) second = NULL;

	(void)setpriority(PRIO_PROCESS, 0, build->nice);
	bool built = dn_failpoint("agent.build.node.before", &error) &&
		     dn_parts_make(build, &error) && dn_failpoint("agent.build.node.after", &error);
	build->remains = !built && !dn_parts_take_apart(build, &second);
	if (build->remains)
		g_warning("node %s: after a failed start: %s", build->id, second->message);
	(void)setpriority(PRIO_PROCESS, 0, DN_NICE_AGENT);
	if (built)
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

static void remove_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	GError *error = NULL;

	dn_failpoint_pass("agent.remove.node.before");
	bool gone = dn_parts_take_apart(data, &error);
	dn_failpoint_pass("agent.remove.node.after");
	if (gone)
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

/* ---- main thread ---- */

static void adopt_parts(Node *node, Build *build)
{
	node->container = build->container;
	node->network = build->network;
	node->cgroup = build->cgroup;
	node->fifo_fd = g_steal_fd(&build->fifo_fd);
	node->subject = g_steal_pointer(&build->subject);
	node->kept = g_steal_pointer(&build->kept);
	build->network.diag_fd = -1;
	build->cgroup.freeze_fd = build->cgroup.events_fd = -1;
	dn_run_clear(&node->run);
	dn_run_copy(&build->run, &node->run);
}

/* An image that is refused is no mishap: somebody has to look at who serves or signs it. */
static void on_failed(Node *node, Build *build, const char *why)
{
	bool image_refused = build->image_refused;
	Agent *agent = node->agent;
	Service *service = dn_node_service(node);

	if (node->replaces != NULL)
		g_ptr_array_add(service->owed, g_steal_pointer(&node->replaces));
	if (!build->image_changed)
		dn_backoffs_failed(service->backoffs, node->manifest->digest, true,
				   dn_clock_monotonic_ns());
	dn_report_event(agent, image_refused ? "critical" : "warning",
			image_refused ? "image.refused" : "node.failed", service->name, node->id,
			"node %s could not be made: %s", node->id, why);
	dn_node_become(node, DN_NODE_FAILED);
	if (build->remains) {
		adopt_parts(node, build);
		node->built = true;
		dn_node_remove(node);
		return;
	}
	dn_report_gone(agent, node->id);
	dn_node_forget(node);
	dn_node_free(node);
	dn_image_tidy(agent);
}

static void on_built(GObject *source, GAsyncResult *result, gpointer data)
{
	Build *build = g_task_get_task_data(G_TASK(result));
	Agent *agent = build->agent;
	Node *node = agent->slots[build->slot];
	g_autoptr(GError) error = NULL;

	node->busy = false;
	bool built = g_task_propagate_boolean(G_TASK(result), &error);
	if (built && dn_parts_are_outdated(build)) {
		built = dn_parts_refuse(build, &error);
		build->remains = true;
	}
	if (!built) {
		on_failed(node, build, error->message);
		dn_balance_apply(agent);
		dn_agent_settle(agent);
		return;
	}
	dn_image_remember(agent, build->manifest, &build->image, &build->defaults);
	adopt_parts(node, build);
	dn_failpoint_pass("agent.build.adopt.before");
	node->built = true;
	dn_watch_mounts(node);
	dn_cut_add_node(agent, node);
	dn_node_become(node, DN_NODE_CREATED);
	/* Usually its rules are in force since the build began; then it starts at once. */
	bool was_in_force = node->in_force;
	if (!dn_node_watch(node, &error) || !(was_in_force || dn_balance_apply(agent))) {
		dn_report_event(agent, "warning", "node.failed", node->manifest->service, node->id,
				"node %s: %s", node->id,
				error != NULL ? error->message : "it could not be guarded");
		dn_node_become(node, DN_NODE_FAILED);
	} else if (node->role == DN_ROLE_ACTIVE || node->manifest->standby_started) {
		dn_node_start(node);
	}
	/* And the reflex's plan, which looks at what was marked meanwhile. */
	if (was_in_force)
		dn_balance_apply(agent);
	dn_agent_settle(agent);
}

static int nice_of(const Node *node)
{
	if (node->replaces != NULL)
		return DN_URGENT;
	return node->role == DN_ROLE_STANDBY ? DN_IN_NO_HURRY : 0;
}

void dn_node_build(Node *node)
{
	Agent *agent = node->agent;
	DnRun defaults = {.uid = -1};

	node->address = dn_address_of_slot(agent->network, node->slot);
	DnImageSet image = dn_image_take(agent, node->manifest, &defaults);
	node->image = image.number;
	Build *build = build_new(node);
	build->image = image;
	build->defaults = defaults;
	build->is_spare =
		dn_spare_take(agent, node->slot, &build->network, &build->ns_fd, &build->owner_fd);
	build->damages = dn_damage_count(agent, node->manifest->image_commit);
	build->nice = nice_of(node);
	if (build->nice == DN_URGENT)
		dn_cgroup_expect_moves(agent->instance);
	build->url = g_strdup(agent->repo);
	build->hosts = dn_node_hosts_text(node);
	node->busy = true;
	/* The firewall can know it before it exists, so that its first packet waits for nothing. */
	node->guarded = true;
	dn_network_link_name(node->slot, node->network.ifname);
	/* Whoever comes after this agent finds what it left half made. */
	dn_node_save(node);
	dn_report_node(node);
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_built, NULL);
	g_task_set_task_data(task, build, build_free);
	dn_work_begin(node->agent, task, build_in_thread);
}

static gboolean on_remove_again(gpointer data)
{
	Node *node = data;

	node->busy = false;
	dn_node_remove(node);
	return G_SOURCE_REMOVE;
}

/*
 * Parts of it remain. It keeps its slot and its file, busy so that no plan touches it, and is tried
 * again: forgotten now, they would stay for as long as this agent lives, or for good.
 */
static void remove_later(Node *node, const GError *why)
{
	uint64_t wait_ns = dn_backoff_ns(++node->removals + 1);

	if (node->removals == 1)
		dn_report_event(node->agent, "warning", "node.remains", node->manifest->service,
				node->id, "parts of node %s remain, this is tried again: %s",
				node->id, why->message);
	node->busy = true;
	dn_node_set_timer(node, (unsigned)(wait_ns / DN_NS_PER_MS), on_remove_again);
}

static void on_removed(GObject *source, GAsyncResult *result, gpointer data)
{
	const Build *build = g_task_get_task_data(G_TASK(result));
	Agent *agent = build->agent;
	Node *node = agent->slots[build->slot];
	g_autoptr(GError) error = NULL;

	if (!g_task_propagate_boolean(G_TASK(result), &error)) {
		remove_later(node, error);
		return;
	}
	dn_failpoint_pass("agent.remove.forget.before");
	dn_node_forget(node);
	dn_failpoint_pass("agent.remove.forget.after");
	node->busy = node->guarded = false;
	dn_report_gone(agent, node->id);
	dn_node_free(node);
	dn_image_tidy(agent);
	dn_balance_apply(agent);
	dn_agent_prune_logs(agent);
	dn_agent_settle(agent);
}

void dn_node_remove(Node *node)
{
	Build *build = build_new(node);

	g_return_if_fail(!node->busy);
	build->container = node->container;
	build->network = node->network;
	node->network.diag_fd = -1;
	build->has_network = build->has_root = build->has_container = build->has_sensor =
		node->built;
	node->busy = true;
	/* From here on the reflex has nothing of this slot in hand, and nobody puts anything right.
	 */
	dn_cut_remove_node(node->agent, node->slot);
	dn_subject_retire(node->subject);
	g_clear_pointer(&node->kept, dn_kept_free);
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_removed, NULL);
	g_task_set_task_data(task, build, build_free);
	dn_work_begin(node->agent, task, remove_in_thread);
}
