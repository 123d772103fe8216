/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/guard.h"
#include "main/image.h"
#include "main/incident.h"
#include "main/saved.h"
#include "main/watch.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "core/address.h"
#include "core/custody.h"
#include "core/life.h"
#include "manifest/effective.h"
#include "runtime/root.h"

/*
 * Taking over what an earlier agent left. The files of RUN_DIR/nodes say what it had in mind;
 * what counts is what the kernel really has: process, namespace, link, cgroup, marks. A node
 * whose parts are all there goes on as it is. One that was cut is kept whatever is left of it,
 * since only a responder's signature may take it away; after a reboot that is its incident, with
 * its slot, so that nobody gets its address, its place in the table's cut, and its log. Of any
 * other every trace is removed.
 */

enum { FIRST_WAIT_MS = 20, LAST_WAIT_MS = 640 };

static void fill_watched(const Node *node, bool created_only, DnWatched *watched)
{
	dn_watched_fill(watched, node->agent->instance, node->manifest, node->slot,
			node->container.pid);
	watched->node.cgroup_id = node->cgroup.id;
	watched->node.ifindex = node->network.ifindex;
	watched->node.image = node->image;
	watched->node.service = dn_node_service(node)->number;
	watched->node.jit = node->run.jit;
	watched->start_time = node->container.start_time;
	watched->is_created = created_only;
	watched->node.keep_mark = true;
	watched->node.mode = dn_sensor_mode(node->agent->sensor, node->slot);
}

/* Do both paths lead to the same directory, now? */
static bool is_same_directory(const char *one, const char *other)
{
	struct stat a = {0}, b = {0};

	return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/*
 * What it may execute is told again: somebody may have changed the sensor's set. It is asked of the
 * checkout that the node runs on, as its first process has it, which may have been set aside since:
 * another one has other inodes. An image that is no longer as signed, or is not there any more,
 * gives no set; then the one of before stands, and class `image` answers (damage.c).
 */
static bool allow(Agent *agent, const Node *node, bool in_place, const char *own,
		  const DnRun *defaults, GError **error)
{
	g_autofree char *root = dn_node_root_path(agent, node->id);
	GError *failed = NULL;

	if (!in_place && !is_same_directory(root, own)) {
		g_warning("node %s runs on a directory that cannot be found; what it may execute "
			  "stays as it is",
			  node->id);
		return true;
	}
	g_autoptr(GArray) programs = dn_image_programs_now(agent, node->manifest, defaults,
							   in_place ? NULL : root, &failed);
	if (programs != NULL)
		return dn_image_allow(agent, node->image, programs, error);
	if (!g_error_matches(failed, DN_ERROR, DN_ERROR_UNTRUSTED) &&
	    !g_error_matches(failed, G_IO_ERROR, G_IO_ERROR_NOT_FOUND)) {
		g_propagate_error(error, failed);
		return false;
	}
	g_warning("node %s: %s", node->id, failed->message);
	g_error_free(failed);
	return true;
}

/* @in_place: it runs on the checkout that new nodes get. */
static bool allow_image(Agent *agent, const Node *node, bool created_only, const DnRun *defaults,
			bool *in_place, GError **error)
{
	g_autofree char *checkout =
		dn_image_store_checkout(agent->store, node->manifest->image_commit);
	g_autofree char *own = g_strdup_printf("/proc/%d/root/.", (int)node->container.pid);

	*in_place = is_same_directory(checkout, own);
	/* The agent before this one may have died before it could say so: see build.c. */
	if (created_only && !*in_place) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "image %.12s was made anew since the node was made, and it has not "
			    "begun",
			    node->manifest->image_commit);
		return false;
	}
	return allow(agent, node, *in_place, own, defaults, error);
}

static bool watch_parts(Agent *agent, Node *node, const DnSaved *saved, bool created_only,
			GError **error)
{
	DnWatched watched;

	node->container.cgroup_id = node->cgroup.id;
	fill_watched(node, created_only, &watched);
	watched.mounts = saved->mounts;
	dn_drill_clean(node);
	if (!dn_sensor_add_node(agent->sensor, &watched.node, error))
		return false;
	node->subject = dn_subject_new(agent, node->id, &watched, error);
	return node->subject != NULL && dn_node_watch(node, error);
}

/* What is not there, or is not what it should be, is so the next time too. */
static bool may_pass(const GError *error)
{
	return error->domain != DN_ERROR &&
	       !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
}

/*
 * What its image says of how it is run. A node does not stop being what it is because this host's
 * repository has lost something since: then what is known of it has to do.
 */
static bool find_defaults(Agent *agent, const Node *node, const DnSaved *saved, bool created_only,
			  bool *known, DnRun *defaults, GError **error)
{
	GError *lost = NULL;

	*known = dn_image_store_defaults_now(agent->store, node->manifest->image_commit, defaults,
					     &lost);
	if (*known)
		return true;
	if (created_only || may_pass(lost)) {
		g_propagate_error(error, lost);
		return false;
	}
	g_warning("node %s: %s; what it may execute stays as it is", node->id, lost->message);
	g_error_free(lost);
	dn_run_clear(defaults);
	*defaults = (DnRun){.uid = saved->uid};
	return true;
}

/* Find the parts of @node in the kernel. */
static bool find_parts(Agent *agent, Node *node, const DnSaved *saved, bool *created_only,
		       GError **error)
{
	DnNetworkSpec network = {
		.node = node->id, .slot = node->slot, .address = {.v4 = node->address}};
	DnRun defaults = {.uid = -1};
	bool in_place = false, known = false;

	if (!dn_container_find_now(agent->instance, node->id, &node->container, created_only,
				   error) ||
	    !dn_network_adopt_now(agent->instance, &network, &node->network, error) ||
	    !dn_cgroup_open(agent->instance, node->id, &node->cgroup, error) ||
	    !find_defaults(agent, node, saved, *created_only, &known, &defaults, error))
		return false;
	dn_run_effective(&node->manifest->run, &defaults, &node->run);
	bool found =
		(!known || allow_image(agent, node, *created_only, &defaults, &in_place, error)) &&
		watch_parts(agent, node, saved, *created_only, error);
	/* Not before: the set of a node that is not taken over is swept. */
	if (found)
		dn_image_adopt(agent, node, in_place, known ? &defaults : NULL);
	dn_run_clear(&defaults);
	return found;
}

static void resume(Node *node, const DnSaved *saved, bool created_only)
{
	node->built = node->guarded = true;
	node->started_ns = saved->started_ns;
	node->started_monotonic_ns = dn_clock_monotonic_ns();
	node->health = (DnHealth){.good = saved->healthy ? 1 : 0, .healthy = saved->healthy};
	if (!saved->healthy)
		node->health.unhealthy_since_ns = node->started_monotonic_ns;
	node->incident = g_strdup(saved->incident);
	if (created_only)
		node->fifo_fd = dn_container_hold_fifo(node->agent->instance, node->id, NULL);
	node->state = dn_life_adopted(saved->state, created_only);
	/* The agent before this one may have died while it held it still. */
	bool is_evidence = saved->state == DN_NODE_QUARANTINED ||
			   (saved->incident != NULL && !dn_node_is_isolated(node));
	if (!is_evidence && dn_cgroup_is_frozen(&node->cgroup))
		dn_node_thaw(node->agent->sensor, &node->cgroup, node->slot);
	node->kept = dn_kept_new(node->agent, node->id);
	if (node->subject != NULL)
		dn_watch_mounts(node);
	dn_cut_add_node(node->agent, node);
}

static Node *node_of(Agent *agent, const DnSaved *saved, GError **error)
{
	DnManifest *manifest = g_hash_table_lookup(agent->manifests, saved->digest);

	dn_failpoint_pass("agent.adopt.node.before");
	if (manifest == NULL || agent->slots[saved->slot] != NULL || agent->host_cidr == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "its manifest or slot is not known any more");
		return NULL;
	}
	Node *node = dn_node_new(agent, saved->slot, saved->id, manifest,
				 saved->standby ? DN_ROLE_STANDBY : DN_ROLE_ACTIVE);
	node->address = dn_address_of_slot(agent->network, saved->slot);
	node->image = saved->image;
	/* Until more is known of it: nobody else gets the number. */
	dn_image_adopt(agent, node, false, NULL);
	return node;
}

static bool adopt_one(Agent *agent, const DnSaved *saved, GError **error)
{
	Node *node = node_of(agent, saved, error);
	bool created_only = false;

	if (node == NULL)
		return false;
	if (!find_parts(agent, node, saved, &created_only, error)) {
		dn_node_free(node);
		return false;
	}
	resume(node, saved, created_only);
	dn_failpoint_pass("agent.adopt.node.after");
	return true;
}

/*
 * Take the node of @path over. A kernel that has no descriptor or memory left for a moment must not
 * cost a healthy node its life: this is tried again for about a second.
 */
static bool adopt_patiently(Agent *agent, const char *path, DnSaved *saved, bool *known,
			    GError **error)
{
	for (unsigned wait_ms = FIRST_WAIT_MS;; wait_ms *= 2) {
		g_autoptr(GError) failed = NULL;

		*known = *known || dn_saved_read(path, saved, &failed);
		if (*known && adopt_one(agent, saved, &failed))
			return true;
		if (wait_ms > LAST_WAIT_MS || !may_pass(failed)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		g_message("%s: tried again: %s", path, failed->message);
		if (!*known)
			dn_saved_clear(saved);
		g_usleep(wait_ms * 1000);
	}
}

/* Was it cut, and not destroyed since? Its record may not have got to the disk, nor its state. */
static bool is_evidence(Agent *agent, const DnSaved *saved)
{
	const DnIncident *incident = dn_custody_of_node(agent->incidents, saved->id);

	if (incident != NULL)
		return incident->state != DN_INCIDENT_DESTROYED;
	if (saved->state == DN_NODE_QUARANTINED)
		return true;
	/* In a slot that is being filled the mark is of the node before. */
	return saved->state != DN_NODE_CREATING && dn_sensor_is_marked(agent->sensor, saved->slot);
}

/*
 * What is left of a cut node whose processes have died, or whose link was taken away because its
 * cut could not be verified. Its namespace must be there: one of an earlier boot is no evidence.
 */
static bool adopt_evidence(Agent *agent, const DnSaved *saved)
{
	g_autofree char *netns = dn_network_netns_path(agent->instance, saved->id);
	Node *node = g_file_test(netns, G_FILE_TEST_EXISTS) ? node_of(agent, saved, NULL) : NULL;
	DnWatched watched;
	g_autoptr(GError) lacks = NULL;
	bool created_only = false;

	if (node == NULL)
		return false;
	DnNetworkSpec network = {
		.node = node->id, .slot = node->slot, .address = {.v4 = node->address}};
	bool grouped = dn_cgroup_open(agent->instance, node->id, &node->cgroup, NULL);
	bool linked = dn_network_adopt_now(agent->instance, &network, &node->network, NULL);
	bool alive = dn_container_find_now(agent->instance, node->id, &node->container,
					   &created_only, NULL);
	/* The firewall's rules for it stay, also where there is no such link any more. */
	dn_network_link_name(node->slot, node->network.ifname);
	node->container.cgroup_id = node->cgroup.id;
	if (alive && !dn_node_watch(node, NULL))
		alive = false;
	/* Without a link there is nothing to be cut; what else the maps say of it, they say still.
	 */
	fill_watched(node, created_only, &watched);
	if (linked && !dn_sensor_add_node(agent->sensor, &watched.node, &lacks)) {
		g_warning("node %s: %s", node->id, lacks->message);
		dn_node_free(node);
		return false;
	}
	dn_sensor_end_isolation(agent->sensor, node->slot);
	(void)dn_sensor_mark(agent->sensor, node->slot, DN_DRIFT_MANUAL, NULL, 0);
	resume(node, saved, false);
	node->state = DN_NODE_QUARANTINED;
	g_message("node %s is kept as evidence, cut; it has%s processes,%s control group,%s link",
		  node->id, alive ? "" : " no", grouped ? " a" : " no", linked ? " a" : " no");
	return true;
}

/* Everything that carries the name of a node nobody adopted. False: parts of it remain. */
static bool sweep(Agent *agent, const char *id, uint32_t slot)
{
	/* The next node of this slot must not inherit its connections. */
	g_autofree char *address = agent->host_cidr != NULL && slot < DN_SLOTS
					   ? dn_address_of_slot(agent->network, slot)
					   : NULL;
	DnNetworkSpec network = {.node = id, .slot = slot, .address.v4 = address};
	g_autofree char *root = dn_node_root_path(agent, id);
	g_autofree char *hosts = dn_node_hosts_path(agent, id);
	g_autoptr(GError) running = NULL;
	g_autoptr(GError) linked = NULL;
	g_autoptr(GError) mounted = NULL;

	dn_failpoint_pass("agent.adopt.sweep.before");
	if (!dn_container_delete_now(agent->instance, id, &running))
		g_warning("left-over node %s: %s", id, running->message);
	if (!dn_network_delete_now(agent->instance, &network, &linked))
		g_warning("left-over node %s: %s", id, linked->message);
	if (!dn_root_unmount_now(root, &mounted))
		g_warning("left-over node %s: %s", id, mounted->message);
	if (unlink(hosts) < 0 && errno != ENOENT)
		g_warning("left-over node %s: %s: %s", id, hosts, g_strerror(errno));
	return running == NULL && linked == NULL && mounted == NULL;
}

static void adopt_file(Agent *agent, const char *folder, const char *name)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_autoptr(GError) error = NULL;
	DnSaved saved = {0};

	bool known = false;
	if (adopt_patiently(agent, path, &saved, &known, &error)) {
		g_message("node %s goes on", saved.id);
	} else if (!known || !is_evidence(agent, &saved) || !adopt_evidence(agent, &saved)) {
		g_message("node file %s: not adopted: %s", name, error->message);
		if (may_pass(error))
			dn_report_event(agent, "warning", "node.not-adopted", NULL, NULL,
					"node %s could not be taken over and is replaced: %s",
					saved.id != NULL ? saved.id : name, error->message);
		/* Its file names what remains to the next agent. */
		bool gone = saved.id == NULL || sweep(agent, saved.id, saved.slot);
		if (gone && !dn_file_remove(path, NULL))
			g_warning("%s remains", path);
	}
	dn_saved_clear(&saved);
}

static void sweep_containers(Agent *agent)
{
	g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL;

	if (!dn_container_list_now(agent->instance, nodes, &error))
		g_warning("left-over containers: %s", error->message);
	for (guint i = 0; i < nodes->len; i++) {
		const char *id = g_ptr_array_index(nodes, i);

		/* A node that was being built: it has no file yet, and no slot that is known. */
		if (dn_agent_find_node(agent, id) == NULL)
			(void)sweep(agent, id, UINT32_MAX);
	}
}

/* What is left of a cut node is its incident; the slot it had is free, whatever became of it. */
static void keep_remains(Agent *agent, const DnIncident *incident)
{
	DnManifest *manifest = incident->digest == NULL
				       ? NULL
				       : g_hash_table_lookup(agent->manifests, incident->digest);
	uint32_t slot = incident->address == NULL
				? DN_SLOTS
				: dn_address_find_slot(agent->network, DN_SLOTS, incident->address);

	if (manifest == NULL || slot == DN_SLOTS || agent->slots[slot] != NULL) {
		g_warning("node %s of incident %s is gone, and its address is not known or taken",
			  incident->node, incident->id);
		return;
	}
	/* Not an active one: its replacement was accounted for in its own time. */
	Node *node = dn_node_new(agent, slot, incident->node, manifest, DN_ROLE_STANDBY);
	node->address = g_strdup(incident->address);
	dn_network_link_name(slot, node->network.ifname);
	node->guarded = true;
	node->state = DN_NODE_QUARANTINED;
	g_message("node %s is gone; it stays cut, as incident %s", node->id, incident->id);
}

static void keep_all_remains(Agent *agent)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, agent->incidents);
	while (agent->host_cidr != NULL && g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *incident = value;

		if (incident->state != DN_INCIDENT_DESTROYED &&
		    dn_agent_find_node(agent, incident->node) == NULL)
			keep_remains(agent, incident);
	}
}

/* The throw-away nodes by which an agent that died tried the runtime: root, and mount of it. */
static void sweep_probes(const char *folder)
{
	g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		g_autofree char *root = g_build_filename(path, "root", NULL);
		g_autoptr(GError) error = NULL;

		if (g_str_has_prefix(name, "probe-") &&
		    (!dn_root_unmount_now(root, &error) || !dn_file_remove_tree(path, &error)))
			g_warning("%s", error->message);
	}
}

bool dn_agent_adopt(Agent *agent, GError **error)
{
	g_autofree char *folder = g_build_filename(agent->instance->run_dir, "nodes", NULL);
	g_autoptr(GDir) directory = NULL;
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GArray) images = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	bool taken[DN_SENSOR_SLOTS] = {0};
	const char *name = NULL;

	if (!dn_file_make_directory(folder, 0711, error))
		return false;
	dn_file_sweep(folder);
	directory = g_dir_open(folder, 0, error);
	if (directory == NULL)
		return false;
	while ((name = g_dir_read_name(directory)) != NULL)
		if (g_str_has_suffix(name, ".json"))
			g_ptr_array_add(names, g_strdup(name));
	for (guint i = 0; i < names->len; i++)
		adopt_file(agent, folder, g_ptr_array_index(names, i));
	sweep_containers(agent);
	keep_all_remains(agent);
	dn_file_sweep(agent->instance->run_dir);
	sweep_probes(agent->instance->run_dir);
	sweep_probes(agent->instance->state_dir);
	dn_spares_sweep(agent->instance, agent->slots);
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		taken[i] = agent->slots[i] != NULL;
		if (taken[i])
			g_array_append_val(images, agent->slots[i]->image);
	}
	dn_sensor_sweep(agent->sensor, taken);
	dn_sensor_sweep_images(agent->sensor, images);
	return true;
}
