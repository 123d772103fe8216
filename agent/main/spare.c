/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <sys/resource.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "core/address.h"
#include "runtime/root.h"

/*
 * What a node needs and no image or manifest has a say in: the network of its slot and the user
 * namespace of its id range. A few are made while there is nothing else to do, so that a
 * replacement without a standby waits for its container alone.
 */

enum { SPARES = 2 };

struct Spare {
	Agent *agent;
	uint32_t slot;
	char *address;
	bool ready; /* else a worker has it */
	DnNetwork network;
	int ns_fd, owner_fd;
};

static void spare_free(gpointer data)
{
	Spare *self = data;

	dn_network_close(&self->network);
	dn_fd_clear(&self->ns_fd);
	dn_fd_clear(&self->owner_fd);
	g_free(self->address);
	g_free(self);
}

/* worker */
static void make_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Spare *self = data;
	DnNetworkSpec spec = {.slot = self->slot, .address = {.v4 = self->address}};
	uint32_t uids = self->agent->instance->uid_base + self->slot * DN_UIDS_PER_NODE;
	GError *error = NULL;

	(void)setpriority(PRIO_PROCESS, 0, DN_IN_NO_HURRY);
	self->owner_fd = dn_failpoint("agent.spare.create.before", &error)
				 ? dn_root_owner_now(uids, &error)
				 : -1;
	bool made = self->owner_fd >= 0 && dn_failpoint("agent.spare.network.before", &error) &&
		    dn_network_create_unnamed_now(self->agent->instance, &spec, &self->network,
						  &self->ns_fd, &error);
	(void)setpriority(PRIO_PROCESS, 0, DN_NICE_AGENT);
	if (made)
		g_task_return_boolean(task, TRUE);
	else
		g_task_return_error(task, error);
}

static void on_made(GObject *source, GAsyncResult *result, gpointer data)
{
	Agent *agent = data;
	const Spare *made = g_task_get_task_data(G_TASK(result));
	uint32_t slot = made->slot;
	g_autoptr(GError) error = NULL;

	dn_failpoint_pass("agent.spare.ready.before");
	if (g_task_propagate_boolean(G_TASK(result), &error)) {
		agent->spares[slot]->ready = true;
		agent->spare_failures = 0;
	} else {
		/* A node that needs it makes its own, and its failure is an event. */
		g_message("nothing spare for slot %u: %s", slot, error->message);
		g_clear_pointer(&agent->spares[slot], spare_free);
		agent->spare_failures++;
		agent->spare_not_before_ns =
			dn_clock_monotonic_ns() + dn_backoff_ns(agent->spare_failures + 1);
	}
	dn_agent_settle(agent);
}

static void make(Agent *agent, uint32_t slot)
{
	Spare *self = g_new0(Spare, 1);
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_made, agent);

	self->agent = agent;
	self->slot = slot;
	self->address = dn_address_of_slot(agent->network, slot);
	self->network.diag_fd = self->ns_fd = self->owner_fd = -1;
	agent->spares[slot] = self;
	g_task_set_task_data(task, self, NULL);
	dn_work_begin(agent, task, make_in_thread);
}

static bool is_free(const Agent *agent, uint32_t slot)
{
	return agent->slots[slot] == NULL;
}

void dn_spares_fill(Agent *agent)
{
	uint32_t found = 0;
	uint32_t next = DN_SLOTS;

	/* Heartbeats settle, and so come back here. */
	if (agent->host_cidr == NULL || dn_clock_monotonic_ns() < agent->spare_not_before_ns)
		return;
	for (uint32_t slot = 0; slot < DN_SLOTS; slot++) {
		const Node *node = agent->slots[slot];

		/* Real work first: it comes back here when it is done. */
		if (node != NULL && node->busy)
			return;
		if (agent->spares[slot] != NULL) {
			if (!agent->spares[slot]->ready)
				return;
			found++;
		} else if (is_free(agent, slot) && next == DN_SLOTS) {
			next = slot;
		}
	}
	if (found < SPARES && next < DN_SLOTS)
		make(agent, next);
}

uint32_t dn_spare_slot(const Agent *agent)
{
	uint32_t bare = DN_SLOTS;

	for (uint32_t slot = DN_SLOTS; slot-- > 0;) {
		const Spare *spare = agent->spares[slot];

		if (!is_free(agent, slot))
			continue;
		if (spare != NULL && spare->ready)
			return slot;
		if (spare == NULL)
			bare = slot;
	}
	return bare;
}

bool dn_spare_take(Agent *agent, uint32_t slot, DnNetwork *network, int *ns_fd, int *owner_fd)
{
	Spare *self = g_steal_pointer(&agent->spares[slot]);

	if (self == NULL)
		return false;
	*network = self->network;
	*ns_fd = g_steal_fd(&self->ns_fd);
	*owner_fd = g_steal_fd(&self->owner_fd);
	self->network.diag_fd = -1;
	spare_free(self);
	return true;
}

void dn_spares_close(Agent *agent)
{
	for (uint32_t slot = 0; slot < DN_SLOTS; slot++)
		if (agent->spares[slot] != NULL && agent->spares[slot]->ready)
			g_clear_pointer(&agent->spares[slot], spare_free);
}

/*
 * They go with the agent that made them, but when the kernel finds the time; until then their
 * links have the names that new ones need.
 */
void dn_spares_sweep(const DnInstance *instance, Node *const *taken)
{
	for (uint32_t slot = 0; slot < DN_SLOTS; slot++) {
		g_autoptr(GError) error = NULL;

		if ((taken == NULL || taken[slot] == NULL) &&
		    !dn_network_remove_link_now(instance, slot, &error))
			g_warning("left-over link of slot %u: %s", slot, error->message);
	}
}
