/* SPDX-License-Identifier: Apache-2.0 */
#include "model/fleet.h"

static const char *const kind_names[] = {
	[DN_ORDER_MANIFEST] = "manifest",
	[DN_ORDER_ASSIGN] = "assign",
	[DN_ORDER_FORGET] = "forget",
	[DN_ORDER_ROUTES] = "routes",
	[DN_ORDER_QUARANTINE] = "quarantine",
	[DN_ORDER_DRILL] = "drill",
	[DN_ORDER_DESTROY] = "destroy",
	[DN_ORDER_STAMP] = "stamp",
	[DN_ORDER_LOGS] = "logs",
	[DN_ORDER_AUDIT] = "audit",
	[DN_ORDER_SWEEP] = "sweep",
	[DN_ORDER_DROPPED] = "dropped",
};
_Static_assert(G_N_ELEMENTS(kind_names) == DN_ORDER_N, "every kind needs a name");

const char *dn_order_kind_name(DnOrderKind kind)
{
	g_assert(kind < DN_ORDER_N);
	return kind_names[kind];
}

DnPart *dn_part_new(const char *digest, uint64_t epoch, uint32_t running, uint32_t standby)
{
	DnPart *self = g_new0(DnPart, 1);

	self->digest = g_strdup(digest);
	self->epoch = epoch;
	self->running = running;
	self->standby = standby;
	return self;
}

void dn_part_free(DnPart *self)
{
	if (self == NULL)
		return;
	g_free(self->digest);
	g_free(self);
}

DnRemoteEndpoint *dn_remote_endpoint_new(DnExposed expose, const char *address, uint16_t port)
{
	DnRemoteEndpoint *self = g_new0(DnRemoteEndpoint, 1);

	self->expose = expose;
	self->address = g_strdup(address);
	self->port = port;
	return self;
}

void dn_remote_endpoint_free(DnRemoteEndpoint *self)
{
	if (self == NULL)
		return;
	g_free(self->address);
	g_free(self);
}

static void free_part(gpointer part)
{
	dn_part_free(part);
}

static void free_endpoint(gpointer endpoint)
{
	dn_remote_endpoint_free(endpoint);
}

static void free_bytes(gpointer bytes)
{
	g_bytes_unref(bytes);
}

static void free_route(gpointer route)
{
	dn_route_free(route);
}

DnAssign *dn_assign_new(const char *service, const char *vip)
{
	DnAssign *self = g_new0(DnAssign, 1);

	self->service = g_strdup(service);
	self->vip = g_strdup(vip);
	self->exposed = g_array_new(FALSE, FALSE, sizeof(DnExposed));
	self->parts = g_ptr_array_new_with_free_func(free_part);
	self->endpoints = g_ptr_array_new_with_free_func(free_endpoint);
	return self;
}

DnAssign *dn_assign_copy(const DnAssign *self)
{
	DnAssign *copy = dn_assign_new(self->service, self->vip);

	g_array_append_vals(copy->exposed, self->exposed->data, self->exposed->len);
	for (guint i = 0; i < self->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(self->parts, i);

		g_ptr_array_add(copy->parts, dn_part_new(part->digest, part->epoch, part->running,
							 part->standby));
	}
	for (guint i = 0; i < self->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(self->endpoints, i);

		g_ptr_array_add(copy->endpoints,
				dn_remote_endpoint_new(endpoint->expose, endpoint->address,
						       endpoint->port));
	}
	copy->respawn_grant = self->respawn_grant;
	return copy;
}

bool dn_exposed_equal(const DnExposed *a, const DnExposed *b)
{
	return a->port == b->port && a->protocol == b->protocol;
}

static bool exposed_equal(const DnAssign *a, const DnAssign *b)
{
	if (a->exposed->len != b->exposed->len)
		return false;
	for (guint i = 0; i < a->exposed->len; i++)
		if (!dn_exposed_equal(&g_array_index(a->exposed, DnExposed, i),
				      &g_array_index(b->exposed, DnExposed, i)))
			return false;
	return true;
}

static bool parts_equal(const DnAssign *a, const DnAssign *b)
{
	if (a->parts->len != b->parts->len)
		return false;
	for (guint i = 0; i < a->parts->len; i++) {
		const DnPart *x = g_ptr_array_index(a->parts, i);
		const DnPart *y = g_ptr_array_index(b->parts, i);

		if (!g_str_equal(x->digest, y->digest) || x->epoch != y->epoch ||
		    x->running != y->running || x->standby != y->standby)
			return false;
	}
	return true;
}

static bool endpoints_equal(const DnAssign *a, const DnAssign *b)
{
	if (a->endpoints->len != b->endpoints->len)
		return false;
	for (guint i = 0; i < a->endpoints->len; i++) {
		const DnRemoteEndpoint *x = g_ptr_array_index(a->endpoints, i);
		const DnRemoteEndpoint *y = g_ptr_array_index(b->endpoints, i);

		if (!dn_exposed_equal(&x->expose, &y->expose) || x->port != y->port ||
		    !g_str_equal(x->address, y->address))
			return false;
	}
	return true;
}

bool dn_assign_only_balances(const DnAssign *before, const DnAssign *now)
{
	return g_str_equal(before->service, now->service) && g_str_equal(before->vip, now->vip) &&
	       exposed_equal(before, now) && parts_equal(before, now);
}

bool dn_assign_equal(const DnAssign *a, const DnAssign *b)
{
	return g_str_equal(a->service, b->service) && g_str_equal(a->vip, b->vip) &&
	       a->respawn_grant == b->respawn_grant && exposed_equal(a, b) && parts_equal(a, b) &&
	       endpoints_equal(a, b);
}

void dn_assign_free(DnAssign *self)
{
	if (self == NULL)
		return;
	g_free(self->service);
	g_free(self->vip);
	g_array_unref(self->exposed);
	g_ptr_array_unref(self->parts);
	g_ptr_array_unref(self->endpoints);
	g_free(self);
}

DnRoute *dn_route_new(const char *cidr, const char *via)
{
	DnRoute *self = g_new0(DnRoute, 1);

	self->cidr = g_strdup(cidr);
	self->via = g_strdup(via);
	return self;
}

void dn_route_free(DnRoute *self)
{
	if (self == NULL)
		return;
	g_free(self->cidr);
	g_free(self->via);
	g_free(self);
}

DnOrder *dn_order_new(DnOrderKind kind)
{
	DnOrder *self = g_new0(DnOrder, 1);

	self->kind = kind;
	self->signatures = g_ptr_array_new_with_free_func(free_bytes);
	self->routes = g_ptr_array_new_with_free_func(free_route);
	return self;
}

void dn_order_free(DnOrder *self)
{
	if (self == NULL)
		return;
	g_free(self->cluster);
	g_free(self->session);
	g_clear_pointer(&self->manifest, g_bytes_unref);
	g_ptr_array_unref(self->signatures);
	dn_assign_free(self->assign);
	g_ptr_array_unref(self->routes);
	g_free(self->service);
	g_free(self->node);
	g_free(self->reason);
	g_free(self->class);
	g_free(self->incident);
	g_clear_pointer(&self->statement, g_bytes_unref);
	g_free(self->commit);
	g_free(self->path);
	g_free(self->comm);
	g_free(self);
}

DnAnswerTo *dn_answer_to_new(uint64_t sequence)
{
	DnAnswerTo *self = g_new0(DnAnswerTo, 1);

	self->sequence = sequence;
	return self;
}

void dn_answer_to_free(DnAnswerTo *self)
{
	if (self == NULL)
		return;
	g_free(self->error);
	g_free(self->text);
	g_free(self);
}
