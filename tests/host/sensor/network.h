/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A node with a network: a process in the cgroup "n0" and in a network namespace of its own,
 * joined to the test's namespace by a veth. It obeys one-letter commands. Slot 1, port 8080
 * declared, 8081 open but not declared.
 */

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "fixture.h"

#define HOST_V4 "10.0.0.1"
#define NODE_V4 "10.0.0.2"
#define HOST_V6 "fd00::1"
#define NODE_V6 "fd00::2"

enum {
	SLOT = 1,
	DECLARED = 8080,
	UNDECLARED = 8081,
	DECLARED_UDP = 5353, /* answers with what it was sent */
	UNDECLARED_UDP = 5354,
	HOST_UDP = 9000,
	HOST_TCP = 9001,
};

typedef struct {
	Host *host;
	pid_t pid;
	int command_fd;
	char ifname[16];
	unsigned ifindex, peer_index; /* of the host's end and of the node's */
	int net_fd;                   /* its namespace */
	DnSensorNode node;
} NetNode;

void net_node_set_up(NetNode *self, Host *host);
void net_node_tear_down(NetNode *self);

/* 'w': a byte to every accepted connection; 'u': a datagram to the host, both families;
 * 'f': datagrams to the host from now on, without end; 'c': begin a connection to the host, 's':
 * one from the declared port. Returns when it was done. */
void net_node_tell(NetNode *self, char command);

volatile struct dn_sensor_mark *net_node_mark(NetNode *self);

/* Cut it by hand. */
void net_node_cut(NetNode *self);

/* Call socket(2) in the node's namespace, from outside the node's cgroup. */
int net_node_socket(NetNode *self, int family, int type, int protocol);

/* SOCK_DESTROY for what is connected to @port, as ss -K does it. */
void net_node_destroy(NetNode *self, unsigned port);

/* Connect to the node; 0 or errno. *@fd_out is the socket. At most 3 s. */
int net_connect(const char *address, uint16_t port, int *fd_out);

/* recv(2) of one byte within @limit_ms: 1, 0 at the end, -errno; -EAGAIN when nothing came. */
int net_receive(int fd, unsigned limit_ms);

/* A socket bound to HOST_UDP for both families. */
int net_udp_socket(void);

/* A listener on HOST_TCP. */
int net_tcp_listener(void);

/* A datagram to @port of the node, and what came back, as net_receive() says. */
int net_ask(uint16_t port, unsigned limit_ms);

uint16_t net_checksum(const void *bytes, size_t length, uint32_t sum);
