/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Who carries how much of which epoch, one step at a time.
 *
 * A roll raises the new epoch by at most roll.surge nodes above replicas, and lowers an older one
 * only while at least replicas nodes are ready without it. Without a step forward for
 * roll.deadline the roll stops: new nodes that are not ready are taken back, the old ones go on
 * serving, and the next manifest starts over.
 */

#include "core/state.h"

void dn_rollout_begin(DnService *service, DnNow now);

/* Change the shares of @service as far as is safe now. True when anything to store changed. */
bool dn_rollout_step(DnFleetCore *core, DnService *service, DnNow now, DnActs *acts);

/*
 * An agent makes no new nodes of an epoch that is not the last it accepted, or has expired. Lower
 * what is asked of
 * @host, of the releases from @first on, to what it has. True when that changed anything.
 */
bool dn_rollout_ask_for_less(DnService *service, guint first, const DnHost *host);
