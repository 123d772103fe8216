/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

/*
 * A client of UDP that goes on asking keeps its conntrack entry, and with it the node it was given
 * first: nothing resets it as TCP would. So the entries of a node that has left the balancer are
 * deleted, here or on another host, and the client's next packet is balanced anew. An agent that
 * has just started does not know who left while none ran: it looks at what conntrack has.
 */

static void add_addresses(GHashTable *set, const GArray *endpoints)
{
	for (guint i = 0; i < endpoints->len; i++)
		g_hash_table_add(set, g_strdup(g_array_index(endpoints, DnEndpoint, i).address));
}

/* Its entries are evidence: the worker that completes the incident reads, then deletes them. */
static bool is_cut_here(Agent *agent, const char *address)
{
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];

		if (node != NULL && g_strcmp0(node->address, address) == 0)
			return dn_sensor_is_marked(agent->sensor, i);
	}
	return false;
}

/* worker */
static void forget_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	const GPtrArray *left = data;

	for (guint i = 0; i < left->len; i++) {
		g_autoptr(GError) error = NULL;

		if (!dn_diag_forget_udp_clients(g_ptr_array_index(left, i), &error))
			g_warning("clients of UDP: %s", error->message);
	}
	g_task_return_boolean(task, TRUE);
}

typedef struct {
	char *node_cidr;
	GHashTable *serving;
} Strays;

static void strays_free(gpointer data)
{
	Strays *strays = data;

	g_free(strays->node_cidr);
	g_hash_table_unref(strays->serving);
	g_free(strays);
}

/* worker */
static void sweep_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	const Strays *strays = data;
	g_autoptr(GError) error = NULL;

	if (!dn_diag_forget_udp_strays(strays->node_cidr, strays->serving, &error))
		g_warning("clients of UDP: %s", error->message);
	g_task_return_boolean(task, TRUE);
}

static void forget_strays(Agent *agent, GHashTable *serving)
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);
	Strays *strays = g_new0(Strays, 1);
	GHashTableIter iter;
	gpointer address = NULL;

	strays->node_cidr = g_strdup(agent->node_cidr);
	strays->serving = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_hash_table_iter_init(&iter, serving);
	while (g_hash_table_iter_next(&iter, &address, NULL))
		g_hash_table_add(strays->serving, g_strdup(address));
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && dn_sensor_is_marked(agent->sensor, i))
			g_hash_table_add(strays->serving, g_strdup(agent->slots[i]->address));
	g_task_set_task_data(task, strays, strays_free);
	dn_work_begin(agent, task, sweep_in_thread);
}

void dn_flows_follow(Agent *agent, const DnFirewallState *state)
{
	g_autoptr(GHashTable) next = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GPtrArray) left = g_ptr_array_new_with_free_func(g_free);
	GHashTableIter iter;
	gpointer address = NULL;

	for (guint i = 0; i < state->balanced->len; i++) {
		const DnBalanced *balanced = g_ptr_array_index(state->balanced, i);

		if (balanced->protocol != DN_PROTOCOL_UDP)
			continue;
		add_addresses(next, balanced->local);
		add_addresses(next, balanced->remote);
	}
	g_hash_table_iter_init(&iter, agent->udp);
	while (g_hash_table_iter_next(&iter, &address, NULL))
		if (!g_hash_table_contains(next, address) && !is_cut_here(agent, address))
			g_ptr_array_add(left, g_strdup(address));
	g_hash_table_unref(agent->udp);
	agent->udp = g_steal_pointer(&next);
	if (!agent->udp_known && g_hash_table_size(agent->services) > 0)
		forget_strays(agent, agent->udp);
	agent->udp_known = true;
	if (left->len == 0)
		return;
	g_autoptr(GTask) task = g_task_new(NULL, NULL, NULL, NULL);
	g_task_set_task_data(task, g_steal_pointer(&left), (GDestroyNotify)g_ptr_array_unref);
	dn_work_begin(agent, task, forget_in_thread);
}
