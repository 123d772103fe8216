/* SPDX-License-Identifier: Apache-2.0 */

/* Nodes: their kernel parts and their lives. */

#include "host-agent.h"

enum { HEALTH_LOOK_MS = 1000, DRAIN_LOOK_MS = 100 };

/* ---- the kernel's side ---- */

void kernel_clear(Kernel *self)
{
	g_free(self->id);
	g_free(self->saved_incident);
	dn_manifest_unref(self->manifest);
	*self = (Kernel){0};
}

char *node_address(const SimHost *self, unsigned slot)
{
	return g_strdup_printf("10.77.%u.%u", self->number, slot + 1);
}

/* ---- memory ---- */

Node *node_find(SimHost *self, const char *id)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL && g_str_equal(self->slots[i]->id, id))
			return self->slots[i];
	return NULL;
}

static Node *node_new(SimHost *self, unsigned slot, const char *id, DnManifest *manifest,
		      DnRole role, uint64_t now_ns)
{
	Node *node = g_new0(Node, 1);

	g_assert(self->slots[slot] == NULL);
	node->id = g_strdup(id);
	node->slot = slot;
	node->manifest = dn_manifest_ref(manifest);
	node->role = role;
	node->state = DN_NODE_CREATING;
	node->made_ns = now_ns;
	self->slots[slot] = node;
	return node;
}

void node_free(SimHost *self, Node *node)
{
	self->slots[node->slot] = NULL;
	dn_manifest_unref(node->manifest);
	g_free(node->id);
	g_free(node->replaces);
	g_free(node->incident);
	g_free(node);
}

void node_save(SimHost *self, const Node *node)
{
	Kernel *kernel = &self->kernel[node->slot];

	if (!self->up)
		return;
	kernel->saved = true;
	kernel->saved_state = node->state;
	kernel->saved_standby = node->role == DN_ROLE_STANDBY;
	kernel->saved_healthy = node->healthy;
	g_free(kernel->saved_incident);
	kernel->saved_incident = g_strdup(node->incident);
}

void node_report(Sim *sim, SimHost *self, const Node *node)
{
	DnFact *fact = dn_fact_new(DN_FACT_NODE);

	fact->node = node_record(self, node);
	host_say(sim, self, fact);
}

void node_become(Sim *sim, SimHost *self, Node *node, DnNodeState state)
{
	if (node->state == state || !self->up)
		return;
	sim_say(sim, host_name(self->number), "node %s: %s -> %s", node->id,
		dn_node_state_name(node->state), dn_node_state_name(state));
	node->state = state;
	if (node->built)
		node_save(self, node);
	node_report(sim, self, node);
}

/* An event of a node: its slot and the life of what is in it. */
static void node_later(Sim *sim, SimHost *self, const Node *node, uint64_t after_ns, SimCall call)
{
	sim_later(sim, after_ns,
		  (Event){.call = call,
			  .who = self->number,
			  .whom = node->slot,
			  .life = self->life,
			  .tag = self->kernel[node->slot].life});
}

/* The node that @event is about, while its agent and itself live. */
static Node *node_of(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (!self->up || self->life != event->life || self->kernel[event->whom].life != event->tag)
		return NULL;
	return self->slots[event->whom];
}

/* ---- a life ---- */

static void on_probe(Sim *sim, const Event *event);

static void on_first_answer(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = node_of(sim, event);
	const Kernel *kernel = &self->kernel[event->whom];

	if (node == NULL || node->state != DN_NODE_STARTING)
		return;
	if (!kernel->running || kernel->mute || kernel->mark_ns != 0) {
		host_settle(sim, self);
		node_later(sim, self, node, SIM_S, on_first_answer);
		return;
	}
	node->healthy = true;
	node->sick_since_ns = 0;
	node_become(sim, self, node, dn_life_after_first_answer(node->role == DN_ROLE_STANDBY));
	host_balance(sim, self);
	if (node->replaces != NULL)
		incident_replaced(sim, self, node);
	node_later(sim, self, node, HEALTH_LOOK_MS * SIM_MS, on_probe);
	host_settle(sim, self);
}

static void on_probe(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = node_of(sim, event);
	bool answers = false;

	if (node == NULL || (node->state != DN_NODE_READY && node->state != DN_NODE_STANDBY))
		return;
	answers = !self->kernel[event->whom].sick && self->kernel[event->whom].mark_ns == 0;
	if (answers != node->healthy) {
		node->healthy = answers;
		node->sick_since_ns = answers ? 0 : sim->now_ns;
		sim_say(sim, host_name(self->number), "node %s is %s", node->id,
			answers ? "healthy" : "unhealthy");
		node_report(sim, self, node);
		host_balance(sim, self);
	}
	if (!answers)
		host_settle(sim, self);
	if (!answers || self->kernel[event->whom].sick)
		node_later(sim, self, node, HEALTH_LOOK_MS * SIM_MS, on_probe);
}

static void started(Sim *sim, SimHost *self, Node *node)
{
	Kernel *kernel = &self->kernel[node->slot];

	kernel->created = false;
	kernel->running = true;
	kernel->mute = sim_mishap(sim, 50);
	node->started_ns = sim->now_ns;
	node->sick_since_ns = sim->now_ns;
	node->healthy = false;
	node_become(sim, self, node, DN_NODE_STARTING);
	node_later(sim, self, node, 2 * SIM_MS + sim_below(sim, 200 * SIM_MS), on_first_answer);
}

void node_start(Sim *sim, SimHost *self, Node *node)
{
	if (self->up)
		started(sim, self, node);
}

static void on_failed(Sim *sim, SimHost *self, Node *node)
{
	Service *service = service_get(self, node->manifest->service);

	if (node->replaces != NULL)
		g_ptr_array_add(service->owed, g_steal_pointer(&node->replaces));
	dn_backoffs_failed(service->backoffs, node->manifest->digest, true, sim->now_ns);
	node_become(sim, self, node, DN_NODE_FAILED);
	DnFact *fact = dn_fact_new(DN_FACT_NODE_GONE);
	fact->id = g_strdup(node->id);
	host_say(sim, self, fact);
	kernel_clear(&self->kernel[node->slot]);
	node_free(self, node);
}

static void on_built(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = node_of(sim, event);
	Kernel *kernel = &self->kernel[event->whom];

	if (node == NULL)
		return;
	node->busy = false;
	if (sim_mishap(sim, 50)) {
		on_failed(sim, self, node);
		host_settle(sim, self);
		return;
	}
	kernel->whole = kernel->created = true;
	node->built = true;
	node_become(sim, self, node, DN_NODE_CREATED);
	host_balance(sim, self);
	if (node->role == DN_ROLE_ACTIVE || node->manifest->standby_started)
		node_start(sim, self, node);
	host_settle(sim, self);
}

void node_create(Sim *sim, SimHost *self, Service *service, const DnAct *act)
{
	DnManifest *manifest = g_hash_table_lookup(self->manifests, act->digest);
	unsigned slot = 0;

	while (slot < SIM_SLOTS && self->slots[slot] != NULL)
		slot++;
	if (manifest == NULL || slot == SIM_SLOTS)
		return;
	g_autofree char *id = g_strdup_printf("%s-%08x", service->name, (unsigned)++sim->ids);
	Node *node = node_new(self, slot, id, manifest, act->role, sim->now_ns);
	Kernel *kernel = &self->kernel[slot];
	if (act->role == DN_ROLE_ACTIVE && service->owed->len > 0)
		node->replaces = g_ptr_array_steal_index(service->owed, 0);
	kernel_clear(kernel);
	kernel->id = g_strdup(id);
	kernel->life = ++sim->ids;
	kernel->manifest = dn_manifest_ref(manifest);
	node->busy = true;
	node_save(self, node);
	node_report(sim, self, node);
	sim_say(sim, host_name(self->number), "builds %s, epoch %" G_GUINT64_FORMAT, id,
		manifest->epoch);
	node_later(sim, self, node, 5 * SIM_MS + sim_below(sim, 80 * SIM_MS), on_built);
}

static void on_removed(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = node_of(sim, event);

	if (node == NULL)
		return;
	DnFact *fact = dn_fact_new(DN_FACT_NODE_GONE);
	fact->id = g_strdup(node->id);
	sim_say(sim, host_name(self->number), "node %s is gone", node->id);
	host_say(sim, self, fact);
	truth_saw_removed(sim, node->id);
	kernel_clear(&self->kernel[node->slot]);
	node_free(self, node);
	host_balance(sim, self);
	host_settle(sim, self);
}

void node_remove(Sim *sim, SimHost *self, Node *node)
{
	if (!self->up || node->busy)
		return;
	node->busy = true;
	node_later(sim, self, node, SIM_MS + sim_below(sim, 20 * SIM_MS), on_removed);
}

static void exited(Sim *sim, SimHost *self, unsigned slot)
{
	Node *node = self->slots[slot];
	Kernel *kernel = &self->kernel[slot];

	kernel->running = kernel->created = false;
	if (!self->up || node == NULL || node->busy)
		return;
	DnNodeState next = dn_life_after_exit(node->state, kernel->mark_ns != 0);
	if (next == node->state)
		return;
	if (next == DN_NODE_FAILED) {
		Service *service = service_get(self, node->manifest->service);

		dn_backoffs_failed(service->backoffs, node->manifest->digest, false, sim->now_ns);
	}
	node_become(sim, self, node, next);
	host_balance(sim, self);
	host_settle(sim, self);
}

static void on_stopped(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (self->kernel[event->whom].life == event->tag)
		exited(sim, self, event->whom);
}

void node_stop(Sim *sim, SimHost *self, Node *node)
{
	node_become(sim, self, node, DN_NODE_STOPPING);
	host_balance(sim, self);
	node_later(sim, self, node, SIM_MS + sim_below(sim, SIM_S), on_stopped);
}

static void on_drained(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = node_of(sim, event);

	if (node == NULL || node->state != DN_NODE_DRAINING)
		return;
	if (!node->dropped && sim->now_ns < node->drain_until_ns) {
		node_later(sim, self, node, DRAIN_LOOK_MS * SIM_MS, on_drained);
		return;
	}
	node->drain_until_ns = 0;
	host_settle(sim, self);
}

/* What it has left to finish is drawn when it begins to drain, and not again. */
bool node_dropped(SimHost *self, const DnOrder *order)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL && g_str_equal(self->slots[i]->id, order->node))
			self->slots[i]->dropped = true;
	return true;
}

void node_drain(Sim *sim, SimHost *self, Node *node)
{
	node->dropped = false;
	node->drain_until_ns = sim->now_ns + (uint64_t)node->manifest->roll_drain_ms * SIM_MS;
	node_become(sim, self, node, DN_NODE_DRAINING);
	host_balance(sim, self);
	node_later(sim, self, node, sim_below(sim, node->manifest->roll_drain_ms * SIM_MS),
		   on_drained);
}

void node_promote(Sim *sim, SimHost *self, Node *node)
{
	node->role = DN_ROLE_ACTIVE;
	if (node->state == DN_NODE_STANDBY)
		node_become(sim, self, node, DN_NODE_READY);
	else if (node->state == DN_NODE_CREATED && !node->busy)
		node_start(sim, self, node);
	node_save(self, node);
	host_balance(sim, self);
}

/* ---- taking over (agent/main/adopt.c) ---- */

static void adopt_one(Sim *sim, SimHost *self, unsigned slot)
{
	Kernel *kernel = &self->kernel[slot];
	DnManifest *manifest = g_hash_table_lookup(self->manifests, kernel->manifest->digest);

	if (manifest == NULL || !kernel->whole || !kernel->saved ||
	    (!kernel->running && !kernel->created && kernel->mark_ns == 0)) {
		sim_say(sim, host_name(self->number), "sweeps %s away", kernel->id);
		truth_saw_removed(sim, kernel->id);
		kernel_clear(kernel);
		return;
	}
	Node *node =
		node_new(self, slot, kernel->id, manifest,
			 kernel->saved_standby ? DN_ROLE_STANDBY : DN_ROLE_ACTIVE, sim->now_ns);
	node->built = true;
	node->healthy = kernel->saved_healthy;
	node->started_ns = sim->now_ns;
	node->sick_since_ns = kernel->saved_healthy ? 0 : sim->now_ns;
	node->incident = g_strdup(kernel->saved_incident);
	node->state = dn_life_adopted(kernel->saved_state, kernel->created);
	incident_adopt(sim, self, node);
	if (is_planted(PLANT_ADOPT) && node->state == DN_NODE_QUARANTINED) {
		node->state = DN_NODE_READY;
		kernel->mark_ns = 0;
	}
	sim_say(sim, host_name(self->number), "takes %s over, %s", node->id,
		dn_node_state_name(node->state));
}

/* What was under way when the last agent died is begun again. */
static void resume(Sim *sim, SimHost *self, Node *node)
{
	if (node->state == DN_NODE_STARTING)
		node_later(sim, self, node, 5 * SIM_MS, on_first_answer);
	if (node->state == DN_NODE_READY || node->state == DN_NODE_STANDBY)
		node_later(sim, self, node, SIM_MS, on_probe);
	if (node->state == DN_NODE_DRAINING)
		node_drain(sim, self, node);
}

void host_adopt(Sim *sim, SimHost *self)
{
	self->settling = false;
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->kernel[i].id != NULL)
			adopt_one(sim, self, i);
	if (!self->disk.network)
		return;
	host_balance(sim, self);
	host_look_for_marks(sim, self);
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL)
			resume(sim, self, self->slots[i]);
}

/* ---- mishaps ---- */

static Kernel *some_running(SimHost *self, uint64_t draw)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		Kernel *kernel = &self->kernel[(draw + i) % SIM_SLOTS];

		if (kernel->id != NULL && kernel->whole && kernel->running && kernel->mark_ns == 0)
			return kernel;
	}
	return NULL;
}

void host_drift(Sim *sim, unsigned host, uint64_t draw)
{
	SimHost *self = host_of(sim, host);
	Kernel *kernel = some_running(self, draw);

	if (kernel != NULL)
		kernel_mark(sim, self, kernel, false, false);
}

void host_exit(Sim *sim, unsigned host, uint64_t draw)
{
	SimHost *self = host_of(sim, host);
	Kernel *kernel = some_running(self, draw);

	if (kernel == NULL)
		return;
	sim_say(sim, host_name(host), "%s ends by itself", kernel->id);
	exited(sim, self, (unsigned)(kernel - self->kernel));
}

static void on_well(Sim *sim, const Event *event)
{
	Kernel *kernel = &host_of(sim, event->who)->kernel[event->whom];

	if (kernel->life == event->tag)
		kernel->sick = false;
}

void host_sicken(Sim *sim, unsigned host, uint64_t draw, uint64_t for_ns)
{
	SimHost *self = host_of(sim, host);
	Kernel *kernel = some_running(self, draw);

	if (kernel == NULL)
		return;
	unsigned slot = (unsigned)(kernel - self->kernel);
	kernel->sick = true;
	sim_say(sim, host_name(host), "%s falls ill", kernel->id);
	sim_later(sim, for_ns,
		  (Event){.call = on_well, .who = host, .whom = slot, .tag = kernel->life});
	if (self->up && self->slots[slot] != NULL)
		node_later(sim, self, self->slots[slot], SIM_S, on_probe);
}
