/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/state.h"

#include "base/file.h"
#include "core/custody.h"

/* Incidents that are destroyed and known to be so: the newest are kept, the others go. */

enum { FORGOTTEN_A_TICK = 16 };

void dn_past_open(Agent *agent)
{
	agent->told_past = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	agent->past = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void dn_past_close(Agent *agent)
{
	g_clear_pointer(&agent->told_past, g_hash_table_unref);
	g_clear_pointer(&agent->past, g_hash_table_unref);
}

void dn_past_told(Agent *agent, const DnIncident *incident)
{
	const uint64_t last = dn_spool_last(agent->spool);

	/* The first time on this link is enough. */
	if (incident->state == DN_INCIDENT_DESTROYED &&
	    !g_hash_table_contains(agent->told_past, incident->id))
		g_hash_table_insert(agent->told_past, g_strdup(incident->id),
				    g_memdup2(&last, sizeof(last)));
}

void dn_past_stored(Agent *agent, uint64_t number)
{
	dn_custody_stored(agent->told_past, agent->past, number);
}

/* What was told on it may have been lost with it. */
void dn_past_link_closed(Agent *agent)
{
	g_hash_table_remove_all(agent->told_past);
}

/* What is left of a node without a record would be taken for evidence by the next agent. */
static bool has_node(Agent *agent, const char *id)
{
	g_autofree char *file = g_strconcat(id, ".json", NULL);
	g_autofree char *path = g_build_filename(agent->instance->run_dir, "nodes", file, NULL);

	return dn_agent_find_node(agent, id) != NULL || g_file_test(path, G_FILE_TEST_EXISTS);
}

/* First on disk: what is only in memory would come back with the next agent, and that is all. */
static bool forget(Agent *agent, const char *id, GError **error)
{
	g_autofree char *path = dn_state_incident_path(agent, id);
	g_autofree char *known = g_strdup(id);

	/* A late write would make the file anew. */
	dn_disk_flush(agent, path);
	if (!dn_file_remove(path, error))
		return false;
	g_hash_table_remove(agent->past, known);
	g_hash_table_remove(agent->incidents, known);
	return true;
}

void dn_past_tick(Agent *agent)
{
	g_autoptr(GPtrArray) due = dn_custody_forgettable(agent->incidents, agent->past);
	unsigned forgotten = 0;

	for (guint i = 0; i < due->len && forgotten < FORGOTTEN_A_TICK; i++) {
		const DnIncident *incident = g_ptr_array_index(due, i);
		g_autoptr(GError) error = NULL;

		if (has_node(agent, incident->node))
			continue;
		if (forget(agent, incident->id, &error))
			forgotten++;
		else /* a disk that lets nothing be changed is told of elsewhere */
			g_debug("%s", error->message);
	}
}
