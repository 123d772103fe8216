/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the fleet does about one node that its host has cut: nobody sends it traffic any more. */

#include "core/state.h"

/* Which nodes are cut, from the incidents in force. */
void dn_response_recount(DnFleetCore *core);
/* The same after @incident alone is new or has changed. */
void dn_response_note(DnFleetCore *core, const DnIncident *incident);
bool dn_response_is_cut(const DnFleetCore *core, const char *node);

/*
 * From now on, tell the incident's host once every other connected host has answered an
 * assignment that does not name the node. Does nothing when that stage was reached already.
 */
void dn_response_watch(DnFleetCore *core, const DnIncident *incident);

/* A host has connected anew: what it answered before says nothing of its balancer now. */
void dn_response_reconnected(DnFleetCore *core, const char *host);

/* Send the stamps that are due. */
void dn_response_step(DnFleetCore *core, DnActs *acts);
