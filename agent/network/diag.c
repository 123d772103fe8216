/* SPDX-License-Identifier: Apache-2.0 */
#include "network/diag.h"

#include <arpa/inet.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "network/diag-table.h"

bool dn_diag_is_declared(uint16_t port, const uint16_t *ports, size_t n_ports)
{
	for (size_t i = 0; i < n_ports; i++)
		if (ports[i] == port)
			return true;
	return false;
}

bool dn_diag_is_accepted(const DnDiagSocket *found, const uint16_t *ports, size_t n_ports)
{
	return found->protocol == IPPROTO_TCP && found->state != TCP_LISTEN && !found->dialled &&
	       dn_diag_is_declared(ntohs(found->id.idiag_sport), ports, n_ports);
}

void dn_diag_drain(DnDiag *self, int fd)
{
	while (recv(fd, self->answer, sizeof(self->answer), MSG_DONTWAIT) > 0)
		;
}

/* One datagram of a dump. True when the dump goes on. */
static bool take_all(DnDiag *self, size_t length, DnDiagTake take, void *data, int *failure,
		     bool *complete)
{
	size_t left = length;

	for (const struct nlmsghdr *header = (void *)self->answer; NLMSG_OK(header, left);
	     header = NLMSG_NEXT(header, left)) {
		if (header->nlmsg_seq != self->sequence)
			continue;
		if (header->nlmsg_type == NLMSG_DONE) {
			*complete = true;
			return false;
		}
		if (header->nlmsg_type == NLMSG_ERROR) {
			*failure = header->nlmsg_len >= NLMSG_LENGTH(sizeof(int))
					   ? ((const struct nlmsgerr *)NLMSG_DATA(header))->error
					   : -EBADMSG;
			return false;
		}
		take(self, header, data);
	}
	return true;
}

/*
 * A dump is work of the calling thread: sendto() makes the first part, each recv() the next one,
 * nothing is ever waited for. So the limit is one of CPU time. A limit of the clock would cut
 * the dump short whenever other threads come first, and leave clients without their reset.
 */
bool dn_diag_dump(DnDiag *self, int fd, const void *request, size_t size, uint64_t limit_ns,
		  DnDiagTake take, void *data, bool *complete)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int failure = 0;
	ssize_t length;

	*complete = false;
	if (sendto(fd, request, size, MSG_DONTWAIT, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return false;
	do {
		length = recv(fd, self->answer, sizeof(self->answer), MSG_DONTWAIT);
		if (length < 0)
			return false;
	} while (take_all(self, (size_t)length, take, data, &failure, complete) &&
		 dn_clock_thread_ns() < limit_ns);
	return failure == 0;
}

static bool is_loopback(uint8_t family, const __be32 *address)
{
	const struct in6_addr *v6 = (const void *)address;

	if (family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(v6))
		return IN6_IS_ADDR_LOOPBACK(v6);
	return ntohl(address[family == AF_INET ? 0 : 3]) >> 24 == IN_LOOPBACKNET;
}

/* Has it a peer that is not the node itself? What comes from a loopback address stays within. */
static bool leads_outside(const DnDiagSocket *found)
{
	const __be32 *peer = found->id.idiag_dst, *local = found->id.idiag_src;
	size_t size = found->family == AF_INET ? sizeof(__be32) : sizeof(found->id.idiag_dst);

	return found->id.idiag_dport != 0 && memcmp(local, peer, size) != 0 &&
	       !is_loopback(found->family, peer) && !is_loopback(found->family, local);
}

/*
 * What listens comes last: there is no limit to it but the dump's. What is bound and no more
 * (TCP_BOUND_INACTIVE of Linux 6.8, include/net/tcp_states.h) is left out: for it the kernel would
 * walk the bind table of the whole host, 0.3 ms a dump, while clients wait.
 */
enum { LISTENING = 1 << TCP_LISTEN, BOUND = 1 << 13 };

static void take_socket(DnDiag *self, const struct nlmsghdr *header, void *data)
{
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	const uint8_t *protocol = data;

	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)) ||
	    self->n_sockets == DN_DIAG_SOCKETS)
		return;
	DnDiagSocket *found = &self->sockets[self->n_sockets];
	*found = (DnDiagSocket){.family = message->idiag_family,
				.protocol = *protocol,
				.state = message->idiag_state,
				.id = message->id};
	if (*protocol == IPPROTO_TCP)
		dn_diag_read_tcp_info(header, found);
	if (self->n_sockets < DN_DIAG_SOCKETS / 2 || leads_outside(found))
		self->n_sockets++;
}

int dn_diag_dump_sockets(DnDiag *self, int diag_fd)
{
	static const struct {
		uint8_t family, protocol;
		uint32_t states;
	} kinds[] = {
		{AF_INET, IPPROTO_TCP, ~(uint32_t)(LISTENING | BOUND)},
		{AF_INET6, IPPROTO_TCP, ~(uint32_t)(LISTENING | BOUND)},
		{AF_INET, IPPROTO_UDP, ~0U},
		{AF_INET6, IPPROTO_UDP, ~0U},
		{AF_INET, IPPROTO_TCP, LISTENING},
		{AF_INET6, IPPROTO_TCP, LISTENING},
	};
	uint64_t limit = dn_clock_thread_ns() + DN_DIAG_DUMP_MS * DN_NS_PER_MS;
	bool complete = true;

	self->n_sockets = 0;
	dn_diag_drain(self, diag_fd);
	for (size_t i = 0; i < G_N_ELEMENTS(kinds) && complete; i++) {
		uint8_t protocol = kinds[i].protocol;
		struct {
			struct nlmsghdr header;
			struct inet_diag_req_v2 body;
		} request = {
			{.nlmsg_len = sizeof(request),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
			 .nlmsg_seq = ++self->sequence},
			{.sdiag_family = kinds[i].family,
			 .sdiag_protocol = protocol,
			 .idiag_ext = 1 << (INET_DIAG_INFO - 1),
			 .idiag_states = kinds[i].states},
		};

		if (!dn_diag_dump(self, diag_fd, &request, sizeof(request), limit, take_socket,
				  &protocol, &complete))
			return -1;
	}
	return (int)self->n_sockets;
}

int dn_diag_destroy_accepted(DnDiag *self, int diag_fd, const uint16_t *ports, size_t n_ports)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	size_t size = 0;
	int asked = 0;

	for (size_t i = 0; i < self->n_sockets; i++) {
		const DnDiagSocket *found = &self->sockets[i];
		struct {
			struct nlmsghdr header;
			struct inet_diag_req_v2 body;
		} request = {
			{.nlmsg_len = sizeof(request),
			 .nlmsg_type = SOCK_DESTROY,
			 .nlmsg_flags = NLM_F_REQUEST,
			 .nlmsg_seq = ++self->sequence},
			{.sdiag_family = found->family,
			 .sdiag_protocol = IPPROTO_TCP,
			 .idiag_states = ~0U,
			 .id = found->id},
		};

		if (!dn_diag_is_accepted(found, ports, n_ports) ||
		    size + sizeof(request) > sizeof(self->request))
			continue;
		memcpy(self->request + size, &request, sizeof(request));
		size += sizeof(request);
		asked++;
	}
	if (asked > 0 && sendto(diag_fd, self->request, size, MSG_DONTWAIT,
				(struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		asked = -1;
	/* What answers is a socket that went away by itself: no error. */
	dn_diag_drain(self, diag_fd);
	return asked;
}
