/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/incident.h"
#include "main/journal.h"
#include "main/state.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/text.h"
#include "core/custody.h"
#include "core/statement.h"
#include "seal/trust.h"

/* What people ask for: quarantine by hand, and the end of a quarantined node. */

Node *dn_agent_find_cuttable(Agent *agent, const char *id, GError **error)
{
	Node *node = dn_agent_find_node(agent, id);

	if (node == NULL || !node->built || node->busy) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no node %s runs on this host", id);
		return NULL;
	}
	if (node->cut_taken) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "node %s is quarantined already",
			    id);
		return NULL;
	}
	return node;
}

/* Durable when it returns. */
static bool save_now(Agent *agent, const DnIncident *incident, GError **error)
{
	g_autofree char *path = dn_state_incident_path(agent, incident->id);
	g_autoptr(GBytes) bytes = dn_state_incident_bytes(incident);

	dn_disk_flush(agent, path);
	if (!dn_failpoint("agent.incident.save.before", error) ||
	    !dn_file_replace(path, bytes, 0600, error) ||
	    !dn_failpoint("agent.incident.save.after", error))
		return false;
	dn_agent_journal_incident(agent, incident, bytes);
	return true;
}

/* It is evidence already, and still serves: now it is cut like any other. */
static bool quarantine_isolated(Node *node, const char *reason, GError **error)
{
	g_autofree char *why = g_strdup_printf("it was quarantined by hand: %.400s", reason);

	if (node->incident == NULL)
		dn_incident_open(node->agent, node);
	dn_isolation_end(node, why);
	return save_now(node->agent, g_hash_table_lookup(node->agent->incidents, node->incident),
			error);
}

bool dn_agent_quarantine(Agent *agent, const char *id, const char *reason, GError **error)
{
	Node *node = dn_agent_find_node(agent, id);

	if (node != NULL && node->built && dn_node_is_isolated(node))
		return quarantine_isolated(node, reason, error);
	node = dn_agent_find_cuttable(agent, id, error);
	if (node == NULL)
		return false;
	/* Whatever drift of it would have led to: a person wants it cut. */
	dn_sensor_set_mode(agent->sensor, node->slot, DN_MODE_CUT);
	if (!dn_sensor_mark(agent->sensor, node->slot, DN_DRIFT_MANUAL, NULL, 0)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "node %s is quarantined already",
			    id);
		return false;
	}
	dn_failpoint_pass("agent.quarantine.mark.after");
	dn_reflex_ring(agent->reflex);
	dn_incident_open(agent, node);
	DnIncident *incident = g_hash_table_lookup(agent->incidents, node->incident);
	g_free(incident->detail);
	g_autofree char *shown = dn_text_printable(reason, strnlen(reason, 512));
	incident->detail = g_strdup_printf("by hand: %s", shown);
	/* Whoever is told that the node is quarantined may rely on its record. */
	return save_now(agent, incident, error);
}

static bool take_out(GPtrArray *held, const char *incident)
{
	guint index = 0;

	if (!g_ptr_array_find_with_equal_func(held, incident, g_str_equal, &index))
		return false;
	g_ptr_array_remove_index(held, index);
	return true;
}

static void release_hold(Agent *agent, const DnIncident *incident)
{
	Service *service = dn_service_find(agent, incident->service);

	if (service != NULL && (take_out(service->held, incident->id) ||
				take_out(service->held_standby, incident->id)))
		dn_state_save_service_soon(agent, service);
}

void dn_incidents_release(Agent *agent)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, agent->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Service *service = value;
		bool released = dn_custody_release(agent->incidents, agent->unread, service->held);

		if (dn_custody_release(agent->incidents, agent->unread, service->held_standby) ||
		    released)
			dn_state_save_service_soon(agent, service);
	}
}

bool dn_incident_destroy(Agent *agent, const DnOrder *order, GError **error)
{
	DnIncident *incident = g_hash_table_lookup(agent->incidents, order->incident);
	g_autofree char *comment = g_strdup_printf("dnode destroy %s", order->incident);

	if (incident == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no incident %s on this host",
			    order->incident);
		return false;
	}
	if (incident->state == DN_INCIDENT_DESTROYED)
		return true;
	if (!dn_trust_check_statement(agent->trust, order->statement, order->signatures, comment,
				      error))
		return false;
	const DnStatementSubject subject = {agent->envelope.cluster, agent->instance->name,
					    incident->id};
	if (!dn_statement_is_about(order->statement, &subject)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "the signed statement is about another cluster, host, incident or "
			    "evidence than %s",
			    incident->id);
		return false;
	}
	Node *node = dn_agent_find_node(agent, incident->node);
	if (node != NULL && dn_node_is_isolated(node)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "node %s is isolated and still serves; run first: dnode quarantine %s",
			    incident->node, incident->node);
		return false;
	}
	if (node != NULL && !dn_custody_may_destroy(incident->node, node->state, node->busy, error))
		return false;
	/* Durable before the evidence goes. */
	DnIncidentState before = incident->state;
	incident->state = DN_INCIDENT_DESTROYED;
	if (!save_now(agent, incident, error)) {
		incident->state = before;
		return false;
	}
	dn_failpoint_pass("agent.destroy.durable.after");
	dn_report_incident_first(agent, incident);
	release_hold(agent, incident);
	if (node != NULL)
		dn_node_remove(node);
	return true;
}
