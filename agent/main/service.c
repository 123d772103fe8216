/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/incident.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "core/life.h"
#include "core/share.h"

enum { IMAGE_RETRY_MS = 1000 };

Service *dn_service_find(Agent *agent, const char *name)
{
	return g_hash_table_lookup(agent->services, name);
}

Service *dn_service_get(Agent *agent, const char *name)
{
	Service *self = dn_service_find(agent, name);

	if (self != NULL)
		return self;
	self = g_new0(Service, 1);
	self->name = g_strdup(name);
	self->number = ++agent->next_service;
	self->held = g_ptr_array_new_with_free_func(g_free);
	self->held_standby = g_ptr_array_new_with_free_func(g_free);
	self->backoffs = dn_backoffs_new();
	self->owed = g_ptr_array_new_with_free_func(g_free);
	dn_budget_init(&self->budget);
	dn_budget_init(&self->drills);
	g_hash_table_insert(agent->services, g_strdup(name), self);
	return self;
}

void dn_service_free(Service *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	dn_assign_free(self->assign);
	g_ptr_array_unref(self->held);
	g_ptr_array_unref(self->held_standby);
	dn_backoffs_free(self->backoffs);
	g_ptr_array_unref(self->owed);
	dn_budget_clear(&self->budget);
	dn_budget_clear(&self->drills);
	g_free(self);
}

bool dn_service_check_share(Agent *agent, const DnAssign *share, GError **error)
{
	GHashTableIter iter;
	gpointer value = NULL;

	if (!dn_share_check(share, agent->node_cidr, agent->vip_cidr, error))
		return false;
	g_hash_table_iter_init(&iter, agent->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const Service *other = value;

		if (other->assign == NULL || g_str_equal(other->name, share->service) ||
		    !dn_shares_collide(other->assign, share))
			continue;
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "share of %s: a port of its VIP %s is service %s's here",
			    share->service, share->vip, other->name);
		return false;
	}
	return true;
}

uint32_t dn_service_grant(const Service *service)
{
	return service->assign != NULL ? service->assign->respawn_grant : 0;
}

/* Evidence from here on: the reflex has it in hand, and no plan may end it. */
static bool is_marked(const Node *node)
{
	return dn_sensor_is_marked(node->agent->sensor, node->slot);
}

static bool is_hopeless(const Node *node, uint64_t now_ns)
{
	uint64_t deadline_ns = (uint64_t)node->manifest->run.start_deadline_ms * DN_NS_PER_MS;

	if (is_marked(node))
		return false;
	if (node->state == DN_NODE_STARTING)
		return now_ns - node->started_monotonic_ns > deadline_ns;
	if (node->state == DN_NODE_READY || node->state == DN_NODE_STANDBY)
		return dn_health_is_hopeless(&node->health, &node->manifest->health, now_ns);
	return false;
}

/*
 * What a worker holds is left alone until it comes back; one that is on its way to being a node
 * counts as such meanwhile, or the plan would make another in its place.
 */
static DnNodeState planned_state(const Node *node)
{
	if (!node->busy || node->state == DN_NODE_QUARANTINED)
		return node->state;
	return dn_node_is_being_made(node) ? DN_NODE_CREATING : DN_NODE_STOPPING;
}

/* The nodes of @service as the plan sees them; also counts the free slots of the host. */
static GArray *plan_nodes(Agent *agent, const Service *service, uint64_t now_ns,
			  uint32_t *free_slots)
{
	GArray *nodes = g_array_new(FALSE, FALSE, sizeof(DnPlanNode));

	*free_slots = 0;
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];

		if (node == NULL) {
			++*free_slots;
			continue;
		}
		if (!g_str_equal(node->manifest->service, service->name))
			continue;
		DnPlanNode seen = {
			.id = node->id,
			.digest = node->manifest->digest,
			.epoch = node->manifest->epoch,
			.state = planned_state(node),
			.role = node->role,
			.hopeless = is_hopeless(node, now_ns),
			.marked = is_marked(node),
			.drained = node->state == DN_NODE_DRAINING && node->drain_until_ns == 0,
			.made_ns = node->made_ns,
		};
		g_array_append_val(nodes, seen);
	}
	return nodes;
}

static void create(Agent *agent, Service *service, const DnAct *act)
{
	DnManifest *manifest = g_hash_table_lookup(agent->manifests, act->digest);
	uint32_t slot = dn_spare_slot(agent);

	if (manifest == NULL) {
		g_warning("share of %s names manifest %s, which is not here", service->name,
			  act->digest);
		return;
	}
	if (slot == DN_SLOTS)
		return;
	g_autofree char *suffix = dn_id_new(4);
	g_autofree char *id = g_strdup_printf("%s-%s", service->name, suffix);
	Node *node = dn_node_new(agent, slot, id, manifest, act->role);
	if (act->role == DN_ROLE_ACTIVE && service->owed->len > 0)
		node->replaces = g_ptr_array_steal_index(service->owed, 0);
	dn_node_build(node);
}

/* A standby that was not there yet when a node was cut takes its place all the same. */
static void promote(Service *service, Node *node)
{
	if (service->owed->len > 0 && node->replaces == NULL)
		node->replaces = g_ptr_array_steal_index(service->owed, 0);
	dn_node_promote(node);
	if (node->replaces != NULL && node->state == DN_NODE_READY)
		dn_incident_replaced(node);
}

static void carry_out(Agent *agent, Service *service, const DnAct *act)
{
	Node *node = act->node != NULL ? dn_agent_find_node(agent, act->node) : NULL;

	if (act->kind == DN_ACT_CREATE) {
		create(agent, service, act);
		return;
	}
	if (node == NULL ||
	    (is_marked(node) && act->kind != DN_ACT_REMOVE && act->kind != DN_ACT_CUT))
		return;
	if (act->kind == DN_ACT_STOP && is_hopeless(node, dn_clock_monotonic_ns())) {
		bool starting = node->state == DN_NODE_STARTING;

		dn_backoffs_failed(service->backoffs, node->manifest->digest, false,
				   dn_clock_monotonic_ns());
		dn_report_event(agent, "warning", "node.replaced", service->name, node->id,
				"node %s %s; its log is kept", node->id,
				starting ? "did not answer within run.start_deadline"
					 : "stayed unhealthy for health.replace_after");
	}
	switch (act->kind) {
	case DN_ACT_PROMOTE:
		promote(service, node);
		break;
	case DN_ACT_DRAIN:
		dn_node_drain(node);
		break;
	case DN_ACT_STOP:
		dn_node_stop(node);
		break;
	case DN_ACT_REMOVE:
		dn_node_remove(node);
		break;
	case DN_ACT_CUT:
		if (dn_node_is_isolated(node))
			dn_isolation_end(node, "its service needs it no longer");
		break;
	case DN_ACT_CREATE:
		break;
	}
}

/* Nodes that a later manifest would make alike go on under it, whatever they are doing. */
static void take_over_nodes(Agent *agent, const Service *service)
{
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		Node *node = agent->slots[i];

		if (node == NULL || !g_str_equal(node->manifest->service, service->name) ||
		    !dn_life_goes_on(node->state) || is_marked(node))
			continue;
		DnManifest *manifest =
			dn_epochs_successor(agent->manifests, service->assign, node->manifest);
		if (manifest != NULL)
			dn_node_go_on_under(node, manifest);
	}
}

bool dn_service_misses(Agent *agent, const Node *node)
{
	uint64_t now_ns = dn_clock_monotonic_ns();
	const Service *service = dn_node_service(node);
	DnPlanInput input = {.assign = service->assign};
	g_autoptr(GArray) nodes = plan_nodes(agent, service, now_ns, &input.free_slots);

	input.nodes = (const DnPlanNode *)(const void *)nodes->data;
	input.n_nodes = nodes->len;
	return input.assign != NULL && dn_plan_lacks(&input, node->manifest->digest, node->role);
}

static gboolean on_retry(gpointer data)
{
	Agent *agent = data;

	dn_source_clear(&agent->retry);
	dn_agent_settle(agent);
	return G_SOURCE_REMOVE;
}

/* One for all services, for the first of them: whatever is settled meanwhile asks again. */
static void retry_at(Agent *agent, uint64_t when_ns, uint64_t now_ns)
{
	uint64_t wait_ms = (when_ns - now_ns) / DN_NS_PER_MS + 1;

	if (agent->retry != NULL && agent->retry_ns <= when_ns)
		return;
	dn_source_clear(&agent->retry);
	agent->retry_ns = when_ns;
	agent->retry = g_timeout_source_new((guint)MIN(wait_ms, 60 * IMAGE_RETRY_MS));
	g_source_set_callback(agent->retry, on_retry, agent, NULL);
	g_source_attach(agent->retry, NULL);
}

static void settle_service(Agent *agent, Service *service)
{
	uint64_t now_ns = dn_clock_monotonic_ns();
	DnPlanInput input = {
		.assign = service->assign,
		.held = service->held->len,
		.held_standby = service->held_standby->len,
		.backoffs = service->backoffs,
		.now_ns = now_ns,
	};

	if (service->assign == NULL)
		return;
	take_over_nodes(agent, service);
	dn_backoffs_keep(service->backoffs, service->assign);
	g_autoptr(GArray) nodes = plan_nodes(agent, service, now_ns, &input.free_slots);
	input.nodes = (const DnPlanNode *)(const void *)nodes->data;
	input.n_nodes = nodes->len;
	g_autoptr(GArray) acts = dn_plan(&input);
	for (guint i = 0; i < acts->len; i++)
		carry_out(agent, service, &g_array_index(acts, DnAct, i));
	uint64_t next_ns = dn_backoffs_next_ns(service->backoffs, now_ns);
	if (next_ns > 0)
		retry_at(agent, next_ns, now_ns);
}

static gboolean on_settle(gpointer data)
{
	Agent *agent = data;
	g_autoptr(GList) services = g_hash_table_get_values(agent->services);

	g_clear_pointer(&agent->settle, g_source_unref);
	for (GList *i = services; i != NULL; i = i->next)
		settle_service(agent, i->data);
	dn_spares_fill(agent);
	return G_SOURCE_REMOVE;
}

void dn_agent_settle_service(Agent *agent, Service *service)
{
	if (agent->firewall != NULL)
		settle_service(agent, service);
}

void dn_agent_settle(Agent *agent)
{
	if (agent->settle != NULL || agent->firewall == NULL)
		return;
	agent->settle = g_idle_source_new();
	g_source_set_priority(agent->settle, G_PRIORITY_DEFAULT);
	g_source_set_callback(agent->settle, on_settle, agent, NULL);
	g_source_attach(agent->settle, NULL);
}
