/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The life of a node as its host may report it. Facts can be missed while a link is down, so a
 * host may skip states; it may never go back. Nothing leads out of quarantine but destruction.
 */

#include <stdbool.h>

#include "model/node.h"

/* Whether @to follows @from, possibly over states in between that were not reported. */
bool dn_lifecycle_may_reach(DnNodeState from, DnNodeState to);

/* A node in this state takes, or may soon take, requests. */
bool dn_lifecycle_is_live(DnNodeState state);
