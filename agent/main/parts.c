/* SPDX-License-Identifier: Apache-2.0 */
#include "main/parts.h"
#include "main/damage.h"
#include "main/image.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "manifest/effective.h"
#include "runtime/root.h"

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

/* ---- making ---- */

bool dn_parts_are_outdated(const Build *build)
{
	const char *commit = build->manifest->image_commit;
	guint placed = 0;

	return !dn_image_store_has(build->agent->store, commit, &placed) ||
	       placed != build->image.placed ||
	       dn_damage_count(build->agent, commit) != build->damages;
}

bool dn_parts_refuse(Build *build, GError **error)
{
	build->image_changed = true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "image %.12s was changed while the node was made; it is made again",
		    build->manifest->image_commit);
	return false;
}

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
	if (!dn_image_store_defaults_now(agent->store, manifest->image_commit, &build->defaults,
					 error))
		return false;
	(void)dn_image_store_has(agent->store, manifest->image_commit, &build->image.placed);
	g_autoptr(GArray) programs =
		dn_image_programs_now(agent, manifest, &build->defaults, NULL, error);
	if (programs == NULL)
		return false;
	/* Nodes may run by the set of that number already. */
	if (dn_parts_are_outdated(build))
		return dn_parts_refuse(build, error);
	if (!dn_image_allow(agent, build->image.number, programs, error))
		return false;
	dn_damage_guard(agent, manifest->image_commit);
	return true;
}

/* What would be executed is looked at once more, as it would be executed: a page may have changed.
 */
static bool verify_image(Build *build, GError **error)
{
	const char *commit = build->manifest->image_commit;

	if (!build->image.known)
		return fetch_image(build, error);
	/* Since main took it there may have been a repair, which this has waited for. */
	return dn_parts_are_outdated(build) ? dn_parts_refuse(build, error)
					    : dn_damage_verify_now(build->agent, commit, error);
}

static bool prepare_image(Build *build, GError **error)
{
	dn_damage_wait(build->agent, build->manifest->image_commit);
	if (!verify_image(build, error))
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
	g_autoptr(GBytes) text = g_bytes_new(build->hosts, strlen(build->hosts));

	if (build->owner_fd < 0)
		build->owner_fd = dn_root_owner_now(uid_base(build), error);
	return build->owner_fd >= 0 && dn_file_replace_volatile(hosts, text, 0644, error) &&
	       dn_node_make_log_dir(agent, build->id, error) &&
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

/* Its processes are what they are expected to be: the runtime waits, the node has not begun. */
static bool add_to_sensor(Build *build, GError **error)
{
	DnWatched watched;

	dn_watched_fill(&watched, build->agent->instance, build->manifest, build->slot,
			build->container.pid);
	watched.node.cgroup_id = build->container.cgroup_id;
	watched.node.ifindex = build->network.ifindex;
	watched.node.image = build->image.number;
	watched.node.service = build->service;
	watched.node.jit = build->run.jit;
	watched.start_time = build->container.start_time;
	if (!dn_sensor_add_node(build->agent->sensor, &watched.node, error))
		return false;
	build->kept = dn_kept_new(build->agent, build->id);
	build->subject = dn_subject_new(build->agent, build->id, &watched, error);
	return build->subject != NULL;
}

bool dn_parts_make(Build *build, GError **error)
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
	if (!add_to_sensor(build, error) || !dn_failpoint("agent.build.sensor.after", error))
		return false;
	if (build->agent->ability.fast_start) {
		build->fifo_fd = dn_container_hold_fifo(instance, build->id, error);
		return build->fifo_fd >= 0;
	}
	return true;
}

/* ---- taking apart ---- */

static void keep_first(GError **first, GError *next)
{
	if (next == NULL)
		return;
	if (*first == NULL)
		*first = next;
	else
		g_error_free(next);
}

bool dn_parts_take_apart(Build *build, GError **error)
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

	/* Until its last process is gone, the node stays watched and cut. */
	if (build->has_container && !dn_container_delete_now(agent->instance, build->id, error))
		return false;
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
