/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Balancer and node firewall: one nftables table "dnode" (family inet) in the instance's
 * network namespace, written through libnftables. The state is always stated whole; what
 * differs from the last applied state is changed in one transaction.
 *
 * What the table does with a node (its end of the veth on the host is called dn…; a packet from
 * or to such an interface that no rule names is refused, so a node that was not applied yet has
 * no network):
 *   - in: new connections only to declared ports, from anywhere; from the host itself to any
 *     port, since health probes need that;
 *   - out: replies, and new connections to what it declared, judged by the address it asked
 *     for (a VIP stays a VIP although it is translated before the decision);
 *   - never to the host's own addresses, never with another source address, never IPv6;
 *   - quarantined: nothing in either direction; a TCP client is told by a reset;
 *   - isolated: what clients begin passes, in both directions; what it began itself does not, not
 *     even of connections that were there before.
 *
 * Not thread-safe: one DnFirewall a thread. The reflex owns one for the case that a replay fails.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/share.h"
#include "model/manifest.h"

enum { DN_FIREWALL_ENDPOINTS = DN_SHARE_ENDPOINTS }; /* more are refused */

typedef struct {
	char *address; /* IPv4 */
	uint16_t port;
} DnEndpoint;

/* One VIP and port of a service with the nodes behind it. */
typedef struct {
	char *vip;
	uint16_t expose;
	DnProtocol protocol; /* TCP unless changed */
	bool publish_host;   /* also on the host's own addresses, 127.0.0.0/8 excepted */
	GArray *local;       /* of DnEndpoint: used alone while there is one */
	GArray *remote;      /* of DnEndpoint: used when no local one is left */
} DnBalanced;

typedef struct {
	char *address;
	char *ifname; /* host's end of the veth: dn… */
	bool quarantined;
	bool isolated;
	GArray *listen; /* of DnListen; borrowed from the manifest */
	/* What it may open, resolved: services are already VIPs. of DnAllowed */
	GArray *egress;
} DnGuarded;

typedef struct {
	char *cidr;    /* a range of IPv6 is legal and has no effect: nodes have none yet */
	uint16_t port; /* 0: every */
	DnProtocol protocol;
} DnAllowed;

typedef struct {
	GPtrArray *balanced; /* of DnBalanced */
	GPtrArray *guarded;  /* of DnGuarded */
} DnFirewallState;

DnFirewallState *dn_firewall_state_new(void);
void dn_firewall_state_free(DnFirewallState *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFirewallState, dn_firewall_state_free)
DnBalanced *dn_balanced_new(const char *vip, uint16_t expose);
DnGuarded *dn_guarded_new(const char *address, const char *ifname);

/* Append to DnBalanced.local or .remote, to DnGuarded.egress. */
void dn_endpoints_add(GArray *endpoints, const char *address, uint16_t port);
void dn_guarded_allow(DnGuarded *self, const char *cidr, uint16_t port, DnProtocol protocol);

typedef struct DnFirewall DnFirewall;

typedef struct {
	const char *uplink;    /* cross-host traffic to a VIP is masqueraded when it leaves here */
	const char *node_cidr; /* all nodes of the cluster */
	const char *vip_cidr;
} DnFirewallConfig;

/* Bound to the network namespace that the calling thread is in. */
DnFirewall *dn_firewall_new(const DnFirewallConfig *config,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_firewall_free(DnFirewall *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFirewall, dn_firewall_free)

/*
 * Make the table what @state says. The first call replaces whatever an earlier agent left, in
 * one transaction, so that established connections and quarantines never see a gap. A
 * difference that the kernel refuses (somebody else changed the table) becomes a replacement.
 * A quarantined node is left out of the balancer even where @state still names it.
 */
/* Somebody else has changed the table: the next dn_firewall_apply() replaces the whole of it. */
void dn_firewall_distrust(DnFirewall *self);

bool dn_firewall_apply(DnFirewall *self, const DnFirewallState *state,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The bytes of the netlink batch that takes the node at @address out of every balanced entry,
 * puts it into the quarantine set, and puts @standby_address (or NULL) in its place. Nothing is
 * sent. The batch carries no generation number, so it can be replayed after other changes; and
 * it is complete, so one with a standby may follow one without (a created standby's promotion).
 * Tens of microseconds: it does not ask the kernel.
 */
GBytes *dn_firewall_serialise_cut(DnFirewall *self, const DnFirewallState *state,
				  const char *address, const char *standby_address,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The batch that opens or closes the exemption for resets: while it is open, header-only RSTs
 * of the quarantined @address from one of @ports pass. Opened once the node is frozen, closed
 * when its accepted sockets were destroyed. Both may be replayed in any order; with no
 * port the batch is empty, and replaying that does nothing.
 */
GBytes *dn_firewall_serialise_window(DnFirewall *self, const char *address, const uint16_t *ports,
				     size_t n_ports, bool open,
				     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The batch that puts the node at @address among the isolated ones. May be replayed again. */
GBytes *dn_firewall_serialise_isolation(DnFirewall *self, const char *address,
					GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The cut through libnftables, now: for a plan whose replay the kernel refused. */
bool dn_firewall_cut(DnFirewall *self, const DnFirewallState *state, const char *address,
		     const char *standby_address, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A NETLINK_NETFILTER socket for replays, and one replay: no allocation. 0, or -errno of the
 * kernel's answer. */
int dn_firewall_open_replay(GError **error) G_GNUC_WARN_UNUSED_RESULT;
int dn_firewall_replay(int netlink_fd, const void *batch, size_t size);

/* Delete the table. One that is not there is no error. */
bool dn_firewall_remove(DnFirewall *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether the kernel answers nftables here: reads its tables, changes nothing. */
bool dn_firewall_probe_now(GError **error) G_GNUC_WARN_UNUSED_RESULT;
