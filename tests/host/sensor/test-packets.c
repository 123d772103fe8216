/* SPDX-License-Identifier: Apache-2.0 */

/* A marked node's packets: none comes out, none goes in, and clients are told at once. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "network.h"
#include "support/suite.h"

static Host host;
static NetNode node;

static void setup(void)
{
	host_set_up(&host);
	net_node_set_up(&node, &host);
}

static void teardown(void)
{
	net_node_tear_down(&node);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(packets, .init = setup, .fini = teardown, .timeout = 60);

static struct dn_sensor_mark mark(void)
{
	return *(struct dn_sensor_mark *)net_node_mark(&node);
}

static int open_connection(const char *address, uint16_t port)
{
	int fd = -1, rc = net_connect(address, port, &fd);

	cr_assert(eq(int, rc, 0), "%s: %s", address, g_strerror(rc));
	/* Only an accepted connection is answered; a byte shows that it was. */
	for (int tries = 0; tries < 200; tries++) {
		net_node_tell(&node, 'w');
		if (net_receive(fd, 10) == 1)
			return fd;
	}
	cr_assert(false, "the node accepted no connection");
	return -1;
}

/* Bytes that were written to every connection while another one was opened. */
static void forget_bytes(int fd)
{
	while (net_receive(fd, 20) == 1)
		continue;
}

Test(packets, a_node_without_a_mark_is_reached_and_reaches)
{
	dn_autofd int udp = net_udp_socket();
	dn_autofd int v4 = open_connection(NODE_V4, DECLARED);
	dn_autofd int v6 = open_connection(NODE_V6, DECLARED);

	net_node_tell(&node, 'u');
	cr_assert(eq(int, net_receive(udp, 1000), 1));
	cr_assert(eq(int, net_receive(udp, 1000), 1));
	struct dn_sensor_mark now = mark();
	for (int path = 0; path < DN_PATHS; path++)
		cr_assert(eq(u64, now.drops[path], 0));
	cr_assert(eq(u64, now.first_drop_ns, 0));
}

static void expect_refused_at_once(const char *address, uint16_t port)
{
	dn_autofd int fd = -1;
	uint64_t begin = dn_clock_monotonic_ns();
	int rc = net_connect(address, port, &fd);

	cr_assert(eq(int, rc, ECONNREFUSED), "%s: %s", address, g_strerror(rc));
	cr_assert(lt(u64, dn_clock_monotonic_ns() - begin, 500 * DN_NS_PER_MS));
}

Test(packets, a_new_connection_to_a_marked_node_is_refused_at_once)
{
	net_node_cut(&node);
	expect_refused_at_once(NODE_V4, DECLARED);
	expect_refused_at_once(NODE_V6, DECLARED);
	cr_assert(eq(u64, mark().syns_answered, 2));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(packets, an_open_connection_carries_nothing_any_more_in_either_direction)
{
	dn_autofd int fd = open_connection(NODE_V4, DECLARED);
	dn_autofd int v6 = open_connection(NODE_V6, DECLARED);

	forget_bytes(fd);
	forget_bytes(v6);
	net_node_cut(&node);
	net_node_tell(&node, 'w');
	cr_assert(eq(int, net_receive(fd, 100), -EAGAIN));
	cr_assert(eq(int, net_receive(v6, 100), -EAGAIN));
	cr_assert(ge(u64, mark().drops[DN_PATH_CGROUP_OUT], 2));
	cr_assert(send(fd, "x", 1, MSG_NOSIGNAL) == 1);
	cr_assert(send(v6, "x", 1, MSG_NOSIGNAL) == 1);
	cr_assert(ge(u64, mark().drops[DN_PATH_TO_NODE], 2));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
	cr_assert(ge(u64, mark().first_drop_ns, mark().event_ns));
}

Test(packets, datagrams_of_a_marked_node_do_not_arrive)
{
	dn_autofd int udp = net_udp_socket();

	net_node_cut(&node);
	net_node_tell(&node, 'u');
	cr_assert(eq(int, net_receive(udp, 100), -EAGAIN));
	cr_assert(ge(u64, mark().drops[DN_PATH_CGROUP_OUT], 2));
}

/* A flood that is running when the mark falls: what arrives later was sent before. */
Test(packets, a_flood_ends_with_the_mark)
{
	dn_autofd int udp = net_udp_socket();
	uint64_t late = 0;

	net_node_tell(&node, 'f');
	for (int i = 0; i < 100; i++)
		cr_assert(eq(int, net_receive(udp, 1000), 1));
	net_node_cut(&node);
	/* Whoever had passed the link by then is in the socket's queue within this time. */
	g_usleep(20000);
	while (net_receive(udp, 0) == 1)
		continue;
	for (int i = 0; i < 300; i++)
		late += net_receive(udp, 1) == 1;
	cr_assert(eq(u64, late, 0));
	cr_assert(gt(u64, mark().drops[DN_PATH_CGROUP_OUT], 100));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

static int ping(void)
{
	struct {
		struct icmphdr header;
		char payload[8];
	} request = {.header = {.type = ICMP_ECHO, .un.echo = {.id = 7}}};
	struct sockaddr_in to = {.sin_family = AF_INET};
	dn_autofd int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);

	request.header.checksum = htons(net_checksum(&request, sizeof(request), 0));
	inet_pton(AF_INET, NODE_V4, &to.sin_addr);
	cr_assert(sendto(fd, &request, sizeof(request), 0, (struct sockaddr *)&to, sizeof(to)) > 0);
	return net_receive(fd, 200);
}

Test(packets, a_marked_node_does_not_answer_icmp_though_its_kernel_would)
{
	cr_assert(eq(int, ping(), 1));
	net_node_cut(&node);
	cr_assert(eq(int, ping(), -EAGAIN));
	cr_assert(ge(u64, mark().drops[DN_PATH_TO_NODE], 1)); /* IPv6 has things to say too */
}

typedef struct {
	uint8_t to[6], from[6];
	uint16_t protocol;
	uint16_t hardware, network;
	uint8_t hardware_size, network_size;
	uint16_t operation;
	uint8_t sender[6], sender_ip[4], target[6], target_ip[4];
} __attribute__((packed)) Arp;

static int packet_socket(int fd, unsigned ifindex)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)ifindex,
	};
	int one = 1;

	cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	cr_assert(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) == 0);
	return fd;
}

static int host_packets(void)
{
	return packet_socket(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)),
			     node.ifindex);
}

/* The node's own end, seen by somebody who is not in its cgroup: only tc is in the way. */
static int node_packets(void)
{
	return packet_socket(net_node_socket(&node, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)),
			     node.peer_index);
}

/* "Who has @wanted?" by the end with the number @from, sent on @fd: was it answered there? */
static bool arp_is_answered(int fd, uint8_t from, const char *own, const char *wanted,
			    unsigned ifindex)
{
	Arp ask = {
		.to = {255, 255, 255, 255, 255, 255},
		.from = {2, 0, 0, 0, 0, from},
		.protocol = htons(ETH_P_ARP),
		.hardware = htons(1),
		.network = htons(ETH_P_IP),
		.hardware_size = 6,
		.network_size = 4,
		.operation = htons(1),
		.sender = {2, 0, 0, 0, 0, from},
	};
	struct sockaddr_ll via = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex};
	uint64_t end = dn_clock_monotonic_ns() + 200 * DN_NS_PER_MS;

	inet_pton(AF_INET, own, ask.sender_ip);
	inet_pton(AF_INET, wanted, ask.target_ip);
	ssize_t sent = sendto(fd, &ask, sizeof(ask), 0, (struct sockaddr *)&via, sizeof(via));
	/* tc that drops a frame says so to its sender: ENOBUFS, and that is an answer too. */
	cr_assert(sent == sizeof(ask) || errno == ENOBUFS, "%s", g_strerror(errno));
	while (dn_clock_monotonic_ns() < end) {
		Arp got = {0};
		struct pollfd readable = {fd, POLLIN, 0};

		if (poll(&readable, 1, 10) > 0 && recv(fd, &got, sizeof(got), 0) == sizeof(got) &&
		    got.protocol == htons(ETH_P_ARP) && got.operation == htons(2))
			return true;
	}
	return false;
}

Test(packets, arp_does_not_pass_a_marked_nodes_link_in_either_direction)
{
	dn_autofd int outside = host_packets();
	dn_autofd int inside = node_packets();

	cr_assert(arp_is_answered(outside, 1, HOST_V4, NODE_V4, node.ifindex));
	cr_assert(arp_is_answered(inside, 2, NODE_V4, HOST_V4, node.peer_index));
	net_node_cut(&node);
	cr_assert(not(arp_is_answered(outside, 1, HOST_V4, NODE_V4, node.ifindex)));
	cr_assert(not(arp_is_answered(inside, 2, NODE_V4, HOST_V4, node.peer_index)));
	cr_assert(ge(u64, mark().drops[DN_PATH_TO_NODE], 1));
	cr_assert(ge(u64, mark().drops[DN_PATH_FROM_NODE], 1));
}

Test(packets, nothing_at_all_reaches_the_end_of_a_marked_node)
{
	dn_autofd int inside = node_packets();
	dn_autofd int fd = open_connection(NODE_V4, DECLARED);
	char frame[2048];

	net_node_cut(&node);
	g_usleep(20000);
	while (recv(inside, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		continue;
	expect_refused_at_once(NODE_V4, DECLARED);
	cr_assert(send(fd, "x", 1, MSG_NOSIGNAL) == 1);
	cr_assert(eq(int, ping(), -EAGAIN));
	cr_assert(recv(inside, frame, sizeof(frame), MSG_DONTWAIT) < 0);
}

Test(packets, a_reset_leaves_a_marked_node_only_while_the_window_is_open)
{
	dn_autofd int before = open_connection(NODE_V4, DECLARED);

	forget_bytes(before);
	net_node_cut(&node);
	net_node_destroy(&node, DECLARED);
	cr_assert(eq(int, net_receive(before, 100), -EAGAIN));
	cr_assert(eq(u64, mark().resets[DN_PATH_FROM_NODE], 0));
}

Test(packets, clients_of_a_declared_port_are_reset_inside_the_window)
{
	dn_autofd int v4 = open_connection(NODE_V4, DECLARED);
	dn_autofd int v6 = open_connection(NODE_V6, DECLARED);

	forget_bytes(v4);
	forget_bytes(v6);
	net_node_cut(&node);
	net_node_mark(&node)->window = 1;
	net_node_destroy(&node, DECLARED);
	cr_assert(eq(int, net_receive(v4, 1000), -ECONNRESET));
	cr_assert(eq(int, net_receive(v6, 1000), -ECONNRESET));
	cr_assert(eq(u64, mark().resets[DN_PATH_CGROUP_OUT], 2));
	cr_assert(eq(u64, mark().resets[DN_PATH_FROM_NODE], 2));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(packets, a_port_that_was_not_declared_has_no_exemption)
{
	dn_autofd int fd = open_connection(NODE_V4, UNDECLARED);

	forget_bytes(fd);
	net_node_cut(&node);
	net_node_mark(&node)->window = 1;
	net_node_destroy(&node, UNDECLARED);
	cr_assert(eq(int, net_receive(fd, 100), -EAGAIN));
	cr_assert(eq(u64, mark().resets[DN_PATH_CGROUP_OUT], 0));
}

typedef struct {
	struct iphdr ip;
	struct tcphdr tcp;
	char payload[4];
} Segment;

static uint16_t tcp_checksum(const struct iphdr *ip, const void *segment, size_t length)
{
	uint32_t pseudo = IPPROTO_TCP + (uint32_t)length;

	pseudo += (ntohl(ip->saddr) >> 16) + (ntohl(ip->saddr) & 0xffff);
	pseudo += (ntohl(ip->daddr) >> 16) + (ntohl(ip->daddr) & 0xffff);
	return net_checksum(segment, length, pseudo);
}

/* Put @segment, with @payload bytes of it and all checksums, on the wire from the end @from. */
static void send_frame(int fd, unsigned ifindex, uint8_t from, Segment *segment, size_t payload)
{
	uint8_t frame[ETH_HLEN + sizeof(Segment)] = {2, 0, 0, 0, 0,    from == 1 ? 2 : 1, 2,
						     0, 0, 0, 0, from, ETH_P_IP >> 8,     0};
	struct sockaddr_ll via = {.sll_family = AF_PACKET, .sll_ifindex = (int)ifindex};
	size_t length = sizeof(segment->tcp) + payload, whole = sizeof(segment->ip) + length;

	segment->ip.tot_len = htons((uint16_t)whole);
	segment->ip.check = 0;
	segment->tcp.check = 0;
	segment->ip.check = htons(net_checksum(&segment->ip, sizeof(segment->ip), 0));
	segment->tcp.check = htons(tcp_checksum(&segment->ip, &segment->tcp, length));
	memcpy(frame + ETH_HLEN, segment, whole);
	ssize_t sent = sendto(fd, frame, ETH_HLEN + whole, 0, (struct sockaddr *)&via, sizeof(via));
	cr_assert(sent > 0, "%s", g_strerror(errno));
}

/* From the node's declared port to port 5555 of the host, past the node's cgroup. */
static void send_segment(uint8_t flags, size_t payload)
{
	dn_autofd int inside = node_packets();
	Segment segment = {
		.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP},
		.tcp = {.source = htons(DECLARED), .dest = htons(5555), .doff = 5},
		.payload = {'d', 'a', 't', 'a'},
	};

	segment.tcp.seq = htonl(1000);
	segment.tcp.ack_seq = htonl(2000);
	segment.tcp.window = htons(4096);
	segment.tcp.th_flags = flags;
	inet_pton(AF_INET, NODE_V4, &segment.ip.saddr);
	inet_pton(AF_INET, HOST_V4, &segment.ip.daddr);
	send_frame(inside, node.peer_index, 2, &segment, payload);
}

/*
 * The flags of the segment that arrives at port 5555, 0 when none does. Checksums must be right
 * where they are @complete; what the node's kernel sends leaves that of TCP to the link.
 */
static uint8_t await_segment(int raw, bool complete)
{
	struct {
		struct iphdr ip;
		struct tcphdr tcp;
		char rest[64];
	} got;
	uint64_t end = dn_clock_monotonic_ns() + 200 * DN_NS_PER_MS;

	while (dn_clock_monotonic_ns() < end) {
		struct pollfd readable = {raw, POLLIN, 0};
		ssize_t size = poll(&readable, 1, 10) > 0 ? recv(raw, &got, sizeof(got), 0) : 0;

		if (size < (ssize_t)(sizeof(got.ip) + sizeof(got.tcp)) ||
		    got.tcp.dest != htons(5555))
			continue;
		cr_assert(eq(u16, net_checksum(&got.ip, sizeof(got.ip), 0), 0));
		size_t length = (size_t)size - sizeof(got.ip);
		if (complete)
			cr_assert(eq(u16, tcp_checksum(&got.ip, &got.tcp, length), 0));
		return got.tcp.th_flags;
	}
	return 0;
}

static uint8_t receive_segment(int raw)
{
	return await_segment(raw, true);
}

Test(packets, the_answer_to_a_half_open_connection_leaves_as_a_reset)
{
	dn_autofd int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);

	send_segment(TH_SYN | TH_ACK, 0);
	cr_assert(eq(int, receive_segment(raw), TH_SYN | TH_ACK));
	net_node_cut(&node);
	send_segment(TH_SYN | TH_ACK, 0);
	cr_assert(eq(int, receive_segment(raw), TH_RST | TH_ACK));
	cr_assert(eq(u64, mark().synacks_turned, 1));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(packets, a_reset_or_answer_that_carries_data_does_not_leave)
{
	dn_autofd int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);

	net_node_cut(&node);
	net_node_mark(&node)->window = 1;
	send_segment(TH_RST, 4);
	send_segment(TH_SYN | TH_ACK, 4);
	send_segment(TH_ACK, 0);
	cr_assert(eq(int, receive_segment(raw), 0));
	send_segment(TH_RST, 0);
	cr_assert(eq(int, receive_segment(raw), TH_RST));
	cr_assert(ge(u64, mark().drops[DN_PATH_FROM_NODE], 3));
}

/* What tc had let on when the mark came: frames that it does not see. */
Test(packets, a_connection_whose_first_packet_was_on_its_way_is_refused_and_nothing_else_goes_in)
{
	dn_autofd int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_TCP);
	dn_autofd int outside = host_packets();
	Segment syn = {
		.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP},
		.tcp = {.source = htons(5555), .dest = htons(DECLARED), .doff = 5, .syn = 1},
		.payload = {'d', 'a', 't', 'a'},
	};
	int on = 1;

	inet_pton(AF_INET, HOST_V4, &syn.ip.saddr);
	inet_pton(AF_INET, NODE_V4, &syn.ip.daddr);
	cr_assert(
		eq(int, setsockopt(outside, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)), 0));
	net_node_cut(&node);
	send_frame(outside, node.ifindex, 1, &syn, sizeof(syn.payload));
	syn.tcp.dest = htons(UNDECLARED);
	send_frame(outside, node.ifindex, 1, &syn, 0);
	syn.tcp.dest = htons(DECLARED);
	syn.tcp.th_flags = TH_ACK;
	send_frame(outside, node.ifindex, 1, &syn, 0);
	cr_assert(eq(int, receive_segment(raw), 0));
	cr_assert(eq(u64, mark().drops[DN_PATH_CGROUP_IN], 3));
	syn.tcp.th_flags = TH_SYN;
	send_frame(outside, node.ifindex, 1, &syn, 0);
	cr_assert(eq(int, await_segment(raw, false), TH_RST | TH_ACK));
	cr_assert(eq(u64, mark().synacks_turned, 1));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

static bool synack_was_turned(void *data)
{
	return mark().synacks_turned > 0;
}

/* The node's own kernel repeats its SYN,ACK after a second; the socket layer must let it by. */
Test(packets, a_request_the_node_was_answering_is_reset_when_it_is_repeated)
{
	dn_autofd int outside = host_packets();
	Segment syn = {
		.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP},
		.tcp = {.source = htons(5555), .dest = htons(DECLARED), .doff = 5, .syn = 1},
	};
	char frame[2048];

	inet_pton(AF_INET, "10.0.9.9", &syn.ip.saddr); /* nobody, so nobody answers */
	inet_pton(AF_INET, NODE_V4, &syn.ip.daddr);
	send_frame(outside, node.ifindex, 1, &syn, 0);
	/* The first SYN,ACK has come out; from here on the request waits in the node. */
	cr_assert(recv(outside, frame, sizeof(frame), 0) > 0);
	net_node_cut(&node);
	cr_assert(wait_until(synack_was_turned, NULL, 5000));
}
