/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "runtime/proc.h"

/*
 * A node that is to go gets nothing new and has time to end what it has. Its tables of connections
 * may be long, and take long to read: a worker does that, for one look after the other.
 */

enum { DRAIN_LOOK_MS = 100, TABLE_LIMIT = 8 * 1024 * 1024 };

typedef struct {
	Agent *agent; /* borrowed */
	char *node;
	uint32_t slot;
	pid_t pid;
	uint64_t until_ns; /* which drain of the node it is */
	GArray *ports;     /* owned; of uint16_t */
} Look;

static void look_free(gpointer data)
{
	Look *look = data;

	g_free(look->node);
	g_array_unref(look->ports);
	g_free(look);
}

/* What cannot be read, or not as a whole, may be a connection; but a kernel may lack IPv6. */
static bool table_has(const Look *look, const char *table, bool may_lack)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/net/%s", (int)look->pid, table);
	g_autoptr(GError) error = NULL;
	g_autofree char *text = dn_file_read_kernel(path, TABLE_LIMIT, &error);

	if (text == NULL)
		return !may_lack || !g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND);
	return dn_proc_has_connection(text, look->ports);
}

/* worker: connections the node still has on its declared ports. */
static void look_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	const Look *look = data;

	g_task_return_boolean(task, table_has(look, "tcp", false) || table_has(look, "tcp6", true));
}

/* Who still balances to it may open a connection at any time; so may this host itself. */
static bool may_end(const Node *self)
{
	return self->dropped && !self->agent->unbalanced;
}

static void end(Node *self)
{
	dn_source_clear(&self->timer);
	self->drain_until_ns = 0;
	dn_agent_settle(self->agent);
}

static void on_looked(GObject *source, GAsyncResult *result, gpointer data)
{
	const Look *look = g_task_get_task_data(G_TASK(result));
	Node *self = look->agent->slots[look->slot];
	bool connected = g_task_propagate_boolean(G_TASK(result), NULL);

	if (self == NULL || !g_str_equal(self->id, look->node))
		return;
	self->counting = false;
	if (self->state == DN_NODE_DRAINING && self->drain_until_ns == look->until_ns &&
	    !connected && may_end(self))
		end(self);
}

static void look_soon(Node *self)
{
	const GArray *listen = self->manifest->listen;
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_looked, NULL);
	Look *look = g_new0(Look, 1);

	look->agent = self->agent;
	look->node = g_strdup(self->id);
	look->slot = self->slot;
	look->pid = self->container.pid;
	look->until_ns = self->drain_until_ns;
	look->ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	for (guint i = 0; i < listen->len; i++)
		g_array_append_val(look->ports, g_array_index(listen, DnListen, i).port);
	self->counting = true;
	g_task_set_task_data(task, look, look_free);
	dn_work_begin(self->agent, task, look_in_thread);
}

static gboolean on_drain_look(gpointer data)
{
	Node *self = data;

	if (dn_clock_monotonic_ns() >= self->drain_until_ns) {
		end(self);
		return G_SOURCE_REMOVE;
	}
	if (may_end(self) && !self->counting)
		look_soon(self);
	return G_SOURCE_CONTINUE;
}

void dn_node_drain(Node *self)
{
	self->drain_until_ns =
		dn_clock_monotonic_ns() + (uint64_t)self->manifest->roll_drain_ms * DN_NS_PER_MS;
	self->dropped = false;
	dn_node_become(self, DN_NODE_DRAINING);
	dn_failpoint_pass("agent.node.drain.before");
	dn_balance_apply(self->agent);
	dn_failpoint_pass("agent.node.drain.after");
	dn_node_set_timer(self, DRAIN_LOOK_MS, on_drain_look);
}

void dn_node_dropped(Node *self)
{
	if (self->state != DN_NODE_DRAINING || self->drain_until_ns == 0)
		return;
	self->dropped = true;
	/* A whole look from now: what was sent last may still be on its way. */
	dn_node_set_timer(self, DRAIN_LOOK_MS, on_drain_look);
}
