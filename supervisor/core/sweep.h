/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an incident left behind is looked for on every other host that runs nodes of its image. Its
 * own host does so by itself. A host that claims incidents can make others look, at most so many
 * times a second; what they find and do about it is judged there, by what is really in their nodes.
 */

#include "core/state.h"

/* Order it, once an incident; one that is older than ten minutes is not looked for any more. */
void dn_sweep_begin(DnFleetCore *core, const DnIncident *incident, DnNow now, DnActs *acts);

/* @host has answered the order about @incident, or not: then @answer says so. */
void dn_sweep_answered(DnFleetCore *core, const DnHost *host, const char *incident,
		       const DnAnswerTo *answer, DnNow now, DnActs *acts);

/* DnFleetCore.sweeps. */
GHashTable *dn_sweeps_new(void);
