/* SPDX-License-Identifier: Apache-2.0 */
#include "core/address.h"

#include <string.h>

#include "base/text.h"

bool dn_address_parse(const char *text, uint32_t *address)
{
	g_auto(GStrv) parts = g_strsplit(text, ".", 5);
	uint32_t value = 0;

	if (g_strv_length(parts) != 4)
		return false;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t byte = 0;

		if (!dn_text_parse_u64(parts[i], 255, &byte))
			return false;
		if (parts[i][0] == '0' && parts[i][1] != '\0')
			return false; /* inet_aton(3) would read it as octal */
		value = value << 8 | (uint32_t)byte;
	}
	*address = value;
	return true;
}

char *dn_address_format(uint32_t address)
{
	return g_strdup_printf("%u.%u.%u.%u", address >> 24, address >> 16 & 255,
			       address >> 8 & 255, address & 255);
}

static uint32_t mask_of(unsigned prefix)
{
	return prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
}

bool dn_range_parse(const char *text, DnRange *range, GError **error)
{
	const char *slash = strchr(text, '/');
	uint64_t prefix = 0;
	uint32_t base = 0;

	if (slash != NULL && dn_text_parse_u64(slash + 1, 32, &prefix)) {
		g_autofree char *address = g_strndup(text, (gsize)(slash - text));

		if (dn_address_parse(address, &base) && (base & ~mask_of((unsigned)prefix)) == 0) {
			range->base = base;
			range->prefix = (unsigned)prefix;
			return true;
		}
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "\"%s\" is no IPv4 range; write it like 10.77.0.0/16", text);
	return false;
}

bool dn_range_contains(const DnRange *self, uint32_t address)
{
	return (address & mask_of(self->prefix)) == self->base;
}

uint32_t dn_range_size(const DnRange *self)
{
	return self->prefix == 0 ? UINT32_MAX : UINT32_C(1) << (32 - self->prefix);
}
