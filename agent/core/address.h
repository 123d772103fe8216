/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The address plan of a host: slot i of the host's /24 has address .1 + i. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Parse "A.B.C.D/24" into its network, host byte order. */
bool dn_address_parse_host_cidr(const char *cidr, uint32_t *network,
				GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Is @address one of @cidr, both IPv4? What is written in another way is not. */
bool dn_address_is_within(const char *cidr, const char *address);

/* Dotted address of @slot. */
char *dn_address_of_slot(uint32_t network, uint32_t slot) G_GNUC_WARN_UNUSED_RESULT;

/* The slot below @slots whose address is @address; @slots when it is none of this network's. */
uint32_t dn_address_find_slot(uint32_t network, uint32_t slots, const char *address);
