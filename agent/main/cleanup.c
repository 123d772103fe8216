/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/saved.h"
#include "main/state.h"

#include <string.h>
#include <sys/mount.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "runtime/root.h"

enum { TRIES = 50, PAUSE_US = 100000, ENDING_MS = 5000 };

/*
 * Take away everything an agent of this instance made outside its state directory: nodes, also
 * quarantined ones, table, programs, cgroups. For a host that leaves the fleet, once its agent has
 * ended, for which this waits a moment.
 */

static void complain(GError *error)
{
	g_warning("%s", error->message);
	g_error_free(error);
}

static void remove_node(const DnInstance *instance, const char *id)
{
	Agent agent = {.instance = (DnInstance *)instance};
	DnNetworkSpec network = {.node = id, .slot = UINT32_MAX};
	g_autofree char *root = dn_node_root_path(&agent, id);
	GError *error = NULL;

	if (!dn_container_delete_now(instance, id, &error))
		complain(g_steal_pointer(&error));
	if (!dn_network_delete_now(instance, &network, &error))
		complain(g_steal_pointer(&error));
	if (!dn_root_unmount_now(root, &error))
		complain(g_steal_pointer(&error));
}

/* Node ids by what bears their name. */
static void remove_nodes(const DnInstance *instance)
{
	static const char *const folders[] = {"nodes", "roots", "bundles"};
	g_autoptr(GPtrArray) listed = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GHashTableIter iter;
	gpointer id = NULL;
	GError *error = NULL;

	if (!dn_container_list_now(instance, listed, &error))
		complain(g_steal_pointer(&error));
	for (guint i = 0; i < listed->len; i++)
		g_hash_table_add(ids, g_strdup(g_ptr_array_index(listed, i)));
	for (size_t f = 0; f < G_N_ELEMENTS(folders); f++) {
		g_autofree char *path = g_build_filename(instance->run_dir, folders[f], NULL);
		g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
		const char *name = NULL;

		while (directory != NULL && (name = g_dir_read_name(directory)) != NULL)
			g_hash_table_add(ids, g_strndup(name, strcspn(name, ".")));
	}
	g_hash_table_iter_init(&iter, ids);
	while (g_hash_table_iter_next(&iter, &id, NULL))
		remove_node(instance, id);
}

static void remove_table(const DnInstance *instance)
{
	DnFirewallConfig config = {
		.uplink = instance->uplink, .node_cidr = "10.0.0.0/8", .vip_cidr = "10.0.0.0/8"};
	GError *error = NULL;
	g_autoptr(DnFirewall) firewall = dn_firewall_new(&config, &error);

	if (firewall == NULL || !dn_firewall_remove(firewall, &error))
		complain(error);
}

/*
 * A runtime that the agent had called when it died may still be making a container, so what is in
 * use now is tried again for a while.
 */
static bool remove_groups(const DnInstance *instance, GError **error)
{
	for (unsigned left = TRIES; left > 0; left--) {
		g_autoptr(GError) busy = NULL;

		if (dn_cgroup_remove_parent(instance, left > 1 ? &busy : error))
			return true;
		g_usleep(PAUSE_US);
		remove_nodes(instance);
	}
	return false;
}

static bool is_evidence(const DnInstance *instance, const DnSaved *saved)
{
	return saved->state == DN_NODE_QUARANTINED || saved->incident != NULL ||
	       (saved->state != DN_NODE_CREATING && dn_sensor_left_marked(instance, saved->slot));
}

/* Was a node cut whose record is not on the disk: while no agent ran, or while that had no room? */
static bool check_nodes(const DnInstance *instance, GError **error)
{
	g_autofree char *folder = g_build_filename(instance->run_dir, "nodes", NULL);
	g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
	const char *name = NULL;
	bool cut = false;

	while (!cut && directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		DnSaved saved = {0};

		if (!g_str_has_suffix(name, ".json"))
			continue;
		cut = !dn_saved_read(path, &saved, NULL) || is_evidence(instance, &saved);
		dn_saved_clear(&saved);
		if (cut)
			g_set_error(
				error, DN_ERROR, DN_ERROR_CONFLICT,
				"node %.*s was cut, or nobody can tell, and there is no record of "
				"it; start the agent, which makes one",
				(int)(strlen(name) - strlen(".json")), name);
	}
	return !cut;
}

/* What a running agent would miss, and what only a responder may destroy, stays. */
static bool may_clean(const DnInstance *instance, bool force, int *locked, GError **error)
{
	if (!dn_file_make_directory(instance->run_dir, 0711, error))
		return false;
	if (!dn_agent_lock(instance, ENDING_MS, locked, error)) {
		g_prefix_error(error, "nothing is cleaned up, stop it first: ");
		return false;
	}
	if (force || (dn_state_check_evidence(instance, error) && check_nodes(instance, error)))
		return true;
	g_prefix_error(error, "nothing is cleaned up without --force: ");
	return false;
}

bool dn_agent_cleanup(const DnInstance *instance, bool force, GError **error)
{
	g_autoptr(GPtrArray) none = g_ptr_array_new();
	dn_autofd int locked = -1;
	GError *failed = NULL;

	if (!may_clean(instance, force, &locked, error))
		return false;
	remove_nodes(instance);
	dn_spares_sweep(instance, NULL);
	if (!remove_groups(instance, error))
		return false;
	remove_table(instance);
	if (!dn_network_set_routes_now(none, &failed))
		complain(g_steal_pointer(&failed));
	return dn_sensor_remove(instance, error) && dn_file_remove_tree(instance->run_dir, error);
}
