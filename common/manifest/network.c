/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"
#include "manifest/grammar.h"

enum { LABEL_LIMIT = 63, HOST_LIMIT = 253 };

static bool has_host_bits(const uint8_t *address, unsigned bits, unsigned prefix)
{
	for (unsigned bit = prefix; bit < bits; bit++)
		if ((address[bit / 8] & (0x80 >> bit % 8)) != 0)
			return true;
	return false;
}

/* ADDRESS/PREFIX of @family. */
static bool parse(const char *text, int family, uint8_t address[static 16], unsigned *prefix)
{
	const char *slash = strchr(text, '/');
	unsigned bits = family == AF_INET ? 32 : 128;
	uint64_t length = 0;

	if (slash == NULL || !dn_text_parse_u64(slash + 1, bits, &length))
		return false;
	g_autofree char *head = g_strndup(text, (gsize)(slash - text));
	if (inet_pton(family, head, address) != 1 || has_host_bits(address, bits, (unsigned)length))
		return false;
	*prefix = (unsigned)length;
	return true;
}

char *dn_grammar_cidr(const char *text)
{
	int family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
	char name[INET6_ADDRSTRLEN] = "";
	uint8_t address[16] = {0};
	unsigned prefix = 0;

	if (!parse(text, family, address, &prefix))
		return NULL;
	inet_ntop(family, address, name, sizeof(name));
	return g_strdup_printf("%s/%u", name, prefix);
}

bool dn_grammar_cidr4(const char *text, uint32_t *address, unsigned *prefix)
{
	uint8_t bytes[16] = {0};

	if (!parse(text, AF_INET, bytes, prefix))
		return false;
	*address = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
		   bytes[3];
	return true;
}

static bool is_host_name(const char *text)
{
	g_auto(GStrv) labels = g_strsplit(text, ".", -1);

	if (strlen(text) > HOST_LIMIT || labels[0] == NULL)
		return false;
	for (char **label = labels; *label != NULL; label++) {
		size_t length = strlen(*label);

		if (length == 0 || length > LABEL_LIMIT || !g_ascii_isalnum((*label)[0]) ||
		    !g_ascii_isalnum((*label)[length - 1]))
			return false;
		for (const char *c = *label; *c != '\0'; c++)
			if (!g_ascii_isalnum(*c) && *c != '-')
				return false;
	}
	return true;
}

bool dn_grammar_is_endpoint(const char *text, bool or_host)
{
	const char *colon = strrchr(text, ':');
	uint8_t address[16];
	uint64_t port = 0;

	if (colon == NULL || !dn_text_parse_u64(colon + 1, UINT16_MAX, &port) || port == 0)
		return false;
	g_autofree char *host = g_strndup(text, (gsize)(colon - text));
	size_t length = strlen(host);
	if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = '\0';
		return inet_pton(AF_INET6, host + 1, address) == 1;
	}
	return inet_pton(AF_INET, host, address) == 1 || (or_host && is_host_name(host));
}
