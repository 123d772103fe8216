/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whose replacements those are that a service may have: respawn{count within} of its manifest,
 * shared out among the hosts that carry it. A host replaces by itself, at once and also when it is
 * alone, so what it may is granted beforehand.
 *
 *   grant of a host = what it has spent within `within`
 *                   + its part of what all of them have left, and at least one of that
 *
 * So no host's first drift goes without a replacement while anything is left, and what one host
 * does not need moves to those that do. The price: hosts that drift within the milliseconds until
 * they hear of each other may together replace one node each where fewer were left.
 */

#include "core/state.h"

/*
 * char * host → uint32_t by GUINT_TO_POINTER; nothing for a host that carries none. Free with
 * g_hash_table_unref(). Notes in @service when the next of them changes by itself.
 */
GHashTable *dn_grants_new(const DnFleetCore *core, DnService *service, DnNow now);

/* Is it that time? */
bool dn_grants_are_due(const DnService *service, DnNow now);
