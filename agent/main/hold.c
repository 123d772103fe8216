/* SPDX-License-Identifier: Apache-2.0 */
#include "main/watch.h"

#include "base/clock.h"

/*
 * A node is kept frozen while it is looked at; core/hold.h says when. The reflex freezes too, for
 * good and by the same file. Whoever thaws looks at the mark before and again afterwards, and the
 * reflex comes after the mark: so in whatever order, a node that is cut ends up frozen.
 */

enum { FROZEN_MS = 50, TOLD_EVERY_S = 300, UNNOTICED_MS = 20 };

static bool is_cut(DnSensor *sensor, uint32_t slot)
{
	return dn_sensor_is_marked(sensor, slot) && !dn_sensor_is_isolated(sensor, slot);
}

void dn_node_thaw(DnSensor *sensor, const DnCgroup *cgroup, uint32_t slot)
{
	if (is_cut(sensor, slot))
		return;
	(void)dn_cgroup_thaw(cgroup);
	if (is_cut(sensor, slot))
		(void)dn_cgroup_freeze(cgroup);
}

bool dn_held_begin(DnHeld *self, const Agent *agent, const char *node, uint32_t slot)
{
	DnCgroup cgroup = {.freeze_fd = -1, .events_fd = -1};

	/* What is frozen already is so by somebody else's will, and stays so. */
	if (is_cut(agent->sensor, slot) || !dn_cgroup_open(agent->instance, node, &cgroup, NULL) ||
	    dn_cgroup_is_frozen(&cgroup) || !dn_cgroup_freeze(&cgroup)) {
		dn_cgroup_close(&cgroup);
		return false;
	}
	self->cgroup = cgroup;
	self->is_held = true;
	self->begin_ns = dn_clock_monotonic_ns();
	/* One that sleeps where nothing wakes it is frozen later, and does nothing until then. */
	for (unsigned i = 0; i < FROZEN_MS && !dn_cgroup_is_frozen(&cgroup); i++)
		g_usleep(1000);
	return true;
}

void dn_held_end(DnHeld *self, const Agent *agent, uint32_t slot)
{
	uint64_t end_ns = 0;

	if (!self->is_held)
		return;
	dn_node_thaw(agent->sensor, &self->cgroup, slot);
	dn_cgroup_close(&self->cgroup);
	self->is_held = false;
	end_ns = dn_clock_monotonic_ns();
	dn_hold_ended(&self->plan, self->is_whole, self->begin_ns, end_ns);
	self->news_ms = (unsigned)((end_ns - self->begin_ns) / DN_NS_PER_MS) + 1;
}

void dn_held_tell(DnHeld *self, Agent *agent, const char *id)
{
	const Node *node = dn_agent_find_node(agent, id);
	uint64_t now = dn_clock_monotonic_ns();
	unsigned held_ms = self->news_ms;

	self->news_ms = 0;
	/* Whoever forks a lot is held for moments: nobody needs to hear of that. */
	if (node == NULL || held_ms == 0 || (self->is_whole && held_ms <= UNNOTICED_MS) ||
	    (self->told_ns != 0 && now - self->told_ns < TOLD_EVERY_S * DN_NS_PER_S))
		return;
	self->told_ns = now;
	dn_report_event(agent, self->is_whole ? "warning" : "critical", "node.held",
			node->manifest->service, node->id,
			"node %s was frozen for %u ms to be looked at, since its processes and "
			"mappings come and go faster than they can be%s",
			node->id, held_ms,
			self->is_whole ? ""
				       : "; they are too many for that, too: find out what they "
					 "are, or quarantine it");
}
