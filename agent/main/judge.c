/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

/*
 * What the sensor tells of a node and only user space can judge. The paths are looked up where the
 * node can keep whoever looks waiting, for as long as it likes, so workers do that: one of a node
 * at a time, in the order it was told. A node that keeps one waiting keeps back nothing but what is
 * told of itself; GLib's pool of workers grows when all of them wait.
 *
 * A worker has a copy of all that it needs, for the node may go meanwhile, and its slot be
 * another's.
 */

/* Of a node: twice what the sensor tells in a second before more of it is drift by itself. */
enum { WAITING = 2 * DN_SENSOR_PACE_EXEC };

typedef struct {
	Agent *agent; /* borrowed */
	char *node;
	uint32_t image, pid1;
	struct dn_sensor_observation seen;
} Doubt;

static void doubt_free(gpointer data)
{
	Doubt *doubt = data;

	g_free(doubt->node);
	g_free(doubt);
}

/* worker */
static void judge_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	const Doubt *doubt = data;
	const struct dn_sensor_observation *seen = &doubt->seen;
	DnSensor *sensor = doubt->agent->sensor;

	if (seen->kind == DN_SEEN_WRITTEN) {
		g_task_return_boolean(task, dn_sensor_written_is_file(seen, doubt->pid1));
		return;
	}
	bool foreign = dn_sensor_refused_is_foreign(sensor, doubt->image, seen, doubt->pid1);
	if (!foreign)
		dn_sensor_refused_in_vain(sensor, seen, doubt->pid1);
	g_task_return_boolean(task, foreign);
}

static void judge_next(Node *node);

static void on_judged(GObject *source, GAsyncResult *result, gpointer data)
{
	const Doubt *doubt = g_task_get_task_data(G_TASK(result));
	bool is_drift = g_task_propagate_boolean(G_TASK(result), NULL);
	Node *node = doubt->agent->slots[doubt->seen.slot];

	if (node == NULL || !g_str_equal(node->id, doubt->node))
		return;
	node->judging = false;
	if (is_drift && node->built)
		dn_observed_drift(node, &doubt->seen);
	judge_next(node);
}

static void judge_next(Node *node)
{
	g_autofree struct dn_sensor_observation *seen = g_queue_pop_head(&node->doubts);

	if (seen == NULL)
		return;
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_judged, NULL);
	Doubt *doubt = g_new0(Doubt, 1);
	doubt->agent = node->agent;
	doubt->node = g_strdup(node->id);
	doubt->image = node->image;
	doubt->pid1 = (uint32_t)node->container.pid;
	doubt->seen = *seen;
	node->judging = true;
	g_task_set_task_data(task, doubt, doubt_free);
	dn_work_begin(node->agent, task, judge_in_thread);
}

void dn_node_judge(Node *node, const struct dn_sensor_observation *seen)
{
	if (node->doubts.length >= WAITING) {
		node->unjudged++;
		return;
	}
	g_queue_push_tail(&node->doubts, g_memdup2(seen, sizeof(*seen)));
	if (!node->judging)
		judge_next(node);
}
