/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A node's network: its own namespace, reached by a routed veth pair. The host's end has
 * 169.254.1.1/32, the node's end its own /32; neighbours are static, no bridge is shared.
 * Blocking, milliseconds; the caller is already in the instance's network namespace.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/instance.h"

typedef struct {
	char *v4; /* dotted, always */
	char *v6; /* or NULL */
} DnAddress;

typedef struct {
	const char *node;
	unsigned slot; /* names the host's end dnSLOT */
	DnAddress address;
	uint16_t unprivileged_port_start; /* net.ipv4.ip_unprivileged_port_start in the node: 0 */
} DnNetworkSpec;

typedef struct {
	unsigned ifindex; /* of the host's end */
	char ifname[16];
	int diag_fd; /* NETLINK_SOCK_DIAG socket opened inside the node's namespace */
} DnNetwork;

/* The bound name of the node's namespace: /run/netns/<instance name>-<node>; shown by ip-netns(8).
 */
char *dn_network_netns_path(const DnInstance *instance, const char *node);

/* The host's end of the slot's veth: dnSLOT. */
void dn_network_link_name(unsigned slot, char name[16]);

/* Forwarding, no redirects, the child ehash size new namespaces get (tcp_child_ehash_entries),
 * loopback up. */
bool dn_network_prepare_host(const DnInstance *instance, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * All or nothing: a failure takes away again what the attempt made. A name or link that is there
 * already fails with DN_ERROR_CONFLICT: delete it first. The node has no IPv6, but dual-stack
 * sockets carry IPv4.
 */
bool dn_network_create_now(const DnInstance *instance, const DnNetworkSpec *spec, DnNetwork *made,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same ahead of need: @spec->node is NULL, and the namespace has no name but *@ns_fd, with
 * which it would go. dn_network_name_now() makes it the network of @node in microseconds.
 */
bool dn_network_create_unnamed_now(const DnInstance *instance, const DnNetworkSpec *spec,
				   DnNetwork *made, int *ns_fd,
				   GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_network_name_now(const DnInstance *instance, int ns_fd, const char *node,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Find again what an earlier agent made; fails with DN_ERROR_UNAVAILABLE when a part is gone. */
bool dn_network_adopt_now(const DnInstance *instance, const DnNetworkSpec *spec, DnNetwork *found,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Remove the link, its routes and the name of the namespace (which goes with its last process),
 * and forget the connections that conntrack knows of the address. What is not there is no error.
 */
bool dn_network_delete_now(const DnInstance *instance, const DnNetworkSpec *spec,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Take the host's end down and away: the last resort when a cut cannot be verified. */
bool dn_network_remove_link_now(const DnInstance *instance, unsigned slot,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Other hosts' node ranges: replace the whole set of host-gw routes, which carry a protocol number
 * of ours (157). Somebody else's route to one of the ranges is a DN_ERROR_CONFLICT.
 */
typedef struct {
	char *cidr;
	char *via;
} DnHostRoute;
bool dn_network_set_routes_now(const GPtrArray *routes /* DnHostRoute */,
			       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Close what create or adopt opened. */
void dn_network_close(DnNetwork *self);
