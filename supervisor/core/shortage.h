/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* That hosts were not found for all nodes of a service, for people. */

#include "core/state.h"

/*
 * @given nodes of the current epoch are asked of hosts. People hear once that they are too few,
 * until there are enough of them, or for the other reason. Not amid a roll, which tells by itself.
 */
void dn_shortage_tell(const DnFleetCore *core, DnService *service, uint32_t given, DnNow now,
		      DnActs *acts);
