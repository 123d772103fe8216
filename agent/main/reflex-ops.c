/* SPDX-License-Identifier: Apache-2.0 */
#include "main/side.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/failpoint.h"

/* What the reflex does to this host, on its thread: reflex/reflex.h says what each may do. */

static bool op_freeze(void *data, uint32_t slot)
{
	Agent *agent = data;

	return dn_failpoint("reflex.freeze.before", NULL) &&
	       dn_cgroup_freeze(&agent->side->slots[slot].cgroup) &&
	       dn_failpoint("reflex.freeze.after", NULL);
}

static bool op_is_frozen(void *data, uint32_t slot)
{
	Agent *agent = data;

	return dn_cgroup_is_frozen(&agent->side->slots[slot].cgroup);
}

static int op_replay(void *data, const void *batch, size_t size)
{
	Agent *agent = data;

	if (!dn_failpoint("reflex.replay.before", NULL))
		return -EIO;
	int answer = dn_firewall_replay(agent->side->replay_fd, batch, size);
	dn_failpoint_pass("reflex.replay.after");
	return answer;
}

/*
 * Everything that is marked by now leaves the balancer with this node, whoever marked it; but for
 * what goes on serving in isolation.
 */
static void exclude_marked(Agent *agent, DnFirewallState *state)
{
	for (uint32_t slot = 0; slot < DN_SLOTS; slot++) {
		const Side *side = &agent->side->slots[slot];

		if (side->address[0] == '\0' || !dn_sensor_is_marked(agent->sensor, slot) ||
		    dn_sensor_is_isolated(agent->sensor, slot))
			continue;
		for (guint i = 0; i < state->guarded->len; i++) {
			DnGuarded *guarded = g_ptr_array_index(state->guarded, i);

			if (g_str_equal(guarded->address, side->address))
				guarded->quarantined = true;
		}
	}
}

/* The port that nodes of @group serve @balanced with; 0: it is another service's. */
static uint16_t port_of_group(Agent *agent, const DnBalanced *balanced, uint32_t group)
{
	for (guint i = 0; i < balanced->local->len; i++) {
		const DnEndpoint *endpoint = &g_array_index(balanced->local, DnEndpoint, i);

		for (uint32_t slot = 0; slot < DN_SLOTS; slot++)
			if (agent->side->slots[slot].group == group &&
			    g_str_equal(agent->side->slots[slot].address, endpoint->address))
				return endpoint->port;
	}
	return 0;
}

static bool names(const DnBalanced *balanced, const char *address)
{
	for (guint i = 0; i < balanced->local->len; i++)
		if (g_str_equal(g_array_index(balanced->local, DnEndpoint, i).address, address))
			return true;
	return false;
}

/* Standbys that entered by a replay after the state was taken. */
static void include_entered(Agent *agent, DnFirewallState *state)
{
	for (uint32_t slot = 0; slot < DN_SLOTS; slot++) {
		const Side *side = &agent->side->slots[slot];

		if (!g_atomic_int_get(&side->entered))
			continue;
		for (guint i = 0; i < state->balanced->len; i++) {
			DnBalanced *balanced = g_ptr_array_index(state->balanced, i);
			uint16_t port = port_of_group(agent, balanced, side->group);

			if (port != 0 && !names(balanced, side->address))
				dn_endpoints_add(balanced->local, side->address, port);
		}
	}
}

static bool op_rebuild(void *data, uint32_t slot, DnStandbyKind standby, uint32_t standby_slot)
{
	Agent *agent = data;
	struct ReflexSide *side = agent->side;
	const char *other = standby != DN_STANDBY_NONE ? side->slots[standby_slot].address : NULL;
	g_autoptr(GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new(&side->lock);

	if (side->state == NULL || side->firewall == NULL)
		return false;
	exclude_marked(agent, side->state);
	include_entered(agent, side->state);
	return dn_failpoint("reflex.rebuild.before", NULL) &&
	       dn_firewall_cut(side->firewall, side->state, side->slots[slot].address, other,
			       NULL) &&
	       dn_failpoint("reflex.rebuild.after", NULL);
}

static void op_entered(void *data, uint32_t slot)
{
	Agent *agent = data;

	dn_failpoint_pass("reflex.entered.before");
	g_atomic_int_set(&agent->side->slots[slot].entered, 1);
}

static bool op_release(void *data, uint32_t slot)
{
	Agent *agent = data;
	int fifo_fd = g_atomic_int_get(&agent->side->slots[slot].fifo_fd);

	return fifo_fd >= 0 && dn_failpoint("reflex.release.before", NULL) &&
	       dn_container_release_fifo(fifo_fd);
}

/* Without an address the standby has gone meanwhile. */
static bool op_answers(void *data, uint32_t slot, struct pollfd *wanted)
{
	Agent *agent = data;
	Side *side = &agent->side->slots[slot];

	if (!dn_failpoint("reflex.probe.before", NULL))
		return false;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&agent->side->probes);
	return side->address[0] != '\0' &&
	       dn_probe_step(&side->probe, &side->health, side->address, side->health_port, wanted);
}

static void op_give_up(void *data, uint32_t slot)
{
	Agent *agent = data;
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&agent->side->probes);

	dn_probe_clear(&agent->side->slots[slot].probe);
}

static int op_dump(void *data, uint32_t slot)
{
	Agent *agent = data;
	Side *side = &agent->side->slots[slot];

	if (!dn_failpoint("reflex.dump.before", NULL))
		return -1;
	for (gint i = 0; i < DUMPS; i++) {
		if (!g_atomic_int_compare_and_exchange(&agent->side->dump_taken[i], 0,
						       (gint)slot + 1))
			continue;
		g_atomic_int_set(&side->dump, i + 1);
		int sockets = dn_diag_dump_sockets(agent->side->dumps[i], side->diag_fd);
		(void)dn_diag_dump_flows(agent->side->dumps[i], side->address);
		return sockets;
	}
	return DN_REFLEX_BUSY;
}

static int op_reset(void *data, uint32_t slot)
{
	Agent *agent = data;
	Side *side = &agent->side->slots[slot];
	gint dump = g_atomic_int_get(&side->dump);

	if (dump == 0 || !dn_failpoint("reflex.reset.before", NULL))
		return -1;
	DnDiag *diag = agent->side->dumps[dump - 1];
	int resets = dn_diag_destroy_accepted(diag, side->diag_fd, side->ports, side->n_ports);
	(void)dn_diag_delete_client_flows(diag, side->address);
	return resets;
}

static void op_window(void *data, uint32_t slot, bool open)
{
	Agent *agent = data;
	const Side *side = &agent->side->slots[slot];
	GBytes *batch = open ? side->open_window : side->close_window;
	gsize size = 0;

	if (batch == NULL || !(open ? dn_failpoint("reflex.window-open.before", NULL)
				    : dn_failpoint("reflex.window-close.before", NULL)))
		return;
	const void *bytes = g_bytes_get_data(batch, &size);
	(void)dn_firewall_replay(agent->side->replay_fd, bytes, size);
}

static void op_verdict(void *data, uint32_t slot)
{
	Agent *agent = data;

	dn_failpoint_pass("reflex.verdict.before");
	g_atomic_int_set(&agent->side->slots[slot].seen, 1);
	(void)eventfd_write(agent->side->verdict_fd, 1);
}

DnReflexOps dn_reflex_ops(void)
{
	return (DnReflexOps){
		.freeze = op_freeze,
		.is_frozen = op_is_frozen,
		.replay = op_replay,
		.rebuild = op_rebuild,
		.release = op_release,
		.answers = op_answers,
		.give_up = op_give_up,
		.dump = op_dump,
		.reset = op_reset,
		.window = op_window,
		.verdict = op_verdict,
		.entered = op_entered,
	};
}
