/* SPDX-License-Identifier: Apache-2.0 */
#include "fake-host.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void free_node(gpointer node)
{
	dn_node_record_free(node);
}

static void free_assign(gpointer assign)
{
	dn_assign_free(assign);
}

FakeHost *fake_host_new(const char *name, const char *address, uint32_t slots)
{
	FakeHost *self = g_new0(FakeHost, 1);

	self->name = g_strdup(name);
	self->address = g_strdup(address);
	self->slots = slots;
	self->nodes = g_ptr_array_new_with_free_func(free_node);
	self->assigns = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_assign);
	self->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	self->epochs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_queue_init(&self->answers);
	return self;
}

void fake_host_free(FakeHost *host)
{
	g_free(host->name);
	g_free(host->address);
	g_ptr_array_unref(host->nodes);
	g_hash_table_unref(host->assigns);
	g_hash_table_unref(host->known);
	g_hash_table_unref(host->epochs);
	g_queue_clear_full(&host->answers, g_free);
	g_free(host);
}

static const DnPart *part_of(const DnAssign *assign, const char *digest)
{
	for (guint i = 0; assign != NULL && i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		if (g_str_equal(part->digest, digest))
			return part;
	}
	return NULL;
}

/* Like an agent: no new nodes of an epoch that is not the last one accepted, or has expired. */
static int judge(const FakeHost *host, const DnAssign *next)
{
	const DnAssign *before = g_hash_table_lookup(host->assigns, next->service);
	uint64_t last = GPOINTER_TO_UINT(g_hash_table_lookup(host->epochs, next->service));

	cr_assert(g_hash_table_contains(host->epochs, next->service),
		  "%s was given a share of %s, of which it has accepted no manifest", host->name,
		  next->service);
	for (guint i = 0; i < next->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(next->parts, i);
		const DnPart *had = part_of(before, part->digest);
		uint32_t limit = had == NULL ? 0 : had->running + had->standby;

		cr_assert(g_hash_table_contains(host->known, part->digest),
			  "%s was assigned %s before it had the manifest", host->name,
			  part->digest);
		if (part->running + part->standby > limit && (part->epoch < last || host->ahead))
			return part->epoch < last ? DN_ERROR_CONFLICT : DN_ERROR_UNTRUSTED;
	}
	return 0;
}

static int take_manifest(FakeHost *host, GBytes *bytes)
{
	g_autofree char *digest = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	g_autofree char *service = g_strdup(digest);
	char *dash = strchr(service, '-');
	unsigned epoch = (unsigned)strtoul(dash + 1, NULL, 10);

	if (host->refuses)
		return DN_ERROR_UNTRUSTED;
	if (host->fails)
		return -1;
	*dash = '\0';
	cr_assert(epoch >= GPOINTER_TO_UINT(g_hash_table_lookup(host->epochs, service)),
		  "%s was sent an epoch that it must refuse", host->name);
	g_hash_table_insert(host->epochs, g_strdup(service), GUINT_TO_POINTER(epoch));
	g_hash_table_add(host->known, g_steal_pointer(&digest));
	return 0;
}

int fake_host_take(FakeHost *host, const DnOrder *order, uint64_t tag)
{
	Due *due = g_new0(Due, 1);

	host->orders[order->kind]++;
	due->tag = tag;
	if (order->kind == DN_ORDER_MANIFEST)
		due->code = take_manifest(host, order->manifest);
	if (order->kind == DN_ORDER_ASSIGN)
		due->code = judge(host, order->assign);
	if (order->kind == DN_ORDER_ASSIGN && due->code == 0)
		g_hash_table_insert(host->assigns, g_strdup(order->assign->service),
				    dn_assign_copy(order->assign));
	if (order->kind == DN_ORDER_FORGET)
		g_hash_table_remove(host->assigns, order->service);
	g_queue_push_tail(&host->answers, due);
	host->changed = true;
	return due->code;
}

void fake_host_say_node(FakeHost *host, World *world, const DnNodeRecord *node)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_NODE);

	fact->node = dn_node_record_copy(node);
	host->changed = true;
	world_say(world, host->name, fact);
}

void fake_host_report(FakeHost *host, World *world)
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
	world_say(world, host->name, fact);
}

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

/* False: every slot is taken, by a quarantined node perhaps. */
static bool make_node(World *world, FakeHost *host, const char *service, const DnPart *part,
		      bool standby)
{
	g_autofree char *cidr = g_strdup(dn_fleet_core_host_cidr(world_core(world), host->name));

	if (host->nodes->len >= host->slots)
		return false;
	DnNodeRecord *node = dn_node_record_new();
	*strrchr(cidr, '.') = '\0';
	node->id = g_strdup_printf("%s-%08x", service, world_next_number(world));
	node->service = g_strdup(service);
	node->host = g_strdup(host->name);
	node->address = g_strdup_printf("%s.%u", cidr, ++host->made % 250 + 2);
	node->state = standby ? DN_NODE_STANDBY : DN_NODE_STARTING;
	node->role = standby ? DN_ROLE_STANDBY : DN_ROLE_ACTIVE;
	node->image_ref = g_strdup("apps/hello");
	node->image_commit = g_strnfill(64, 'a');
	node->digest = g_strdup(part->digest);
	node->epoch = part->epoch;
	g_ptr_array_add(host->nodes, node);
	fake_host_say_node(host, world, node);
	return true;
}

static void end_node(World *world, FakeHost *host, guint index)
{
	DnNodeRecord *node = g_ptr_array_index(host->nodes, index);

	if (node->state != DN_NODE_DRAINING && node->state != DN_NODE_STANDBY &&
	    node->state != DN_NODE_STARTING) {
		node->state = DN_NODE_DRAINING;
		fake_host_say_node(host, world, node);
		return;
	}
	g_autoptr(DnFact) gone = dn_fact_new(DN_FACT_NODE_GONE);
	gone->id = g_strdup(node->id);
	g_ptr_array_remove_index(host->nodes, index);
	host->changed = true;
	world_say(world, host->name, gone);
}

/* Drop one node of @digest in @state, or of any digest that no part names. */
static bool drop_one(World *world, FakeHost *host, const char *digest, DnNodeState state)
{
	for (guint i = 0; i < host->nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (is_of(node, digest) && node->state == state) {
			end_node(world, host, i);
			return true;
		}
	}
	return false;
}

static void obey_part(World *world, FakeHost *host, const char *service, const DnPart *part)
{
	while (count(host, part->digest, false) < part->running &&
	       make_node(world, host, service, part, false))
		continue;
	while (count(host, part->digest, false) > part->running &&
	       (drop_one(world, host, part->digest, DN_NODE_STARTING) ||
		drop_one(world, host, part->digest, DN_NODE_READY)))
		continue;
	while (count(host, part->digest, true) < part->standby &&
	       make_node(world, host, service, part, true))
		continue;
	while (count(host, part->digest, true) > part->standby)
		drop_one(world, host, part->digest, DN_NODE_STANDBY);
}

/* What world_declare_as() wrote. */
static const char *likeness(const char *digest)
{
	const char *mark = strchr(digest, '~');

	return mark != NULL ? mark + 1 : strchr(digest, '-') + 1;
}

/* As an agent does: a node whose manifest is not named any more goes on under one like it. */
static void take_over_node(World *world, FakeHost *host, DnNodeRecord *node, const DnAssign *assign)
{
	if (part_of(assign, node->digest) != NULL || node->state == DN_NODE_QUARANTINED ||
	    node->state == DN_NODE_DRAINING)
		return;
	for (guint i = 0; i < assign->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(assign->parts, i);

		if (!g_str_equal(likeness(part->digest), likeness(node->digest)))
			continue;
		g_free(node->digest);
		node->digest = g_strdup(part->digest);
		node->epoch = part->epoch;
		fake_host_say_node(host, world, node);
		return;
	}
}

/* What hosts say on the way may bring new orders: obey the one that was there at the start. */
static void obey(World *world, FakeHost *host, const char *service)
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
		take_over_node(world, host, g_ptr_array_index(host->nodes, i), assign);
		if (node->state == DN_NODE_DRAINING || part_of(assign, node->digest) == NULL)
			end_node(world, host, i);
	}
	for (guint i = 0; i < assign->parts->len; i++)
		obey_part(world, host, assign->service, g_ptr_array_index(assign->parts, i));
}

void fake_host_get_ready(FakeHost *host, World *world)
{
	for (guint i = 0; i < host->nodes->len && !host->broken; i++) {
		DnNodeRecord *node = g_ptr_array_index(host->nodes, i);

		if (node->state != DN_NODE_STARTING || node->epoch == host->broken_epoch)
			continue;
		node->state = DN_NODE_READY;
		node->healthy = true;
		fake_host_say_node(host, world, node);
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

void fake_host_obey(FakeHost *host, World *world)
{
	g_autoptr(GPtrArray) services = services_of(host);

	for (guint i = 0; i < services->len; i++)
		obey(world, host, g_ptr_array_index(services, i));
}
