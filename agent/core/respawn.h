/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether a node that was cut is replaced, and who pays (DESIGN 4, Budget). One decision for each
 * cut node, made once: main keeps on disk what came of it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model/budget.h"
#include "model/incident.h"

typedef enum {
	DN_RESPAWN_NONE, /* nobody misses it: neither replaced nor held, and nothing is charged */
	DN_RESPAWN_DONE, /* a standby serves in its place already */
	DN_RESPAWN_OWED, /* a clean node is to be made */
	DN_RESPAWN_HELD, /* the budget is spent: one node fewer, and a person is called */
} DnRespawn;

/*
 * May one more cut node of the service of @manifest be replaced? @grant is this host's part as the
 * supervisor says; it never counts for more than the signed manifest allows the whole service.
 * @now_ns here and below: CLOCK_MONOTONIC.
 */
bool dn_respawn_is_within(const DnBudget *spent, const DnManifest *manifest, uint32_t grant,
			  uint64_t now_ns);

/*
 * The time under which the replacement for the node of @incident is charged: that of the event, or,
 * when the node was isolated first, of the cut that followed.
 */
uint64_t dn_respawn_charge_ns(const DnIncident *incident);

/*
 * Decide about the node of @incident and charge @spent. @missed: its share lacks it. One that was
 * isolated and then cut because its share had shrunk is not, and none is put in its place. A
 * drill is paid from the drills' budget before it begins: it is never charged here, never held.
 * A standby that is cut is decided about in the same way, or an attacker who reaches it could have
 * a new one made without end.
 */
DnRespawn dn_respawn_judge(DnBudget *spent, const DnManifest *manifest, uint32_t grant,
			   const DnIncident *incident, bool missed, uint64_t now_ns);

/*
 * Was that decision made, as far as @spent and @held (char * ids of incidents) remember? An agent
 * that died before they were on disk leaves a quarantined node behind that nobody has paid for.
 */
bool dn_respawn_is_settled(const DnBudget *spent, const GPtrArray *held, const DnManifest *manifest,
			   const DnIncident *incident, uint64_t now_ns);
