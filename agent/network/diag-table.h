/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Inside of DnDiag, shared by the sockets', the flows' and the printing half. */

#include <glib.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "network/diag.h"

typedef struct {
	uint8_t family, protocol, state;
	bool dialled; /* the node opened it, by its flow; one that listens there is no proof */
	struct inet_diag_sockid id;
	/* of tcp_info (tcp(7)); 0 where there is none */
	uint64_t bytes_sent, bytes_received;
	uint32_t rtt_us;
} DnDiagSocket;

/* Read the tcp_info that came with @header, if one did. No allocation. */
void dn_diag_read_tcp_info(const struct nlmsghdr *header, DnDiagSocket *found);

typedef struct {
	struct in_addr source, destination;
	uint16_t source_port, destination_port;
} DnDiagWay;

enum { DN_DIAG_TUPLE = 96 };

typedef struct {
	uint8_t protocol, tcp_state;
	uint32_t status, timeout_s;
	DnDiagWay original, reply;
	uint16_t tuple_size;          /* of the kernel's own original tuple, */
	uint8_t tuple[DN_DIAG_TUPLE]; /* which a deletion hands back */
} DnDiagFlow;

/* False when @header holds no entry. No allocation. */
bool dn_diag_read_flow(const struct nlmsghdr *header, DnDiagFlow *flow);

/*
 * The same of a line of /proc/net/nf_conntrack, untrusted; without the tuple, so it is not for
 * dn_diag_delete_flows(). False for what is not IPv4 or no such line.
 */
bool dn_diag_read_line(const char *line, DnDiagFlow *flow);

/* Is one of its four addresses @address? */
bool dn_diag_flow_names(const DnDiagFlow *flow, struct in_addr address);

/* enum tcp_conntrack of a word of conntrack(8); TCP_CONNTRACK_NONE for an unknown one. */
uint8_t dn_diag_flow_state(const char *word);

struct DnDiag {
	int conntrack_fd; /* owned */
	uint32_t sequence;
	size_t n_sockets, n_flows;
	bool cut_short; /* the last sweep has not seen all of the table */
	DnDiagSocket sockets[DN_DIAG_SOCKETS];
	DnDiagFlow flows[DN_DIAG_FLOWS];
	uint8_t answer[65536] __attribute__((aligned(NLMSG_ALIGNTO)));
	uint8_t request[DN_DIAG_FLOWS * (DN_DIAG_TUPLE + 32)]
		__attribute__((aligned(NLMSG_ALIGNTO)));
};

/*
 * Send the dump @request of @size bytes and give every answer to @take, until the kernel is done
 * or until the thread's CPU clock reaches @limit_ns. False on an error; *@complete says whether the
 * end came.
 */
typedef void (*DnDiagTake)(DnDiag *self, const struct nlmsghdr *header, void *data);
bool dn_diag_dump(DnDiag *self, int fd, const void *request, size_t size, uint64_t limit_ns,
		  DnDiagTake take, void *data, bool *complete);

/* A NETLINK_NETFILTER socket in the current network namespace; -1 and errno. */
int dn_diag_open_conntrack(void);

/* The next free row, filled with the entry of @header; NULL when it holds none or all are taken. */
DnDiagFlow *dn_diag_next_flow(DnDiag *self, const struct nlmsghdr *header);

/* A DnDiagTake: keep what names the struct in_addr @data, once. */
void dn_diag_take_flow(DnDiag *self, const struct nlmsghdr *header, void *data);

/*
 * Delete the flows that were read last by their tuple, whoever has it by now: whose reply comes
 * from @reply_source (NULL: any) and of
 * @protocol (0: any). Returns how many were asked for, -1 and errno.
 */
int dn_diag_delete_flows(DnDiag *self, const struct in_addr *reply_source, uint8_t protocol);

/* Answers nobody asked for: read them away without waiting. */
void dn_diag_drain(DnDiag *self, int fd);

/* Did it come in on one of @ports? Of a flow that was not looked up, its port has to say. */
bool dn_diag_is_accepted(const DnDiagSocket *found, const uint16_t *ports, size_t n_ports);
bool dn_diag_is_declared(uint16_t port, const uint16_t *ports, size_t n_ports);
