/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * respawn.past: isolate. Once the budget of a service is spent, the drift of a node that serves
 * isolates it instead of cutting it: what it begins is cut at once and stays cut, its declared
 * ports go on being served, and a person is called. The kernel must know beforehand, so main asks
 * this whenever budget, grant, time or the node itself has changed.
 *
 * An isolated node is evidence that serves, for want of a clean node in its place. It ends in
 * quarantine and in nothing else: as soon as it may be replaced, when it serves no longer, when
 * nobody needs it (its service shrinks, rolls or is removed: plan.h), or by hand.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model/budget.h"
#include "model/incident.h"

typedef struct {
	const DnManifest *manifest;
	const DnBudget *spent; /* replacements of cut nodes of the service, on this host */
	uint32_t grant;        /* this host's part */
	bool serves;           /* active, ready and healthy; a standby serves nobody */
	bool drill;            /* the helper of a drill is in it, or on its way */
} DnIsolation;

/*
 * Is drift of this node, should it come, to isolate it? A drill never does: it is paid for
 * beforehand. @now_ns: CLOCK_MONOTONIC.
 */
bool dn_isolation_awaits(const DnIsolation *self, uint64_t now_ns);

/* Of a node that is isolated: why it is to be cut now, a phrase; NULL: it goes on serving. */
const char *dn_isolation_ends(const DnIsolation *self, uint64_t now_ns);

/*
 * Its isolation ended at @at_ns, CLOCK_MONOTONIC of the event's boot; 0: in an earlier one, so
 * after the last that is known. It was verified as an isolation, so its cut has yet to be.
 */
void dn_isolation_ended(DnIncident *incident, uint64_t at_ns);
