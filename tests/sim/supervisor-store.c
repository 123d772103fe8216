/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor-store.h"

#include "host.h"

typedef struct {
	DnRecordKind kind;
	char *name;
	DnServiceRecord *service;
	DnHostRecord *host;
	DnIncident *incident; /* none of the three: delete */
} Write;

struct SimStore {
	uint64_t term;
	GHashTable *services;  /* char * → DnServiceRecord * */
	GHashTable *hosts;     /* char * → DnHostRecord * */
	GHashTable *incidents; /* char * → DnIncident * */
};

static void free_write(gpointer data)
{
	Write *self = data;

	g_free(self->name);
	dn_service_record_free(self->service);
	dn_host_record_free(self->host);
	dn_incident_free(self->incident);
	g_free(self);
}

static void free_dispatch(gpointer data)
{
	dn_dispatch_free(data);
}

Batch *batch_new(void)
{
	Batch *self = g_new0(Batch, 1);

	self->writes = g_ptr_array_new_with_free_func(free_write);
	self->dispatches = g_ptr_array_new_with_free_func(free_dispatch);
	self->tickets = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	return self;
}

void batch_free(Batch *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->writes);
	g_ptr_array_unref(self->dispatches);
	g_array_unref(self->tickets);
	g_free(self);
}

bool batch_is_empty(const Batch *self)
{
	return self->writes->len == 0 && self->dispatches->len == 0 && self->tickets->len == 0;
}

bool batch_names_host(const Batch *self, const char *host)
{
	for (guint i = 0; self != NULL && i < self->dispatches->len; i++)
		if (g_str_equal(((const DnDispatch *)g_ptr_array_index(self->dispatches, i))->host,
				host))
			return true;
	return false;
}

void batch_add(Batch *self, const DnFleetCore *core, const DnRecordChange *change)
{
	Write *write = g_new0(Write, 1);
	const DnIncident *incident = NULL;

	write->kind = change->kind;
	write->name = g_strdup(change->name);
	switch (change->kind) {
	case DN_RECORD_SERVICE:
		write->service = dn_fleet_core_service_record(core, change->name);
		break;
	case DN_RECORD_HOST:
		write->host = dn_fleet_core_host_record(core, change->name);
		break;
	case DN_RECORD_INCIDENT:
		incident = dn_fleet_core_incident(core, change->name);
		write->incident = incident == NULL ? NULL : dn_incident_copy(incident);
		break;
	case DN_RECORD_TOKEN:
	case DN_RECORD_N:
		break;
	}
	g_ptr_array_add(self->writes, write);
}

/* ---- the store ---- */

SimStore *store_new(void)
{
	SimStore *self = g_new0(SimStore, 1);

	self->services = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					       (GDestroyNotify)dn_service_record_free);
	self->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
					    (GDestroyNotify)dn_host_record_free);
	self->incidents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						(GDestroyNotify)dn_incident_free);
	return self;
}

void store_free(SimStore *self)
{
	g_hash_table_unref(self->services);
	g_hash_table_unref(self->hosts);
	g_hash_table_unref(self->incidents);
	g_free(self);
}

static void put(GHashTable *table, const char *name, gpointer value)
{
	if (value == NULL)
		g_hash_table_remove(table, name);
	else
		g_hash_table_replace(table, g_strdup(name), value);
}

bool store_write(SimStore *self, uint64_t term, Batch *batch)
{
	if (term != self->term)
		return false;
	for (guint i = 0; i < batch->writes->len; i++) {
		Write *write = g_ptr_array_index(batch->writes, i);

		if (write->kind == DN_RECORD_SERVICE)
			put(self->services, write->name, g_steal_pointer(&write->service));
		if (write->kind == DN_RECORD_HOST)
			put(self->hosts, write->name, g_steal_pointer(&write->host));
		if (write->kind == DN_RECORD_INCIDENT)
			put(self->incidents, write->name, g_steal_pointer(&write->incident));
	}
	return true;
}

uint64_t store_campaign(SimStore *self)
{
	return ++self->term;
}

uint64_t store_term(const Sim *sim)
{
	return sim->store->term;
}

uint64_t store_epoch(const Sim *sim, const char *service)
{
	const DnServiceRecord *record = g_hash_table_lookup(sim->store->services, service);

	if (record == NULL)
		return 0;
	return ((const DnReleaseRecord *)g_ptr_array_index(record->releases, 0))
		->declaration->manifest->epoch;
}

bool store_has_incident(const Sim *sim, const char *id)
{
	return g_hash_table_contains(sim->store->incidents, id);
}

/* Hosts are enrolled before the simulation begins: the first supervisor finds them in the store. */
static bool restore_hosts(const SimStore *self, DnFleetCore *core, unsigned hosts, GError **error)
{
	for (unsigned i = 0; i < hosts; i++) {
		const DnHostRecord *known = g_hash_table_lookup(self->hosts, host_name(i));
		uint8_t key[DN_PUBLIC_KEY_BYTES] = {(uint8_t)(i + 1)};
		g_autofree char *cidr = g_strdup_printf("10.77.%u.0/24", i);
		g_autoptr(DnHostRecord) fresh = dn_host_record_new(host_name(i), key, cidr, NULL);

		if (!dn_fleet_core_restore_host(core, known != NULL ? known : fresh, error))
			return false;
	}
	return true;
}

DnFleetCore *store_restore(const SimStore *self, unsigned hosts, GError **error)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	GHashTableIter iter;
	gpointer value = NULL;

	g_free(cluster->node_cidr);
	g_free(cluster->vip_cidr);
	cluster->node_cidr = g_strdup(SIM_NODE_CIDR);
	cluster->vip_cidr = g_strdup(SIM_VIP_CIDR);
	g_autoptr(DnFleetCore) core = dn_fleet_core_new(cluster, error);
	if (core == NULL || !restore_hosts(self, core, hosts, error))
		return NULL;
	g_hash_table_iter_init(&iter, self->services);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (!dn_fleet_core_restore_service(core, value, error))
			return NULL;
	g_hash_table_iter_init(&iter, self->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		dn_fleet_core_restore_incident(core, value);
	return g_steal_pointer(&core);
}
