/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The requests of rtnetlink that a node's network consists of. A socket stays in the network
 * namespace it was opened in, whatever its thread does later.
 */

#include <glib.h>
#include <netlink/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct nl_sock DnRtnl;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnRtnl, nl_socket_free)

DnRtnl *dn_rtnl_open(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Fill @error from a negative answer of libnl, coded by remedy. Always returns false. */
bool dn_rtnl_throw(GError **error, int answer, const char *doing, ...) G_GNUC_PRINTF(3, 4);

typedef struct {
	unsigned ifindex;
	unsigned peer; /* ifindex of the other end of a veth, in its namespace */
	bool up;
} DnRtnlLink;

/* False without an error when there is no link of that name. */
bool dn_rtnl_find_link(DnRtnl *self, const char *name, DnRtnlLink *found, GError **error);

typedef struct {
	const char *name, *peer; /* the peer is made in @peer_ns_fd */
	uint8_t mac[6], peer_mac[6];
	int peer_ns_fd;
} DnRtnlVeth;

bool dn_rtnl_add_veth(DnRtnl *self, const DnRtnlVeth *veth, GError **error);
/* A link that is not there is no error. */
bool dn_rtnl_delete_link(DnRtnl *self, const char *name, GError **error);
bool dn_rtnl_set_up(DnRtnl *self, unsigned ifindex, GError **error);

/*
 * After both ends of a veth were set up: make the kernel act on the carrier now. It would do so in
 * a work queue, and drop what is sent until then; a dropped SYN costs its client a second.
 * @socket_fd is any socket of the link's namespace.
 */
bool dn_rtnl_settle(int socket_fd, const char *name, GError **error);

bool dn_rtnl_add_address(DnRtnl *self, unsigned ifindex, const char *address, GError **error);
bool dn_rtnl_has_address(DnRtnl *self, unsigned ifindex, const char *address, bool *has,
			 GError **error);
/* A neighbour that is never asked for. */
bool dn_rtnl_add_neighbour(DnRtnl *self, unsigned ifindex, const char *address,
			   const uint8_t mac[6], GError **error);

typedef struct {
	const char *destination; /* ADDRESS/PREFIX */
	const char *gateway;     /* or NULL: on the link */
	unsigned ifindex;        /* 0: whatever leads to the gateway */
	uint8_t protocol;        /* RTPROT_…: who made it */
	bool replace;
} DnRtnlRoute;

bool dn_rtnl_add_route(DnRtnl *self, const DnRtnlRoute *route, GError **error);

/* The interface that packets to @address leave by; 0: none. */
bool dn_rtnl_route_interface(DnRtnl *self, const char *address, unsigned *ifindex, GError **error);
