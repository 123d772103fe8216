/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/incident.h"

#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/text.h"
#include "core/isolation.h"

/*
 * respawn.past: isolate. What a mark would do to a node is told to the sensor beforehand, and
 * looked at again whenever the balancer changes and with every heartbeat; core/isolation.h decides.
 * The mark and its mode are all there is to remember: a new agent finds them as they are.
 */

enum { DETAIL_LIMIT = 1000 }; /* bytes, as of any text that people are shown */

static DnIsolation case_of(const Node *node)
{
	const Service *service = dn_node_service(node);

	return (DnIsolation){
		.manifest = node->manifest,
		.spent = &service->budget,
		.grant = dn_service_grant(service),
		.serves = node->state == DN_NODE_READY && node->role == DN_ROLE_ACTIVE &&
			  node->health.healthy,
		.drill = node->drill != 0,
	};
}

bool dn_node_is_isolated(const Node *self)
{
	return self->state != DN_NODE_QUARANTINED &&
	       dn_sensor_is_isolated(self->agent->sensor, self->slot);
}

static enum dn_sensor_mode wanted_mode(const Node *node, uint64_t now_ns)
{
	DnIsolation one = case_of(node);

	return dn_isolation_awaits(&one, now_ns) ? DN_MODE_ISOLATE : DN_MODE_CUT;
}

static bool is_in_question(const Node *node)
{
	return node != NULL && node->built && node->state != DN_NODE_QUARANTINED;
}

/* One of its service is on its way into quarantine: what that costs is not known yet. */
static bool waits_for_another(Agent *agent, const Node *node)
{
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *other = agent->slots[i];

		if (is_in_question(other) && other != node &&
		    g_str_equal(other->manifest->service, node->manifest->service) &&
		    dn_sensor_is_marked(agent->sensor, i) && !dn_node_is_isolated(other))
			return true;
	}
	return false;
}

static const char *why_to_end(Agent *agent, const Node *node, uint64_t now_ns)
{
	DnIsolation one = case_of(node);
	const char *why = dn_node_is_isolated(node) ? dn_isolation_ends(&one, now_ns) : NULL;

	return why != NULL && !waits_for_another(agent, node) ? why : NULL;
}

static void add_to_detail(DnIncident *incident, const char *text)
{
	g_autofree char *longer =
		g_strdup_printf("%s; %s", incident->detail != NULL ? incident->detail : "", text);
	const char *end = NULL;

	(void)g_utf8_validate(longer, (gssize)MIN(strlen(longer), DETAIL_LIMIT), &end);
	g_free(incident->detail);
	incident->detail = g_strndup(longer, (gsize)(end - longer));
}

/* The reflex does the rest, as with any other mark, and what comes of it is told then. */
static void end(Agent *agent, Node *node, const char *why)
{
	g_autofree char *shown = dn_text_printable(why, strnlen(why, 512));
	g_autofree char *text = g_strdup_printf("isolated until %s", shown);
	DnIncident *incident = node->incident != NULL
				       ? g_hash_table_lookup(agent->incidents, node->incident)
				       : NULL;

	if (incident != NULL)
		add_to_detail(incident, text);
	dn_failpoint_pass("agent.isolation.end.before");
	dn_sensor_end_isolation(agent->sensor, node->slot);
	dn_failpoint_pass("agent.isolation.end.after");
	dn_reflex_ring(agent->reflex);
}

void dn_isolation_end(Node *node, const char *why)
{
	/* First the firewall's set, so that what is known to be in it is taken out with the cut. */
	dn_balance_apply(node->agent);
	if (dn_node_is_isolated(node))
		end(node->agent, node, why);
}

void dn_isolation_look(Agent *agent)
{
	uint64_t now_ns = dn_clock_monotonic_ns();

	for (unsigned i = 0; i < DN_SLOTS; i++) {
		Node *node = agent->slots[i];

		if (!is_in_question(node))
			continue;
		const char *why = why_to_end(agent, node, now_ns);
		if (why != NULL)
			end(agent, node, why);
		else if (dn_sensor_mode(agent->sensor, i) != wanted_mode(node, now_ns))
			dn_sensor_set_mode(agent->sensor, i, wanted_mode(node, now_ns));
	}
}

void dn_isolation_tick(Agent *agent)
{
	uint64_t now_ns = dn_clock_monotonic_ns();
	bool changed = false;

	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];

		if (!is_in_question(node))
			continue;
		changed |= dn_sensor_is_marked(agent->sensor, i)
				   ? why_to_end(agent, node, now_ns) != NULL
				   : dn_sensor_mode(agent->sensor, i) != wanted_mode(node, now_ns);
	}
	/* Plans too: what may be replaced now may take a standby. */
	if (changed)
		dn_balance_apply(agent);
}

void dn_isolation_begun(Agent *agent, Node *node, DnIncident *incident)
{
	/* It ended while the news of it were on their way. */
	if (!dn_node_is_isolated(node)) {
		dn_reflex_ring(agent->reflex);
		return;
	}
	if (!node->isolation_told)
		dn_report_event(agent, "critical", "node.isolated", incident->service, node->id,
				"node %s is isolated: it serves its declared ports and can begin "
				"nothing, since %s has spent its respawn budget; look at incident "
				"%s, then run: dnode quarantine %s",
				node->id, incident->service, incident->id, node->id);
	node->isolation_told = true;
	g_message("node %s is isolated: %s", node->id, incident->detail);
	dn_node_save(node);
	dn_report_node(node);
	dn_failpoint_pass("agent.isolation.balance.before");
	dn_balance_apply(agent);
	dn_incident_verify(agent, node, incident);
	dn_sweep_begin(agent, incident);
}

/* What an earlier agent left isolated, or had no time to cut. */
void dn_isolation_adopt(Node *node, DnIncident *incident)
{
	Agent *agent = node->agent;

	if (node->state != DN_NODE_QUARANTINED) {
		node->isolation_told = incident->isolated_verified_us >= 0;
		return;
	}
	dn_sensor_end_isolation(agent->sensor, node->slot);
	if (!dn_incident_is_isolated(incident))
		return;
	/* Times of an earlier boot cannot be compared. */
	bool this_boot = node->built && dn_sensor_is_marked(agent->sensor, node->slot);
	dn_isolation_ended(incident, this_boot ? dn_clock_monotonic_ns() : 0);
	dn_incident_save(agent, incident);
}
