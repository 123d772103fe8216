/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Looking at nodes from outside, in turn, on a worker: for what no hook tells, for what a hook's
 * record found no room for, and whether the sensor itself is still as it was made.
 *
 * A subject is what such a look needs of a node, so that a worker never touches the node: it is
 * made with the node, before its first instruction, and outlives it for as long as a look goes on.
 */

#include "core/hold.h"
#include "main/agent.h"

typedef struct DnSubject DnSubject;

/*
 * Of a node that was just created, or is taken over: @watched as the sensor got it. NULL with
 * error when its processes cannot be looked at.
 */
DnSubject *dn_subject_new(Agent *agent, const char *node, const DnWatched *watched,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_subject_unref(DnSubject *self); /* NULL is none */

/* A word for what is mounted in it, as it is expected to stay; kept for the next agent. Borrowed.
 */
const char *dn_subject_mounts(const DnSubject *self);

/* From now on nothing of it is put right any more: it is being taken apart. Waits for who is at it.
 */
void dn_subject_retire(DnSubject *self);

/* What a look has found at one node: found.c answers it, on main. */
typedef struct {
	char *node;
	uint32_t slot, pid; /* of a process, or 0 */
	enum dn_drift_class drift;
	char *line;
	bool repaired; /* of the sensor: it is as it was again */
} DnFound;
void dn_found_free(DnFound *self);
void dn_found_answer(Agent *agent, const DnFound *found);

/*
 * hold.c: a node that is frozen for a look. The looker's during a round, main's between two. Begin
 * with zeros; it is thawed by dn_held_end(), or by the agent that comes after this one.
 */
typedef struct {
	DnHold plan;
	DnCgroup cgroup; /* open while @is_held */
	bool is_held;
	bool is_whole; /* all of it could be looked at */
	uint64_t begin_ns;
	unsigned news_ms; /* for how long it was, until people heard of it; 0: they have */
	uint64_t told_ns;
} DnHeld;

/* False: it is not frozen, or was so already. */
bool dn_held_begin(DnHeld *self, const Agent *agent, const char *node, uint32_t slot);
void dn_held_end(DnHeld *self, const Agent *agent, uint32_t slot); /* nothing when it is not */
void dn_held_tell(DnHeld *self, Agent *agent, const char *node);

/* Let it go on, unless it is cut by now. Any thread. */
void dn_node_thaw(DnSensor *sensor, const DnCgroup *cgroup, uint32_t slot);

/* Begin with the first node; stop is main's end. */
void dn_watch_start(Agent *agent);

/*
 * Look at this node at once or, where a round is out or has just come back, as long after it as it
 * took.
 */
void dn_watch_soon(Agent *agent, const Node *node);

void dn_watch_all(Agent *agent);

/* A descriptor that tells of changes of the node's mounts is watched from now on. */
void dn_watch_mounts(Node *node);
