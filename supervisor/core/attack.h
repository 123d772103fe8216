/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Incidents that belong together: of one image, on whatever host, each within ten minutes of
 * another. People hear of one attack and not of ever so many incidents: when there are two, four,
 * eight … of them. Drills and what was quarantined by hand are none.
 */

#include "core/state.h"

enum { DN_ATTACK_WITHIN_S = 600 };

/* @incident, of the core's table, is new. */
void dn_attack_note(DnFleetCore *core, DnIncident *incident, DnNow now, DnActs *acts);
