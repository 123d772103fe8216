/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the fleet does about one node that its host has cut, or drains: nobody sends it traffic any
 * more, and its host is told when that is so.
 */

#include "core/state.h"

/* Which nodes are cut, from the incidents in force. */
void dn_response_recount(DnFleetCore *core);
/* The same after @incident alone is new or has changed. */
void dn_response_note(DnFleetCore *core, const DnIncident *incident);
/* By an incident of its own host: no other can cut it. */
bool dn_response_is_cut(const DnFleetCore *core, const DnNodeRecord *node);

/*
 * From now on, tell the incident's host once every other connected host has answered an
 * assignment that does not name the node. Does nothing when that stage was reached already.
 */
void dn_response_watch(DnFleetCore *core, const DnIncident *incident);

/*
 * The same for a node that drains: what other hosts' balancers still send it must be finished
 * before it stops. Does nothing in any other state.
 */
void dn_response_watch_drain(DnFleetCore *core, const DnNodeRecord *node);

/* A host has connected anew: what it answered before says nothing of its balancer now. */
void dn_response_reconnected(DnFleetCore *core, const char *host);

/* Tell the hosts whose nodes all others have dropped. */
void dn_response_step(DnFleetCore *core, DnActs *acts);
