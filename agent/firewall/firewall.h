/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Balancer and node firewall: one nftables table "dnode" (family inet) in the instance's
 * network namespace, written through libnftables. The state is always stated whole; what
 * differs from the last applied state is changed in one transaction.
 *
 * Not thread-safe: one DnFirewall a thread. The reflex owns one for the case that a replay fails.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/manifest.h"

typedef struct {
	char *address; /* IPv4 */
	uint16_t port;
} DnEndpoint;

/* One VIP and port of a service with the nodes behind it. */
typedef struct {
	char *vip;
	uint16_t expose;
	bool publish_host; /* also on the host's own addresses */
	GArray *local;     /* of DnEndpoint: used alone while there is one */
	GArray *remote;    /* of DnEndpoint: used when no local one is left */
} DnBalanced;

typedef struct {
	char *address;
	char *ifname; /* host's end of the veth */
	bool quarantined;
	GArray *listen; /* of DnListen; borrowed from the manifest */
	/* What it may open, resolved: services are already VIPs. of DnAllowed */
	GArray *egress;
} DnGuarded;

typedef struct {
	char *cidr;
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

typedef struct DnFirewall DnFirewall;

typedef struct {
	const char *uplink;    /* cross-host traffic to a VIP is masqueraded when it leaves here */
	const char *node_cidr; /* all nodes of the cluster */
	const char *vip_cidr;
} DnFirewallConfig;

DnFirewall *dn_firewall_new(const DnFirewallConfig *config,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_firewall_free(DnFirewall *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnFirewall, dn_firewall_free)

/*
 * Make the table what @state says. The first call replaces whatever an earlier agent left, in
 * one transaction, so that established connections and quarantines never see a gap.
 */
bool dn_firewall_apply(DnFirewall *self, const DnFirewallState *state,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The bytes of the netlink batch that takes the node at @address out of every balanced entry,
 * puts it into the quarantine set, and puts @standby_address (or NULL) in its place. Nothing is
 * sent. The batch carries no generation number, so it can be replayed after other changes.
 */
GBytes *dn_firewall_serialise_cut(DnFirewall *self, const DnFirewallState *state,
				  const char *address, const char *standby_address,
				  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same through libnftables, now: for a plan whose replay the kernel refused. */
bool dn_firewall_cut(DnFirewall *self, const DnFirewallState *state, const char *address,
		     const char *standby_address, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A NETLINK_NETFILTER socket for replays, and one replay: no allocation. 0, or -errno of the
 * kernel's answer. */
int dn_firewall_open_replay(GError **error) G_GNUC_WARN_UNUSED_RESULT;
int dn_firewall_replay(int netlink_fd, const void *batch, size_t size);

/* Delete the table. */
bool dn_firewall_remove(DnFirewall *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
