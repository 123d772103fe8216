/* SPDX-License-Identifier: Apache-2.0 */

/* Marks, the reflex, and the incidents they become (agent/main/cut.c, incident.c, response.c). */

#include "host-agent.h"

enum { VERDICT_US = 500, OUTCOME_MS = 60 };

static void on_verdict(Sim *sim, const Event *event);

static void reflex_later(Sim *sim, SimHost *self, unsigned slot, uint64_t after_ns, SimCall call)
{
	sim_later(sim, after_ns,
		  (Event){.call = call,
			  .who = self->number,
			  .whom = slot,
			  .life = self->life,
			  .tag = self->kernel[slot].life});
}

/* The sensor in the kernel needs no agent: from here on no packet passes. */
void kernel_mark(Sim *sim, SimHost *self, Kernel *kernel, bool drilled, bool by_hand)
{
	unsigned slot = (unsigned)(kernel - self->kernel);

	kernel->mark_ns = host_monotonic(sim, self);
	kernel->drilled = drilled;
	kernel->by_hand = by_hand;
	kernel->unplugged = true;
	sim_say(sim, host_name(self->number), "%s is marked%s", kernel->id,
		drilled ? ": a drill" : (by_hand ? ": by hand" : ""));
	truth_saw_mark(sim, kernel->id);
	if (self->up)
		reflex_later(sim, self, slot, VERDICT_US * DN_NS_PER_US, on_verdict);
}

/* Also those made while no agent ran. */
void host_look_for_marks(Sim *sim, SimHost *self)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL && self->kernel[i].mark_ns != 0)
			reflex_later(sim, self, i, VERDICT_US * DN_NS_PER_US, on_verdict);
}

/* ---- incidents ---- */

void incident_report(Sim *sim, SimHost *self, const DnIncident *incident)
{
	if (!dn_custody_may_report(incident) && !is_planted(PLANT_INCIDENT))
		return;
	DnFact *fact = dn_fact_new(DN_FACT_INCIDENT);
	fact->incident = dn_incident_copy(incident);
	host_say(sim, self, fact);
}

static void save(Sim *sim, SimHost *self, const DnIncident *incident)
{
	disk_save_incident_soon(sim, self, incident);
	if (is_planted(PLANT_INCIDENT))
		incident_report(sim, self, incident);
}

static DnIncident *incident_new(Sim *sim, SimHost *self, const Node *node)
{
	const Kernel *kernel = &self->kernel[node->slot];
	DnIncident *incident = dn_incident_new();
	uint64_t since_ns = host_monotonic(sim, self) - kernel->mark_ns;

	incident->id = g_strdup_printf("%016" G_GINT64_MODIFIER "x", ++sim->ids);
	incident->service = g_strdup(node->manifest->service);
	incident->node = g_strdup(node->id);
	incident->host = g_strdup(host_name(self->number));
	incident->class = g_strdup(kernel->by_hand ? "manual" : "exec");
	incident->drill = node->drill && kernel->drilled;
	incident->epoch = node->manifest->epoch;
	incident->event_monotonic_ns = kernel->mark_ns;
	incident->event_time_ns = host_realtime(sim, self) - since_ns;
	return incident;
}

void incident_open(Sim *sim, SimHost *self, Node *node)
{
	if (node->cut_taken || !self->up)
		return;
	DnIncident *incident = incident_new(sim, self, node);
	node->cut_taken = true;
	node->incident = g_strdup(incident->id);
	g_hash_table_replace(self->incidents, incident->id, incident);
	sim_say(sim, host_name(self->number), "opens incident %s of %s", incident->id, node->id);
	save(sim, self, incident);
}

/* ---- the reflex ---- */

/* The standby that the plan of @node names: it is armed whenever something changes. */
static Node *choose_standby(Sim *sim, SimHost *self, const Node *node)
{
	const Service *service = service_get(self, node->manifest->service);
	uint32_t grant = service->assign == NULL ? 0 : service->assign->respawn_grant;
	Node *created = NULL;

	if (node->state != DN_NODE_READY || node->role != DN_ROLE_ACTIVE ||
	    (!node->drill && !dn_respawn_is_within(&service->budget, node->manifest, grant,
						   host_monotonic(sim, self))))
		return NULL;
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		Node *other = self->slots[i];

		if (other == NULL || other->role != DN_ROLE_STANDBY || other->busy ||
		    self->kernel[i].mark_ns != 0 || other->entered ||
		    !g_str_equal(other->manifest->digest, node->manifest->digest))
			continue;
		if (other->state == DN_NODE_STANDBY && other->healthy)
			return other;
		if (other->state == DN_NODE_CREATED && self->kernel[i].created)
			created = other;
	}
	return created;
}

static GPtrArray *held_of(Service *service, const Node *node)
{
	return node->role == DN_ROLE_STANDBY ? service->held_standby : service->held;
}

static void account(Sim *sim, SimHost *self, const Node *node, const DnIncident *incident)
{
	Service *service = service_get(self, node->manifest->service);
	uint32_t grant = service->assign == NULL ? 0 : service->assign->respawn_grant;
	uint64_t now_ns = host_monotonic(sim, self);
	DnRespawn verdict =
		dn_respawn_judge(&service->budget, node->manifest, grant, incident, true, now_ns);

	if (is_planted(PLANT_BUDGET) && !incident->drill && verdict != DN_RESPAWN_HELD)
		dn_budget_spend(&service->budget, SIM_S, now_ns);
	sim_say(sim, host_name(self->number), "incident %s: the replacement is %s", incident->id,
		verdict == DN_RESPAWN_DONE   ? "there"
		: verdict == DN_RESPAWN_OWED ? "owed"
					     : "held");
	if (verdict == DN_RESPAWN_OWED && node->role == DN_ROLE_ACTIVE)
		g_ptr_array_add(service->owed, g_strdup(incident->id));
	if (verdict == DN_RESPAWN_HELD)
		g_ptr_array_add(held_of(service, node), g_strdup(incident->id));
	else if (!incident->drill)
		truth_saw_replaced(
			sim, node->id,
			&(Spending){
				.host = self->number,
				.service = service->name,
				.count = grant,
				.within_ns = node->manifest->respawn_within_ms * SIM_MS,
				.now_ns = sim->now_ns,
				.charged_ns = sim->now_ns - (now_ns - incident->event_monotonic_ns),
			});
	truth_saw_charges(sim, self->number, service->name, service->budget.spent->len);
	disk_save_service_soon(sim, self, service);
}

static void take_over(Sim *sim, SimHost *self, Node *standby, DnIncident *incident)
{
	Kernel *kernel = &self->kernel[standby->slot];

	standby->role = DN_ROLE_ACTIVE;
	standby->entered = false;
	kernel->created = false;
	kernel->running = true;
	standby->healthy = true;
	standby->sick_since_ns = 0;
	g_ptr_array_add(incident->replacements, g_strdup(standby->id));
	node_become(sim, self, standby, DN_NODE_READY);
}

static Node *marked_node(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (!self->up || self->life != event->life || self->kernel[event->whom].life != event->tag)
		return NULL;
	return self->slots[event->whom];
}

/* dn_incident_finish() */
static void on_outcome(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = marked_node(sim, event);

	if (node == NULL)
		return;
	incident_open(sim, self, node);
	DnIncident *incident = g_hash_table_lookup(self->incidents, node->incident);
	bool first = node->state != DN_NODE_QUARANTINED;
	Node *standby = NULL;

	if (incident == NULL)
		return;
	dn_custody_stamp(incident, DN_STAGE_FROZEN, host_monotonic(sim, self));
	if (!first) {
		save(sim, self, incident);
		return;
	}
	standby = choose_standby(sim, self, node);
	node_become(sim, self, node, DN_NODE_QUARANTINED);
	if (standby != NULL)
		take_over(sim, self, standby, incident);
	account(sim, self, node, incident);
	if (node->role == DN_ROLE_ACTIVE)
		host_settle_service(sim, self, service_get(self, node->manifest->service));
	node_save(self, node);
	host_balance(sim, self);
	save(sim, self, incident);
	host_settle(sim, self);
}

static void on_verdict(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Node *node = marked_node(sim, event);

	if (node == NULL || !node->built)
		return;
	self->kernel[node->slot].balanced = false;
	incident_open(sim, self, node);
	reflex_later(sim, self, node->slot, SIM_MS + sim_below(sim, OUTCOME_MS * SIM_MS),
		     on_outcome);
}

void incident_replaced(Sim *sim, SimHost *self, Node *node)
{
	DnIncident *incident = g_hash_table_lookup(self->incidents, node->replaces);

	g_clear_pointer(&node->replaces, g_free);
	if (incident == NULL)
		return;
	g_ptr_array_add(incident->replacements, g_strdup(node->id));
	dn_custody_stamp(incident, DN_STAGE_REPLACEMENT_READY, host_monotonic(sim, self));
	save(sim, self, incident);
}

/* dn_incident_adopt() */
void incident_adopt(Sim *sim, SimHost *self, Node *node)
{
	DnIncident *incident = dn_custody_of_node(self->incidents, node->id);
	Service *service = service_get(self, node->manifest->service);

	g_clear_pointer(&node->incident, g_free);
	if (incident != NULL) {
		node->cut_taken = true;
		node->incident = g_strdup(incident->id);
	}
	if (incident != NULL && incident->state == DN_INCIDENT_DESTROYED) {
		node_become(sim, self, node, DN_NODE_QUARANTINED);
		if (!is_planted(PLANT_REMAINS))
			node_remove(sim, self, node);
		return;
	}
	if (node->state != DN_NODE_QUARANTINED)
		return;
	incident_open(sim, self, node);
	incident = g_hash_table_lookup(self->incidents, node->incident);
	if (!is_planted(PLANT_UNPAID) &&
	    !dn_respawn_is_settled(&service->budget, held_of(service, node), node->manifest,
				   incident, host_monotonic(sim, self)))
		account(sim, self, node, incident);
}

/* dn_incidents_release() */
void incidents_release(Sim *sim, SimHost *self)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, self->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Service *service = value;
		bool released = dn_custody_release(self->incidents, NULL, service->held);

		if (dn_custody_release(self->incidents, NULL, service->held_standby) || released)
			disk_save_service_soon(sim, self, service);
	}
}

/* ---- orders ---- */

static Node *find_cuttable(SimHost *self, const char *id, GError **error)
{
	Node *node = node_find(self, id);

	if (node == NULL || !node->built || node->busy) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no node %s runs on this host", id);
		return NULL;
	}
	if (node->cut_taken || self->kernel[node->slot].mark_ns != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "node %s is quarantined already",
			    id);
		return NULL;
	}
	return node;
}

bool order_quarantine(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	Node *node = find_cuttable(self, order->node, error);

	if (node == NULL)
		return false;
	kernel_mark(sim, self, &self->kernel[node->slot], false, true);
	incident_open(sim, self, node);
	if (is_planted(PLANT_HASTE))
		return true;
	return disk_save_incident(sim, self, g_hash_table_lookup(self->incidents, node->incident));
}

static void on_drill(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);
	Kernel *kernel = &self->kernel[event->whom];

	if (kernel->life == event->tag && kernel->running && kernel->mark_ns == 0)
		kernel_mark(sim, self, kernel, true, false);
}

bool order_drill(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	Node *node = find_cuttable(self, order->node, error);
	uint64_t now_ns = host_monotonic(sim, self);

	if (node == NULL)
		return false;
	Service *service = service_get(self, node->manifest->service);
	if (!dn_budget_allows_drill(&service->drills, node->manifest, now_ns, error))
		return false;
	dn_budget_spend_drill(&service->drills, node->manifest, now_ns);
	if (!disk_save_service(sim, self, service))
		return false;
	truth_saw_drill(sim, &(Spending){
				     .host = self->number,
				     .service = service->name,
				     .count = node->manifest->respawn_count,
				     .within_ns = node->manifest->respawn_within_ms * SIM_MS,
				     .now_ns = sim->now_ns,
				     .charged_ns = sim->now_ns,
			     });
	node->drill = true;
	reflex_later(sim, self, node->slot, 5 * SIM_MS, on_drill);
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

bool order_destroy(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	DnIncident *incident = g_hash_table_lookup(self->incidents, order->incident);

	if (incident == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "no incident %s on this host",
			    order->incident);
		return false;
	}
	if (incident->state == DN_INCIDENT_DESTROYED)
		return true;
	if (!people_is_signed_destroy(order, host_name(self->number), incident->id)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "no responder has signed this");
		return false;
	}
	Node *node = node_find(self, incident->node);
	if (node != NULL && !dn_custody_may_destroy(node->id, node->state, node->busy, error))
		return false;
	incident->state = DN_INCIDENT_DESTROYED;
	truth_saw_destroy(sim, incident->id, incident->node);
	if (!disk_save_incident(sim, self, incident))
		return false;
	incident_report(sim, self, incident);
	Service *service = g_hash_table_lookup(self->services, incident->service);
	if (service != NULL && (take_out(service->held, incident->id) ||
				take_out(service->held_standby, incident->id)))
		disk_save_service_soon(sim, self, service);
	if (node != NULL)
		node_remove(sim, self, node);
	return true;
}

bool order_stamp(Sim *sim, SimHost *self, const DnOrder *order, GError **error)
{
	DnIncident *incident = g_hash_table_lookup(self->incidents, order->incident);

	if (!dn_custody_may_stamp(incident, order->stage, error))
		return false;
	if (order->stage == DN_STAGE_REPORTED)
		truth_acknowledge_incident(sim, incident->id);
	if (incident->stages_us[order->stage] < 0) {
		dn_custody_stamp(incident, order->stage, host_monotonic(sim, self));
		save(sim, self, incident);
	}
	return true;
}
