/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/incident.h"
#include "main/watch.h"

#include "base/clock.h"

/*
 * What the sensor tells but does not answer itself: what user space has to judge, and drift that
 * the manifest only observes or denies. People hear of it, of each class of a node once in a while;
 * what is repeated again and again in a class that is a signal is proof by that; a drill is not.
 */

enum {
	TOLD_EVERY_S = 10, /* an event of the same node and class */
	REPEATED = 5,      /* within REPEAT_S: no accident */
	REPEAT_S = 60,
};

/* Classes in which an ordinary program may try again and again, and gains nothing by it. */
static bool may_repeat(const struct dn_sensor_observation *seen)
{
	return seen->class == DN_DRIFT_WRITE_EXEC ||
	       (seen->class == DN_DRIFT_UID && seen->result < 0);
}

/* By repetition: only what was denied; what is observed stays observed. */
static bool is_repeated(Node *node, const struct dn_sensor_observation *seen, DnAnswer answer)
{
	DnSeenOften *often = &node->seen[seen->class];
	uint64_t now = dn_clock_monotonic_ns();

	if (answer != DN_ANSWER_DENY || may_repeat(seen))
		return false;
	if (now - often->first_ns > REPEAT_S * DN_NS_PER_S) {
		often->first_ns = now;
		often->times = 0;
	}
	return ++often->times >= REPEATED;
}

bool dn_seen_is_new(DnSeenOften *self, uint32_t pid)
{
	if (self->pid == pid)
		return false;
	self->pid = pid;
	return true;
}

char *dn_seen_tell(DnSeenOften *self, bool always)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (!always && self->told_ns != 0 && now - self->told_ns < TOLD_EVERY_S * DN_NS_PER_S) {
		self->untold++;
		return NULL;
	}
	char *more = self->untold == 0
			     ? g_strdup("")
			     : g_strdup_printf("; %u more of this class since the last event",
					       self->untold);
	self->told_ns = now;
	self->untold = 0;
	return more;
}

static void tell(Agent *agent, Node *node, const struct dn_sensor_observation *seen, bool drill)
{
	g_autofree char *more = dn_seen_tell(&node->seen[seen->class], drill);

	if (more == NULL)
		return;
	g_autofree char *line = dn_finding_of_observation(node, seen);
	g_autofree char *kind = g_strdup_printf(
		"drift.%s", seen->kind == DN_SEEN_REFUSED
				    ? "refused"
				    : dn_drift_name((enum dn_drift_class)seen->class));
	dn_report_event(agent, "warning", kind, node->manifest->service, node->id,
			"node %s: %s%s%s", node->id, drill ? "drill: " : "", line, more);
}

void dn_observed(Agent *agent, const struct dn_sensor_observation *seen)
{
	Node *node = seen->slot < DN_SLOTS ? agent->slots[seen->slot] : NULL;

	if (node == NULL || !node->built || seen->class >= DN_DRIFT_N)
		return;
	if (seen->kind == DN_SEEN_UNSURE) {
		dn_watch_soon(agent, node);
		return;
	}
	/* The kernel has said that it is drift, but where a path has to be resolved. */
	if (seen->kind == DN_SEEN_REFUSED || seen->kind == DN_SEEN_WRITTEN)
		dn_node_judge(node, seen);
	else
		dn_observed_drift(node, seen);
}

void dn_observed_drift(Node *node, const struct dn_sensor_observation *seen)
{
	Agent *agent = node->agent;
	DnAnswer answer = node->manifest->drift[seen->class];
	bool drill = dn_drill_is(node, (enum dn_drift_class)seen->class, seen->pid);
	tell(agent, node, seen, drill);
	/* A look will find what it goes on with, which is the same. */
	if (answer == DN_ANSWER_OBSERVE && seen->kind == DN_SEEN_DRIFT && seen->result >= 0)
		(void)dn_seen_is_new(&node->seen[seen->class], seen->pid);
	if (drill && answer != DN_ANSWER_QUARANTINE && seen->class == node->drill_class)
		dn_drill_noticed(node);
	/* What the kernel marks by itself it has marked; here is what only user space can judge. */
	bool judged = seen->kind != DN_SEEN_DRIFT && answer == DN_ANSWER_QUARANTINE;
	if (!judged && (drill || !is_repeated(node, seen, answer)))
		return;
	g_autofree char *line = dn_finding_of_observation(node, seen);
	dn_sweep_note(node, (const char *)seen->path, (const char *)seen->comm);
	if (dn_sensor_mark(agent->sensor, node->slot, (enum dn_drift_class)seen->class, line,
			   seen->pid))
		dn_reflex_ring(agent->reflex);
}
