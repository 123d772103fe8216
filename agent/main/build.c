/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "core/address.h"
#include "manifest/effective.h"
#include "runtime/logs.h"
#include "runtime/root.h"

/*
 * What a worker needs to build or take apart one node: copies, so that nothing of the main
 * thread's is touched; and what it made.
 */
typedef struct {
	Agent *agent; /* instance, store, sensor and ability, which never change */
	char *id;
	uint32_t slot;
	char *address;
	DnManifest *manifest;
	char *url; /* of the supervisor's repository */
	char *hosts;
	uint32_t image, service;
	bool image_known; /* @defaults are there, and its executables are in the sensor */
	bool image_refused;
	bool remains; /* a failed start could not be taken back */
	DnRun defaults, run;
	int nice;      /* of the work, never of the node */
	bool is_spare; /* @network, @ns_fd and @owner_fd were made ahead of need */
	int ns_fd, owner_fd;
	DnContainer container;
	DnNetwork network;
	DnCgroup cgroup;
	int fifo_fd;
	/* How far it came, for the way back. */
	bool has_network, has_root, has_container, has_sensor;
} Build;

static void build_free(gpointer data)
{
	Build *build = data;

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
	build->image = node->image;
	build->service = dn_node_service(node)->number;
	build->fifo_fd = build->ns_fd = build->owner_fd = -1;
	build->defaults.uid = build->run.uid = -1;
	build->network.diag_fd = -1;
	build->cgroup.freeze_fd = build->cgroup.events_fd = -1;
	return build;
}

static uint32_t uid_base(const Build *build)
{
	return build->agent->instance->uid_base + build->slot * DN_UIDS_PER_NODE;
}

static DnNetworkSpec network_spec(const Build *build)
{
	return (DnNetworkSpec){
		.node = build->id,
		.slot = build->slot,
		.address = {.v4 = build->address},
	};
}

/* ---- worker: building ---- */

static bool fetch_image(Build *build, GError **error)
{
	Agent *agent = build->agent;
	const DnManifest *manifest = build->manifest;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&agent->store_lock);
	GError *failed = NULL;

	if (!dn_image_store_ensure_now(agent->store, build->url, manifest->image_ref,
				       manifest->image_commit, NULL, &failed)) {
		build->image_refused = g_error_matches(failed, DN_ERROR, DN_ERROR_UNTRUSTED) ||
				       g_error_matches(failed, DN_ERROR, DN_ERROR_INVALID);
		g_propagate_error(error, failed);
		return false;
	}
	return dn_image_store_defaults_now(agent->store, manifest->image_commit, &build->defaults,
					   error) &&
	       dn_image_allow(agent, manifest, build->image, error);
}

static bool prepare_image(Build *build, GError **error)
{
	if (!build->image_known && !fetch_image(build, error))
		return false;
	dn_run_effective(&build->manifest->run, &build->defaults, &build->run);
	if (build->run.args != NULL && build->run.args[0] != NULL)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "neither manifest nor image says what to run: set run.args");
	return false;
}

static bool make_network(Build *build, GError **error)
{
	DnInstance *instance = build->agent->instance;
	DnNetworkSpec spec = network_spec(build);

	if (build->is_spare)
		return dn_network_name_now(instance, build->ns_fd, build->id, error);
	return dn_network_create_now(instance, &spec, &build->network, error);
}

static bool make_root(Build *build, GError **error)
{
	Agent *agent = build->agent;
	g_autofree char *checkout =
		dn_image_store_checkout(agent->store, build->manifest->image_commit);
	g_autofree char *root = dn_node_root_path(agent, build->id);
	g_autofree char *hosts = dn_node_hosts_path(agent, build->id);
	g_autofree char *log = dn_node_log_dir(agent, build->id);
	g_autoptr(GBytes) text = g_bytes_new(build->hosts, strlen(build->hosts));

	if (build->owner_fd < 0)
		build->owner_fd = dn_root_owner_now(uid_base(build), error);
	return build->owner_fd >= 0 && dn_file_replace_volatile(hosts, text, 0644, error) &&
	       dn_file_make_directory(log, 0700, error) &&
	       dn_root_mount_now(checkout, root, build->owner_fd, error);
}

static bool make_container(Build *build, GError **error)
{
	Agent *agent = build->agent;
	g_autofree char *root = dn_node_root_path(agent, build->id);
	g_autofree char *netns = dn_network_netns_path(agent->instance, build->id);
	g_autofree char *hosts = dn_node_hosts_path(agent, build->id);
	g_autofree char *log = dn_node_log_dir(agent, build->id);
	DnContainerSpec spec = {
		.node = build->id,
		.uid_base = uid_base(build),
		.root = root,
		.netns = netns,
		.hosts_file = hosts,
		.manifest = build->manifest,
		.run = &build->run,
		.log_dir = log,
		.nice = build->nice,
	};

	return dn_container_create_now(agent->instance, &spec, &build->container, error);
}

size_t dn_node_ports(const DnManifest *manifest, uint16_t ports[DN_SENSOR_PORTS])
{
	size_t n = 0;

	/* For resets, which UDP has none of. */
	for (guint i = 0; i < manifest->listen->len && n < DN_SENSOR_PORTS; i++) {
		const DnListen *listen = &g_array_index(manifest->listen, DnListen, i);

		if (listen->protocol == DN_PROTOCOL_TCP)
			ports[n++] = listen->port;
	}
	return n;
}

static bool add_to_sensor(Build *build, bool keep_mark, GError **error)
{
	uint16_t ports[DN_SENSOR_PORTS];
	DnSensorNode node = {
		.slot = build->slot,
		.cgroup_id = build->container.cgroup_id,
		.ifindex = build->network.ifindex,
		.image = build->image,
		.service = build->service,
		.pid1 = (uint32_t)build->container.pid,
		.exec = build->manifest->drift_exec,
		.ports = ports,
		.keep_mark = keep_mark,
	};

	node.n_ports = dn_node_ports(build->manifest, ports);
	return dn_sensor_add_node(build->agent->sensor, &node, error);
}

static bool build_all(Build *build, GError **error)
{
	DnInstance *instance = build->agent->instance;

	/*
	 * What was made ahead of need becomes this node's before anything can fail, so that it is
	 * taken apart with it; else it would stand in the way of the slot's next network.
	 */
	build->has_network = build->is_spare;
	if (build->is_spare && !make_network(build, error))
		return false;
	if (!prepare_image(build, error))
		return false;
	build->has_network = true;
	if (!build->is_spare && !make_network(build, error))
		return false;
	build->has_root = true;
	if (!make_root(build, error))
		return false;
	build->has_container = true;
	if (!dn_failpoint("agent.build.root.after", error) || !make_container(build, error) ||
	    !dn_failpoint("agent.build.container.after", error) ||
	    !dn_cgroup_open(instance, build->id, &build->cgroup, error))
		return false;
	build->container.cgroup_id = build->cgroup.id;
	build->has_sensor = true;
	if (!add_to_sensor(build, false, error) || !dn_failpoint("agent.build.sensor.after", error))
		return false;
	if (build->agent->ability.fast_start) {
		build->fifo_fd = dn_container_hold_fifo(instance, build->id, error);
		return build->fifo_fd >= 0;
	}
	return true;
}

/* ---- worker: taking apart; goes on past a failure, the first is the caller's ---- */

static void keep_first(GError **first, GError *next)
{
	if (next == NULL)
		return;
	if (*first == NULL)
		*first = next;
	else
		g_error_free(next);
}

static bool take_apart(Build *build, GError **error)
{
	Agent *agent = build->agent;
	DnNetworkSpec spec = network_spec(build);
	DnSensorNode sensor = {
		.slot = build->slot,
		.cgroup_id = build->container.cgroup_id,
		.ifindex = build->network.ifindex,
	};
	GError *first = NULL;
	GError *next = NULL;

	if (build->has_container && !dn_container_delete_now(agent->instance, build->id, &next))
		keep_first(&first, g_steal_pointer(&next));
	/* Only now: until its last process is gone, the node stays watched and cut. */
	if (build->has_sensor && !dn_sensor_remove_node(agent->sensor, &sensor, &next))
		keep_first(&first, g_steal_pointer(&next));
	dn_network_close(&build->network);
	if (build->has_network && !dn_network_delete_now(agent->instance, &spec, &next))
		keep_first(&first, g_steal_pointer(&next));
	if (build->has_root) {
		g_autofree char *root = dn_node_root_path(agent, build->id);
		g_autofree char *hosts = dn_node_hosts_path(agent, build->id);

		if (!dn_root_unmount_now(root, &next))
			keep_first(&first, g_steal_pointer(&next));
		if (unlink(hosts) < 0 && errno != ENOENT &&
		    !dn_throw_errno(&next, errno, "remove %s", hosts))
			keep_first(&first, g_steal_pointer(&next));
	}
	if (first != NULL)
		g_propagate_error(error, first);
	return first == NULL;
}

static void build_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Build *build = data;
	GError *error = NULL;
	g_autoptr(GError) second = NULL;

	(void)setpriority(PRIO_PROCESS, 0, build->nice);
	bool built = dn_failpoint("agent.build.node.before", &error) && build_all(build, &error) &&
		     dn_failpoint("agent.build.node.after", &error);
	build->remains = !built && !take_apart(build, &second);
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
	bool gone = take_apart(data, &error);
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
	build->network.diag_fd = -1;
	build->cgroup.freeze_fd = build->cgroup.events_fd = -1;
	dn_run_clear(&node->run);
	dn_run_copy(&build->run, &node->run);
}

/* An image that is refused is no mishap: somebody has to look at who serves or signs it. */
static void on_failed(Node *node, Build *build, const char *why)
{
	bool image_refused = build->image_refused;
	Service *service = dn_node_service(node);

	if (node->replaces != NULL)
		g_ptr_array_add(service->owed, g_steal_pointer(&node->replaces));
	service->exits++;
	service->not_before_ns = dn_clock_monotonic_ns() + dn_plan_backoff_ns(service->exits + 1);
	dn_report_event(node->agent, image_refused ? "critical" : "warning",
			image_refused ? "image.refused" : "node.failed", service->name, node->id,
			"node %s could not be made: %s", node->id, why);
	dn_node_become(node, DN_NODE_FAILED);
	if (build->remains) {
		adopt_parts(node, build);
		node->built = true;
		dn_node_remove(node);
		return;
	}
	dn_report_gone(node->agent, node->id);
	dn_node_forget(node);
	dn_node_free(node);
}

static void on_built(GObject *source, GAsyncResult *result, gpointer data)
{
	Build *build = g_task_get_task_data(G_TASK(result));
	Agent *agent = build->agent;
	Node *node = agent->slots[build->slot];
	g_autoptr(GError) error = NULL;

	node->busy = false;
	if (!g_task_propagate_boolean(G_TASK(result), &error)) {
		on_failed(node, build, error->message);
		dn_balance_apply(agent);
		dn_agent_settle(agent);
		return;
	}
	dn_image_remember(agent, node->manifest, node->image, &build->defaults);
	adopt_parts(node, build);
	dn_failpoint_pass("agent.build.adopt.before");
	node->built = true;
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
	bool known = dn_image_find(agent, node->manifest, &node->image, &defaults);
	Build *build = build_new(node);
	build->image_known = known;
	build->defaults = defaults;
	build->is_spare =
		dn_spare_take(agent, node->slot, &build->network, &build->ns_fd, &build->owner_fd);
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
	uint64_t wait_ns = dn_plan_backoff_ns(++node->removals + 1);

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
	/* From here on the reflex has nothing of this slot in hand. */
	dn_cut_remove_node(node->agent, node->slot);
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_removed, NULL);
	g_task_set_task_data(task, build, build_free);
	dn_work_begin(node->agent, task, remove_in_thread);
}
