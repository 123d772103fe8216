/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How often something may be done: at most @count times in any span of @within. Of a service
 * there are two, both by its manifest's respawn{count within} and never charged to each other:
 *
 *   respawn  clean nodes that a host puts in the place of cut ones (kept by the agent; @count is
 *            the share that the supervisor granted). Past it a node is cut and frozen all the
 *            same, but not replaced.
 *   drills   kept by the supervisor for the service, and by each agent for what it is ordered to
 *            do itself. Past it a drill is refused.
 *
 * Times are CLOCK_MONOTONIC, so no clock that is set gives anything back. They mean something
 * during one boot only, and whoever keeps them keeps dn_clock_boot_id() beside them: see
 * dn_budget_carry_over().
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/manifest.h"

enum { DN_BUDGET_LIMIT = 1000 }; /* the largest @count, so also the most times kept */

typedef struct {
	GArray *spent; /* of uint64_t: when it was done */
} DnBudget;

void dn_budget_init(DnBudget *self);
void dn_budget_clear(DnBudget *self);

/* True when it may be done once more now. */
bool dn_budget_allows(const DnBudget *self, uint32_t count, uint64_t within_ns, uint64_t now_ns);

/* When it may be done once more: 0 for now, UINT64_MAX for never (@count is 0). */
uint64_t dn_budget_next_ns(const DnBudget *self, uint32_t count, uint64_t within_ns,
			   uint64_t now_ns);

/* Note one; forgets what is older than @within. */
void dn_budget_spend(DnBudget *self, uint64_t within_ns, uint64_t now_ns);

/*
 * What was spent was spent in an earlier boot. How long ago nobody can tell for sure, but before
 * this boot began: it counts as done then.
 */
void dn_budget_carry_over(DnBudget *self);

/*
 * May @drills, of the service of @manifest, take one more? DN_ERROR_EXHAUSTED with a line that
 * says how many, within what time, and when the next is possible.
 */
bool dn_budget_allows_drill(const DnBudget *drills, const DnManifest *manifest, uint64_t now_ns,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_budget_spend_drill(DnBudget *drills, const DnManifest *manifest, uint64_t now_ns);
