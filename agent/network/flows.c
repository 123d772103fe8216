/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "network/diag-table.h"

/* Answers are queued whole: this many, of 4 KiB each as the kernel counts, fit the buffer. */
enum { LOOKUPS = 256, SOCKET_BUFFER = 2 * 1024 * 1024 };

int dn_diag_open_conntrack(void)
{
	dn_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct sockaddr_nl own = {.nl_family = AF_NETLINK};
	int size = SOCKET_BUFFER, on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0)
		return -1;
	return g_steal_fd(&fd);
}

DnDiag *dn_diag_new(GError **error)
{
	g_autoptr(DnDiag) self = g_new0(DnDiag, 1);

	self->conntrack_fd = dn_diag_open_conntrack();
	if (self->conntrack_fd < 0) {
		dn_throw_errno(error, errno, "open ctnetlink");
		return NULL;
	}
	return g_steal_pointer(&self);
}

void dn_diag_free(DnDiag *self)
{
	if (self == NULL)
		return;
	dn_fd_clear(&self->conntrack_fd);
	g_free(self);
}

bool dn_diag_flow_names(const DnDiagFlow *flow, struct in_addr address)
{
	return flow->original.source.s_addr == address.s_addr ||
	       flow->original.destination.s_addr == address.s_addr ||
	       flow->reply.source.s_addr == address.s_addr ||
	       flow->reply.destination.s_addr == address.s_addr;
}

/* Two ends of a connection, or two walks, may name the same entry: where a node spoke to itself. */
static bool is_known(const DnDiag *self, const DnDiagFlow *flow)
{
	if (flow->original.source.s_addr != flow->reply.source.s_addr)
		return false;
	for (size_t i = 0; i < self->n_flows; i++)
		if (self->flows[i].tuple_size == flow->tuple_size &&
		    memcmp(self->flows[i].tuple, flow->tuple, flow->tuple_size) == 0)
			return true;
	return false;
}

DnDiagFlow *dn_diag_next_flow(DnDiag *self, const struct nlmsghdr *header)
{
	if (self->n_flows == DN_DIAG_FLOWS)
		return NULL;
	DnDiagFlow *flow = &self->flows[self->n_flows];
	return dn_diag_read_flow(header, flow) ? flow : NULL;
}

void dn_diag_take_flow(DnDiag *self, const struct nlmsghdr *header, void *data)
{
	const struct in_addr *address = data;
	const DnDiagFlow *flow = dn_diag_next_flow(self, header);

	/* A kernel that does not know the filter sends everything. */
	if (flow != NULL && dn_diag_flow_names(flow, *address) && !is_known(self, flow))
		self->n_flows++;
}

/*
 * Conntrack's table is one for all of the kernel: walking its 262,144 buckets takes 10 ms, also
 * for three entries. Clients wait for less, so what the reflex records and deletes is looked up by
 * the tuples that follow from the sockets; an entry is found under either of its directions.
 */
typedef struct {
	struct nlmsghdr header;
	struct nfgenmsg generic;
	struct nlattr tuple, ip, source;
	struct in_addr source_address;
	struct nlattr destination;
	struct in_addr destination_address;
	struct nlattr proto, number;
	uint8_t protocol, unused[3];
	struct nlattr source_port;
	uint16_t from, unused_from;
	struct nlattr destination_port;
	uint16_t to, unused_to;
} Lookup;

static void fill_lookup(Lookup *lookup, const DnDiagSocket *from, uint32_t sequence)
{
	const uint16_t word = NLA_HDRLEN + sizeof(uint32_t);
	const uint16_t port = NLA_HDRLEN + sizeof(uint16_t);
	size_t v4 = from->family == AF_INET ? 0 : 3;

	*lookup = (Lookup){
		.header = {.nlmsg_len = sizeof(*lookup),
			   .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
			   .nlmsg_flags = NLM_F_REQUEST,
			   .nlmsg_seq = sequence},
		.generic = {.nfgen_family = AF_INET},
		.tuple = {.nla_len = sizeof(*lookup) - offsetof(Lookup, tuple),
			  .nla_type = NLA_F_NESTED | CTA_TUPLE_ORIG},
		.ip = {.nla_len = NLA_HDRLEN + 2 * word, .nla_type = NLA_F_NESTED | CTA_TUPLE_IP},
		.source = {.nla_len = word, .nla_type = CTA_IP_V4_SRC},
		.source_address.s_addr = from->id.idiag_src[v4],
		.destination = {.nla_len = word, .nla_type = CTA_IP_V4_DST},
		.destination_address.s_addr = from->id.idiag_dst[v4],
		.proto = {.nla_len = NLA_HDRLEN + 3 * word,
			  .nla_type = NLA_F_NESTED | CTA_TUPLE_PROTO},
		.number = {.nla_len = NLA_HDRLEN + 1, .nla_type = CTA_PROTO_NUM},
		.protocol = from->protocol,
		.source_port = {.nla_len = port, .nla_type = CTA_PROTO_SRC_PORT},
		.from = from->id.idiag_sport,
		.destination_port = {.nla_len = port, .nla_type = CTA_PROTO_DST_PORT},
		.to = from->id.idiag_dport,
	};
}

static bool has_v4_peer(const DnDiagSocket *found)
{
	if (found->id.idiag_dport == 0)
		return false;
	return found->family == AF_INET ||
	       IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)found->id.idiag_dst);
}

/* Lookups are numbered as their sockets are, from @first. */
typedef struct {
	struct in_addr address; /* the node's */
	uint32_t first;
} Looked;

static void take_looked_up(DnDiag *self, const struct nlmsghdr *header, Looked *looked)
{
	const DnDiagWay *original = &self->flows[self->n_flows].original;
	size_t before = self->n_flows;
	uint32_t index = header->nlmsg_seq - looked->first;

	dn_diag_take_flow(self, header, &looked->address);
	if (self->n_flows == before || index >= self->n_sockets)
		return;
	DnDiagSocket *socket = &self->sockets[index];
	socket->dialled = original->source.s_addr == looked->address.s_addr &&
			  original->source_port == ntohs(socket->id.idiag_sport);
}

/* The kernel has answered all of a send when it returns. */
static void take_answers(DnDiag *self, Looked *looked)
{
	ssize_t length;

	while ((length = recv(self->conntrack_fd, self->answer, sizeof(self->answer),
			      MSG_DONTWAIT)) > 0) {
		size_t left = (size_t)length;

		for (const struct nlmsghdr *header = (void *)self->answer; NLMSG_OK(header, left);
		     header = NLMSG_NEXT(header, left))
			if (header->nlmsg_type >> 8 == NFNL_SUBSYS_CTNETLINK)
				take_looked_up(self, header, looked);
	}
}

int dn_diag_dump_flows(DnDiag *self, const char *v4)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	Looked looked = {.first = self->sequence + 1};
	size_t next = 0;

	self->n_flows = 0;
	self->cut_short = false;
	if (inet_pton(AF_INET, v4, &looked.address) != 1 || self->conntrack_fd < 0)
		return -1;
	dn_diag_drain(self, self->conntrack_fd);
	self->sequence += (uint32_t)self->n_sockets;
	while (next < self->n_sockets) {
		size_t size = 0;

		for (; next < self->n_sockets && size < LOOKUPS * sizeof(Lookup); next++) {
			Lookup lookup;

			if (!has_v4_peer(&self->sockets[next]))
				continue;
			fill_lookup(&lookup, &self->sockets[next], looked.first + (uint32_t)next);
			memcpy(self->request + size, &lookup, sizeof(lookup));
			size += sizeof(lookup);
		}
		if (size > 0 && sendto(self->conntrack_fd, self->request, size, MSG_DONTWAIT,
				       (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
			return -1;
		take_answers(self, &looked);
	}
	return (int)self->n_flows;
}

int dn_diag_delete_flows(DnDiag *self, const struct in_addr *reply_source, uint8_t protocol)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	size_t size = 0;
	int asked = 0;

	for (size_t i = 0; i < self->n_flows; i++) {
		const DnDiagFlow *flow = &self->flows[i];
		struct {
			struct nlmsghdr header;
			struct nfgenmsg generic;
		} request = {
			{.nlmsg_len = (uint32_t)sizeof(request) + NLA_ALIGN(flow->tuple_size),
			 .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
			 .nlmsg_flags = NLM_F_REQUEST,
			 .nlmsg_seq = ++self->sequence},
			{.nfgen_family = AF_INET},
		};

		if (reply_source != NULL && flow->reply.source.s_addr != reply_source->s_addr)
			continue;
		if (protocol != 0 && flow->protocol != protocol)
			continue;
		if (size + request.header.nlmsg_len > sizeof(self->request))
			break;
		memcpy(self->request + size, &request, sizeof(request));
		memcpy(self->request + size + sizeof(request), flow->tuple,
		       NLA_ALIGN(flow->tuple_size));
		size += request.header.nlmsg_len;
		asked++;
	}
	if (asked > 0 && sendto(self->conntrack_fd, self->request, size, MSG_DONTWAIT,
				(struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		asked = -1;
	/* What answers is an entry that expired meanwhile: no error. */
	dn_diag_drain(self, self->conntrack_fd);
	return asked;
}

int dn_diag_delete_client_flows(DnDiag *self, const char *v4)
{
	struct in_addr address;

	if (inet_pton(AF_INET, v4, &address) != 1)
		return -1;
	return dn_diag_delete_flows(self, &address, 0);
}
