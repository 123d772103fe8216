/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The manifests that this host has accepted. */

#include "main/agent.h"

/*
 * Accept that of @order: verified by this host's own trust file, of an epoch that may follow what
 * it has, and on disk before this returns.
 */
bool dn_manifests_obey(Agent *agent, const DnOrder *order,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Let go those that no node, share or epoch names any more. */
void dn_manifests_forget_unused(Agent *agent);
