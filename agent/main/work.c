/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include "base/clock.h"

/*
 * Work that waits, in threads of GLib's pool. They use the instance, the store, the sensor and
 * more of the agent, so it may only go when they are done.
 */

enum { PATIENCE_MS = 5000, LOOK_US = 1000 };

static const char *const agent_key = "agent";

static void work(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Agent *agent = g_object_get_data(G_OBJECT(task), agent_key);
	GTaskThreadFunc func = (GTaskThreadFunc)g_task_get_source_tag(task);

	func(task, source, data, cancellable);
	g_atomic_int_add(&agent->workers, -1);
}

void dn_work_begin(Agent *agent, GTask *task, GTaskThreadFunc func)
{
	g_object_set_data(G_OBJECT(task), agent_key, agent);
	g_task_set_source_tag(task, (gpointer)func);
	g_atomic_int_inc(&agent->workers);
	g_task_run_in_thread(task, work);
}

bool dn_work_is_done(Agent *agent)
{
	uint64_t end_ns = dn_clock_monotonic_ns() + PATIENCE_MS * DN_NS_PER_MS;

	while (g_atomic_int_get(&agent->workers) > 0 && dn_clock_monotonic_ns() < end_ns)
		g_usleep(LOOK_US);
	return g_atomic_int_get(&agent->workers) == 0;
}
