/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <errno.h>
#include <string.h>
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
#include "wire/json.h"

/*
 * Taking over what an earlier agent left. The files of RUN_DIR/nodes say what it had in mind;
 * what counts is what the kernel really has: process, namespace, link, cgroup, marks. A node
 * whose parts are all there goes on as it is. One that was cut is kept whatever is left of it,
 * since only a responder's signature may take it away; after a reboot that is its incident, with
 * its slot, so that nobody gets its address, its place in the table's cut, and its log. Of any
 * other every trace is removed.
 */

typedef struct {
	char *id;
	uint32_t slot;
	char *digest;
	DnNodeState state;
	bool standby, healthy;
	uint64_t started_ns;
	uint32_t image;
	char *incident;
} Saved;

static void saved_clear(Saved *saved)
{
	g_free(saved->id);
	g_free(saved->digest);
	g_free(saved->incident);
}

static bool read_saved(const char *path, Saved *saved, GError **error)
{
	g_autoptr(GBytes) bytes = dn_file_read(path, 64 * 1024, error);
	g_autoptr(JsonObject) object =
		bytes == NULL ? NULL : dn_json_parse(bytes, 64 * 1024, error);
	GError *failed = NULL;

	if (object == NULL)
		return false;
	saved->id = dn_json_string(object, "id", 64, &failed);
	saved->slot = (uint32_t)dn_json_u64(object, "slot", DN_SLOTS - 1, &failed);
	saved->digest = dn_json_string(object, "digest", 64, &failed);
	g_autofree char *state = dn_json_string(object, "state", 64, &failed);
	saved->standby = dn_json_bool(object, "standby", &failed);
	saved->healthy = dn_json_bool(object, "healthy", &failed);
	saved->started_ns = dn_json_u64(object, "started", G_MAXINT64, &failed);
	saved->image = (uint32_t)dn_json_u64(object, "image", G_MAXUINT32, &failed);
	saved->incident = dn_json_string_or_null(object, "incident", 64, &failed);
	if (failed == NULL && !dn_node_state_parse(state, &saved->state))
		g_set_error(&failed, DN_ERROR, DN_ERROR_INVALID, "no state is called so");
	if (failed != NULL)
		g_propagate_error(error, failed);
	return failed == NULL;
}

static DnSensorNode sensor_node(const Node *node, uint16_t *ports)
{
	DnSensorNode made = {
		.slot = node->slot,
		.cgroup_id = node->cgroup.id,
		.ifindex = node->network.ifindex,
		.image = node->image,
		.service = dn_node_service(node)->number,
		.pid1 = (uint32_t)node->container.pid,
		.exec = node->manifest->drift_exec,
		.ports = ports,
		.keep_mark = true,
	};

	made.n_ports = dn_node_ports(node->manifest, ports);
	return made;
}

/* Find the parts of @node in the kernel. */
static bool find_parts(Agent *agent, Node *node, bool *created_only, GError **error)
{
	DnNetworkSpec network = {
		.node = node->id, .slot = node->slot, .address = {.v4 = node->address}};
	uint16_t ports[DN_SENSOR_PORTS];
	DnRun defaults = {.uid = -1};

	if (!dn_container_find_now(agent->instance, node->id, &node->container, created_only,
				   error) ||
	    !dn_network_adopt_now(agent->instance, &network, &node->network, error) ||
	    !dn_cgroup_open(agent->instance, node->id, &node->cgroup, error) ||
	    !dn_image_store_defaults_now(agent->store, node->manifest->image_commit, &defaults,
					 error))
		return false;
	dn_run_effective(&node->manifest->run, &defaults, &node->run);
	dn_image_remember(agent, node->manifest, node->image, &defaults);
	dn_run_clear(&defaults);
	node->container.cgroup_id = node->cgroup.id;
	DnSensorNode sensor = sensor_node(node, ports);
	return dn_sensor_add_node(agent->sensor, &sensor, error) && dn_node_watch(node, error);
}

static void resume(Node *node, const Saved *saved, bool created_only)
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
	dn_cut_add_node(node->agent, node);
}

static Node *node_of(Agent *agent, const Saved *saved, GError **error)
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
	agent->next_image = MAX(agent->next_image, saved->image);
	return node;
}

static bool adopt_one(Agent *agent, const Saved *saved, GError **error)
{
	Node *node = node_of(agent, saved, error);
	bool created_only = false;

	if (node == NULL)
		return false;
	if (!dn_image_allow(agent, node->manifest, node->image, error) ||
	    !find_parts(agent, node, &created_only, error)) {
		dn_node_free(node);
		return false;
	}
	resume(node, saved, created_only);
	dn_failpoint_pass("agent.adopt.node.after");
	return true;
}

/* Was it cut, and not destroyed since? Its record may not have got to the disk, nor its state. */
static bool is_evidence(Agent *agent, const Saved *saved)
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
static bool adopt_evidence(Agent *agent, const Saved *saved)
{
	g_autofree char *netns = dn_network_netns_path(agent->instance, saved->id);
	Node *node = g_file_test(netns, G_FILE_TEST_EXISTS) ? node_of(agent, saved, NULL) : NULL;
	uint16_t ports[DN_SENSOR_PORTS];
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
	DnSensorNode sensor = sensor_node(node, ports);
	if (linked && !dn_sensor_add_node(agent->sensor, &sensor, &lacks)) {
		g_warning("node %s: %s", node->id, lacks->message);
		dn_node_free(node);
		return false;
	}
	(void)dn_sensor_mark(agent->sensor, node->slot, DN_SENSOR_MANUAL);
	resume(node, saved, false);
	node->state = DN_NODE_QUARANTINED;
	g_message("node %s is kept as evidence, cut; it has%s processes,%s control group,%s link",
		  node->id, alive ? "" : " no", grouped ? " a" : " no", linked ? " a" : " no");
	return true;
}

/* Everything that carries the name of a node nobody adopted. False: parts of it remain. */
static bool sweep(Agent *agent, const char *id, uint32_t slot)
{
	DnNetworkSpec network = {.node = id, .slot = slot};
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
	Saved saved = {0};

	bool known = read_saved(path, &saved, &error);
	if (known && adopt_one(agent, &saved, &error)) {
		g_message("node %s goes on", saved.id);
	} else if (!known || !is_evidence(agent, &saved) || !adopt_evidence(agent, &saved)) {
		g_message("node file %s: not adopted: %s", name, error->message);
		/* Its file names what remains to the next agent. */
		bool gone = saved.id == NULL || sweep(agent, saved.id, saved.slot);
		if (gone && !dn_file_remove(path, NULL))
			g_warning("%s remains", path);
	}
	saved_clear(&saved);
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
	for (unsigned i = 0; i < DN_SLOTS; i++)
		taken[i] = agent->slots[i] != NULL;
	dn_sensor_sweep(agent->sensor, taken);
	return true;
}
