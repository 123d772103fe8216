/* SPDX-License-Identifier: Apache-2.0 */
#include "main/incident.h"
#include "main/side.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib-unix.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "core/respawn.h"

/* Main's half of the reflex: what it learns, and the plans it makes. */

bool dn_cut_has_entered(Agent *agent, uint32_t slot)
{
	return g_atomic_int_get(&agent->side->slots[slot].entered);
}

void dn_cut_taken_over(Agent *agent, uint32_t slot)
{
	g_atomic_int_set(&agent->side->slots[slot].entered, 0);
}

static void drain(void *data)
{
	Agent *agent = data;

	dn_sensor_drain_verdicts(agent->sensor);
}

static gboolean on_verdict(int fd, GIOCondition condition, gpointer data)
{
	Agent *agent = data;
	eventfd_t count = 0;

	(void)eventfd_read(fd, &count);
	for (uint32_t slot = 0; slot < DN_SLOTS; slot++)
		if (g_atomic_int_compare_and_exchange(&agent->side->slots[slot].seen, 1, 0) &&
		    agent->slots[slot] != NULL)
			dn_incident_open(agent, agent->slots[slot]);
	return G_SOURCE_CONTINUE;
}

static void observed(const struct dn_sensor_observation *observation, void *data)
{
	dn_observed(data, observation);
}

static gboolean on_observed(int fd, GIOCondition condition, gpointer data)
{
	Agent *agent = data;

	/* What is left has another turn, after whatever else is due. */
	(void)dn_sensor_drain_observations(agent->sensor, observed, agent);
	return G_SOURCE_CONTINUE;
}

static void on_outcome(const DnReflexOutcome *outcome, void *data)
{
	dn_incident_finish(data, outcome);
}

static GSource *watch(int fd, GSourceFunc call, Agent *agent)
{
	GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

	g_source_set_callback(source, call, agent, NULL);
	g_source_attach(source, NULL);
	return source;
}

static void clear_slot(struct ReflexSide *side, uint32_t number)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&side->probes);
	Side *slot = &side->slots[number];

	dn_probe_clear(&slot->probe);
	g_clear_pointer(&slot->open_window, g_bytes_unref);
	g_clear_pointer(&slot->close_window, g_bytes_unref);
	g_free(slot->health.path);
	memset(slot, 0, sizeof(*slot));
	slot->fifo_fd = slot->diag_fd = -1;
	slot->cgroup.freeze_fd = slot->cgroup.events_fd = -1;
}

bool dn_cut_open(Agent *agent, GError **error)
{
	struct ReflexSide *side = g_new0(struct ReflexSide, 1);

	agent->side = side;
	g_mutex_init(&side->lock);
	g_mutex_init(&side->probes);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		clear_slot(side, i);
	for (unsigned i = 0; i < DUMPS; i++) {
		side->dumps[i] = dn_diag_new(error);
		if (side->dumps[i] == NULL)
			return false;
	}
	side->replay_fd = dn_firewall_open_replay(error);
	side->verdict_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (side->replay_fd < 0)
		return false;
	if (side->verdict_fd < 0)
		return dn_throw_errno(error, errno, "eventfd");
	return true;
}

static void forget_start(struct ReflexSide *side)
{
	dn_source_clear(&side->verdict);
	dn_source_clear(&side->observed);
	g_clear_pointer(&side->firewall, dn_firewall_free);
}

bool dn_cut_start(Agent *agent, GError **error)
{
	struct ReflexSide *side = agent->side;
	DnFirewallConfig config = {
		.uplink = agent->instance->uplink,
		.node_cidr = agent->node_cidr,
		.vip_cidr = agent->vip_cidr,
	};
	DnReflexSource source = {
		.marks = dn_sensor_marks(agent->sensor),
		.n_slots = DN_SLOTS,
		.bell_fd = dn_sensor_verdict_fd(agent->sensor),
		.drain = drain,
		.drain_data = agent,
		.realtime = true,
	};
	DnReflexOps ops = dn_reflex_ops();

	ops.data = agent;
	side->firewall = dn_firewall_new(&config, error);
	if (side->firewall == NULL)
		return false;
	side->verdict = watch(side->verdict_fd, G_SOURCE_FUNC(on_verdict), agent);
	side->observed =
		watch(dn_sensor_observation_fd(agent->sensor), G_SOURCE_FUNC(on_observed), agent);
	agent->reflex = dn_failpoint("agent.reflex.start.before", error)
				? dn_reflex_start(&source, &ops, on_outcome, agent, error)
				: NULL;
	if (agent->reflex == NULL)
		forget_start(side);
	return agent->reflex != NULL;
}

void dn_cut_close(Agent *agent)
{
	struct ReflexSide *side = agent->side;

	g_clear_pointer(&agent->reflex, dn_reflex_stop);
	if (side == NULL)
		return;
	forget_start(side);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		clear_slot(side, i);
	for (unsigned i = 0; i < DUMPS; i++)
		dn_diag_free(side->dumps[i]);
	dn_fd_clear(&side->replay_fd);
	dn_fd_clear(&side->verdict_fd);
	dn_firewall_state_free(side->state);
	g_mutex_clear(&side->lock);
	g_mutex_clear(&side->probes);
	g_clear_pointer(&agent->side, g_free);
}

/* The firewall's part of a reset, in which those whose connection is not accepted yet learn it. */
static void prepare_windows(Agent *agent, Side *slot)
{
	if (slot->open_window != NULL || slot->close_window != NULL)
		return;
	slot->open_window = dn_firewall_serialise_window(agent->firewall, slot->address,
							 slot->ports, slot->n_ports, true, NULL);
	slot->close_window = dn_firewall_serialise_window(agent->firewall, slot->address,
							  slot->ports, slot->n_ports, false, NULL);
}

/* A probe that is not answered soon is begun again: the node may have missed its first packet. */
enum { PROBE_MS = 50 };

static void fill_slot(struct ReflexSide *side, const Node *node)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&side->probes);
	Side *slot = &side->slots[node->slot];

	slot->cgroup = node->cgroup;
	slot->group = dn_node_service(node)->number;
	slot->diag_fd = node->network.diag_fd;
	slot->fifo_fd = node->fifo_fd;
	g_strlcpy(slot->address, node->address, sizeof(slot->address));
	slot->n_ports = dn_node_ports(node->manifest, slot->ports);
	slot->health = node->manifest->health;
	slot->health.path = g_strdup(node->manifest->health.path);
	slot->health.timeout_ms = MIN(slot->health.timeout_ms, PROBE_MS);
	slot->health_port = slot->health.port != 0 ? slot->health.port
			    : slot->n_ports > 0    ? slot->ports[0]
						   : 0;
}

void dn_cut_add_node(Agent *agent, const Node *node)
{
	Side *slot = &agent->side->slots[node->slot];

	clear_slot(agent->side, node->slot);
	fill_slot(agent->side, node);
	if (agent->firewall != NULL)
		prepare_windows(agent, slot);
}

void dn_cut_let_go(Agent *agent, Node *standby)
{
	struct ReflexSide *side = agent->side;

	g_atomic_int_set(&side->slots[standby->slot].fifo_fd, -1);
	dn_fd_clear(&standby->fifo_fd);
	g_mutex_lock(&side->probes);
	dn_probe_clear(&side->slots[standby->slot].probe);
	g_mutex_unlock(&side->probes);
}

void dn_cut_firewall_opened(Agent *agent)
{
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL)
			prepare_windows(agent, &agent->side->slots[i]);
}

void dn_cut_remove_node(Agent *agent, uint32_t slot)
{
	if (agent->reflex != NULL)
		dn_reflex_disarm(agent->reflex, slot);
	clear_slot(agent->side, slot);
}

/* The standby of this host that should take over from @node, were it marked now. */
static const Node *choose_standby(Agent *agent, const Node *node)
{
	const Node *created = NULL;

	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *other = agent->slots[i];

		if (other == NULL || other->role != DN_ROLE_STANDBY || other->busy ||
		    !g_str_equal(other->manifest->digest, node->manifest->digest))
			continue;
		if (other->state == DN_NODE_STANDBY && other->health.healthy)
			return other;
		if (other->state == DN_NODE_CREATED && other->fifo_fd >= 0)
			created = other;
	}
	return created;
}

static bool may_replace(const Node *node)
{
	const Service *service = dn_node_service(node);

	/* A drill has spent from a budget of its own before its helper was sent in. */
	return node->drill != 0 ||
	       dn_respawn_is_within(&service->budget, node->manifest, dn_service_grant(service),
				    dn_clock_monotonic_ns());
}

static void arm(Agent *agent, const DnFirewallState *state, const Node *node)
{
	bool serves = node->state == DN_NODE_READY && node->role == DN_ROLE_ACTIVE;
	const Node *standby = serves && may_replace(node) ? choose_standby(agent, node) : NULL;
	DnReflexPlan plan = {
		.slot = node->slot,
		.group = dn_node_service(node)->number,
	};
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) cut = NULL;
	g_autoptr(GBytes) promote = NULL;
	g_autoptr(GBytes) isolate =
		dn_firewall_serialise_isolation(agent->firewall, node->address, NULL);

	if (standby != NULL) {
		plan.standby =
			standby->state == DN_NODE_STANDBY ? DN_STANDBY_STARTED : DN_STANDBY_CREATED;
		plan.standby_slot = standby->slot;
	}
	cut = dn_firewall_serialise_cut(
		agent->firewall, state, node->address,
		plan.standby == DN_STANDBY_STARTED ? standby->address : NULL, &error);
	if (plan.standby == DN_STANDBY_CREATED && cut != NULL)
		promote = dn_firewall_serialise_cut(agent->firewall, state, node->address,
						    standby->address, &error);
	if (cut == NULL || (plan.standby == DN_STANDBY_CREATED && promote == NULL))
		g_warning("cut of node %s cannot be prepared and would be built when needed: %s",
			  node->id, error->message);
	plan.cut = cut;
	plan.promote = promote;
	plan.isolate = isolate;
	if (!dn_reflex_arm(agent->reflex, &plan))
		g_info("cut of node %s is too large to be prepared", node->id);
}

bool dn_cut_is_armed(const Agent *agent)
{
	/* Only main writes it. */
	return agent->side != NULL && agent->side->state != NULL;
}

void dn_cut_arm(Agent *agent, const DnFirewallState *state)
{
	struct ReflexSide *side = agent->side;

	if (agent->reflex == NULL)
		return;
	g_mutex_lock(&side->lock);
	dn_firewall_state_free(side->state);
	side->state = dn_balance_state(agent);
	g_mutex_unlock(&side->lock);
	for (unsigned i = 0; i < DN_SLOTS; i++) {
		const Node *node = agent->slots[i];

		/* Also one whose incident is on record already: the agent that opened it may have
		 * died before it was cut off. */
		if (node != NULL && node->built && node->guarded &&
		    node->state != DN_NODE_QUARANTINED)
			arm(agent, state, node);
	}
	dn_isolation_look(agent);
}

void dn_cut_record(Agent *agent, uint32_t slot, const Node *node, DnIncident *incident)
{
	Side *side = &agent->side->slots[slot];
	gint dump = g_atomic_int_get(&side->dump);

	if (dump == 0)
		return;
	dn_diag_record(agent->side->dumps[dump - 1], side->ports, side->n_ports, incident);
	g_atomic_int_set(&side->dump, 0);
	g_atomic_int_set(&agent->side->dump_taken[dump - 1], 0);
}
