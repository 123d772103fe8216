/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a host may be told of its share of a service, as far as shares themselves show it. One that
 * passes here is one that the balancer can take: a row that it cannot take would stop all others.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/fleet.h"

enum {
	DN_SHARES_LIMIT = 1024,    /* services one host has a share of; as many as a cluster has */
	DN_SHARE_ENDPOINTS = 1024, /* behind one VIP and port */
};

/* Room for one more service beside @known? DN_ERROR_EXHAUSTED: no. */
bool dn_share_has_room(guint known, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Are the addresses of @share the cluster's, and its ports some? DN_ERROR_UNTRUSTED: an address is
 * outside the range it belongs to. DN_ERROR_INVALID: an endpoint has no port, or a port of the VIP
 * is named twice. DN_ERROR_EXHAUSTED: a port has too many endpoints.
 */
bool dn_share_check(const DnAssign *share, const char *node_cidr, const char *vip_cidr,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @share, if it asks for fewer than @nodes of @digest, asks for so many running ones. */
void dn_share_raise(DnAssign *share, const char *digest, uint64_t epoch, uint32_t nodes);

/* Do they, of two services, claim the same port of the same VIP? */
bool dn_shares_collide(const DnAssign *a, const DnAssign *b);
