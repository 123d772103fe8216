/* SPDX-License-Identifier: Apache-2.0 */
#include "main/watch.h"

#include "base/clock.h"

/*
 * What is done about what a look has found, by what the manifest answers to its class. It is a
 * state, not an attempt: proof, also in a class of which attempts are only denied. What the kernel
 * lets go on, because it is only observed, is a state that is meant to last, and is told once.
 */

enum { LASTS_MS = 500, ROUNDS_APART = 2 };

void dn_found_free(DnFound *self)
{
	g_free(self->node);
	g_free(self->line);
	g_free(self);
}

/*
 * A process with a capability is drift of class uid, and told so, where the kernel sees it; the
 * name that it has here cannot be answered by itself yet (docs/drift.md).
 */
static DnAnswer answer_to(const Node *node, enum dn_drift_class drift)
{
	const DnAnswer *answers = node->manifest->drift;

	return drift == DN_DRIFT_CAPABILITY && answers[DN_DRIFT_UID] == DN_ANSWER_OBSERVE
		       ? DN_ANSWER_OBSERVE
		       : answers[drift];
}

/* Classes in which the kernel, where it only denies, kills the task that it finds there. */
static bool is_killed_for(enum dn_drift_class drift)
{
	return drift == DN_DRIFT_EXEC || drift == DN_DRIFT_SHELL || drift == DN_DRIFT_LIBRARY ||
	       drift == DN_DRIFT_EXEC_MEMORY || drift == DN_DRIFT_TEXT;
}

/*
 * Has it been so for half a second? A process that is just being killed for it has not. Which
 * process it is does not matter: it may be handed on from one to the next.
 */
static bool has_lasted(DnSeenOften *seen, uint32_t round)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (seen->since_ns == 0 || round - seen->last_round > ROUNDS_APART)
		seen->since_ns = now;
	seen->last_round = round;
	return now - seen->since_ns >= LASTS_MS * DN_NS_PER_MS;
}

/* Is there anything to be done about it? Not where it was told already. */
static bool is_due(Node *node, const DnFound *found, DnAnswer answer)
{
	DnSeenOften *seen = &node->seen[found->drift];

	switch (answer) {
	case DN_ANSWER_OBSERVE:
		return found->pid == 0 || dn_seen_is_new(seen, found->pid);
	case DN_ANSWER_DENY:
		return !is_killed_for(found->drift) || has_lasted(seen, node->agent->watch_turn);
	case DN_ANSWER_QUARANTINE:
		break;
	}
	return true;
}

static const char *repair_of(const DnFound *found)
{
	if (found->drift != DN_DRIFT_SENSOR)
		return "";
	return found->repaired ? "; put right" : "; it could not be put right";
}

/* It is cut already; only that somebody is at work on the evidence is news. */
static void tell_of_evidence(Node *node, const DnFound *found)
{
	if (found->drift != DN_DRIFT_SENSOR)
		return;
	g_autofree char *more = dn_seen_tell(&node->seen[DN_DRIFT_SENSOR], found->repaired);
	if (more != NULL)
		dn_report_event(node->agent, "critical", "drift.sensor", node->manifest->service,
				node->id, "node %s, which is quarantined: %s%s%s", node->id,
				found->line, repair_of(found), more);
}

void dn_found_answer(Agent *agent, const DnFound *found)
{
	Node *node = agent->slots[found->slot];

	if (node == NULL || !g_str_equal(node->id, found->node) || !node->built)
		return;
	if (node->cut_taken) {
		tell_of_evidence(node, found);
		return;
	}
	DnAnswer answer = answer_to(node, found->drift);
	bool observed = answer == DN_ANSWER_OBSERVE;
	bool drill = dn_drill_is(node, found->drift, found->pid);
	if (!drill && !is_due(node, found, answer))
		return;
	g_autofree char *more = dn_seen_tell(&node->seen[found->drift], drill || !observed);
	g_autofree char *kind = g_strdup_printf("drift.%s", dn_drift_name(found->drift));
	if (more != NULL)
		dn_report_event(agent, observed ? "warning" : "critical", kind,
				node->manifest->service, node->id, "node %s: %s%s%s%s", node->id,
				drill ? "drill: " : "", found->line, repair_of(found), more);
	if (observed && drill)
		dn_drill_noticed(node);
	if (!observed &&
	    dn_sensor_mark(agent->sensor, node->slot, found->drift, found->line, found->pid))
		dn_reflex_ring(agent->reflex);
}
