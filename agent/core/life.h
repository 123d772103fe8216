/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What becomes of a node of this host when something happens to it. Pure, by value. */

#include <stdbool.h>

#include "model/node.h"

/*
 * Its first process has ended. One that is marked or quarantined is evidence and stays what it
 * is; one that was told to stop has stopped; any other has failed.
 */
DnNodeState dn_life_after_exit(DnNodeState state, bool marked);

/* It has given its first answer: where it goes, active or standby. */
DnNodeState dn_life_after_first_answer(bool standby);

/*
 * A new agent finds the node of an earlier one, whose file says @saved. @created_only: the
 * container waits for its start. Nothing but destruction leads out of quarantine.
 */
DnNodeState dn_life_adopted(DnNodeState saved, bool created_only);

/* It serves, or is on its way to: not one that is ending, has ended or was cut. */
bool dn_life_goes_on(DnNodeState state);

/*
 * A node's place in this host's balancer. @entered: the reflex has put this standby in. @marked:
 * and not merely isolated, in which case it goes on serving.
 */
bool dn_life_serves(DnNodeState state, bool standby, bool healthy, bool marked, bool entered);
