/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

/*
 * What the sensor could not tell, because its rings were full: a node floods them, or this agent
 * was stopped or slow. A verdict is never lost by that, since the truth is in the marks; what is
 * only observed is. So people hear of the gap, and everything that a lost record may have been
 * about is looked at again: the marks, and which files the processes of every node execute.
 *
 * How much was lost before is kept in RUN_DIR, which lives as long as the sensor's maps.
 */

enum { LINE_LIMIT = 64, PROCESSES = 4096, PROCS_BYTES = 64 * 1024 };

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

/* Where nothing foreign can be at work but what the sensor should have told of. */
static bool has_started(const Node *node)
{
	return node->built && !node->cut_taken && node->drill == 0 &&
	       (node->state == DN_NODE_READY || node->state == DN_NODE_STANDBY ||
		node->state == DN_NODE_DRAINING);
}

static void judge(Agent *agent, const Node *node, uint32_t pid)
{
	g_autofree char *file = NULL;

	if (!dn_sensor_runs_foreign(agent->sensor, node->image, pid, &file))
		return;
	g_autofree char *shown = dn_text_printable(file, strlen(file));
	dn_report_event(agent, "warning", "drift.exec", node->manifest->service, node->id,
			"node %s: process %u runs \"%s\", which is not in its image; the sensor "
			"had no room to tell of it",
			node->id, pid, shown);
	if (node->manifest->drift_exec == DN_ANSWER_QUARANTINE &&
	    dn_sensor_mark(agent->sensor, node->slot, DN_SENSOR_EXEC))
		dn_reflex_ring(agent->reflex);
}

static void look_at(Agent *agent, const Node *node)
{
	g_autofree char *path =
		g_build_filename(agent->instance->cgroup_root, agent->instance->cgroup_parent,
				 node->id, "cgroup.procs", NULL);
	g_autofree char *text = dn_file_read_kernel(path, PROCS_BYTES, NULL);
	g_auto(GStrv) pids = g_strsplit(text != NULL ? text : "", "\n", PROCESSES);

	for (unsigned i = 0; pids[i] != NULL; i++) {
		uint64_t pid = 0;

		if (dn_text_parse_u64(pids[i], INT32_MAX, &pid) && pid > 0)
			judge(agent, node, (uint32_t)pid);
	}
}

void dn_gap_look(Agent *agent)
{
	uint64_t verdicts = 0, observations = 0;

	if (agent->reflex == NULL)
		return;
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
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && has_started(agent->slots[i]))
			look_at(agent, agent->slots[i]);
}
