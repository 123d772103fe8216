/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Making an image good again that is no longer as signed: one repair a commit at a time, on a
 * worker. Whoever makes a node of it waits meanwhile.
 */

#include "image/damage.h"
#include "main/agent.h"

typedef struct DnRepairs DnRepairs;

DnRepairs *dn_repairs_new(void) G_GNUC_WARN_UNUSED_RESULT;
void dn_repairs_free(DnRepairs *self); /* none is under way; NULL is none */

/*
 * Is a repair of @commit under way? Then it is told of those of @damages (of DnDamage) that are
 * @commit's: what it has not made good by then it sees to before it ends. On main.
 */
bool dn_repairs_join(DnRepairs *self, const char *commit, const GPtrArray *damages);

/* Until none of @commit is under way. A worker, holding no lock. */
void dn_repairs_wait(DnRepairs *self, const char *commit);

/*
 * Make the image of @manifest good again, knowing that @damages (of DnDamage, copied; those of
 * other commits are passed over) were found; people hear how it went. On main, while none of it is
 * under way.
 */
void dn_repair_begin(Agent *agent, DnRepairs *repairs, const DnManifest *manifest,
		     const GPtrArray *damages);
