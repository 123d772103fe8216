/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <netinet/tcp.h>
#include <string.h>

#include "network/diag-table.h"

/* Numbers of the kernel's tcp_states.h, which no header of user space has all of. */
static const char *const tcp_states[] = {
	[TCP_ESTABLISHED] = "established",
	[TCP_SYN_SENT] = "syn_sent",
	[TCP_SYN_RECV] = "syn_recv",
	[TCP_FIN_WAIT1] = "fin_wait1",
	[TCP_FIN_WAIT2] = "fin_wait2",
	[TCP_TIME_WAIT] = "time_wait",
	[TCP_CLOSE] = "close",
	[TCP_CLOSE_WAIT] = "close_wait",
	[TCP_LAST_ACK] = "last_ack",
	[TCP_LISTEN] = "listen",
	[TCP_CLOSING] = "closing",
	[TCP_CLOSING + 1] = "new_syn_recv",
};

/* The words of conntrack(8). */
static const char *const flow_states[] = {
	[TCP_CONNTRACK_NONE] = "NONE",         [TCP_CONNTRACK_SYN_SENT] = "SYN_SENT",
	[TCP_CONNTRACK_SYN_RECV] = "SYN_RECV", [TCP_CONNTRACK_ESTABLISHED] = "ESTABLISHED",
	[TCP_CONNTRACK_FIN_WAIT] = "FIN_WAIT", [TCP_CONNTRACK_CLOSE_WAIT] = "CLOSE_WAIT",
	[TCP_CONNTRACK_LAST_ACK] = "LAST_ACK", [TCP_CONNTRACK_TIME_WAIT] = "TIME_WAIT",
	[TCP_CONNTRACK_CLOSE] = "CLOSE",       [TCP_CONNTRACK_SYN_SENT2] = "SYN_SENT2",
};

static const char *word(const char *const *words, size_t n, size_t index)
{
	return index < n && words[index] != NULL ? words[index] : "unknown";
}

uint8_t dn_diag_flow_state(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(flow_states); i++)
		if (g_strcmp0(flow_states[i], name) == 0)
			return (uint8_t)i;
	return TCP_CONNTRACK_NONE;
}

/* ADDRESS:PORT; IPv4 within IPv6 is shown as what it is on the wire. */
static char *endpoint(uint8_t family, const __be32 *address, uint16_t port)
{
	const struct in6_addr *v6 = (const void *)address;
	char text[INET6_ADDRSTRLEN] = "?";

	if (family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(v6)) {
		inet_ntop(AF_INET6, v6, text, sizeof(text));
		return g_strdup_printf("[%s]:%u", text, port);
	}
	inet_ntop(AF_INET, family == AF_INET ? address : address + 3, text, sizeof(text));
	return g_strdup_printf("%s:%u", text, port);
}

static DnSocketRecord *describe_socket(const DnDiagSocket *found, const uint16_t *ports,
				       size_t n_ports)
{
	bool is_tcp = found->protocol == IPPROTO_TCP;
	uint16_t port = ntohs(found->id.idiag_sport);
	g_autofree char *local = endpoint(found->family, found->id.idiag_src, port);
	g_autofree char *peer =
		endpoint(found->family, found->id.idiag_dst, ntohs(found->id.idiag_dport));
	bool accepted = dn_diag_is_accepted(found, ports, n_ports);

	DnSocketRecord *record = dn_socket_record_new(
		is_tcp ? "tcp" : "udp", word(tcp_states, G_N_ELEMENTS(tcp_states), found->state),
		local, peer, accepted);
	record->bytes_sent = found->bytes_sent;
	record->bytes_received = found->bytes_received;
	record->rtt_us = found->rtt_us;
	return record;
}

static void print_way(GString *line, const DnDiagWay *way, bool has_ports)
{
	char source[INET_ADDRSTRLEN], destination[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &way->source, source, sizeof(source));
	inet_ntop(AF_INET, &way->destination, destination, sizeof(destination));
	g_string_append_printf(line, " src=%s dst=%s", source, destination);
	if (has_ports)
		g_string_append_printf(line, " sport=%u dport=%u", way->source_port,
				       way->destination_port);
}

static char *describe_flow(const DnDiagFlow *flow)
{
	GString *line = g_string_new(NULL);
	bool is_tcp = flow->protocol == IPPROTO_TCP;
	bool has_ports = is_tcp || flow->protocol == IPPROTO_UDP;
	const char *name = is_tcp ? "tcp" : flow->protocol == IPPROTO_UDP ? "udp" : NULL;

	if (name == NULL)
		name = flow->protocol == IPPROTO_ICMP ? "icmp" : "unknown";
	g_string_append_printf(line, "%-8s %u %u", name, flow->protocol, flow->timeout_s);
	if (is_tcp)
		g_string_append_printf(
			line, " %s", word(flow_states, G_N_ELEMENTS(flow_states), flow->tcp_state));
	print_way(line, &flow->original, has_ports);
	if ((flow->status & IPS_SEEN_REPLY) == 0)
		g_string_append(line, " [UNREPLIED]");
	print_way(line, &flow->reply, has_ports);
	if ((flow->status & IPS_ASSURED) != 0)
		g_string_append(line, " [ASSURED]");
	return g_string_free(line, FALSE);
}

void dn_diag_record(const DnDiag *self, const uint16_t *ports, size_t n_ports, DnIncident *incident)
{
	for (size_t i = 0; i < self->n_sockets; i++)
		g_ptr_array_add(incident->sockets,
				describe_socket(&self->sockets[i], ports, n_ports));
	for (size_t i = 0; i < self->n_flows; i++)
		g_ptr_array_add(incident->conntrack, describe_flow(&self->flows[i]));
	if (self->cut_short)
		g_ptr_array_add(incident->conntrack,
				g_strdup("and more than could be read of conntrack in time"));
}

/* "udp src=A dst=B sport=1 dport=2": state, timeout and flags change while one looks. */
static char *connection_of(const char *line)
{
	const char *start = strstr(line, " src=");
	const char *end = start == NULL ? NULL : strstr(start + 1, " src=");
	const char *flag = start == NULL ? NULL : strstr(start, " [");

	if (end == NULL || (flag != NULL && flag < end))
		end = flag;
	if (end == NULL)
		return g_strdup(line);
	return g_strdup_printf("%.*s%.*s", (int)strcspn(line, " "), line, (int)(end - start),
			       start);
}

void dn_diag_merge_flows(GPtrArray *known, const GPtrArray *swept)
{
	g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	unsigned added = 0, left_out = 0;

	for (guint i = 0; i < known->len; i++)
		g_hash_table_add(named, connection_of(g_ptr_array_index(known, i)));
	for (guint i = 0; i < swept->len; i++) {
		const char *line = g_ptr_array_index(swept, i);

		if (!g_hash_table_add(named, connection_of(line)))
			continue;
		if (added < DN_DIAG_SWEPT && known->len < DN_DIAG_FLOWS - 1) {
			g_ptr_array_add(known, g_strdup(line));
			added++;
		} else {
			left_out++;
		}
	}
	if (left_out > 0)
		g_ptr_array_add(known, g_strdup_printf("and %u more without a socket", left_out));
}
