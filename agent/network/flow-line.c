/* SPDX-License-Identifier: Apache-2.0 */

/* One line of /proc/net/nf_conntrack (the kernel's nf_conntrack_standalone.c, ct_seq_show()). */

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <string.h>

#include "base/text.h"
#include "network/diag-table.h"

static bool read_number(const char *text, uint64_t most, uint64_t *value)
{
	return text != NULL && dn_text_parse_u64(text, most, value);
}

/* "src=", "dst=", "sport=" and "dport=" stand once for each way, with counters behind them. */
static bool read_pair(const char *word, DnDiagWay *way)
{
	uint64_t port = 0;

	if (g_str_has_prefix(word, "src="))
		return inet_pton(AF_INET, word + strlen("src="), &way->source) == 1;
	if (g_str_has_prefix(word, "dst="))
		return inet_pton(AF_INET, word + strlen("dst="), &way->destination) == 1;
	if (g_str_has_prefix(word, "sport=")) {
		if (!read_number(word + strlen("sport="), UINT16_MAX, &port))
			return false;
		way->source_port = (uint16_t)port;
	} else if (g_str_has_prefix(word, "dport=")) {
		if (!read_number(word + strlen("dport="), UINT16_MAX, &port))
			return false;
		way->destination_port = (uint16_t)port;
	}
	return true;
}

static bool read_ways(char *const *words, DnDiagFlow *flow)
{
	unsigned ways = 0;

	flow->status = IPS_SEEN_REPLY;
	for (; *words != NULL; words++) {
		if (g_str_has_prefix(*words, "src="))
			ways++;
		if (g_str_equal(*words, "[UNREPLIED]"))
			flow->status &= ~(uint32_t)IPS_SEEN_REPLY;
		else if (g_str_equal(*words, "[ASSURED]"))
			flow->status |= IPS_ASSURED;
		else if (ways == 1 && !read_pair(*words, &flow->original))
			return false;
		else if (ways == 2 && !read_pair(*words, &flow->reply))
			return false;
	}
	return ways == 2;
}

static char **words_of(const char *line)
{
	g_auto(GStrv) parts = g_strsplit_set(line, " \n", -1);
	g_autoptr(GStrvBuilder) words = g_strv_builder_new();

	for (char **part = parts; *part != NULL; part++)
		if (**part != '\0')
			g_strv_builder_add(words, *part);
	return g_strv_builder_end(words);
}

/* ipv4 2 tcp 6 117 ESTABLISHED src=10.0.0.1 ... src=10.0.0.2 ... [ASSURED] mark=0 zone=0 use=2 */
bool dn_diag_read_line(const char *line, DnDiagFlow *flow)
{
	enum { FAMILY, FAMILY_NUMBER, NAME, PROTOCOL, TIMEOUT, STATE };
	g_auto(GStrv) words = words_of(line);
	uint64_t protocol = 0, timeout = 0;

	memset(flow, 0, sizeof(*flow));
	if (g_strv_length(words) <= STATE || !g_str_equal(words[FAMILY], "ipv4") ||
	    !read_number(words[PROTOCOL], UINT8_MAX, &protocol))
		return false;
	flow->protocol = (uint8_t)protocol;
	/* Of what a flowtable forwards neither timeout nor state are told. */
	if (!g_str_has_prefix(words[TIMEOUT], "src=")) {
		if (!read_number(words[TIMEOUT], UINT32_MAX, &timeout))
			return false;
		flow->timeout_s = (uint32_t)timeout;
		if (protocol == IPPROTO_TCP)
			flow->tcp_state = dn_diag_flow_state(words[STATE]);
	}
	return read_ways(words + TIMEOUT, flow);
}
