/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/audit.h"
#include "main/incident.h"

#include <string.h>

#include "base/error.h"
#include "http/server.h"
#include "wire/json.h"

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

typedef struct {
	char *node;
	DnLocalReply *reply;
} Quarantined;

/* Whether it could be journalled or not: a broken journal must be no way to keep a node uncut. */
static void on_journalled(void *data, const GError *error)
{
	Quarantined *done = data;
	JsonObject *document = json_object_new();

	dn_json_set_string(document, "node", done->node);
	json_object_set_boolean_member(document, "accepted", TRUE);
	dn_http_reply(done->reply, document);
	g_free(done->node);
	g_free(done);
}

static void quarantine(const char *node, const char *reason, DnLocalReply *reply, void *data)
{
	Agent *agent = data;
	g_autoptr(GError) error = NULL;

	if (!dn_agent_quarantine(agent, node, reason, &error)) {
		dn_http_reply_error(reply, error);
		return;
	}
	dn_report_event(agent, "warning", "quarantine.local",
			dn_agent_find_node(agent, node)->manifest->service, node,
			"root of this host has quarantined node %s: %s", node, reason);
	Quarantined *done = g_new0(Quarantined, 1);
	done->node = g_strdup(node);
	done->reply = reply;
	if (agent->journal != NULL)
		dn_journal_after(agent->journal, on_journalled, done);
	else
		on_journalled(done, NULL);
}

static char *logs(const char *node, uint32_t lines, uint64_t *offset, void *data, GError **error)
{
	return dn_agent_read_logs(data, node, lines, offset, error);
}

static void on_audited(Agent *agent, const char *text, const GError *error, gpointer data)
{
	DnLocalReply *reply = data;
	g_autoptr(GBytes) bytes = text != NULL ? g_bytes_new(text, strlen(text)) : NULL;
	g_autoptr(GError) broken = NULL;
	JsonObject *audit = bytes != NULL ? dn_json_parse(bytes, strlen(text), &broken) : NULL;

	if (audit == NULL) {
		dn_http_reply_error(reply, error != NULL ? error : broken);
		return;
	}
	JsonObject *document = json_object_new();
	json_object_set_object_member(document, "audit", audit);
	dn_http_reply(reply, document);
}

static void audit(const char *node, DnLocalReply *reply, void *data)
{
	dn_audit_begin(data, node, on_audited, reply);
}

bool dn_desk_open(Agent *agent, GError **error)
{
	static const DnLocalOps ops = {.report = report,
				       .is_linked = is_linked,
				       .cidr = cidr,
				       .events = events,
				       .quarantine = quarantine,
				       .logs = logs,
				       .audit = audit};
	g_autofree char *path = g_build_filename(agent->instance->run_dir, "agent.sock", NULL);

	agent->local = dn_local_new(path, &ops, agent, error);
	return agent->local != NULL;
}
