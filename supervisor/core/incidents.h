/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Incidents as hosts tell them. Those in force are kept in memory, and of those whose evidence was
 * destroyed the last DN_FLEET_HOST_PAST of each host; the others are in the store alone, and here
 * only as many words as it takes to tell that there was one.
 */

#include "core/state.h"

/* @host has told of @incident: believe it, or refuse it with an event. */
void dn_incidents_take(DnFleetCore *core, DnHost *host, const DnIncident *incident, DnNow now,
		       DnActs *acts);

/* Leave to the store what is past. Only where everything recorded before has been taken from here.
 */
void dn_incidents_retire(DnFleetCore *core, DnActs *acts);
