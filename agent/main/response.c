/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/text.h"
#include "core/statement.h"
#include "seal/trust.h"

/* What people ask for: quarantine by hand, drills, and the end of a quarantined node. */

static Node *find_cuttable(Agent *agent, const char *id, GError **error)
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

bool dn_agent_quarantine(Agent *agent, const char *id, const char *reason, GError **error)
{
	Node *node = find_cuttable(agent, id, error);

	if (node == NULL)
		return false;
	if (!dn_sensor_mark(agent->sensor, node->slot, DN_SENSOR_MANUAL)) {
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

static void on_drill_exit(GPid pid, gint status, gpointer data)
{
	Agent *agent = data;

	g_spawn_close_pid(pid);
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		Node *node = agent->slots[i];

		if (node == NULL || node->drill != pid)
			continue;
		if (!WIFSIGNALED(status))
			dn_report_event(agent, "warning", "drill.failed", node->manifest->service,
					node->id, "the drill helper ended with status %d%s", status,
					node->manifest->drift_exec == DN_ANSWER_QUARANTINE
						? " and was not killed"
						: "; this service does not quarantine exec");
		/* A killed helper has left its mark; the verdict may still be on its way here. */
		if (!WIFSIGNALED(status))
			node->drill = 0;
	}
}

/*
 * By the count that the signed manifest allows, whatever the supervisor says: drills cut nodes, and
 * their replacements are not charged to respawn. On disk before the helper goes, so that no restart
 * of the agent gives it back.
 */
static bool spend_drill(Agent *agent, const Node *node, GError **error)
{
	Service *service = dn_node_service(node);
	g_autoptr(GError) refused = NULL;
	uint64_t now_ns = dn_clock_monotonic_ns();

	if (!dn_budget_allows_drill(&service->drills, node->manifest, now_ns, &refused)) {
		dn_report_event(agent, "critical", "drill.refused", service->name, node->id, "%s",
				refused->message);
		g_propagate_error(error, g_steal_pointer(&refused));
		return false;
	}
	dn_budget_spend_drill(&service->drills, node->manifest, now_ns);
	dn_agent_journal_budget(agent, "drill.spent", service, node->id);
	return dn_state_save_service(agent, service, error);
}

bool dn_agent_drill(Agent *agent, const char *id, const char *class, GError **error)
{
	Node *node = find_cuttable(agent, id, error);

	if (node == NULL)
		return false;
	if (!g_str_equal(class, "exec")) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "there is no drill for class \"%s\" yet; 'dnode drill --list' names "
			    "those there are",
			    class);
		return false;
	}
	g_autofree char *helper =
		g_build_filename(agent->instance->libexec_dir, "dnode-drill", NULL);
	g_autofree char *procs =
		g_build_filename(agent->instance->cgroup_root, agent->instance->cgroup_parent, id,
				 "cgroup.procs", NULL);
	g_autofree char *uid = g_strdup_printf(
		"%" G_GINT64_FORMAT, (gint64)agent->instance->uid_base +
					     (gint64)node->slot * DN_UIDS_PER_NODE + node->run.uid);
	char *argv[] = {helper, procs, uid, uid, (char *)class, NULL};
	GPid pid = 0;
	if (!spend_drill(agent, node, error))
		return false;
	/* A drill is not charged to the budget: plan with that before it can happen. */
	node->drill = -1;
	dn_balance_apply(agent);
	if (!dn_failpoint("agent.drill.spawn.before", error) ||
	    !g_spawn_async(NULL, argv, NULL,
			   G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL |
				   G_SPAWN_STDERR_TO_DEV_NULL,
			   NULL, NULL, &pid, error)) {
		node->drill = 0;
		return false;
	}
	node->drill = pid;
	dn_failpoint_pass("agent.drill.spawn.after");
	g_child_watch_add(pid, on_drill_exit, agent);
	return true;
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
	if (node != NULL && node->busy) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "node %s is busy, try again",
			    incident->node);
		return false;
	}
	/* Durable before the evidence goes. */
	DnIncidentState before = incident->state;
	incident->state = DN_INCIDENT_DESTROYED;
	if (!save_now(agent, incident, error)) {
		incident->state = before;
		return false;
	}
	dn_failpoint_pass("agent.destroy.durable.after");
	dn_report_incident(agent, incident);
	release_hold(agent, incident);
	if (node != NULL)
		dn_node_remove(node);
	return true;
}
