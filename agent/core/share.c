/* SPDX-License-Identifier: Apache-2.0 */
#include "core/share.h"

#include "base/text.h"
#include "core/address.h"

bool dn_share_has_room(guint known, GError **error)
{
	if (known < DN_SHARES_LIMIT)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "this host has shares of %d services already", DN_SHARES_LIMIT);
	return false;
}

static bool is_within(const char *what, const char *address, const char *cidr, GError **error)
{
	if (dn_address_is_within(cidr, address))
		return true;
	g_autofree char *shown = dn_text_printable(address, strlen(address));
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "%s %s is not in the cluster's %s", what,
		    shown, cidr);
	return false;
}

static guint times_exposed(const DnAssign *share, const DnExposed *exposed)
{
	guint times = 0;

	for (guint i = 0; i < share->exposed->len; i++)
		if (dn_exposed_equal(&g_array_index(share->exposed, DnExposed, i), exposed))
			times++;
	return times;
}

static guint endpoints_of(const DnAssign *share, const DnExposed *exposed)
{
	guint count = 0;

	for (guint i = 0; i < share->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(share->endpoints, i);

		if (dn_exposed_equal(&endpoint->expose, exposed))
			count++;
	}
	return count;
}

static bool check_ports(const DnAssign *share, GError **error)
{
	for (guint i = 0; i < share->exposed->len; i++) {
		const DnExposed *exposed = &g_array_index(share->exposed, DnExposed, i);

		if (exposed->port == 0 || times_exposed(share, exposed) > 1) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "share of %s: port %u/%s of its VIP is none, or named twice",
				    share->service, exposed->port,
				    dn_protocol_name(exposed->protocol));
			return false;
		}
		guint endpoints = endpoints_of(share, exposed);
		if (endpoints > DN_SHARE_ENDPOINTS) {
			g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
				    "share of %s: %u endpoints behind port %u of its VIP, at most "
				    "%d",
				    share->service, endpoints, exposed->port, DN_SHARE_ENDPOINTS);
			return false;
		}
	}
	return true;
}

bool dn_share_check(const DnAssign *share, const char *node_cidr, const char *vip_cidr,
		    GError **error)
{
	g_autofree char *vip = g_strdup_printf("share of %s: VIP", share->service);
	g_autofree char *node = g_strdup_printf("share of %s: endpoint", share->service);

	if (!is_within(vip, share->vip, vip_cidr, error))
		return false;
	for (guint i = 0; i < share->endpoints->len; i++) {
		const DnRemoteEndpoint *endpoint = g_ptr_array_index(share->endpoints, i);

		if (!is_within(node, endpoint->address, node_cidr, error))
			return false;
		if (endpoint->port == 0) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s %s has no port", node,
				    endpoint->address);
			return false;
		}
	}
	return check_ports(share, error);
}

void dn_share_raise(DnAssign *share, const char *digest, uint64_t epoch, uint32_t nodes)
{
	for (guint i = 0; i < share->parts->len; i++) {
		DnPart *part = g_ptr_array_index(share->parts, i);

		if (!g_str_equal(part->digest, digest))
			continue;
		if (part->running + part->standby < nodes)
			part->running = nodes - part->standby;
		return;
	}
	g_ptr_array_add(share->parts, dn_part_new(digest, epoch, nodes, 0));
}

bool dn_shares_collide(const DnAssign *a, const DnAssign *b)
{
	if (!g_str_equal(a->vip, b->vip))
		return false;
	for (guint i = 0; i < a->exposed->len; i++)
		if (times_exposed(b, &g_array_index(a->exposed, DnExposed, i)) > 0)
			return true;
	return false;
}
