/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_LIMIT = 200 };

/* The answer to an order, not given yet. */
typedef struct {
	uint64_t tag;
	int code; /* 0: done */
} Due;

typedef struct {
	char *name;
	char *address;
	uint32_t slots;
	bool connected, broken, refuses, mute, changed;
	unsigned made;
	GPtrArray *nodes;    /* of DnNodeRecord */
	GHashTable *assigns; /* char * service → DnAssign * */
	GHashTable *known;   /* set of digests it was given */
	GQueue answers;      /* of Due */
	unsigned orders[DN_ORDER_N];
	GHashTable *epochs;
} FakeHost;

struct World {
	DnFleetCore *core;
	DnNow now;
	GHashTable *hosts;         /* char * → FakeHost * */
	GPtrArray *kinds;          /* of char *: events */
	GHashTable *fewest, *most; /* char * service → unsigned */
	unsigned number;
	unsigned refusals;
};

static void free_node(gpointer node)
{
	dn_node_record_free(node);
}

static void free_assign(gpointer assign)
{
	dn_assign_free(assign);
}

static void free_host(gpointer data)
{
	FakeHost *host = data;

	g_free(host->name);
	g_free(host->address);
	g_ptr_array_unref(host->nodes);
	g_hash_table_unref(host->assigns);
	g_hash_table_unref(host->known);
	g_hash_table_unref(host->epochs);
	g_queue_clear_full(&host->answers, g_free);
	g_free(host);
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

/* ---- hosts ---- */

static const DnPart *part_of(const DnAssign *assign, const char *digest)
{
	for (guint i = 0; assign != NULL && i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		if (g_str_equal(part->digest, digest))
			return part;
	}
	return NULL;
}

/* Like an agent: no new nodes of an epoch that is not the last one accepted. */
static bool may_assign(const FakeHost *host, const DnAssign *next)
{
	const DnAssign *before = g_hash_table_lookup(host->assigns, next->service);
	uint64_t last = GPOINTER_TO_UINT(g_hash_table_lookup(host->epochs, next->service));

	for (guint i = 0; i < next->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(next->parts, i);
		const DnPart *had = part_of(before, part->digest);
		uint32_t limit = had == NULL ? 0 : had->running + had->standby;

		cr_assert(g_hash_table_contains(host->known, part->digest),
			  "%s was assigned %s before it had the manifest", host->name,
			  part->digest);
		if (part->epoch < last && part->running + part->standby > limit)
			return false;
	}
	return true;
}

static int take_manifest(FakeHost *host, GBytes *bytes)
{
	g_autofree char *digest = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	g_autofree char *service = g_strdup(digest);
	char *dash = strchr(service, '-');
	unsigned epoch = (unsigned)strtoul(dash + 1, NULL, 10);

	if (host->refuses)
		return DN_ERROR_UNTRUSTED;
	*dash = '\0';
	cr_assert(epoch >= GPOINTER_TO_UINT(g_hash_table_lookup(host->epochs, service)),
		  "%s was sent an epoch that it must refuse", host->name);
	g_hash_table_insert(host->epochs, g_strdup(service), GUINT_TO_POINTER(epoch));
	g_hash_table_add(host->known, g_steal_pointer(&digest));
	return 0;
}

static void take_order(World *self, FakeHost *host, const DnOrder *order, uint64_t tag)
{
	Due *due = g_new0(Due, 1);

	host->orders[order->kind]++;
	due->tag = tag;
	if (order->kind == DN_ORDER_MANIFEST)
		due->code = take_manifest(host, order->manifest);
	if (order->kind == DN_ORDER_ASSIGN && !may_assign(host, order->assign)) {
		due->code = DN_ERROR_CONFLICT;
		self->refusals++;
	} else if (order->kind == DN_ORDER_ASSIGN)
		g_hash_table_insert(host->assigns, g_strdup(order->assign->service),
				    dn_assign_copy(order->assign));
	if (order->kind == DN_ORDER_FORGET)
		g_hash_table_remove(host->assigns, order->service);
	g_queue_push_tail(&host->answers, due);
	host->changed = true;
}

void world_carry_out(World *self, DnActs *acts)
{
	for (guint i = 0; i < acts->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(acts->dispatches, i);
		FakeHost *host = host_of(self, dispatch->host);

		if (host->connected)
			take_order(self, host, dispatch->order, dispatch->tag);
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

static void say_node(World *self, FakeHost *host, const DnNodeRecord *node)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_NODE);

	fact->node = dn_node_record_copy(node);
	host->changed = true;
	world_say(self, host->name, fact);
}

static void say_report(World *self, FakeHost *host)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_REPORT);
	GHashTableIter iter;
	gpointer key, value;

	fact->report = dn_host_report_new();
	fact->report->host = g_strdup(host->name);
	fact->report->version = g_strdup("0.1.0");
	fact->report->kernel = g_strdup("6.1");
	fact->report->slots = host->slots;
	g_hash_table_iter_init(&iter, host->epochs);
	while (g_hash_table_iter_next(&iter, &key, &value)) {
		uint64_t epoch = GPOINTER_TO_UINT(value);

		g_hash_table_insert(fact->report->epochs, g_strdup(key),
				    g_memdup2(&epoch, sizeof(epoch)));
	}
	for (guint i = 0; i < host->nodes->len; i++)
		g_ptr_array_add(fact->report->nodes,
				dn_node_record_copy(g_ptr_array_index(host->nodes, i)));
	world_say(self, host->name, fact);
}

void world_add_host(World *self, const char *name, uint32_t slots)
{
	FakeHost *host = g_new0(FakeHost, 1);
	uint8_t key[DN_PUBLIC_KEY_BYTES] = {0};
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(GError) error = NULL;

	host->name = g_strdup(name);
	host->address = g_strdup_printf("192.168.0.%u", ++self->number);
	host->slots = slots;
	host->nodes = g_ptr_array_new_with_free_func(free_node);
	host->assigns = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_assign);
	host->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	host->epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_queue_init(&host->answers);
	g_hash_table_insert(self->hosts, host->name, host);
	key[0] = (uint8_t)self->number;
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
	say_report(self, host);
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

void world_break(World *self, const char *host, bool broken)
{
	host_of(self, host)->broken = broken;
}

void world_refuse(World *self, const char *host)
{
	host_of(self, host)->refuses = true;
}

void world_mute(World *self, const char *host, bool mute)
{
	host_of(self, host)->mute = mute;
}

/* ---- manifests ---- */

DnDeclaration *world_declare(const char *service, uint64_t epoch, uint32_t replicas,
			     uint32_t standby)
{
	g_autoptr(DnManifest) manifest = dn_manifest_new();
	g_autofree char *text = g_strdup_printf("%s-%" G_GUINT64_FORMAT, service, epoch);
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	g_autoptr(GPtrArray) signatures =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
	DnListen listen = {.port = 8080, .expose = 80};

	/* The bytes are their own digest, so that a fake host knows which one it was given. */
	manifest->digest = g_strdup(text);
	manifest->service = g_strdup(service);
	manifest->epoch = epoch;
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

/* ---- what agents do ---- */

static bool is_of(const DnNodeRecord *node, const char *digest)
{
	return g_str_equal(node->digest, digest);
}

static unsigned count(const FakeHost *host, const char *digest, bool standby)
{
	unsigned found = 0;

	for (guint i = 0; i < host->nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (is_of(node, digest) &&
		    (standby ? node->state == DN_NODE_STANDBY
			     : node->state == DN_NODE_READY || node->state == DN_NODE_STARTING))
			found++;
	}
	return found;
}

static void make_node(World *self, FakeHost *host, const char *service, const DnPart *part,
		      bool standby)
{
	g_autofree char *cidr = g_strdup(dn_fleet_core_host_cidr(self->core, host->name));
	DnNodeRecord *node = dn_node_record_new();

	*strrchr(cidr, '.') = '\0';
	node->id = g_strdup_printf("%s-%08x", service, ++self->number);
	node->service = g_strdup(service);
	node->host = g_strdup(host->name);
	node->address = g_strdup_printf("%s.%u", cidr, ++host->made % 250 + 2);
	node->state = standby ? DN_NODE_STANDBY : DN_NODE_STARTING;
	node->role = standby ? DN_ROLE_STANDBY : DN_ROLE_ACTIVE;
	node->image_ref = g_strdup("apps/hello");
	node->digest = g_strdup(part->digest);
	node->epoch = part->epoch;
	g_ptr_array_add(host->nodes, node);
	say_node(self, host, node);
}

static void end_node(World *self, FakeHost *host, guint index)
{
	DnNodeRecord *node = g_ptr_array_index(host->nodes, index);

	if (node->state != DN_NODE_DRAINING && node->state != DN_NODE_STANDBY &&
	    node->state != DN_NODE_STARTING) {
		node->state = DN_NODE_DRAINING;
		say_node(self, host, node);
		return;
	}
	g_autoptr(DnFact) gone = dn_fact_new(DN_FACT_NODE_GONE);
	gone->id = g_strdup(node->id);
	g_ptr_array_remove_index(host->nodes, index);
	host->changed = true;
	world_say(self, host->name, gone);
}

/* Drop one node of @digest in @state, or of any digest that no part names. */
static bool drop_one(World *self, FakeHost *host, const char *digest, DnNodeState state)
{
	for (guint i = 0; i < host->nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (is_of(node, digest) && node->state == state) {
			end_node(self, host, i);
			return true;
		}
	}
	return false;
}

static void obey_part(World *self, FakeHost *host, const char *service, const DnPart *part)
{
	while (count(host, part->digest, false) < part->running)
		make_node(self, host, service, part, false);
	while (count(host, part->digest, false) > part->running &&
	       (drop_one(self, host, part->digest, DN_NODE_STARTING) ||
		drop_one(self, host, part->digest, DN_NODE_READY)))
		continue;
	while (count(host, part->digest, true) < part->standby)
		make_node(self, host, service, part, true);
	while (count(host, part->digest, true) > part->standby)
		drop_one(self, host, part->digest, DN_NODE_STANDBY);
}

/* What hosts say on the way may bring new orders: obey the one that was there at the start. */
static void obey(World *self, FakeHost *host, const char *service)
{
	g_autoptr(DnAssign) assign = NULL;

	if (!g_hash_table_contains(host->assigns, service))
		return;
	assign = dn_assign_copy(g_hash_table_lookup(host->assigns, service));
	for (guint i = host->nodes->len; i-- > 0;) {
		const DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (!g_str_equal(node->service, assign->service) ||
		    node->state == DN_NODE_QUARANTINED)
			continue;
		if (node->state == DN_NODE_DRAINING || part_of(assign, node->digest) == NULL)
			end_node(self, host, i);
	}
	for (guint i = 0; i < assign->parts->len; i++)
		obey_part(self, host, assign->service, g_ptr_array_index(assign->parts, i));
}

static void get_ready(World *self, FakeHost *host)
{
	for (guint i = 0; i < host->nodes->len && !host->broken; i++) {
		DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (node->state != DN_NODE_STARTING)
			continue;
		node->state = DN_NODE_READY;
		node->healthy = true;
		say_node(self, host, node);
	}
}

static void answer_all(World *self, FakeHost *host)
{
	while (!host->mute && !g_queue_is_empty(&host->answers)) {
		g_autofree Due *due = g_queue_pop_head(&host->answers);
		g_autoptr(DnAnswerTo) answer = dn_answer_to_new(0);
		g_autoptr(DnActs) acts = dn_acts_new();

		answer->done = due->code == 0;
		answer->code = due->code;
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

static GPtrArray *services_of(const FakeHost *host)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	GHashTableIter iter;
	gpointer key;

	g_hash_table_iter_init(&iter, host->assigns);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		g_ptr_array_add(names, g_strdup(key));
	return names;
}

void world_step(World *self, unsigned ms)
{
	g_autoptr(GList) names = g_list_sort(g_hash_table_get_keys(self->hosts),
					     (GCompareFunc)(void (*)(void))strcmp);
	g_autoptr(DnFact) beat = dn_fact_new(DN_FACT_HEARTBEAT);
	g_autoptr(DnActs) acts = dn_acts_new();

	for (GList *at = names; at != NULL; at = at->next) {
		FakeHost *host = host_of(self, at->data);
		g_autoptr(GPtrArray) services = NULL;

		if (!host->connected)
			continue;
		world_say(self, host->name, beat);
		get_ready(self, host);
		note_counts(self);
		services = services_of(host);
		for (guint i = 0; i < services->len; i++)
			obey(self, host, g_ptr_array_index(services, i));
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
		*incident_id = g_strdup_printf("%016x", ++self->number);
		node->incident = g_strdup(*incident_id);
		say_node(self, host, node);
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

bool world_heard(const World *self, const char *kind)
{
	for (guint i = 0; i < self->kinds->len; i++)
		if (g_str_equal(g_ptr_array_index(self->kinds, i), kind))
			return true;
	return false;
}
