/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A host's disk: what was written and synced outlives everything; what was handed to the writer
 * and not yet synced is kept up to some point, in the order it was handed over (agent/main/disk.c).
 */

#include "host-agent.h"

typedef struct {
	Service *service;
	DnIncident *incident;
} Late;

/* ---- services, in memory and on disk ---- */

Service *service_new(const char *name)
{
	Service *self = g_new0(Service, 1);

	self->name = g_strdup(name);
	self->held = g_ptr_array_new_with_free_func(g_free);
	self->held_standby = g_ptr_array_new_with_free_func(g_free);
	self->backoffs = dn_backoffs_new();
	self->owed = g_ptr_array_new_with_free_func(g_free);
	dn_budget_init(&self->budget);
	dn_budget_init(&self->drills);
	return self;
}

void service_free(Service *self)
{
	if (self == NULL)
		return;
	g_free(self->name);
	dn_assign_free(self->assign);
	dn_budget_clear(&self->budget);
	dn_budget_clear(&self->drills);
	g_ptr_array_unref(self->held);
	g_ptr_array_unref(self->held_standby);
	dn_backoffs_free(self->backoffs);
	g_ptr_array_unref(self->owed);
	g_free(self);
}

Service *service_get(SimHost *self, const char *name)
{
	Service *service = g_hash_table_lookup(self->services, name);

	if (service == NULL) {
		service = service_new(name);
		g_hash_table_insert(self->services, service->name, service);
	}
	return service;
}

static void copy_strings(const GPtrArray *from, GPtrArray *to)
{
	for (guint i = 0; i < from->len; i++)
		g_ptr_array_add(to, g_strdup(g_ptr_array_index(from, i)));
}

/* What its file holds. */
static Service *service_copy(const Service *from)
{
	Service *self = service_new(from->name);

	self->assign = from->assign == NULL ? NULL : dn_assign_copy(from->assign);
	g_array_append_vals(self->budget.spent, from->budget.spent->data, from->budget.spent->len);
	g_array_append_vals(self->drills.spent, from->drills.spent->data, from->drills.spent->len);
	copy_strings(from->held, self->held);
	copy_strings(from->held_standby, self->held_standby);
	return self;
}

static GHashTable *services_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)service_free);
}

static GHashTable *incidents_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
				     (GDestroyNotify)dn_incident_free);
}

static GHashTable *manifests_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
				     (GDestroyNotify)dn_manifest_unref);
}

static void late_clear(gpointer data)
{
	Late *late = data;

	service_free(late->service);
	dn_incident_free(late->incident);
}

void disk_init(SimHost *self)
{
	self->disk.epochs = dn_epochs_new();
	self->disk.manifests = manifests_new();
	self->disk.services = services_new();
	self->disk.incidents = incidents_new();
	self->late = g_array_new(FALSE, TRUE, sizeof(Late));
	g_array_set_clear_func(self->late, late_clear);
}

void disk_clear(SimHost *self)
{
	g_array_unref(self->late);
	g_hash_table_unref(self->disk.epochs);
	g_hash_table_unref(self->disk.manifests);
	g_hash_table_unref(self->disk.services);
	g_hash_table_unref(self->disk.incidents);
}

/* What the next agent finds: times of another boot. */
void disk_carry_budgets_over(SimHost *self)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, self->disk.services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Service *service = value;

		dn_budget_carry_over(&service->budget);
		dn_budget_carry_over(&service->drills);
	}
}

/* ---- writes ---- */

static void put_service(SimHost *self, Service *service)
{
	g_hash_table_replace(self->disk.services, service->name, service);
}

static void put_incident(SimHost *self, DnIncident *incident)
{
	g_hash_table_replace(self->disk.incidents, incident->id, incident);
}

/* Whether the agent dies here instead, before the write or right after it. */
static bool dies(Sim *sim, SimHost *self)
{
	if (!self->up)
		return true;
	if (self->crash_after == 0 || --self->crash_after > 0)
		return false;
	host_crash(sim, self->number, "it is killed at a write");
	return true;
}

static void take_late(SimHost *self, Late *late)
{
	if (late->service != NULL)
		put_service(self, g_steal_pointer(&late->service));
	if (late->incident != NULL)
		put_incident(self, g_steal_pointer(&late->incident));
}

/* The writer has synced an incident: now it may be spoken of. */
static void on_durable(Sim *sim, SimHost *self, const char *id)
{
	DnIncident *incident = g_hash_table_lookup(self->incidents, id);

	if (incident == NULL)
		return;
	if (incident->stages_us[DN_STAGE_DURABLE] < 0)
		incident->stages_us[DN_STAGE_DURABLE] = 1;
	incident_report(sim, self, incident);
}

static bool take_first_late(Sim *sim, SimHost *self)
{
	Late late = g_array_index(self->late, Late, 0);
	g_autofree char *id = late.incident == NULL ? NULL : g_strdup(late.incident->id);

	g_array_index(self->late, Late, 0) = (Late){0};
	g_array_remove_index(self->late, 0);
	if (dies(sim, self)) {
		late_clear(&late);
		return false;
	}
	take_late(self, &late);
	if (id != NULL)
		on_durable(sim, self, id);
	return true;
}

static void on_synced(Sim *sim, const Event *event)
{
	SimHost *self = host_of(sim, event->who);

	if (self->up && self->life == event->life && self->late->len > 0)
		(void)take_first_late(sim, self);
}

static void write_soon(Sim *sim, SimHost *self, Late late)
{
	if (!self->up) {
		late_clear(&late);
		return;
	}
	g_array_append_val(self->late, late);
	sim_later(sim, SIM_MS + sim_below(sim, sim_mishap(sim, 100) ? SIM_S : 15 * SIM_MS),
		  (Event){.call = on_synced, .who = self->number, .life = self->life});
}

void disk_save_service_soon(Sim *sim, SimHost *self, const Service *service)
{
	write_soon(sim, self, (Late){.service = service_copy(service)});
}

void disk_save_incident_soon(Sim *sim, SimHost *self, const DnIncident *incident)
{
	write_soon(sim, self, (Late){.incident = dn_incident_copy(incident)});
}

bool disk_flush(Sim *sim, SimHost *self)
{
	while (self->late->len > 0)
		if (!take_first_late(sim, self))
			return false;
	return true;
}

/* The writer was a thread of the dead agent: some of what it held reached the disk, in order. */
void disk_lose(Sim *sim, SimHost *self)
{
	uint64_t kept = sim_below(sim, self->late->len + 1);

	for (uint64_t i = 0; i < kept; i++)
		take_late(self, &g_array_index(self->late, Late, i));
	g_array_set_size(self->late, 0);
}

bool disk_save_term(Sim *sim, SimHost *self, uint64_t term)
{
	if (dies(sim, self))
		return false;
	self->disk.term = term;
	return !dies(sim, self);
}

static void copy_epochs(GHashTable *from, GHashTable *to)
{
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	g_hash_table_iter_init(&iter, from);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const DnEpoch *epoch = value;

		dn_epochs_set(to, name, epoch->epoch, epoch->digest, epoch->removed);
	}
}

bool disk_save_epochs(Sim *sim, SimHost *self)
{
	if (dies(sim, self))
		return false;
	if (!is_planted(PLANT_EPOCH))
		copy_epochs(self->epochs, self->disk.epochs);
	return !dies(sim, self);
}

bool disk_save_manifest(Sim *sim, SimHost *self, DnManifest *manifest)
{
	if (dies(sim, self))
		return false;
	g_hash_table_replace(self->disk.manifests, manifest->digest, dn_manifest_ref(manifest));
	return !dies(sim, self);
}

bool disk_save_service(Sim *sim, SimHost *self, const Service *service)
{
	if (!disk_flush(sim, self) || dies(sim, self))
		return false;
	put_service(self, service_copy(service));
	return !dies(sim, self);
}

bool disk_forget_service(Sim *sim, SimHost *self, const char *name)
{
	if (!disk_flush(sim, self) || dies(sim, self))
		return false;
	g_hash_table_remove(self->disk.services, name);
	return !dies(sim, self);
}

bool disk_save_incident(Sim *sim, SimHost *self, const DnIncident *incident)
{
	if (!disk_flush(sim, self) || dies(sim, self))
		return false;
	put_incident(self, dn_incident_copy(incident));
	return !dies(sim, self);
}

/* ---- the agent's memory ---- */

void memory_load(SimHost *self)
{
	GHashTableIter iter;
	gpointer value = NULL;

	self->envelope.cluster = g_strdup(SIM_CLUSTER);
	self->envelope.term = self->disk.term;
	self->epochs = dn_epochs_new();
	copy_epochs(self->disk.epochs, self->epochs);
	self->manifests = manifests_new();
	g_hash_table_iter_init(&iter, self->disk.manifests);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_hash_table_insert(self->manifests, ((DnManifest *)value)->digest,
				    dn_manifest_ref(value));
	self->services = services_new();
	g_hash_table_iter_init(&iter, self->disk.services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Service *copy = service_copy(value);

		g_hash_table_insert(self->services, copy->name, copy);
	}
	self->incidents = incidents_new();
	g_hash_table_iter_init(&iter, self->disk.incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnIncident *copy = dn_incident_copy(value);

		dn_custody_restored(copy);

		g_hash_table_insert(self->incidents, copy->id, copy);
	}
}

void memory_clear(SimHost *self)
{
	for (unsigned i = 0; i < SIM_SLOTS; i++)
		if (self->slots[i] != NULL)
			node_free(self, self->slots[i]);
	dn_envelope_clear(&self->envelope);
	self->envelope = (DnEnvelope){0};
	g_clear_pointer(&self->epochs, g_hash_table_unref);
	g_clear_pointer(&self->manifests, g_hash_table_unref);
	g_clear_pointer(&self->services, g_hash_table_unref);
	g_clear_pointer(&self->incidents, g_hash_table_unref);
}
