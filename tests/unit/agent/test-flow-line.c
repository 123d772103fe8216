/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>

#include "network/diag-table.h"
#include "support/suite.h"

TestSuite(flow_line, .fini = dn_suite_end);

/* As Linux 6.1 and 6.18 print them. */
#define TCP                                                                                        \
	"ipv4     2 tcp      6 431999 ESTABLISHED src=10.88.0.2 dst=10.99.0.1 sport=41000 "        \
	"dport=80 "                                                                                \
	"src=10.77.1.5 dst=10.88.0.2 sport=8080 dport=41000 [ASSURED] mark=0 zone=0 use=2\n"
#define COUNTED                                                                                    \
	"ipv4     2 udp      17 29 src=10.77.1.5 dst=10.0.0.53 sport=5353 dport=53 packets=1 "     \
	"bytes=60 [UNREPLIED] src=10.0.0.53 dst=10.0.0.1 sport=53 dport=61000 packets=0 bytes=0 "  \
	"mark=0 delta-time=3 zone=0 use=2\n"
#define ICMP                                                                                       \
	"ipv4     2 icmp     1 9 src=10.0.0.1 dst=10.77.1.5 type=8 code=0 id=7 src=10.77.1.5 "     \
	"dst=10.0.0.1 type=0 code=0 id=7 mark=0 use=1\n"

static struct in_addr address(const char *text)
{
	struct in_addr value = {0};

	cr_assert(inet_pton(AF_INET, text, &value) == 1);
	return value;
}

static void expect_way(const DnDiagWay *way, const char *source, uint16_t from, const char *to,
		       uint16_t port)
{
	cr_assert(eq(u32, way->source.s_addr, address(source).s_addr));
	cr_assert(eq(u32, way->destination.s_addr, address(to).s_addr));
	cr_assert(eq(u16, way->source_port, from));
	cr_assert(eq(u16, way->destination_port, port));
}

Test(flow_line, a_connection_has_both_its_ways_its_state_and_its_flags)
{
	DnDiagFlow flow;

	cr_assert(dn_diag_read_line(TCP, &flow));
	cr_assert(eq(u8, flow.protocol, IPPROTO_TCP));
	cr_assert(eq(u8, flow.tcp_state, TCP_CONNTRACK_ESTABLISHED));
	cr_assert(eq(u32, flow.timeout_s, 431999));
	cr_assert(eq(u32, flow.status, IPS_SEEN_REPLY | IPS_ASSURED));
	expect_way(&flow.original, "10.88.0.2", 41000, "10.99.0.1", 80);
	expect_way(&flow.reply, "10.77.1.5", 8080, "10.88.0.2", 41000);
	cr_assert(dn_diag_flow_names(&flow, address("10.77.1.5")));
	cr_assert(not(dn_diag_flow_names(&flow, address("10.77.1.6"))));
}

Test(flow_line, counters_between_the_ways_are_passed_over)
{
	DnDiagFlow flow;

	cr_assert(dn_diag_read_line(COUNTED, &flow));
	cr_assert(eq(u32, flow.status, 0));
	expect_way(&flow.original, "10.77.1.5", 5353, "10.0.0.53", 53);
	expect_way(&flow.reply, "10.0.0.53", 53, "10.0.0.1", 61000);
}

Test(flow_line, what_a_flowtable_forwards_has_neither_timeout_nor_state)
{
	DnDiagFlow flow;

	cr_assert(dn_diag_read_line("ipv4     2 tcp      6 src=10.88.0.2 dst=10.99.0.1 sport=41000 "
				    "dport=80 src=10.77.1.5 dst=10.88.0.2 sport=8080 dport=41000 "
				    "[OFFLOAD] mark=0 zone=0 use=3\n",
				    &flow));
	cr_assert(eq(u32, flow.timeout_s, 0));
	cr_assert(eq(u8, flow.tcp_state, TCP_CONNTRACK_NONE));
	expect_way(&flow.original, "10.88.0.2", 41000, "10.99.0.1", 80);
	expect_way(&flow.reply, "10.77.1.5", 8080, "10.88.0.2", 41000);
}

Test(flow_line, what_has_no_ports_has_none)
{
	DnDiagFlow flow;

	cr_assert(dn_diag_read_line(ICMP, &flow));
	expect_way(&flow.original, "10.0.0.1", 0, "10.77.1.5", 0);
}

Test(flow_line, what_is_no_such_line_is_refused)
{
	static const char *const lines[] = {
		"",
		"\n",
		"ipv4",
		"ipv6     10 tcp      6 9 CLOSE src=fd00::1 dst=fd00::2 sport=1 dport=2 "
		"src=fd00::2 "
		"dst=fd00::1 sport=2 dport=1 use=1",
		"ipv4 2 tcp 6 9 CLOSE src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 use=1",
		"ipv4 2 tcp 6 9 CLOSE src=10.0.0 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 "
		"dst=10.0.0.1",
		"ipv4 2 udp 17 9 src=10.0.0.1 dst=10.0.0.2 sport=70000 dport=2 src=10.0.0.2 "
		"dst=1.2.3.4",
		"ipv4 2 udp 17 9 src=10.0.0.1 dst=10.0.0.2 sport=7 dport=-2 src=10.0.0.2 "
		"dst=1.2.3.4",
		"ipv4 2 udp 300 9 src=10.0.0.1 dst=10.0.0.2 sport=7 dport=2 src=10.0.0.2 "
		"dst=1.2.3.4",
		"ipv4 2 udp 17 x src=10.0.0.1 dst=10.0.0.2 sport=7 dport=2 src=10.0.0.2 "
		"dst=1.2.3.4",
	};
	DnDiagFlow flow;

	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
		cr_assert(not(dn_diag_read_line(lines[i], &flow)), "%s", lines[i]);
}

Test(flow_line, that_a_sweep_has_not_seen_all_stands_in_the_record)
{
	g_autofree DnDiag *diag = g_new0(DnDiag, 1);
	g_autoptr(DnIncident) incident = dn_incident_new();

	dn_diag_record(diag, NULL, 0, incident);
	cr_assert(eq(uint, incident->conntrack->len, 0));
	diag->cut_short = true;
	dn_diag_record(diag, NULL, 0, incident);
	cr_assert(eq(uint, incident->conntrack->len, 1));
}
