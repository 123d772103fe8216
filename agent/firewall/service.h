/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the text for libnftables and the prepared batch must agree on: the chain of a balanced
 * entry, and who is behind it once a node was cut.
 */

#include <glib.h>
#include <netinet/in.h>
#include <stdbool.h>

#include "base/error.h"
#include "firewall/firewall.h"

#define DN_TABLE "dnode"

/* "tcp" or "udp". */
const char *dn_service_protocol(DnProtocol protocol);

/* Unique for VIP, protocol and port: svc_10_99_0_1_tcp_80. */
char *dn_service_chain(const DnBalanced *balanced);

bool dn_service_has(const DnBalanced *balanced, const char *address);

/*
 * The endpoints new connections go to: the local ones, or the remote ones when there is no local
 * one. @without (or NULL) is left out; @instead (or NULL) takes its place, with its port. An
 * address of @quarantined (a set of char *, or NULL) is left out as well.
 */
GArray *dn_service_endpoints(const DnBalanced *balanced, GHashTable *quarantined,
			     const char *without, const char *instead);

/* Every string below reaches nft's parser or the kernel: refuse what is not exactly that. */
bool dn_service_parse_address(const char *text, struct in_addr *address, GError **error);
bool dn_service_check(const DnBalanced *balanced, GError **error);
