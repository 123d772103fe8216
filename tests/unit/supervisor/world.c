/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <criterion/criterion.h>
#include <string.h>

#include "fake-host.h"

enum { STEPS_LIMIT = 200 };

struct World {
	DnFleetCore *core;
	DnNow now;
	GHashTable *hosts;         /* char * → FakeHost * */
	GPtrArray *kinds;          /* of char *: events */
	GHashTable *fewest, *most; /* char * service → unsigned */
	unsigned number;
	unsigned refusals;
};

static void free_host(gpointer host)
{
	fake_host_free(host);
}

World *world_new(void)
{
	World *self = g_new0(World, 1);
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	g_autoptr(GError) error = NULL;

	self->core = dn_fleet_core_new(cluster, &error);
	cr_assert(self->core != NULL, "%s", error == NULL ? "" : error->message);
	self->now = (DnNow){UINT64_C(1000000000000), UINT64_C(1767323045000000000)};
	self->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_host);
	self->kinds = g_ptr_array_new_with_free_func(g_free);
	self->fewest = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->most = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	return self;
}

World *world_new_of_three(void)
{
	World *self = world_new();

	world_add_host(self, "a", 10);
	world_add_host(self, "b", 10);
	world_add_host(self, "c", 10);
	return self;
}

void world_free(World *self)
{
	if (self == NULL)
		return;
	dn_fleet_core_free(self->core);
	g_hash_table_unref(self->hosts);
	g_ptr_array_unref(self->kinds);
	g_hash_table_unref(self->fewest);
	g_hash_table_unref(self->most);
	g_free(self);
}

DnFleetCore *world_core(World *self)
{
	return self->core;
}

unsigned world_next_number(World *self)
{
	return ++self->number;
}

DnNow world_now(const World *self)
{
	return self->now;
}

static FakeHost *host_of(const World *self, const char *name)
{
	FakeHost *host = g_hash_table_lookup(self->hosts, name);

	cr_assert(host != NULL, "no host %s", name);
	return host;
}

void world_carry_out(World *self, DnActs *acts)
{
	for (guint i = 0; i < acts->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);
		FakeHost *host = host_of(self, dispatch->host);

		if (host->connected &&
		    fake_host_take(host, dispatch->order, dispatch->tag) == DN_ERROR_CONFLICT)
			self->refusals++;
	}
	for (guint i = 0; i < acts->events->len; i++)
		g_ptr_array_add(self->kinds,
				g_strdup(((DnEvent *)g_ptr_array_index(acts->events, i))->kind));
}

void world_say(World *self, const char *host, const DnFact *fact)
{
	g_autoptr(DnActs) acts = dn_acts_new();

	dn_fleet_core_fact(self->core, host, fact, self->now, acts);
	world_carry_out(self, acts);
}

void world_add_host(World *self, const char *name, uint32_t slots)
{
	g_autofree char *address = g_strdup_printf("192.168.0.%u", world_next_number(self));
	FakeHost *host = fake_host_new(name, address, slots);
	uint8_t key[DN_PUBLIC_KEY_BYTES] = {(uint8_t)self->number};
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	g_hash_table_insert(self->hosts, host->name, host);
	cr_assert(dn_fleet_core_add_token(self->core, name, name, self->now, acts, &error) &&
			  dn_fleet_core_enrol(self->core, &(DnEnrolment){name, name, key},
					      self->now, acts, &error),
		  "%s", error == NULL ? "" : error->message);
	world_carry_out(self, acts);
	world_connect(self, name);
}

void world_connect(World *self, const char *name)
{
	FakeHost *host = host_of(self, name);
	g_autoptr(DnActs) acts = dn_acts_new();

	host->connected = true;
	dn_fleet_core_connected(self->core, name, host->address, self->now, acts);
	world_carry_out(self, acts);
	fake_host_report(host, self);
}

void world_disconnect(World *self, const char *name)
{
	FakeHost *host = host_of(self, name);
	g_autoptr(DnActs) acts = dn_acts_new();

	host->connected = false;
	g_queue_clear_full(&host->answers, g_free);
	dn_fleet_core_disconnected(self->core, name, self->now, acts);
	world_carry_out(self, acts);
}

void world_restart(World *self)
{
	g_autoptr(DnCluster) cluster = dn_cluster_new();
	DnFleetCore *next = dn_fleet_core_new(cluster, NULL);
	g_autoptr(GPtrArray) services = dn_fleet_core_services(self->core);
	g_autoptr(GPtrArray) incidents = dn_fleet_core_incidents(self->core, NULL, NULL);
	GHashTableIter iter;
	gpointer name, host;

	g_hash_table_iter_init(&iter, self->hosts);
	while (g_hash_table_iter_next(&iter, &name, &host)) {
		g_autoptr(DnHostRecord) record = dn_fleet_core_host_record(self->core, name);

		cr_assert(dn_fleet_core_restore_host(next, record, NULL));
		((FakeHost *)host)->connected = false;
		g_queue_clear_full(&((FakeHost *)host)->answers, g_free);
	}
	for (guint i = 0; i < services->len; i++) {
		const DnServiceView *view = g_ptr_array_index(services, i);
		g_autoptr(DnServiceRecord) record =
			dn_fleet_core_service_record(self->core, view->name);

		cr_assert(dn_fleet_core_restore_service(next, record, NULL));
	}
	for (guint i = 0; i < incidents->len; i++)
		dn_fleet_core_restore_incident(next, g_ptr_array_index(incidents, i));
	dn_fleet_core_free(self->core);
	self->core = next;
}

void world_break(World *self, const char *host, bool broken)
{
	host_of(self, host)->broken = broken;
}

void world_break_epoch(World *self, uint64_t epoch)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, self->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		FakeHost *host = value;

		host->broken_epoch = epoch;
		for (guint i = 0; i < host->nodes->len; i++) {
			DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

			if (node->epoch != epoch || node->state != DN_NODE_READY)
				continue;
			node->state = DN_NODE_STARTING;
			node->healthy = false;
			fake_host_say_node(host, self, node);
		}
	}
}

void world_fail(World *self, const char *host, bool fails)
{
	host_of(self, host)->fails = fails;
}

void world_refuse(World *self, const char *host)
{
	host_of(self, host)->refuses = true;
}

void world_set_ahead(World *self, const char *host)
{
	host_of(self, host)->ahead = true;
}

void world_mute(World *self, const char *host, bool mute)
{
	host_of(self, host)->mute = mute;
}

/* ---- manifests ---- */

DnDeclaration *world_declare(const char *service, uint64_t epoch, uint32_t replicas,
			     uint32_t standby)
{
	return world_declare_as(service, epoch, epoch, replicas, standby);
}

DnDeclaration *world_declare_as(const char *service, uint64_t epoch, uint64_t like,
				uint32_t replicas, uint32_t standby)
{
	g_autoptr(DnManifest) manifest = dn_manifest_new();
	g_autofree char *text =
		like == epoch ? g_strdup_printf("%s-%" G_GUINT64_FORMAT, service, epoch)
			      : g_strdup_printf("%s-%" G_GUINT64_FORMAT "~%" G_GUINT64_FORMAT,
						service, epoch, like);
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	DnListen listen = {.port = 8080, .expose = 80};

	/* The bytes are their own digest, so that a fake host knows which one it was given. */
	manifest->digest = g_strdup(text);
	manifest->service = g_strdup(service);
	manifest->epoch = epoch;
	manifest->restart = like;
	manifest->replicas = replicas;
	manifest->standby = standby;
	manifest->image_ref = g_strdup("apps/hello");
	manifest->image_commit = g_strnfill(64, 'a');
	g_array_append_val(manifest->listen, listen);
	return dn_declaration_new(manifest, bytes, signatures);
}

int world_apply(World *self, DnDeclaration *taken)
{
	g_autoptr(DnDeclaration) declaration = taken;
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;
	bool changed = false;

	if (!dn_fleet_core_apply(self->core, declaration, false, self->now, acts, &changed, NULL,
				 &error))
		return error->code;
	world_carry_out(self, acts);
	return 0;
}

void world_deploy(World *self, uint64_t epoch, uint32_t replicas, uint32_t standby)
{
	int code = world_apply(self, world_declare("web", epoch, replicas, standby));

	cr_assert(code == 0, "epoch %u was refused: %d", (unsigned)epoch, code);
	world_settle(self);
}

static void answer_all(World *self, FakeHost *host)
{
	while (!host->mute && !g_queue_is_empty(&host->answers)) {
		g_autofree Due *due = g_queue_pop_head(&host->answers);
		g_autoptr(DnAnswerTo) answer = dn_answer_to_new(0);
		g_autoptr(DnActs) acts = dn_acts_new();

		answer->done = due->code == 0;
		answer->code = MAX(due->code, 0); /* -1: an error that is none of ours */
		answer->looked = host->looked;
		answer->found = host->found;
		dn_fleet_core_answered(self->core, host->name, due->tag, answer, self->now, acts);
		world_carry_out(self, acts);
	}
}

static void note_counts(World *self)
{
	g_autoptr(GPtrArray) views = dn_fleet_core_services(self->core);

	for (guint i = 0; i < views->len; i++) {
		const char *service = ((DnServiceView *)g_ptr_array_index(views, i))->name;
		unsigned ready = world_ready(self, service);
		unsigned asked = 0;
		GHashTableIter iter;
		gpointer value;

		g_hash_table_iter_init(&iter, self->hosts);
		while (g_hash_table_iter_next(&iter, NULL, &value)) {
			const DnAssign *assign =
				g_hash_table_lookup(((FakeHost *)value)->assigns, service);

			for (guint j = 0; assign != NULL && j < assign->parts->len; j++)
				asked += ((DnPart *)g_ptr_array_index(assign->parts, j))->running;
		}
		if (!g_hash_table_contains(self->fewest, service) ||
		    GPOINTER_TO_UINT(g_hash_table_lookup(self->fewest, service)) > ready)
			g_hash_table_insert(self->fewest, g_strdup(service),
					    GUINT_TO_POINTER(ready));
		if (GPOINTER_TO_UINT(g_hash_table_lookup(self->most, service)) < asked)
			g_hash_table_insert(self->most, g_strdup(service), GUINT_TO_POINTER(asked));
	}
}

void world_step(World *self, unsigned ms)
{
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(self->hosts),
					     (GCompareFunc)(void (*)(void))strcmp);
	g_autoptr(DnFact) beat = dn_fact_new(DN_FACT_HEARTBEAT);
	g_autoptr(DnActs) acts = dn_acts_new();

	for (GList *at = names; at != NULL; at = at->next) {
		FakeHost *host = host_of(self, at->data);

		if (!host->connected)
			continue;
		world_say(self, host->name, beat);
		fake_host_get_ready(host, self);
		note_counts(self);
		fake_host_obey(host, self);
		note_counts(self);
		answer_all(self, host);
	}
	self->now.monotonic_ns += ms * UINT64_C(1000000);
	self->now.realtime_ns += ms * UINT64_C(1000000);
	dn_fleet_core_tick(self->core, self->now, acts);
	world_carry_out(self, acts);
	note_counts(self);
}

void world_settle(World *self)
{
	for (unsigned i = 0; i < STEPS_LIMIT; i++) {
		GHashTableIter iter;
		gpointer value;
		bool changed = false;

		g_hash_table_iter_init(&iter, self->hosts);
		while (g_hash_table_iter_next(&iter, NULL, &value))
			((FakeHost *)value)->changed = false;
		world_step(self, 10);
		g_hash_table_iter_init(&iter, self->hosts);
		while (g_hash_table_iter_next(&iter, NULL, &value))
			changed |= ((FakeHost *)value)->changed;
		if (!changed)
			return;
	}
	cr_assert_fail("the fleet never came to rest");
}

void world_find(World *self, const char *name, uint32_t looked, uint32_t found)
{
	FakeHost *host = host_of(self, name);

	host->looked = looked;
	host->found = found;
}

/* ---- looking ---- */

char *world_cut(World *self, const char *name, const char *service, char **incident_id)
{
	FakeHost *host = host_of(self, name);

	for (guint i = 0; i < host->nodes->len; i++) {
		DnNodeRecord *node = g_ptr_array_index(host->nodes, i);
		g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);

		if (node->state != DN_NODE_READY || !g_str_equal(node->service, service))
			continue;
		node->state = DN_NODE_QUARANTINED;
		*incident_id = g_strdup_printf("%016x", world_next_number(self));
		node->incident = g_strdup(*incident_id);
		fake_host_say_node(host, self, node);
		fact->incident = dn_incident_new();
		fact->incident->id = g_strdup(*incident_id);
		fact->incident->service = g_strdup(service);
		fact->incident->node = g_strdup(node->id);
		fact->incident->host = g_strdup(name);
		fact->incident->class = g_strdup("exec");
		world_say(self, name, fact);
		return g_strdup(node->id);
	}
	cr_assert_fail("no ready node of %s on %s", service, name);
	return NULL;
}

unsigned world_ready_on(const World *self, const char *name, const char *service, uint64_t epoch)
{
	const FakeHost *host = host_of(self, name);
	unsigned ready = 0;

	for (guint i = 0; i < host->nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (node->state == DN_NODE_READY && g_str_equal(node->service, service) &&
		    (epoch == 0 || node->epoch == epoch))
			ready++;
	}
	return ready;
}

unsigned world_ready(const World *self, const char *service)
{
	GHashTableIter iter;
	gpointer key;
	unsigned ready = 0;

	g_hash_table_iter_init(&iter, self->hosts);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		ready += world_ready_on(self, key, service, 0);
	return ready;
}

unsigned world_fewest_ready(World *self, const char *service)
{
	unsigned fewest = GPOINTER_TO_UINT(g_hash_table_lookup(self->fewest, service));

	g_hash_table_remove(self->fewest, service);
	return fewest;
}

unsigned world_most_asked(const World *self, const char *service)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(self->most, service));
}

unsigned world_orders(const World *self, const char *host, DnOrderKind kind)
{
	return host_of(self, host)->orders[kind];
}

const DnAssign *world_assign(const World *self, const char *host, const char *service)
{
	return g_hash_table_lookup(host_of(self, host)->assigns, service);
}

unsigned world_endpoints(const World *self, const char *host, const char *service)
{
	const DnAssign *assign = world_assign(self, host, service);

	return assign == NULL ? 0 : assign->endpoints->len;
}

unsigned world_refusals(const World *self)
{
	return self->refusals;
}

unsigned world_count(const World *self, const char *kind)
{
	unsigned count = 0;

	for (guint i = 0; i < self->kinds->len; i++)
		count += g_str_equal(g_ptr_array_index(self->kinds, i), kind);
	return count;
}

bool world_heard(const World *self, const char *kind)
{
	return world_count(self, kind) > 0;
}
