/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Images that are no longer what was signed: noticed by the image guard on a thread of its own, or
 * by whoever starts a node; answered by class `image` for every node of the commit; repaired before
 * anything is started from it again.
 */

#include "image/damage.h"
#include "image/guard.h"
#include "main/agent.h"

/* After adoption: guard the images of the nodes that were taken over, and every one that comes. */
bool dn_damage_start(Agent *agent, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_damage_stop(Agent *agent);

/* Guard @commit, which was just brought here. Any thread. */
void dn_damage_guard(Agent *agent, const char *commit);

/* The objects of @commit were put back, its checkout is the same: guarded from now on. Any thread.
 */
void dn_damage_restored(Agent *agent, const char *commit);

/*
 * Main. The objects of @commit could not be put back: they are news again in a minute, or when
 * dn_damage_try_again() is called, since somebody is there who has them.
 */
void dn_damage_owe(Agent *agent, const char *commit);
void dn_damage_try_again(Agent *agent);

/*
 * How often what nodes of @commit run was found to be changed: a node that was being made meanwhile
 * was not there to be cut, and must not begin. Any thread.
 */
unsigned dn_damage_count(Agent *agent, const char *commit);

/* Wait while @commit is being repaired. A worker, holding no lock. */
void dn_damage_wait(Agent *agent, const char *commit);

/*
 * Is what nodes of @commit would execute still what was signed, as it would be executed now? What
 * differs is answered like what the guard finds. A worker.
 */
bool dn_damage_verify_now(Agent *agent, const char *commit,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same, soon and on a worker, where nobody waits for it: after a standby was promoted. */
void dn_damage_verify_soon(Agent *agent, const char *commit);
