/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall/firewall.h"

static void endpoint_clear(void *data)
{
	DnEndpoint *endpoint = data;

	g_free(endpoint->address);
}

static void allowed_clear(void *data)
{
	DnAllowed *allowed = data;

	g_free(allowed->cidr);
}

static GArray *array_new(size_t size, GDestroyNotify clear)
{
	GArray *array = g_array_new(FALSE, TRUE, (guint)size);

	g_array_set_clear_func(array, clear);
	return array;
}

static void balanced_free(void *data)
{
	DnBalanced *balanced = data;

	g_free(balanced->vip);
	g_array_unref(balanced->local);
	g_array_unref(balanced->remote);
	g_free(balanced);
}

static void guarded_free(void *data)
{
	DnGuarded *guarded = data;

	g_free(guarded->address);
	g_free(guarded->ifname);
	g_array_unref(guarded->egress);
	g_free(guarded);
}

DnFirewallState *dn_firewall_state_new(void)
{
	DnFirewallState *self = g_new0(DnFirewallState, 1);

	self->balanced = g_ptr_array_new_with_free_func(balanced_free);
	self->guarded = g_ptr_array_new_with_free_func(guarded_free);
	return self;
}

void dn_firewall_state_free(DnFirewallState *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->balanced);
	g_ptr_array_unref(self->guarded);
	g_free(self);
}

DnBalanced *dn_balanced_new(const char *vip, uint16_t expose)
{
	DnBalanced *self = g_new0(DnBalanced, 1);

	self->vip = g_strdup(vip);
	self->expose = expose;
	self->local = array_new(sizeof(DnEndpoint), endpoint_clear);
	self->remote = array_new(sizeof(DnEndpoint), endpoint_clear);
	return self;
}

DnGuarded *dn_guarded_new(const char *address, const char *ifname)
{
	DnGuarded *self = g_new0(DnGuarded, 1);

	self->address = g_strdup(address);
	self->ifname = g_strdup(ifname);
	self->egress = array_new(sizeof(DnAllowed), allowed_clear);
	return self;
}

void dn_endpoints_add(GArray *endpoints, const char *address, uint16_t port)
{
	DnEndpoint endpoint = {.address = g_strdup(address), .port = port};

	g_array_append_val(endpoints, endpoint);
}

void dn_guarded_allow(DnGuarded *self, const char *cidr, uint16_t port, DnProtocol protocol)
{
	DnAllowed allowed = {.cidr = g_strdup(cidr), .port = port, .protocol = protocol};

	g_array_append_val(self->egress, allowed);
}
