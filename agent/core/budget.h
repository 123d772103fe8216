/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How many cut nodes of a service this host may replace by itself: at most @grant in any span
 * of @within. Past that a cut node is cut and frozen all the same, but not replaced. Drills do
 * not count. Times are CLOCK_REALTIME, since the record outlives the boot.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	GArray *spent; /* of uint64_t: when a cut node was replaced, oldest first */
} DnBudget;

void dn_budget_init(DnBudget *self);
void dn_budget_clear(DnBudget *self);

/* True when one more replacement is allowed now. */
bool dn_budget_allows(const DnBudget *self, uint32_t grant, uint64_t within_ns, uint64_t now_ns);

/* Note one; forgets what is older than @within. */
void dn_budget_spend(DnBudget *self, uint64_t within_ns, uint64_t now_ns);
