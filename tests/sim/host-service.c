/* SPDX-License-Identifier: Apache-2.0 */

/* Services: the share of each, which a host's nodes have to add up to, and the balancer's part. */

#include "host-agent.h"

/* ---- the balancer: what the agent has last put there (agent/main/balance.c) ---- */

static void balance_remote(SimHost *self, const Service *service)
{
	GPtrArray *addresses = g_ptr_array_new_with_free_func(g_free);

	for (guint i = 0; service->assign != NULL && i < service->assign->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(service->assign->endpoints, i);

		g_ptr_array_add(addresses, g_strdup(endpoint->address));
	}
	g_hash_table_replace(self->remote, g_strdup(service->name), addresses);
}

void host_balance(Sim *sim, SimHost *self)
{
	GHashTableIter iter;
	gpointer value = NULL;

	if (!self->up)
		return;
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		const Node *node = self->slots[i];
		Kernel *kernel = &self->kernel[i];

		kernel->balanced =
			node != NULL &&
			dn_life_serves(node->state, node->role == DN_ROLE_STANDBY, node->healthy,
				       kernel->mark_ns != 0, node->entered);
		if (node != NULL)
			kernel->unplugged =
				node->state == DN_NODE_QUARANTINED || kernel->mark_ns != 0;
	}
	g_hash_table_remove_all(self->remote);
	g_hash_table_iter_init(&iter, self->services);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		balance_remote(self, value);
}

/* ---- the share (agent/main/service.c) ---- */

static bool is_hopeless(const Sim *sim, const Node *node)
{
	uint64_t deadline_ns = (uint64_t)node->manifest->run.start_deadline_ms * SIM_MS;
	uint64_t replace_ns = (uint64_t)node->manifest->health.replace_after_ms * SIM_MS;

	if (node->state == DN_NODE_STARTING)
		return sim->now_ns - node->started_ns > deadline_ns;
	return (node->state == DN_NODE_READY || node->state == DN_NODE_STANDBY) &&
	       node->sick_since_ns != 0 && sim->now_ns - node->sick_since_ns >= replace_ns;
}

static void carry_out(Sim *sim, SimHost *self, Service *service, const DnAct *act)
{
	Node *node = act->node == NULL ? NULL : node_find(self, act->node);

	if (!self->up)
		return;
	if (act->kind == DN_ACT_CREATE)
		node_create(sim, self, service, act);
	if (node == NULL)
		return;
	if (act->kind == DN_ACT_STOP && is_hopeless(sim, node))
		dn_backoffs_failed(service->backoffs, node->manifest->digest, false, sim->now_ns);
	if (act->kind == DN_ACT_PROMOTE)
		node_promote(sim, self, node);
	else if (act->kind == DN_ACT_DRAIN)
		node_drain(sim, self, node);
	else if (act->kind == DN_ACT_STOP)
		node_stop(sim, self, node);
	else if (act->kind == DN_ACT_REMOVE)
		node_remove(sim, self, node);
}

static void on_settle(Sim *sim, const Event *event);

/* Nodes that a later manifest would make alike go on under it (agent/main/service.c). */
static void take_over_nodes(Sim *sim, SimHost *self, const Service *service)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		Node *node = self->slots[i];
		Kernel *kernel = &self->kernel[i];

		if (node == NULL || !g_str_equal(node->manifest->service, service->name) ||
		    !dn_life_goes_on(node->state) || kernel->mark_ns != 0)
			continue;
		DnManifest *manifest =
			dn_epochs_successor(self->manifests, service->assign, node->manifest);
		if (manifest == NULL)
			continue;
		sim_say(sim, host_name(self->number), "%s goes on under epoch %" G_GUINT64_FORMAT,
			node->id, manifest->epoch);
		dn_manifest_unref(node->manifest);
		node->manifest = dn_manifest_ref(manifest);
		dn_manifest_unref(kernel->manifest);
		kernel->manifest = dn_manifest_ref(manifest);
		node_save(self, node);
		node_report(sim, self, node);
	}
}

void host_settle_service(Sim *sim, SimHost *self, Service *service)
{
	DnPlanNode seen[SIM_SLOTS];
	DnPlanInput input = {
		.assign = service->assign,
		.nodes = seen,
		.held = service->held->len,
		.held_standby = service->held_standby->len,
		.backoffs = service->backoffs,
		.now_ns = sim->now_ns,
	};

	if (service->assign == NULL)
		return;
	take_over_nodes(sim, self, service);
	dn_backoffs_keep(service->backoffs, service->assign);
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		const Node *node = self->slots[i];

		if (node == NULL)
			input.free_slots++;
		if (node == NULL || !g_str_equal(node->manifest->service, service->name))
			continue;
		bool taken = node->busy && node->state != DN_NODE_CREATING &&
			     node->state != DN_NODE_QUARANTINED;
		seen[input.n_nodes++] = (DnPlanNode){
			.id = node->id,
			.digest = node->manifest->digest,
			.epoch = node->manifest->epoch,
			.state = taken ? DN_NODE_STOPPING : node->state,
			.role = node->role,
			.hopeless = is_hopeless(sim, node),
			.drained = node->state == DN_NODE_DRAINING && node->drain_until_ns == 0,
			.made_ns = node->made_ns,
		};
	}
	g_autoptr(GArray) acts = dn_plan(&input);
	for (guint i = 0; i < acts->len; i++)
		carry_out(sim, self, service, &g_array_index(acts, DnAct, i));
	uint64_t next_ns = dn_backoffs_next_ns(service->backoffs, sim->now_ns);
	if (next_ns > 0)
		sim_later(sim, next_ns - sim->now_ns + SIM_MS,
			  (Event){.call = on_settle, .who = self->number, .life = self->life});
}

static void on_settle(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (!self->up || self->life != event->life)
		return;
	self->settling = false;
	g_autoptr(GList) names =
		g_list_sort(g_hash_table_get_keys(self->services), (GCompareFunc)g_strcmp0);
	for (GList *i = names; i != NULL && self->up; i = i->next)
		host_settle_service(sim, self, g_hash_table_lookup(self->services, i->data));
}

void host_settle(Sim *sim, SimHost *self)
{
	if (self->settling || !self->up || !self->disk.network)
		return;
	self->settling = true;
	sim_later(sim, 1, (Event){.call = on_settle, .who = self->number, .life = self->life});
}
