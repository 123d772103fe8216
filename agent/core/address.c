/* SPDX-License-Identifier: Apache-2.0 */
#include "core/address.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"

enum { HOST_PREFIX = 24 };

bool dn_address_parse_host_cidr(const char *cidr, uint32_t *network, GError **error)
{
	g_auto(GStrv) parts = g_strsplit(cidr, "/", 2);
	struct in_addr address = {0};

	if (g_strv_length(parts) != 2 || !g_str_equal(parts[1], "24") ||
	    inet_pton(AF_INET, parts[0], &address) != 1 ||
	    (ntohl(address.s_addr) & ((1u << (32 - HOST_PREFIX)) - 1)) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "host range \"%s\" is not an IPv4 network of the form A.B.C.0/24",
			    cidr);
		return false;
	}
	*network = ntohl(address.s_addr);
	return true;
}

bool dn_address_is_within(const char *cidr, const char *address)
{
	g_auto(GStrv) parts = g_strsplit(cidr, "/", 2);
	struct in_addr base = {0}, inside = {0};
	uint64_t prefix = 0;

	if (g_strv_length(parts) != 2 || !dn_text_parse_u64(parts[1], 32, &prefix) ||
	    inet_pton(AF_INET, parts[0], &base) != 1 || inet_pton(AF_INET, address, &inside) != 1)
		return false;
	return prefix == 0 || (ntohl(base.s_addr) ^ ntohl(inside.s_addr)) >> (32 - prefix) == 0;
}

char *dn_address_of_slot(uint32_t network, uint32_t slot)
{
	struct in_addr address = {.s_addr = htonl(network + 1 + slot)};
	char text[INET_ADDRSTRLEN];

	return g_strdup(inet_ntop(AF_INET, &address, text, sizeof(text)));
}

uint32_t dn_address_find_slot(uint32_t network, uint32_t slots, const char *address)
{
	struct in_addr parsed = {0};

	if (inet_pton(AF_INET, address, &parsed) != 1)
		return slots;
	/* Below the first one it wraps around, far beyond any slot. */
	uint32_t slot = ntohl(parsed.s_addr) - network - 1;
	return MIN(slot, slots);
}
