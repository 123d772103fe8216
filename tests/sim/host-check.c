/* SPDX-License-Identifier: Apache-2.0 */

/* What a witness finds on a host after every step, and at the end. */

#include "host-agent.h"
#include "supervisor.h"

bool host_disk_has_incident(const Sim *sim, const char *id)
{
	for (unsigned i = 0; i < sim->hosts; i++)
		if (g_hash_table_contains(sim->host[i]->disk.incidents, id))
			return true;
	return false;
}

static unsigned incidents_of(const SimHost *self, const char *node)
{
	GHashTableIter iter;
	gpointer value = NULL;
	unsigned count = 0;

	g_hash_table_iter_init(&iter, self->disk.incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		count += g_str_equal(((const DnIncident *)value)->node, node) ? 1 : 0;
	return count;
}

bool host_disk_has_incident_of(const Sim *sim, const char *node)
{
	for (unsigned i = 0; i < sim->hosts; i++)
		if (incidents_of(sim->host[i], node) > 0)
			return true;
	return false;
}

static void check_incidents(Sim *sim, SimHost *self)
{
	GHashTableIter iter;
	gpointer value = NULL;

	if (g_hash_table_size(self->disk.incidents) == self->incidents_seen)
		return;
	self->incidents_seen = g_hash_table_size(self->disk.incidents);
	g_hash_table_iter_init(&iter, self->disk.incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *incident = value;

		if (incidents_of(self, incident->node) > 1)
			truth_broken(sim, TRUTH_ONE_INCIDENT, "%s holds two incidents of %s",
				     host_name(self->number), incident->node);
	}
}

static void check_kernel(Sim *sim, SimHost *self, const Kernel *kernel, const Node *node)
{
	if (kernel->id == NULL || !truth_is_marked(sim, kernel->id))
		return;
	if (!kernel->unplugged || kernel->mark_ns == 0)
		truth_broken(sim, TRUTH_QUARANTINE, "%s has its network back", kernel->id);
	if (!self->up || node == NULL)
		return;
	if (node->state == DN_NODE_QUARANTINED && kernel->balanced)
		truth_broken(sim, TRUTH_BALANCER, "%s balances to %s, which is cut",
			     host_name(self->number), kernel->id);
}

/* A cut node is paid for or held; a drill was paid for before it began. */
static void check_account(Sim *sim, SimHost *self, const Node *node)
{
	const DnIncident *incident = node->incident == NULL
					     ? NULL
					     : g_hash_table_lookup(self->incidents, node->incident);
	const Service *service = g_hash_table_lookup(self->services, node->manifest->service);

	if (node->state != DN_NODE_QUARANTINED || incident == NULL || incident->drill ||
	    service == NULL || truth_was_replaced(sim, node->id) ||
	    incident->state == DN_INCIDENT_DESTROYED)
		return;
	const GPtrArray *held =
		node->role == DN_ROLE_STANDBY ? service->held_standby : service->held;
	if (!g_ptr_array_find_with_equal_func((GPtrArray *)held, incident->id, g_str_equal, NULL))
		truth_broken(sim, TRUTH_BUDGET, "%s was cut and is neither paid for nor held",
			     node->id);
}

void host_check(Sim *sim, unsigned host)
{
	SimHost *self = host_of(sim, host);

	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		check_kernel(sim, self, &self->kernel[i], self->slots[i]);
		if (self->up && self->slots[i] != NULL)
			check_account(sim, self, self->slots[i]);
	}
	check_incidents(sim, self);
	if (self->late->len > 1000)
		truth_broken(sim, TRUTH_BOUNDED, "%s has %u writes waiting", host_name(host),
			     self->late->len);
	if (!self->up || self->life == self->checked_life)
		return;
	/* Once an agent: what it knows is no less than what was accepted before. */
	self->checked_life = self->life;
	for (unsigned i = 0; i < sim->services; i++) {
		const DnManifest *manifest = people_manifest(sim, i);
		const DnEpoch *epoch =
			manifest == NULL ? NULL
					 : g_hash_table_lookup(self->epochs, manifest->service);

		if (manifest != NULL &&
		    (epoch == NULL ? 0 : epoch->epoch) < truth_epoch(sim, host, manifest->service))
			truth_broken(sim, TRUTH_EPOCH, "%s has forgotten its epoch of %s",
				     host_name(host), manifest->service);
	}
}

/* ---- at rest ---- */

static bool count_nodes(SimHost *self, const char *service, Wanted *has, char **why)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++) {
		const Node *node = self->slots[i];

		if (node == NULL || !g_str_equal(node->manifest->service, service))
			continue;
		const DnIncident *incident =
			node->incident == NULL
				? NULL
				: g_hash_table_lookup(self->incidents, node->incident);
		if (incident != NULL && incident->state == DN_INCIDENT_DESTROYED) {
			*why = g_strdup_printf("%s is still there after its destruction", node->id);
			return false;
		}
		if (node->state == DN_NODE_QUARANTINED)
			continue;
		if (node->busy || (node->role == DN_ROLE_ACTIVE && !self->kernel[i].balanced) ||
		    (node->role == DN_ROLE_STANDBY && node->state != DN_NODE_STANDBY &&
		     node->state != DN_NODE_CREATED)) {
			*why = g_strdup_printf(
				"%s is %s%s on %s", node->id, dn_node_state_name(node->state),
				node->busy ? " and busy" : "", host_name(self->number));
			return false;
		}
		has->running += node->role == DN_ROLE_ACTIVE ? 1 : 0;
		has->standby += node->role == DN_ROLE_STANDBY ? 1 : 0;
	}
	return true;
}

static unsigned free_slots(const SimHost *self)
{
	unsigned count = 0;

	for (unsigned i = 0; i < SIM_SLOTS; i++)
		count += self->slots[i] == NULL ? 1 : 0;
	return count;
}

/* What is destroyed holds nobody back. */
static bool holds_are_of_evidence(const SimHost *self, const Service *service, char **why)
{
	const GPtrArray *held[] = {service->held, service->held_standby};

	for (size_t h = 0; h < G_N_ELEMENTS(held); h++)
		for (guint i = 0; i < held[h]->len; i++) {
			const char *id = g_ptr_array_index(held[h], i);
			const DnIncident *incident = g_hash_table_lookup(self->incidents, id);

			if (incident != NULL && incident->state != DN_INCIDENT_DESTROYED)
				continue;
			*why = g_strdup_printf("%s holds a node of %s back for incident %s, which "
					       "is destroyed",
					       host_name(self->number), service->name, id);
			return false;
		}
	return true;
}

static bool service_is_at_rest(Sim *sim, SimHost *self, unsigned leader, const char *service,
			       char **why)
{
	const Service *known = g_hash_table_lookup(self->services, service);
	Wanted wanted, has = {0};

	if (!count_nodes(self, service, &has, why) ||
	    !supervisor_wants(sim, leader, self->number, service, &wanted))
		return *why == NULL;
	if (wanted.removed && has.running + has.standby > 0) {
		*why = g_strdup_printf("%s has nodes of %s, which is removed",
				       host_name(self->number), service);
		return false;
	}
	if (known != NULL && !holds_are_of_evidence(self, known, why))
		return false;
	uint32_t held = known == NULL ? 0 : MIN(known->held->len, wanted.running);
	uint32_t held_standby = known == NULL ? 0 : MIN(known->held_standby->len, wanted.standby);
	/* A host whose slots hold quarantined nodes may have no room for its share. */
	bool full = free_slots(self) == 0 && has.running < wanted.running;
	if ((has.running != wanted.running - held && !full) ||
	    (held == 0 && has.standby != wanted.standby - held_standby && free_slots(self) > 0)) {
		*why = g_strdup_printf("%s has %u nodes of %s and %u standbys, it should have %u "
				       "(%u held) and %u (%u held)",
				       host_name(self->number), has.running, service, has.standby,
				       wanted.running, held, wanted.standby, held_standby);
		return false;
	}
	if (!wanted.removed && !wanted.stopped && wanted.everywhere < wanted.replicas &&
	    free_slots(self) > 0) {
		*why = g_strdup_printf("%u of %u nodes of %s are asked for", wanted.everywhere,
				       wanted.replicas, service);
		return false;
	}
	return true;
}

/* Whether the balancer of @self names just the nodes of @service that serve elsewhere. */
static bool balances_right(Sim *sim, SimHost *self, const char *service, char **why)
{
	const GPtrArray *named = g_hash_table_lookup(self->remote, service);
	guint serving = 0;

	for (unsigned h = 0; h < sim->hosts; h++) {
		SimHost *other = host_of(sim, h);

		for (unsigned i = 0; other != self && i < SIM_SLOTS; i++) {
			const Kernel *kernel = &other->kernel[i];

			if (kernel->id == NULL || !kernel->balanced ||
			    !g_str_equal(kernel->manifest->service, service))
				continue;
			g_autofree char *address = node_address(other, i);
			serving++;
			if (named == NULL ||
			    !g_ptr_array_find_with_equal_func((GPtrArray *)named, address,
							      g_str_equal, NULL)) {
				*why = g_strdup_printf("%s does not balance to %s",
						       host_name(self->number), kernel->id);
				return false;
			}
		}
	}
	if (named == NULL || named->len == serving)
		return true;
	*why = g_strdup_printf("%s balances %s to %u nodes of other hosts, %u serve",
			       host_name(self->number), service, named->len, serving);
	return false;
}

bool host_is_at_rest(Sim *sim, unsigned host, unsigned leader, char **why)
{
	SimHost *self = host_of(sim, host);

	if (!self->up || !self->linked || self->broken || self->peer != leader ||
	    self->late->len > 0) {
		*why = g_strdup_printf("%s is not linked to its leader", host_name(host));
		return false;
	}
	for (unsigned i = 0; i < sim->services; i++) {
		const DnManifest *manifest = people_manifest(sim, i);

		if (manifest != NULL &&
		    (!service_is_at_rest(sim, self, leader, manifest->service, why) ||
		     !balances_right(sim, self, manifest->service, why)))
			return false;
	}
	return true;
}
