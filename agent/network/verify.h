/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Is a quarantined node really cut off? Asked from outside, in both directions, with packets.
 * Nothing of the node's is executed and nothing of ours is left in its namespace.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Outwards only, for a node that is isolated and serves on: a datagram that begins something, from
 * a socket in @netns to the host's end of its link, must not arrive. Fails as the next one does.
 */
bool dn_network_verify_mute_now(const char *netns, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Inwards: a connection to each of @ports of @address, and one to a port nobody declared, must
 * not come about. Outwards: a datagram from a socket opened in the node's namespace @netns to the
 * host's end of its link must not arrive. Fails with DN_ERROR_UNTRUSTED when a packet passed,
 * with another error when the question could not be asked. About 30 ms, blocking: a worker's.
 */
bool dn_network_verify_cut_now(const char *netns, const char *address, const uint16_t *ports,
			       size_t n_ports, GError **error) G_GNUC_WARN_UNUSED_RESULT;
