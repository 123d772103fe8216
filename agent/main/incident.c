/* SPDX-License-Identifier: Apache-2.0 */
#include "main/incident.h"
#include "main/agent.h"
#include "main/damage.h"
#include "main/journal.h"
#include "main/state.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/text.h"
#include "core/custody.h"
#include "core/isolation.h"
#include "core/respawn.h"
#include "seal/digest.h"

enum { ID_DIGITS = 16 };

/* ---- the durable record ---- */

static void on_written(Agent *agent, const char *id, const GError *error, uint64_t done_ns)
{
	DnIncident *incident = g_hash_table_lookup(agent->incidents, id);

	if (incident == NULL)
		return;
	if (error != NULL) {
		dn_report_event(agent, "critical", "incident.not-durable", incident->service,
				incident->node, "incident %s is not on disk: %s", id,
				error->message);
		return;
	}
	dn_failpoint_pass("agent.incident.durable.before");
	if (incident->stages_us[DN_STAGE_DURABLE] < 0)
		incident->stages_us[DN_STAGE_DURABLE] =
			(int64_t)((done_ns - incident->event_monotonic_ns) / DN_NS_PER_US);
	dn_report_incident(agent, incident);
}

void dn_incident_save(Agent *agent, const DnIncident *incident)
{
	g_autofree char *path = dn_state_incident_path(agent, incident->id);
	g_autoptr(GBytes) bytes = dn_state_incident_bytes(incident);

	dn_disk_write(agent, path, bytes, incident->id, on_written);
	dn_agent_journal_incident(agent, incident, bytes);
}

/* ---- opening: the mark was seen ---- */

/*
 * The same event has the same name, also when an agent that died before its record was on disk is
 * told by the mark again: nobody hears of two.
 */
static char *id_of(const Agent *agent, const Node *node, uint64_t event_ns)
{
	char *text = g_strdup_printf("%s %s %s %" G_GUINT64_FORMAT, agent->envelope.cluster,
				     agent->instance->name, node->id, (guint64)event_ns);
	g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));
	g_autofree char *digest = dn_digest_bytes(bytes);

	return g_strndup(digest, ID_DIGITS);
}

/* The kernel names a process with what it saw; what this agent saw it has noted itself. */
static void take_indicator(Node *node, volatile const struct dn_sensor_mark *mark,
			   DnIncident *incident)
{
	if (mark->comm[0] != '\0')
		dn_sweep_note(node, (const char *)mark->path, (const char *)mark->comm);
	incident->indicator_path = g_steal_pointer(&node->indicator_path);
	incident->indicator_comm = g_steal_pointer(&node->indicator_comm);
}

static DnIncident *incident_of(Agent *agent, Node *node)
{
	volatile struct dn_sensor_mark *mark = &dn_sensor_marks(agent->sensor)[node->slot];
	uint64_t since_ns = dn_clock_monotonic_ns() - mark->event_ns;
	DnIncident *incident = dn_incident_new();

	incident->id = id_of(agent, node, mark->event_ns);
	incident->service = g_strdup(node->manifest->service);
	incident->node = g_strdup(node->id);
	incident->host = g_strdup(agent->instance->name);
	incident->address = g_strdup(node->address);
	incident->digest = g_strdup(node->manifest->digest);
	incident->class = g_strdup(dn_drift_name((enum dn_drift_class)mark->class));
	incident->drill = dn_drill_is(node, (enum dn_drift_class)mark->class, mark->pid);
	incident->detail = dn_finding_of_mark(node, mark, incident->drill);
	incident->image_ref = g_strdup(node->manifest->image_ref);
	incident->image_commit = g_strdup(node->manifest->image_commit);
	incident->epoch = node->manifest->epoch;
	incident->event_monotonic_ns = mark->event_ns;
	if (dn_node_is_isolated(node)) {
		g_autofree char *detail = g_steal_pointer(&incident->detail);

		incident->detail = g_strconcat(detail, "; isolated, not cut", NULL);
		incident->isolated_us = (int64_t)(since_ns / DN_NS_PER_US);
	}
	take_indicator(node, mark, incident);
	incident->event_time_ns = dn_clock_realtime_ns() - since_ns;
	return incident;
}

void dn_incident_open(Agent *agent, Node *node)
{
	if (node->cut_taken)
		return;
	dn_failpoint_pass("agent.incident.open.before");
	DnIncident *incident = incident_of(agent, node);
	node->cut_taken = true;
	node->incident = g_strdup(incident->id);
	g_hash_table_replace(agent->incidents, g_strdup(incident->id), incident);
	dn_drill_noticed(node);
	dn_state_keep_unread(agent, incident->id);
	dn_incident_save(agent, incident);
	dn_failpoint_pass("agent.incident.open.after");
}

/* ---- finishing: the reflex has done its part ---- */

static void stamp_outcome(DnIncident *incident, const DnReflexOutcome *outcome)
{
	bool was_isolated = dn_incident_is_isolated(incident);

	/* Its mark was seen long before; only now its packets are no longer let on. */
	if (was_isolated)
		dn_isolation_ended(incident, outcome->verdict_ns);
	else if (incident->isolated_us < 0)
		dn_custody_stamp(incident, DN_STAGE_CUT, outcome->cut_ns);
	if (incident->stages_us[DN_STAGE_VERDICT] < 0)
		dn_custody_stamp(incident, DN_STAGE_VERDICT, outcome->verdict_ns);
	dn_custody_stamp(incident, DN_STAGE_FROZEN, outcome->frozen_ns);
	dn_custody_stamp(incident, DN_STAGE_LB_OUT_LOCAL, outcome->lb_out_ns);
	dn_custody_stamp(incident, DN_STAGE_RESET, outcome->reset_ns);
	dn_custody_stamp(incident, DN_STAGE_REPLACEMENT_READY, outcome->ready_ns);
}

void dn_incident_read_counters(Agent *agent, const Node *node, DnIncident *incident)
{
	volatile struct dn_sensor_mark *mark = &dn_sensor_marks(agent->sensor)[node->slot];

	incident->packets_after_cut = mark->packets_after_cut;
	if (mark->first_drop_ns >= mark->event_ns && mark->first_drop_ns != 0)
		incident->first_drop_us =
			(int64_t)((mark->first_drop_ns - mark->event_ns) / DN_NS_PER_US);
}

/* The standby the reflex has put in the cut node's place. */
static void take_over(Agent *agent, const DnReflexOutcome *outcome, DnIncident *incident)
{
	Node *standby =
		outcome->standby == DN_STANDBY_NONE ? NULL : agent->slots[outcome->standby_slot];

	if (standby == NULL || outcome->ready_ns == 0)
		return;
	standby->role = DN_ROLE_ACTIVE;
	dn_cut_taken_over(agent, standby->slot);
	if (outcome->standby == DN_STANDBY_CREATED) {
		standby->started_monotonic_ns = outcome->ready_ns;
		standby->started_ns = dn_clock_realtime_ns();
		standby->health = (DnHealth){.good = 1, .healthy = true};
		dn_cut_let_go(agent, standby);
	}
	g_ptr_array_add(incident->replacements, g_strdup(standby->id));
	dn_node_become(standby, DN_NODE_READY);
	dn_node_probe(standby);
	/* The reflex had no time for it: is what serves now what was signed? */
	dn_damage_verify_soon(agent, standby->manifest->image_commit);
}

/* The cut nodes of @node's role that are not replaced. */
static GPtrArray *held_of(const Node *node)
{
	const Service *service = dn_node_service(node);

	return node->role == DN_ROLE_STANDBY ? service->held_standby : service->held;
}

/* Within the budget a cut node is replaced; past it, it is held and a person is called. */
static void account(Agent *agent, const Node *node, const DnIncident *incident)
{
	Service *service = dn_node_service(node);
	bool standby = node->role == DN_ROLE_STANDBY;
	DnRespawn verdict =
		dn_respawn_judge(&service->budget, node->manifest, dn_service_grant(service),
				 incident, dn_service_misses(agent, node), dn_clock_monotonic_ns());

	if (verdict == DN_RESPAWN_NONE)
		return;
	if (verdict != DN_RESPAWN_HELD)
		dn_agent_journal_budget(agent, incident->drill ? "budget.kept" : "budget.spent",
					service, incident->id);
	/* A standby serves nobody: its successor is made, but in nobody's place. */
	if (verdict == DN_RESPAWN_OWED && !standby)
		g_ptr_array_add(service->owed, g_strdup(incident->id));
	if (verdict == DN_RESPAWN_HELD) {
		g_ptr_array_add(held_of(node), g_strdup(incident->id));
		dn_report_event(agent, "critical", "respawn.held", service->name, node->id,
				"%s %s was cut and is not replaced: %s has spent its respawn "
				"budget; look at incident %s",
				standby ? "standby" : "node", node->id, service->name,
				incident->id);
	}
	dn_state_save_service_soon(agent, service);
}

void dn_incident_finish(Agent *agent, const DnReflexOutcome *outcome)
{
	Node *node = agent->slots[outcome->slot];

	if (node == NULL)
		return;
	/* The outcome may overtake the verdict on its way to this thread. */
	dn_incident_open(agent, node);
	DnIncident *incident = g_hash_table_lookup(agent->incidents, node->incident);
	bool first = node->state != DN_NODE_QUARANTINED;

	if (outcome->isolated) {
		if (first)
			dn_isolation_begun(agent, node, incident);
		return;
	}
	stamp_outcome(incident, outcome);
	dn_incident_read_counters(agent, node, incident);
	if (!first) { /* late news of a slow freeze */
		dn_incident_save(agent, incident);
		return;
	}
	dn_cut_record(agent, node->slot, node, incident);
	if (node->timer != NULL)
		g_source_destroy(node->timer);
	g_clear_pointer(&node->timer, g_source_unref);
	dn_failpoint_pass("agent.incident.quarantined.before");
	dn_node_become(node, DN_NODE_QUARANTINED);
	dn_failpoint_pass("agent.incident.take-over.before");
	take_over(agent, outcome, incident);
	dn_failpoint_pass("agent.incident.take-over.after");
	/* On disk before the charge is, which is made under the time of this cut. */
	if (incident->isolated_us >= 0)
		dn_incident_save(agent, incident);
	account(agent, node, incident);
	dn_failpoint_pass("agent.incident.account.after");
	/* A replacement that has to be made begins now, beside all that follows. */
	if (node->role == DN_ROLE_ACTIVE)
		dn_agent_settle_service(agent, dn_node_service(node));
	dn_node_save(node);
	g_message("node %s is cut and frozen: %s", node->id, incident->detail);
	/* Taken over: now the other plans of the service can be made anew. */
	dn_reflex_disarm(agent->reflex, node->slot);
	dn_failpoint_pass("agent.incident.balance.before");
	dn_balance_apply(agent);
	dn_failpoint_pass("agent.incident.balance.after");
	dn_incident_verify(agent, node, incident);
	dn_incident_save(agent, incident);
	dn_sweep_begin(agent, incident);
	dn_agent_settle(agent);
}

/* A node built after the cut serves in the place of the cut one. */
void dn_incident_replaced(Node *node)
{
	DnIncident *incident = g_hash_table_lookup(node->agent->incidents, node->replaces);

	g_clear_pointer(&node->replaces, g_free);
	if (incident == NULL)
		return;
	dn_failpoint_pass("agent.incident.replaced.before");
	g_ptr_array_add(incident->replacements, g_strdup(node->id));
	dn_custody_stamp(incident, DN_STAGE_REPLACEMENT_READY, dn_clock_monotonic_ns());
	dn_incident_save(node->agent, incident);
}

bool dn_incident_stamp(Agent *agent, const char *id, DnStage stage, GError **error)
{
	DnIncident *incident = g_hash_table_lookup(agent->incidents, id);

	if (!dn_custody_may_stamp(incident, stage, error))
		return false;
	if (incident->stages_us[stage] < 0) {
		dn_custody_stamp(incident, stage, dn_clock_monotonic_ns());
		dn_incident_save(agent, incident);
	}
	return true;
}

/*
 * A node that an earlier agent left may have been cut by it: its record is on disk, unless the
 * agent died before that; then the mark tells the same again. What the reflex had not finished it
 * does now, what was decided is not decided twice, and a destruction goes on.
 */
void dn_incident_adopt(Agent *agent, Node *node)
{
	DnIncident *incident = dn_custody_of_node(agent->incidents, node->id);
	const Service *service = dn_node_service(node);

	g_clear_pointer(&node->incident, g_free);
	if (incident != NULL) {
		node->cut_taken = true;
		node->incident = g_strdup(incident->id);
		dn_isolation_adopt(node, incident);
	}
	if (incident != NULL && incident->state == DN_INCIDENT_DESTROYED) {
		dn_node_become(node, DN_NODE_QUARANTINED);
		dn_node_remove(node);
		return;
	}
	if (node->state != DN_NODE_QUARANTINED)
		return;
	dn_incident_open(agent, node);
	incident = g_hash_table_lookup(agent->incidents, node->incident);
	/* Of an earlier boot: nothing of it is left to look at, and its place was filled anew. */
	if (!node->built)
		return;
	if (!dn_respawn_is_settled(&service->budget, held_of(node), node->manifest, incident,
				   dn_clock_monotonic_ns()))
		account(agent, node, incident);
	dn_sweep_begin(agent, incident);
	/* The agent before may have died before it was sure of the cut. */
	if (incident->stages_us[DN_STAGE_CUT_VERIFIED] >= 0 || node->network.ifindex == 0)
		return;
	(void)dn_cgroup_freeze(&node->cgroup);
	dn_incident_verify(agent, node, incident);
}
