/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib-unix.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

/*
 * The reflex's side of main: what its functions need, laid out by slot before a node can be
 * marked. Main writes a slot only while no plan is armed for it; the reflex thread only reads,
 * but for the dump it borrows.
 */

enum { DUMPS = 8 };

typedef struct {
	DnCgroup cgroup; /* descriptors borrowed from the node */
	int diag_fd;     /* borrowed from the node */
	int fifo_fd;     /* borrowed from the node; -1: started */
	char address[40];
	DnHealthPolicy health; /* path borrowed from the node's manifest */
	uint16_t health_port;
	uint16_t ports[DN_SENSOR_PORTS];
	size_t n_ports;
	GBytes *open_window, *close_window; /* nft batches; owned */
	gint dump;                          /* index + 1 of the dump that holds this slot's */
	gint seen;                          /* the reflex has told of its mark */
	gint entered;                       /* the reflex has put this standby into the balancer */
	uint32_t group;
} Side;

struct ReflexSide {
	Side slots[DN_SLOTS];
	DnDiag *dumps[DUMPS];
	gint dump_taken[DUMPS]; /* slot + 1 */
	int replay_fd;
	int verdict_fd;    /* eventfd: reflex → main */
	GSource *verdict;  /* owned */
	GSource *observed; /* owned */

	/* For the slow way: libnftables on the reflex thread, from the state last applied. */
	GMutex lock;
	DnFirewallState *state; /* owned, under lock */
	DnFirewall *firewall;   /* reflex only */
};

/* ---- reflex thread ---- */

static bool op_freeze(void *data, uint32_t slot)
{
	Agent *agent = data;

	return dn_cgroup_freeze(&agent->side->slots[slot].cgroup);
}

static bool op_is_frozen(void *data, uint32_t slot)
{
	Agent *agent = data;

	return dn_cgroup_is_frozen(&agent->side->slots[slot].cgroup);
}

static int op_replay(void *data, const void *batch, size_t size)
{
	Agent *agent = data;

	return dn_firewall_replay(agent->side->replay_fd, batch, size);
}

/* Everything that is marked by now leaves the balancer with this node, whoever marked it. */
static void exclude_marked(Agent *agent, DnFirewallState *state)
{
	volatile struct dn_sensor_mark *marks = dn_sensor_marks(agent->sensor);

	for (uint32_t slot = 0; slot < DN_SLOTS; slot++) {
		const Side *side = &agent->side->slots[slot];

		if (side->address[0] == '\0' || marks[slot].event_ns == 0)
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
	return dn_firewall_cut(side->firewall, side->state, side->slots[slot].address, other, NULL);
}

static void op_entered(void *data, uint32_t slot)
{
	Agent *agent = data;

	g_atomic_int_set(&agent->side->slots[slot].entered, 1);
}

static bool op_release(void *data, uint32_t slot)
{
	Agent *agent = data;
	Side *side = &agent->side->slots[slot];

	return side->fifo_fd >= 0 && dn_container_release_fifo(side->fifo_fd);
}

static bool op_answers(void *data, uint32_t slot)
{
	Agent *agent = data;
	const Side *side = &agent->side->slots[slot];

	return dn_probe_now(&side->health, side->address, side->health_port);
}

static int op_dump(void *data, uint32_t slot)
{
	Agent *agent = data;
	Side *side = &agent->side->slots[slot];

	for (gint i = 0; i < DUMPS; i++) {
		if (!g_atomic_int_compare_and_exchange(&agent->side->dump_taken[i], 0,
						       (gint)slot + 1))
			continue;
		g_atomic_int_set(&side->dump, i + 1);
		int sockets = dn_diag_dump_sockets(agent->side->dumps[i], side->diag_fd);
		(void)dn_diag_dump_flows(agent->side->dumps[i], side->address);
		return sockets;
	}
	return -1;
}

static int op_reset(void *data, uint32_t slot)
{
	Agent *agent = data;
	Side *side = &agent->side->slots[slot];
	gint dump = g_atomic_int_get(&side->dump);

	if (dump == 0)
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

	if (batch == NULL)
		return;
	const void *bytes = g_bytes_get_data(batch, &size);
	(void)dn_firewall_replay(agent->side->replay_fd, bytes, size);
}

static void op_verdict(void *data, uint32_t slot)
{
	Agent *agent = data;

	g_atomic_int_set(&agent->side->slots[slot].seen, 1);
	(void)eventfd_write(agent->side->verdict_fd, 1);
}

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

/* ---- main thread ---- */

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

/* A refused exec, or one that the manifest only observes or denies. */
static void observed(const struct dn_sensor_observation *observation, void *data)
{
	Agent *agent = data;
	Node *node = observation->slot < DN_SLOTS ? agent->slots[observation->slot] : NULL;

	if (node == NULL || !node->built)
		return;
	bool refused = observation->class == DN_SENSOR_EXEC_REFUSED;
	if (refused && !dn_sensor_refused_is_foreign(agent->sensor, node->image, observation,
						     (uint32_t)node->container.pid))
		return;
	dn_report_event(agent, "warning", refused ? "drift.refused" : "drift.exec",
			node->manifest->service, node->id,
			"node %s: process %u (%.16s) %s \"%.191s\", which is not in its image",
			node->id, observation->pid, (const char *)observation->comm,
			refused ? "was refused" : "tried", (const char *)observation->path);
	if (refused && node->manifest->drift_exec == DN_ANSWER_QUARANTINE &&
	    dn_sensor_mark(agent->sensor, node->slot, DN_SENSOR_EXEC_REFUSED))
		dn_reflex_ring(agent->reflex);
}

static gboolean on_observed(int fd, GIOCondition condition, gpointer data)
{
	Agent *agent = data;

	dn_sensor_drain_observations(agent->sensor, observed, agent);
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

static void clear_slot(Side *slot)
{
	g_clear_pointer(&slot->open_window, g_bytes_unref);
	g_clear_pointer(&slot->close_window, g_bytes_unref);
	memset(slot, 0, sizeof(*slot));
	slot->fifo_fd = slot->diag_fd = -1;
	slot->cgroup.freeze_fd = slot->cgroup.events_fd = -1;
}

bool dn_cut_open(Agent *agent, GError **error)
{
	struct ReflexSide *side = g_new0(struct ReflexSide, 1);

	agent->side = side;
	g_mutex_init(&side->lock);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		clear_slot(&side->slots[i]);
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
	DnReflexOps ops = {
		.data = agent,
		.freeze = op_freeze,
		.is_frozen = op_is_frozen,
		.replay = op_replay,
		.rebuild = op_rebuild,
		.release = op_release,
		.answers = op_answers,
		.dump = op_dump,
		.reset = op_reset,
		.window = op_window,
		.verdict = op_verdict,
		.entered = op_entered,
	};

	side->firewall = dn_firewall_new(&config, error);
	if (side->firewall == NULL)
		return false;
	side->verdict = watch(side->verdict_fd, G_SOURCE_FUNC(on_verdict), agent);
	side->observed =
		watch(dn_sensor_observation_fd(agent->sensor), G_SOURCE_FUNC(on_observed), agent);
	agent->reflex = dn_reflex_start(&source, &ops, on_outcome, agent, error);
	return agent->reflex != NULL;
}

static void clear_source(GSource **source)
{
	if (*source != NULL)
		g_source_destroy(*source);
	g_clear_pointer(source, g_source_unref);
}

void dn_cut_close(Agent *agent)
{
	struct ReflexSide *side = agent->side;

	g_clear_pointer(&agent->reflex, dn_reflex_stop);
	if (side == NULL)
		return;
	clear_source(&side->verdict);
	clear_source(&side->observed);
	for (unsigned i = 0; i < DN_SLOTS; i++)
		clear_slot(&side->slots[i]);
	for (unsigned i = 0; i < DUMPS; i++)
		dn_diag_free(side->dumps[i]);
	dn_fd_clear(&side->replay_fd);
	dn_fd_clear(&side->verdict_fd);
	dn_firewall_state_free(side->state);
	dn_firewall_free(side->firewall);
	g_mutex_clear(&side->lock);
	g_clear_pointer(&agent->side, g_free);
}

void dn_cut_add_node(Agent *agent, const Node *node)
{
	Side *slot = &agent->side->slots[node->slot];

	clear_slot(slot);
	slot->cgroup = node->cgroup;
	slot->group = dn_node_service(node)->number;
	slot->diag_fd = node->network.diag_fd;
	slot->fifo_fd = node->fifo_fd;
	g_strlcpy(slot->address, node->address, sizeof(slot->address));
	slot->n_ports = dn_node_ports(node->manifest, slot->ports);
	slot->health = node->manifest->health;
	slot->health.timeout_ms = MIN(slot->health.timeout_ms, 50);
	slot->health_port = slot->health.port != 0 ? slot->health.port
			    : slot->n_ports > 0    ? slot->ports[0]
						   : 0;
	if (agent->firewall == NULL)
		return;
	slot->open_window = dn_firewall_serialise_window(agent->firewall, slot->address,
							 slot->ports, slot->n_ports, true, NULL);
	slot->close_window = dn_firewall_serialise_window(agent->firewall, slot->address,
							  slot->ports, slot->n_ports, false, NULL);
}

void dn_cut_remove_node(Agent *agent, uint32_t slot)
{
	if (agent->reflex != NULL)
		dn_reflex_disarm(agent->reflex, slot);
	clear_slot(&agent->side->slots[slot]);
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

static bool may_replace(Agent *agent, const Node *node)
{
	/* A drill has spent from a budget of its own before its helper was sent in. */
	return node->drill != 0 ||
	       dn_service_within_budget(agent, dn_node_service(node), node->manifest);
}

static void arm(Agent *agent, const DnFirewallState *state, const Node *node)
{
	bool serves = node->state == DN_NODE_READY && node->role == DN_ROLE_ACTIVE;
	const Node *standby =
		serves && may_replace(agent, node) ? choose_standby(agent, node) : NULL;
	DnReflexPlan plan = {
		.slot = node->slot,
		.group = dn_node_service(node)->number,
	};
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) cut = NULL;
	g_autoptr(GBytes) promote = NULL;

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
	if (!dn_reflex_arm(agent->reflex, &plan))
		g_info("cut of node %s is too large to be prepared", node->id);
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

		if (node != NULL && node->guarded && !node->cut_taken &&
		    node->state != DN_NODE_QUARANTINED)
			arm(agent, state, node);
	}
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
