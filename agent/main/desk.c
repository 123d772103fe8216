/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include "base/error.h"

/* What root asks this agent itself; the same whether or not a supervisor can be reached. */

static DnHostReport *report(void *data)
{
	return dn_report_make(data);
}

static bool is_linked(void *data)
{
	const Agent *agent = data;

	return agent->linked;
}

static const char *cidr(void *data)
{
	const Agent *agent = data;

	return agent->host_cidr;
}

static void free_event(gpointer event)
{
	dn_event_free(event);
}

static GPtrArray *events(uint64_t since, unsigned limit, void *data)
{
	const Agent *agent = data;
	GPtrArray *found = g_ptr_array_new_with_free_func(free_event);
	guint skip = since == 0 && agent->recent.length > limit ? agent->recent.length - limit : 0;

	for (GList *i = g_queue_peek_nth_link((GQueue *)&agent->recent, skip);
	     i != NULL && found->len < limit; i = i->next)
		if (((const DnEvent *)i->data)->id > since)
			g_ptr_array_add(found, dn_event_copy(i->data));
	return found;
}

static bool quarantine(const char *node, const char *reason, void *data, GError **error)
{
	Agent *agent = data;

	if (!dn_agent_quarantine(agent, node, reason, error))
		return false;
	dn_report_event(agent, "warning", "quarantine.local",
			dn_agent_find_node(agent, node)->manifest->service, node,
			"root of this host has quarantined node %s: %s", node, reason);
	return true;
}

static char *logs(const char *node, uint32_t lines, uint64_t *offset, void *data, GError **error)
{
	return dn_agent_read_logs(data, node, lines, offset, error);
}

bool dn_desk_open(Agent *agent, GError **error)
{
	static const DnLocalOps ops = {.report = report,
				       .is_linked = is_linked,
				       .cidr = cidr,
				       .events = events,
				       .quarantine = quarantine,
				       .logs = logs};
	g_autofree char *path = g_build_filename(agent->instance->run_dir, "agent.sock", NULL);

	agent->local = dn_local_new(path, &ops, agent, error);
	return agent->local != NULL;
}
