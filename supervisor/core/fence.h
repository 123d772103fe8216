/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The end of a fence: dn_fleet_core_fence() begins it. */

#include "core/state.h"

/* A person trusts whoever has the name of @host now, and what the machine before had is gone. */
void dn_fence_end(DnFleetCore *core, DnHost *host, DnNow now, DnActs *acts);
