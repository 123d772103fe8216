/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/incident.h"

#include "base/clock.h"
#include "core/life.h"

static bool is_cut(Agent *agent, const Node *node)
{
	return dn_sensor_is_marked(agent->sensor, node->slot) && !dn_node_is_isolated(node);
}

/* A node's place in the balancer: serving, healthy, and not marked in the meantime. */
static bool serves(Agent *agent, const Node *node)
{
	return dn_life_serves(node->state, node->role == DN_ROLE_STANDBY, node->health.healthy,
			      is_cut(agent, node), dn_cut_has_entered(agent, node->slot));
}

static void add_local(Agent *agent, const Service *service, DnBalanced *balanced)
{
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];

		if (node == NULL || !g_str_equal(node->manifest->service, service->name))
			continue;
		for (guint p = 0; p < node->manifest->listen->len; p++) {
			const DnListen *listen =
				&g_array_index(node->manifest->listen, DnListen, p);

			if (listen->expose != balanced->expose ||
			    listen->protocol != balanced->protocol)
				continue;
			/* Evidence of a service that is gone holds no port of the host. */
			balanced->publish_host |=
				listen->publish_host && (service->assign->parts->len > 0 ||
							 node->state != DN_NODE_QUARANTINED);
			if (serves(agent, node))
				dn_endpoints_add(balanced->local, node->address, listen->port);
		}
	}
}

static void add_service(Agent *agent, const Service *service, DnFirewallState *state)
{
	for (guint i = 0; i < service->assign->exposed->len; i++) {
		const DnExposed *exposed = &g_array_index(service->assign->exposed, DnExposed, i);
		DnBalanced *balanced = dn_balanced_new(service->assign->vip, exposed->port);

		balanced->protocol = exposed->protocol;
		add_local(agent, service, balanced);
		for (guint e = 0; e < service->assign->endpoints->len; e++) {
			const DnRemoteEndpoint *remote =
				g_ptr_array_index(service->assign->endpoints, e);

			if (dn_exposed_equal(&remote->expose, exposed))
				dn_endpoints_add(balanced->remote, remote->address, remote->port);
		}
		g_ptr_array_add(state->balanced, balanced);
	}
}

/* A declared service is reached by its VIP and the ports it exposes. */
static void add_egress(Agent *agent, const Node *node, DnGuarded *guarded)
{
	for (guint i = 0; i < node->manifest->egress->len; i++) {
		const DnEgress *egress = &g_array_index(node->manifest->egress, DnEgress, i);
		const Service *peer =
			egress->service != NULL ? dn_service_find(agent, egress->service) : NULL;

		if (egress->cidr != NULL)
			dn_guarded_allow(guarded, egress->cidr, egress->port, egress->protocol);
		if (peer == NULL || peer->assign == NULL)
			continue;
		g_autofree char *vip = g_strdup_printf("%s/32", peer->assign->vip);
		for (guint p = 0; p < peer->assign->exposed->len; p++) {
			const DnExposed *exposed =
				&g_array_index(peer->assign->exposed, DnExposed, p);

			dn_guarded_allow(guarded, vip, exposed->port, exposed->protocol);
		}
	}
}

static void add_guarded(Agent *agent, const Node *node, DnFirewallState *state)
{
	DnGuarded *guarded = dn_guarded_new(node->address, node->network.ifname);

	guarded->quarantined = node->state == DN_NODE_QUARANTINED || is_cut(agent, node);
	guarded->isolated = !guarded->quarantined && dn_node_is_isolated(node);
	guarded->listen = node->manifest->listen;
	add_egress(agent, node, guarded);
	g_ptr_array_add(state->guarded, guarded);
}

DnFirewallState *dn_balance_state(Agent *agent)
{
	DnFirewallState *state = dn_firewall_state_new();
	g_autoptr(GList) services = g_hash_table_get_values(agent->services);

	for (GList *i = services; i != NULL; i = i->next) {
		const Service *service = i->data;

		if (service->assign != NULL)
			add_service(agent, service, state);
	}
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && agent->slots[i]->guarded)
			add_guarded(agent, agent->slots[i], state);
	return state;
}

/* It is tried again and again: people hear when it begins, and when it is over. */
static void tell(Agent *agent, const GError *error)
{
	bool was_unbalanced = agent->unbalanced;

	agent->unbalanced = error != NULL;
	if (error != NULL && was_unbalanced)
		g_warning("%s", error->message);
	else if (error != NULL)
		dn_report_event(agent, "critical", "firewall.failed", NULL, NULL,
				"%s; what was in force before stays, and it is tried again",
				error->message);
	else if (was_unbalanced)
		dn_report_event(agent, "info", "firewall.restored", NULL, NULL,
				"the firewall is as it should be again");
}

bool dn_balance_apply(Agent *agent)
{
	g_autoptr(GError) error = NULL;

	if (agent->firewall == NULL)
		return false;
	g_autoptr(DnFirewallState) state = dn_balance_state(agent);
	bool applied = dn_firewall_apply(agent->firewall, state, &error);
	tell(agent, error);
	if (!applied) {
		/* A node that drifts is frozen and recorded all the same; its cut is the kernel's.
		 */
		if (!dn_cut_is_armed(agent))
			dn_cut_arm(agent, state);
		return false;
	}
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL)
			agent->slots[i]->in_force = agent->slots[i]->guarded;
	dn_cut_arm(agent, state);
	dn_flows_follow(agent, state);
	return true;
}

void dn_balance_tick(Agent *agent)
{
	if (agent->unbalanced)
		(void)dn_balance_apply(agent);
}
