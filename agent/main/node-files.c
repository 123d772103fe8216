/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <string.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"

/* Where a node's files are, what its /etc/hosts says, and how long its log is kept. */

enum { OLD_LOGS_KEPT = 32, OLD_LOGS_IN_MEMORY = 4 };

char *dn_node_root_path(const Agent *agent, const char *id)
{
	return g_build_filename(agent->instance->run_dir, "roots", id, NULL);
}

char *dn_node_hosts_path(const Agent *agent, const char *id)
{
	g_autofree char *file = g_strconcat(id, ".hosts", NULL);

	return g_build_filename(agent->instance->run_dir, "nodes", file, NULL);
}

/* Where a log is that found no room on disk: in memory, for as long as the host is up. */
static char *volatile_log_dir(const Agent *agent, const char *id)
{
	return g_build_filename(agent->instance->run_dir, "logs", id, NULL);
}

char *dn_node_log_dir(const Agent *agent, const char *id)
{
	g_autofree char *in_memory = volatile_log_dir(agent, id);

	return g_file_test(in_memory, G_FILE_TEST_IS_DIR)
		       ? g_steal_pointer(&in_memory)
		       : g_build_filename(agent->instance->state_dir, "logs", id, NULL);
}

bool dn_node_make_log_dir(const Agent *agent, const char *id, GError **error)
{
	g_autofree char *path = g_build_filename(agent->instance->state_dir, "logs", id, NULL);
	g_autofree char *in_memory = volatile_log_dir(agent, id);
	g_autofree char *folder = g_path_get_dirname(in_memory);
	g_autoptr(GError) full = NULL;

	if (dn_failpoint("agent.log.make.before", &full) &&
	    dn_file_make_directory(path, 0700, &full))
		return true;
	if (!g_error_matches(full, G_IO_ERROR, G_IO_ERROR_NO_SPACE) &&
	    !g_error_matches(full, G_IO_ERROR, G_IO_ERROR_READ_ONLY)) {
		g_propagate_error(error, g_steal_pointer(&full));
		return false;
	}
	g_warning("node %s: its log is kept in memory: %s", id, full->message);
	return dn_file_make_directory(folder, 0700, error) &&
	       dn_file_make_directory(in_memory, 0700, error);
}

/* /etc/hosts of a node: itself, and the VIPs of the services it declared. */
char *dn_node_hosts_text(const Node *node)
{
	GString *text = g_string_new("127.0.0.1 localhost\n::1 localhost\n");

	g_string_append_printf(text, "%s %s\n", node->address, node->id);
	for (guint i = 0; i < node->manifest->egress->len; i++) {
		const DnEgress *egress = &g_array_index(node->manifest->egress, DnEgress, i);
		const Service *peer = egress->service == NULL
					      ? NULL
					      : dn_service_find(node->agent, egress->service);

		if (peer != NULL && peer->assign != NULL)
			g_string_append_printf(text, "%s %s.service.dnode\n", peer->assign->vip,
					       egress->service);
	}
	return g_string_free(text, FALSE);
}

/* A declared peer got its VIP after the node was built, or has left: write into what is mounted. */
void dn_nodes_refresh_hosts(Agent *agent)
{
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];

		if (node == NULL || !node->built || node->manifest->egress->len == 0)
			continue;
		g_autofree char *path = dn_node_hosts_path(agent, node->id);
		char *text = dn_node_hosts_text(node);
		g_autoptr(GBytes) next = g_bytes_new_take(text, strlen(text));
		g_autoptr(GBytes) old = dn_file_read(path, 64 * 1024, NULL);
		g_autoptr(GError) error = NULL;

		/* In place: the node has this very inode mounted. */
		if ((old == NULL || !g_bytes_equal(old, next)) &&
		    !dn_file_overwrite(path, next, &error))
			g_warning("the names that %s knows: %s", node->id, error->message);
	}
}

static gint by_age(gconstpointer a, gconstpointer b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void prune(Agent *agent, const char *folder, guint kept)
{
	g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
	g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func(g_free);
	const char *name = NULL;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		g_autoptr(GFile) file = g_file_new_for_path(path);
		g_autoptr(GFileInfo) info =
			g_file_query_info(file, G_FILE_ATTRIBUTE_TIME_MODIFIED,
					  G_FILE_QUERY_INFO_NOFOLLOW_SYMLINKS, NULL, NULL);

		if (dn_agent_find_node(agent, name) == NULL && info != NULL)
			g_ptr_array_add(
				old, g_strdup_printf("%020" G_GUINT64_FORMAT "%s",
						     g_file_info_get_attribute_uint64(
							     info, G_FILE_ATTRIBUTE_TIME_MODIFIED),
						     path));
	}
	g_ptr_array_sort(old, by_age);
	for (guint i = 0; i + kept < old->len; i++) {
		const char *path = (const char *)g_ptr_array_index(old, i) + 20;
		g_autoptr(GError) error = NULL;

		if (!dn_file_remove_tree(path, &error))
			g_warning("old log: %s", error->message);
	}
}

/* Logs outlive their node for whoever asks why it ended, but not without end. */
void dn_agent_prune_logs(Agent *agent)
{
	g_autofree char *on_disk = g_build_filename(agent->instance->state_dir, "logs", NULL);
	g_autofree char *in_memory = g_build_filename(agent->instance->run_dir, "logs", NULL);

	prune(agent, on_disk, OLD_LOGS_KEPT);
	prune(agent, in_memory, OLD_LOGS_IN_MEMORY);
}
