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

/* Bit of CTA_FILTER_*_FLAGS (the kernel's nf_internals.h): compare the source address. */
enum { FILTER_SOURCE = 1 << 0 };

/* Answers are queued whole: this many, of 4 KiB each as the kernel counts, fit the buffer. */
enum { LOOKUPS = 256, SOCKET_BUFFER = 2 * 1024 * 1024, FORGET_ROUNDS = 64 };

static int open_conntrack(void)
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

	self->conntrack_fd = open_conntrack();
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

static bool names(const DnDiagFlow *flow, struct in_addr address)
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

/* The next free row, filled with the entry of @header; NULL when it holds none or all are taken. */
static DnDiagFlow *read_flow(DnDiag *self, const struct nlmsghdr *header)
{
	if (self->n_flows == DN_DIAG_FLOWS)
		return NULL;
	DnDiagFlow *flow = &self->flows[self->n_flows];
	return dn_diag_read_flow(header, flow) ? flow : NULL;
}

static void take_flow(DnDiag *self, const struct nlmsghdr *header, void *data)
{
	const struct in_addr *address = data;
	const DnDiagFlow *flow = read_flow(self, header);

	/* A kernel that does not know the filter sends everything. */
	if (flow != NULL && names(flow, *address) && !is_known(self, flow))
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

	take_flow(self, header, &looked->address);
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

/* A dump of the entries whose tuple @which (CTA_TUPLE_ORIG or _REPLY) has the source @address. */
typedef struct {
	struct nlmsghdr header;
	struct nfgenmsg generic;
	struct nlattr tuple, ip, source;
	struct in_addr address;
	struct nlattr filter, original_flags;
	uint32_t original;
	struct nlattr reply_flags;
	uint32_t reply;
} Sweep;

static void fill_sweep(Sweep *sweep, uint16_t which, struct in_addr address, uint32_t sequence)
{
	const uint16_t word = NLA_HDRLEN + sizeof(uint32_t);
	bool is_original = which == CTA_TUPLE_ORIG;

	*sweep = (Sweep){
		.header = {.nlmsg_len = sizeof(*sweep),
			   .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			   .nlmsg_seq = sequence},
		.generic = {.nfgen_family = AF_INET},
		.tuple = {.nla_len = 2 * NLA_HDRLEN + word, .nla_type = NLA_F_NESTED | which},
		.ip = {.nla_len = NLA_HDRLEN + word, .nla_type = NLA_F_NESTED | CTA_TUPLE_IP},
		.source = {.nla_len = word, .nla_type = CTA_IP_V4_SRC},
		.address = address,
		.filter = {.nla_len = NLA_HDRLEN + 2 * word, .nla_type = NLA_F_NESTED | CTA_FILTER},
		.original_flags = {.nla_len = word, .nla_type = CTA_FILTER_ORIG_FLAGS},
		.original = is_original ? FILTER_SOURCE : 0,
		.reply_flags = {.nla_len = word, .nla_type = CTA_FILTER_REPLY_FLAGS},
		.reply = is_original ? 0 : FILTER_SOURCE,
	};
}

/*
 * Clients have the node as the source of the reply, whoever the node called has it as the
 * original source; translation changes the other addresses of a flow, never these.
 */
int dn_diag_sweep_flows(DnDiag *self, const char *v4)
{
	static const uint16_t tuples[] = {CTA_TUPLE_REPLY, CTA_TUPLE_ORIG};
	uint64_t limit = dn_clock_thread_ns() + DN_DIAG_SWEEP_MS * DN_NS_PER_MS;
	struct in_addr address;
	bool complete = true;

	self->n_flows = 0;
	if (inet_pton(AF_INET, v4, &address) != 1 || self->conntrack_fd < 0)
		return -1;
	dn_diag_drain(self, self->conntrack_fd);
	for (size_t i = 0; i < G_N_ELEMENTS(tuples) && complete; i++) {
		Sweep sweep;

		fill_sweep(&sweep, tuples[i], address, ++self->sequence);
		if (!dn_diag_dump(self, self->conntrack_fd, &sweep, sizeof(sweep), limit, take_flow,
				  &address, &complete))
			return -1;
	}
	if (!complete) {
		/* The kernel would refuse another dump on this socket as busy. */
		dn_fd_clear(&self->conntrack_fd);
		self->conntrack_fd = open_conntrack();
	}
	return (int)self->n_flows;
}

/* Those whose reply comes from @reply_source (NULL: any) and of @protocol (0: any). */
static int delete_flows(DnDiag *self, const struct in_addr *reply_source, uint8_t protocol)
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
	return delete_flows(self, &address, 0);
}

static bool forget(const char *v4, bool udp_clients, GError **error)
{
	g_autoptr(DnDiag) diag = dn_diag_new(error);
	struct in_addr address = {0};

	(void)inet_pton(AF_INET, v4, &address);
	/* A full table may hide more: look again, but not for ever. */
	for (int round = 0; diag != NULL && round < FORGET_ROUNDS; round++) {
		if (dn_diag_sweep_flows(diag, v4) < 0 ||
		    delete_flows(diag, udp_clients ? &address : NULL,
				 udp_clients ? IPPROTO_UDP : 0) < 0)
			return dn_throw_errno(error, errno, "forget the connections of %s", v4);
		if (diag->n_flows < DN_DIAG_FLOWS)
			return true;
	}
	return diag != NULL;
}

bool dn_diag_forget_flows(const char *v4, GError **error)
{
	return forget(v4, false, error);
}

bool dn_diag_forget_udp_clients(const char *v4, GError **error)
{
	return forget(v4, true, error);
}

typedef struct {
	uint32_t network, mask; /* host byte order */
	GHashTable *serving;
} Strays;

/* A client of UDP whose packets go to a node that does not serve. */
static void take_stray(DnDiag *self, const struct nlmsghdr *header, void *data)
{
	const Strays *strays = data;
	const DnDiagFlow *flow = read_flow(self, header);
	char node[INET_ADDRSTRLEN];

	if (flow == NULL || flow->protocol != IPPROTO_UDP ||
	    flow->reply.source.s_addr == flow->original.destination.s_addr ||
	    (ntohl(flow->reply.source.s_addr) & strays->mask) != strays->network ||
	    inet_ntop(AF_INET, &flow->reply.source, node, sizeof(node)) == NULL)
		return;
	if (!g_hash_table_contains(strays->serving, node))
		self->n_flows++;
}

static bool sweep_strays(DnDiag *self, Strays *strays)
{
	struct {
		struct nlmsghdr header;
		struct nfgenmsg generic;
	} request = {
		{.nlmsg_len = sizeof(request),
		 .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
		 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		 .nlmsg_seq = ++self->sequence},
		{.nfgen_family = AF_INET},
	};
	bool complete = false;

	self->n_flows = 0;
	return dn_diag_dump(self, self->conntrack_fd, &request, sizeof(request), UINT64_MAX,
			    take_stray, strays, &complete);
}

static bool parse_cidr(const char *cidr, Strays *strays)
{
	g_auto(GStrv) parts = g_strsplit(cidr, "/", 2);
	struct in_addr address = {0};
	uint64_t bits = 0;

	if (g_strv_length(parts) != 2 || inet_pton(AF_INET, parts[0], &address) != 1 ||
	    !dn_text_parse_u64(parts[1], 32, &bits) || bits == 0)
		return false;
	strays->mask = UINT32_MAX << (32 - bits);
	strays->network = ntohl(address.s_addr) & strays->mask;
	return true;
}

bool dn_diag_forget_udp_strays(const char *node_cidr, GHashTable *serving, GError **error)
{
	g_autoptr(DnDiag) diag = dn_diag_new(error);
	Strays strays = {.serving = serving};

	if (diag == NULL)
		return false;
	if (!parse_cidr(node_cidr, &strays)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s is no range", node_cidr);
		return false;
	}
	for (int round = 0; round < FORGET_ROUNDS; round++) {
		if (!sweep_strays(diag, &strays) || delete_flows(diag, NULL, IPPROTO_UDP) < 0)
			return dn_throw_errno(error, errno, "forget clients of UDP");
		if (diag->n_flows < DN_DIAG_FLOWS)
			break;
	}
	return true;
}
