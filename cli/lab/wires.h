/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The network namespaces of a lab and the wires between them. Needs iproute2's ip(8). */

#include <stdbool.h>

#include "lab/layout.h"

/* Make what is missing; @vip_cidr is routed from the client over every host. */
bool dn_lab_wires_make(const DnLab *lab, const char *vip_cidr,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Remove every namespace of this lab, also those of hosts that @lab does not know. */
bool dn_lab_wires_remove(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether the namespace @netns is there. */
bool dn_lab_wires_has(const char *netns);
