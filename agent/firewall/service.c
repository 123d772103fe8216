/* SPDX-License-Identifier: Apache-2.0 */
#include "firewall/service.h"

#include <arpa/inet.h>

const char *dn_service_protocol(DnProtocol protocol)
{
	return protocol == DN_PROTOCOL_UDP ? "udp" : "tcp";
}

char *dn_service_chain(const DnBalanced *balanced)
{
	char *name = g_strdup_printf("svc_%s_%s_%u", balanced->vip,
				     dn_service_protocol(balanced->protocol), balanced->expose);

	return g_strdelimit(name, ".", '_');
}

bool dn_service_has(const DnBalanced *balanced, const char *address)
{
	const GArray *const both[] = {balanced->local, balanced->remote};

	for (size_t i = 0; i < G_N_ELEMENTS(both); i++)
		for (guint j = 0; j < both[i]->len; j++)
			if (strcmp(g_array_index(both[i], DnEndpoint, j).address, address) == 0)
				return true;
	return false;
}

/* Addresses are borrowed from the state and the arguments, which outlive the array. */
static void collect(GArray *into, const GArray *from, GHashTable *quarantined, const char *without,
		    const char *instead)
{
	for (guint i = 0; i < from->len; i++) {
		DnEndpoint endpoint = g_array_index(from, DnEndpoint, i);

		if (without != NULL && strcmp(endpoint.address, without) == 0) {
			if (instead == NULL)
				continue;
			endpoint.address = (char *)instead;
		} else if (instead != NULL && strcmp(endpoint.address, instead) == 0) {
			continue;
		}
		if (quarantined != NULL && g_hash_table_contains(quarantined, endpoint.address))
			continue;
		g_array_append_val(into, endpoint);
	}
}

GArray *dn_service_endpoints(const DnBalanced *balanced, GHashTable *quarantined,
			     const char *without, const char *instead)
{
	GArray *endpoints = g_array_new(FALSE, FALSE, sizeof(DnEndpoint));

	collect(endpoints, balanced->local, quarantined, without, instead);
	if (endpoints->len == 0)
		collect(endpoints, balanced->remote, quarantined, without, instead);
	return endpoints;
}

bool dn_service_parse_address(const char *text, struct in_addr *address, GError **error)
{
	if (text != NULL && inet_pton(AF_INET, text, address) == 1)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "firewall: \"%s\" is no IPv4 address",
		    text != NULL ? text : "");
	return false;
}

static bool check_endpoints(const DnBalanced *balanced, const GArray *endpoints, GError **error)
{
	struct in_addr address;

	if (endpoints->len > DN_FIREWALL_ENDPOINTS) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "firewall: %s port %u has %u endpoints, at most %d", balanced->vip,
			    balanced->expose, endpoints->len, DN_FIREWALL_ENDPOINTS);
		return false;
	}
	for (guint i = 0; i < endpoints->len; i++) {
		const DnEndpoint *endpoint = &g_array_index(endpoints, DnEndpoint, i);

		if (!dn_service_parse_address(endpoint->address, &address, error))
			return false;
		if (endpoint->port == 0) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "firewall: endpoint %s of %s has no port", endpoint->address,
				    balanced->vip);
			return false;
		}
	}
	return true;
}

bool dn_service_check(const DnBalanced *balanced, GError **error)
{
	struct in_addr address;

	if (!dn_service_parse_address(balanced->vip, &address, error))
		return false;
	if (balanced->expose == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "firewall: VIP %s exposes no port",
			    balanced->vip);
		return false;
	}
	return check_endpoints(balanced, balanced->local, error) &&
	       check_endpoints(balanced, balanced->remote, error);
}
