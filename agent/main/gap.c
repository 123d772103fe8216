/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"

/*
 * What the sensor could not tell, because its rings were full: nodes flood them, or this agent
 * was stopped or slow. A verdict is never lost by that, since the truth is in the marks; what is
 * only observed is. So people hear of the gap, and everything that a lost record may have been
 * about is looked at again: the marks, and every node from outside (watch.c).
 *
 * How much was lost before is kept in RUN_DIR, which lives as long as the sensor's maps.
 *
 * One node alone is kept from flooding: what it says past its pace is swallowed in the kernel.
 * Drift that the kernel marks itself is never among that, so a flood hides nothing; but the node is
 * looked at, and people hear of it. It is no ground to cut a node: what is refused and no accident
 * when repeated is answered at the fifth time (observe.c), long before anything is swallowed, and
 * what remains is what ordinary programs repeat or the manifest wants only to be observed. What a
 * node said faster than it could be judged (judge.c) counts as swallowed.
 */

enum { FLOOD_TOLD_S = 60, LINE_LIMIT = 64 };

static char *path_of(const Agent *agent)
{
	return g_build_filename(agent->instance->run_dir, "sensor-losses", NULL);
}

void dn_gap_open(Agent *agent)
{
	g_autofree char *path = path_of(agent);
	g_autofree char *text = dn_file_read_kernel(path, LINE_LIMIT, NULL);

	agent->losses_told = text != NULL ? strtoull(text, NULL, 10) : 0;
}

static void keep(Agent *agent)
{
	g_autofree char *path = path_of(agent);
	char *line = g_strdup_printf("%" G_GUINT64_FORMAT "\n", agent->losses_told);
	g_autoptr(GBytes) bytes = g_bytes_new_take(line, strlen(line));
	g_autoptr(GError) error = NULL;

	if (!dn_file_replace_volatile(path, bytes, 0600, &error))
		g_warning("a new agent will tell of this gap again: %s", error->message);
}

/* After a restart of the agent people hear of it again: what they know is not kept. */
static void look_at_flood(Agent *agent, Node *node)
{
	uint64_t swallowed = dn_sensor_swallowed(agent->sensor, node->slot) + node->unjudged;
	uint64_t now = dn_clock_monotonic_ns();

	if (swallowed == node->swallowed)
		return;
	dn_watch_soon(agent, node);
	if (node->flood_told_ns != 0 && now - node->flood_told_ns < FLOOD_TOLD_S * DN_NS_PER_S)
		return;
	dn_report_event(agent, "warning", "sensor.flood", node->manifest->service, node->id,
			"node %s: caused %" G_GUINT64_FORMAT " observations of the sensor that "
			"were too many to be told; the node is looked at instead",
			node->id, swallowed - node->swallowed);
	node->swallowed = swallowed;
	node->flood_told_ns = now;
}

static void look_at_floods(Agent *agent)
{
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		Node *node = agent->slots[i];

		if (node != NULL && node->built && !node->cut_taken)
			look_at_flood(agent, node);
	}
}

void dn_gap_look(Agent *agent)
{
	uint64_t verdicts = 0, observations = 0;

	if (agent->reflex == NULL)
		return;
	look_at_floods(agent);
	dn_sensor_losses(agent->sensor, &verdicts, &observations);
	uint64_t lost = verdicts + observations;
	if (lost == agent->losses_told)
		return;
	/* Fewer than were told: the sensor was loaded anew. */
	uint64_t more = lost > agent->losses_told ? lost - agent->losses_told : lost;
	agent->losses_told = lost;
	keep(agent);
	if (more == 0)
		return;
	dn_report_event(agent, "warning", "sensor.gap", NULL, NULL,
			"%" G_GUINT64_FORMAT " records of the sensor found no room; the marks and "
			"the processes of every node are looked at again",
			more);
	dn_reflex_ring(agent->reflex);
	dn_watch_all(agent);
}
