/* SPDX-License-Identifier: Apache-2.0 */

/* What is done to all of conntrack's table, for an address. For workers. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/text.h"
#include "network/diag-table.h"

/* Bits of CTA_FILTER_*_FLAGS (the kernel's nf_internals.h): what of a tuple is compared. */
enum { FILTER_SOURCE = 1 << 0, FILTER_PROTOCOL = 1 << 3 };

enum { FORGET_ROUNDS = 64 };

/* Of the file: CPU time before the kernel's filter is the better choice, and a read's size. */
enum { LINES_MS = 50, PIECE = 4096 };

/* Of the entries whose tuple @which (CTA_TUPLE_ORIG or _REPLY) has the source @address. */
typedef struct {
	struct nlmsghdr header;
	struct nfgenmsg generic;
	struct nlattr tuple, ip, source;
	struct in_addr address;
	struct nlattr proto, number;
	uint8_t protocol, unused[3];
	struct nlattr filter, original_flags;
	uint32_t original;
	struct nlattr reply_flags;
	uint32_t reply;
} Sweep;

/* @message is IPCTNL_MSG_CT_GET or _DELETE; @protocol 0: any. */
static void fill_sweep(Sweep *sweep, uint16_t message, uint16_t which, struct in_addr address,
		       uint8_t protocol)
{
	const uint16_t word = NLA_HDRLEN + sizeof(uint32_t);
	uint32_t flags = FILTER_SOURCE | (protocol != 0 ? FILTER_PROTOCOL : 0);
	bool is_original = which == CTA_TUPLE_ORIG;

	*sweep = (Sweep){
		.header = {.nlmsg_len = sizeof(*sweep),
			   .nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | message),
			   .nlmsg_flags = NLM_F_REQUEST |
					  (message == IPCTNL_MSG_CT_GET ? NLM_F_DUMP : NLM_F_ACK)},
		.generic = {.nfgen_family = AF_INET},
		.tuple = {.nla_len = offsetof(Sweep, filter) - offsetof(Sweep, tuple),
			  .nla_type = NLA_F_NESTED | which},
		.ip = {.nla_len = NLA_HDRLEN + word, .nla_type = NLA_F_NESTED | CTA_TUPLE_IP},
		.source = {.nla_len = word, .nla_type = CTA_IP_V4_SRC},
		.address = address,
		.proto = {.nla_len = NLA_HDRLEN + word, .nla_type = NLA_F_NESTED | CTA_TUPLE_PROTO},
		.number = {.nla_len = NLA_HDRLEN + 1, .nla_type = CTA_PROTO_NUM},
		.protocol = protocol,
		.filter = {.nla_len = NLA_HDRLEN + 2 * word, .nla_type = NLA_F_NESTED | CTA_FILTER},
		.original_flags = {.nla_len = word, .nla_type = CTA_FILTER_ORIG_FLAGS},
		.original = is_original ? flags : 0,
		.reply_flags = {.nla_len = word, .nla_type = CTA_FILTER_REPLY_FLAGS},
		.reply = is_original ? 0 : flags,
	};
}

/* What is done to the entries of an address; @protocol 0: any. */
typedef struct {
	struct in_addr address;
	bool clients_alone;
	uint8_t protocol;
} Choice;

/*
 * Clients have the node as the source of the reply, whoever the node called has it as the
 * original source; translation changes the other addresses of a flow, never these. *@complete
 * says whether all of them were seen.
 */
static bool sweep_dump(DnDiag *self, const Choice *choice, bool *complete)
{
	static const uint16_t tuples[] = {CTA_TUPLE_REPLY, CTA_TUPLE_ORIG};
	uint64_t limit = dn_clock_thread_ns() + DN_DIAG_SWEEP_MS * DN_NS_PER_MS;
	size_t n_tuples = choice->clients_alone ? 1 : G_N_ELEMENTS(tuples);
	struct in_addr address = choice->address;

	self->n_flows = 0;
	*complete = true;
	if (self->conntrack_fd < 0)
		return false;
	dn_diag_drain(self, self->conntrack_fd);
	for (size_t i = 0; i < n_tuples && *complete; i++) {
		Sweep sweep;

		fill_sweep(&sweep, IPCTNL_MSG_CT_GET, tuples[i], address, choice->protocol);
		sweep.header.nlmsg_seq = ++self->sequence;
		if (!dn_diag_dump(self, self->conntrack_fd, &sweep, sizeof(sweep), limit,
				  dn_diag_take_flow, &address, complete))
			return false;
	}
	if (!*complete) {
		/* The kernel would refuse another dump on this socket as busy. */
		dn_fd_clear(&self->conntrack_fd);
		self->conntrack_fd = dn_diag_open_conntrack();
	}
	*complete = *complete && self->n_flows < DN_DIAG_FLOWS;
	return true;
}

/* Before Linux 6.16 each read(2) of the file begins at the first bucket, and counts from there. */
static bool file_is_read_on(void)
{
	struct utsname host;
	unsigned major = 0, minor = 0;

	return uname(&host) == 0 && sscanf(host.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 16));
}

/* False when not all of it was read: there is no such file, or too much in it. */
static bool sweep_lines(DnDiag *self, const char *v4, struct in_addr address)
{
	uint64_t limit = dn_clock_thread_ns() + LINES_MS * DN_NS_PER_MS;
	FILE *file = dn_failpoint("agent.flows.read.before", NULL) && file_is_read_on()
			     ? fopen("/proc/thread-self/net/nf_conntrack", "re")
			     : NULL;
	char *line = NULL;
	size_t size = 0;

	if (file == NULL)
		return false;
	(void)setvbuf(file, NULL, _IOFBF, PIECE);
	self->n_flows = 0;
	while (self->n_flows < DN_DIAG_FLOWS && dn_clock_thread_ns() < limit &&
	       getline(&line, &size, file) > 0)
		if (strstr(line, v4) != NULL &&
		    dn_diag_read_line(line, &self->flows[self->n_flows]) &&
		    dn_diag_flow_names(&self->flows[self->n_flows], address))
			self->n_flows++;
	bool is_whole = feof(file) != 0;
	free(line);
	(void)fclose(file);
	self->cut_short = !is_whole;
	return is_whole || self->n_flows == DN_DIAG_FLOWS;
}

/*
 * A dump by ctnetlink takes a lock for each bucket, 10 ms for an empty table and again for the
 * other tuple, in which this processor takes no packet of anybody; the file takes 0.6, and gives
 * way.
 */
int dn_diag_sweep_flows(DnDiag *self, const char *v4)
{
	Choice choice = {0};
	bool complete = false;

	if (inet_pton(AF_INET, v4, &choice.address) != 1)
		return -1;
	if (sweep_lines(self, v4, choice.address))
		return (int)self->n_flows;
	if (!sweep_dump(self, &choice, &complete))
		return -1;
	self->cut_short = !complete;
	return (int)self->n_flows;
}

/* In one walk of the kernel's own. One that does not know such a filter refuses: -EINVAL. */
static int delete_by_source(DnDiag *self, uint16_t which, struct in_addr address, uint8_t protocol)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	const struct nlmsghdr *header = (void *)self->answer;
	Sweep sweep;

	dn_diag_drain(self, self->conntrack_fd);
	fill_sweep(&sweep, IPCTNL_MSG_CT_DELETE, which, address, protocol);
	sweep.header.nlmsg_seq = ++self->sequence;
	if (sendto(self->conntrack_fd, &sweep, sizeof(sweep), 0, (struct sockaddr *)&kernel,
		   sizeof(kernel)) < 0)
		return -errno;
	ssize_t length = recv(self->conntrack_fd, self->answer, sizeof(self->answer), MSG_DONTWAIT);
	if (length < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) ||
	    header->nlmsg_type != NLMSG_ERROR || header->nlmsg_seq != sweep.header.nlmsg_seq)
		return -EPROTO;
	return ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
}

/* Linux 6.11 and later. */
static bool delete_now(DnDiag *self, const Choice *choice)
{
	return dn_failpoint("agent.flows.delete.before", NULL) &&
	       delete_by_source(self, CTA_TUPLE_REPLY, choice->address, choice->protocol) == 0 &&
	       (choice->clients_alone ||
		delete_by_source(self, CTA_TUPLE_ORIG, choice->address, choice->protocol) == 0);
}

static bool forget(const char *v4, bool clients_alone, uint8_t protocol, GError **error)
{
	Choice choice = {.clients_alone = clients_alone, .protocol = protocol};

	if (inet_pton(AF_INET, v4, &choice.address) != 1) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s is no address", v4);
		return false;
	}
	g_autoptr(DnDiag) diag = dn_diag_new(error);
	if (diag == NULL || delete_now(diag, &choice))
		return diag != NULL;
	/* A full table may hide more: look again, but not for ever. */
	for (int round = 0; round < FORGET_ROUNDS; round++) {
		bool complete = false;

		if (!sweep_dump(diag, &choice, &complete) ||
		    dn_diag_delete_flows(diag, clients_alone ? &choice.address : NULL, protocol) <
			    0)
			return dn_throw_errno(error, errno, "forget the connections of %s", v4);
		if (complete)
			return true;
	}
	return dn_throw_errno(error, EAGAIN, "forget the connections of %s", v4);
}

bool dn_diag_forget_flows(const char *v4, GError **error)
{
	return forget(v4, false, 0, error);
}

bool dn_diag_forget_clients(const char *v4, GError **error)
{
	return forget(v4, true, 0, error);
}

bool dn_diag_forget_udp_clients(const char *v4, GError **error)
{
	return forget(v4, true, IPPROTO_UDP, error);
}

typedef struct {
	uint32_t network, mask; /* host byte order */
	GHashTable *serving;
} Strays;

/* A client of UDP whose packets go to a node that does not serve. */
static void take_stray(DnDiag *self, const struct nlmsghdr *header, void *data)
{
	const Strays *strays = data;
	const DnDiagFlow *flow = dn_diag_next_flow(self, header);
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
		if (!sweep_strays(diag, &strays) ||
		    dn_diag_delete_flows(diag, NULL, IPPROTO_UDP) < 0)
			return dn_throw_errno(error, errno, "forget clients of UDP");
		if (diag->n_flows < DN_DIAG_FLOWS)
			break;
	}
	return true;
}
