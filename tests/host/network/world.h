/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A little world of network namespaces for one test: host A (where the test itself runs), host B
 * and a client on one layer 2. It lives in mount and network namespaces of the test process, so
 * nothing of it is seen outside and nothing is left behind, however the test ends.
 *
 *	client 10.88.0.2 ──┐
 *	host A 10.88.0.1 ──┼── switch		VIPs 10.99.0.0/16 by way of host A
 *	host B 10.88.0.3 ──┘			nodes A 10.77.0.0/24, B 10.77.1.0/24
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fd.h"
#include "core/instance.h"
#include "firewall/firewall.h"
#include "network/network.h"

#define WORLD_CLIENT "10.88.0.2"
#define WORLD_HOST_A "10.88.0.1"
#define WORLD_HOST_B "10.88.0.3"
#define WORLD_VIP "10.99.0.1"

typedef struct {
	DnNetworkSpec spec;
	DnNetwork network;
	int ns_fd;
} WorldNode;

extern const DnInstance world_instance;
extern const DnFirewallConfig world_config;
extern int world_host_a, world_host_b, world_client; /* namespaces */

void world_begin(void);
void world_end(void);

/* Fail the test with the error's text when @done is false. (A pointer to the error: it is set
 * while the arguments are evaluated.) */
void world_must(bool done, GError *const *error);

/* A node of host A: n<slot>, 10.77.0.<slot + 1>. Taken away by world_end(). */
WorldNode *world_node(unsigned slot);
void world_forget_nodes(void);

/* A shell command within @ns_fd; its output, which the test must free. */
char *world_sh(int ns_fd, const char *command);

/* A socket that only has to be there until the end of its scope. */
#define world_held dn_autofd G_GNUC_UNUSED

/* Sockets live in a namespace, whatever thread uses them. */
int world_bind(int ns_fd, uint16_t port); /* TCP; port 0: any */
int world_listen(int ns_fd, uint16_t port);
int world_listen6(int ns_fd, uint16_t port); /* [::], dual stack */
int world_udp(int ns_fd, const char *address, uint16_t port);
int world_raw_tcp(int ns_fd); /* sees every TCP packet that comes in */

/* A connected socket, or -errno; -ETIMEDOUT after a second without an answer. */
int world_dial(int ns_fd, const char *address, uint16_t port);
/* From the port @from, on which somebody may listen who lets it be shared. */
int world_dial_from(int ns_fd, uint16_t from, const char *address, uint16_t port);

/* The next connection that waits at @listener and its peer's address, or -1. */
int world_accept(int listener, char peer[16]);

/* What the reader finds within a second: the number of bytes, 0 at the end, or -errno. */
int world_read(int fd, char *buffer, size_t size);
bool world_send_to(int fd, const char *address, uint16_t port, const char *text);
void world_raise_file_limit(unsigned files);

/* Nothing may arrive: 50 ms of silence. */
bool world_is_silent(int fd);
