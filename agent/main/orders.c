/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/audit.h"
#include "main/damage.h"
#include "main/guard.h"
#include "main/incident.h"
#include "main/journal.h"
#include "main/manifests.h"
#include "main/state.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/id.h"
#include "core/address.h"
#include "core/life.h"
#include "core/share.h"
#include "manifest/manifest.h"
#include "runtime/logs.h"
#include "seal/trust.h"
#include "wire/codec.h"

/* ---- the link begins ---- */

static bool is_same_range(const char *what, const char *known, const char *told, GError **error)
{
	if (known == NULL || g_str_equal(known, told))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "this host has %s %s and is now told %s; if the cluster's ranges were changed, "
		    "enrol the host anew",
		    what, known, told);
	return false;
}

/*
 * The ranges come once and stay: they decide which routes this host takes from a supervisor. What
 * the firewall cannot use must not get to the disk, or the agent would not start again.
 */
static bool check_network(const Agent *agent, const DnWelcome *welcome, uint32_t *network,
			  GError **error)
{
	DnFirewallConfig config = {
		.uplink = agent->instance->uplink,
		.node_cidr = welcome->node_cidr,
		.vip_cidr = welcome->vip_cidr,
	};

	if (!dn_address_parse_host_cidr(welcome->host_cidr, network, error) ||
	    !is_same_range("range", agent->host_cidr, welcome->host_cidr, error) ||
	    !is_same_range("node_cidr", agent->node_cidr, welcome->node_cidr, error) ||
	    !is_same_range("vip_cidr", agent->vip_cidr, welcome->vip_cidr, error))
		return false;
	g_autoptr(DnFirewall) trial = dn_firewall_new(&config, error);
	return trial != NULL;
}

/* Nothing is written for what is known: a host whose disk is full must find its supervisor again.
 */
static bool is_known(const Agent *agent, const DnWelcome *welcome)
{
	return agent->host_cidr != NULL && g_strcmp0(agent->repo, welcome->repo) == 0;
}

static bool take_term(Agent *agent, uint64_t term, GError **error)
{
	if (term > agent->envelope.term && !dn_state_save_term(agent, term, error))
		return false;
	dn_envelope_raise(&agent->envelope, term);
	return true;
}

static bool take_network(Agent *agent, const DnWelcome *welcome, GError **error)
{
	uint32_t network = 0;

	if (!check_network(agent, welcome, &network, error))
		return false;
	if (is_known(agent, welcome))
		return true;
	if (!dn_state_save_welcome(agent, welcome, error))
		return false;
	g_free(agent->host_cidr);
	g_free(agent->node_cidr);
	g_free(agent->vip_cidr);
	g_free(agent->repo);
	agent->network = network;
	agent->host_cidr = g_strdup(welcome->host_cidr);
	agent->node_cidr = g_strdup(welcome->node_cidr);
	agent->vip_cidr = g_strdup(welcome->vip_cidr);
	agent->repo = g_strdup(welcome->repo);
	return true;
}

bool dn_agent_open_firewall(Agent *agent, GError **error)
{
	DnFirewallConfig config = {
		.uplink = agent->instance->uplink,
		.node_cidr = agent->node_cidr,
		.vip_cidr = agent->vip_cidr,
	};

	agent->firewall = dn_failpoint("agent.nft.open.before", error)
				  ? dn_firewall_new(&config, error)
				  : NULL;
	if (agent->firewall == NULL)
		return false;
	/* Both or none: an open firewall says that marks are answered. */
	if (!dn_cut_start(agent, error)) {
		g_clear_pointer(&agent->firewall, dn_firewall_free);
		return false;
	}
	dn_guard_firewall(agent);
	return true;
}

bool dn_agent_welcome(const DnWelcome *welcome, void *data)
{
	Agent *agent = data;
	g_autoptr(GError) error = NULL;

	/* What fails half-way has kept nothing that it does not know: the next one begins anew. */
	if (!dn_envelope_welcome(&agent->envelope, welcome->cluster, welcome->session,
				 welcome->term, &error) ||
	    !take_term(agent, welcome->term, &error) || !take_network(agent, welcome, &error) ||
	    (agent->firewall == NULL && !dn_agent_open_firewall(agent, &error))) {
		/* Kept for a supervisor that is believed: not a word to this one. */
		dn_report_event(agent, "critical", "welcome.refused", NULL, NULL,
				"the supervisor's welcome is refused: %s", error->message);
		return false;
	}
	g_message("linked to the supervisor, term %" G_GUINT64_FORMAT, welcome->term);
	agent->linked = true;
	dn_agent_journal_head(agent, &welcome->head);
	dn_report_all(agent);
	dn_report_spooled(agent);
	dn_damage_try_again(agent);
	dn_agent_settle(agent);
	return true;
}

/* ---- orders ---- */

static uint32_t nodes_of(const Agent *agent, const char *digest)
{
	uint32_t nodes = 0;

	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL && dn_life_goes_on(agent->slots[i]->state) &&
		    g_str_equal(agent->slots[i]->manifest->digest, digest))
			nodes++;
	return nodes;
}

/* Nobody places what has expired; what this host was asked for, or has, goes on. */
static bool check_place(Agent *agent, const DnAssign *before, const DnAssign *next, GError **error)
{
	g_autoptr(DnAssign) has =
		before != NULL ? dn_assign_copy(before) : dn_assign_new(next->service, next->vip);

	for (guint i = 0; i < next->parts->len; i++) {
		const DnPart *part = g_ptr_array_index(next->parts, i);

		dn_share_raise(has, part->digest, part->epoch, nodes_of(agent, part->digest));
	}
	return dn_epochs_may_place(agent->manifests, has, next, dn_floor_judge(agent), error);
}

/* @service: what is known of it by now, or NULL. */
static bool check_assign(Agent *agent, const Service *service, const DnAssign *next, GError **error)
{
	const DnAssign *before = service != NULL ? service->assign : NULL;

	return dn_epochs_know_service(agent->epochs, next->service, error) &&
	       (service != NULL || dn_share_has_room(g_hash_table_size(agent->services), error)) &&
	       dn_epochs_know_parts(agent->manifests, next, error) &&
	       dn_epochs_may_assign(agent->epochs, agent->manifests, before, next, error) &&
	       check_place(agent, before, next, error) &&
	       dn_service_check_share(agent, next, error);
}

/* On disk before it counts; what cannot be written changes nothing. */
static bool take_share(Agent *agent, Service *service, const DnAssign *next, GError **error)
{
	DnAssign *before = service->assign;

	service->assign = dn_assign_copy(next);
	if (!dn_state_save_service(agent, service, error)) {
		dn_assign_free(service->assign);
		service->assign = before;
		return false;
	}
	dn_assign_free(before);
	return true;
}

static bool obey_assign(Agent *agent, const DnOrder *order, GError **error)
{
	const DnAssign *next = order->assign;

	if (!check_assign(agent, dn_service_find(agent, next->service), next, error)) {
		dn_report_event(agent, "critical", "assign.refused", next->service, NULL, "%s",
				*error != NULL ? (*error)->message : "");
		return false;
	}
	if (!take_share(agent, dn_service_get(agent, next->service), next, error))
		return false;
	/* Before the answer: it says that this host's balancer knows. */
	if (!dn_balance_apply(agent)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "the balancer could not be changed");
		return false;
	}
	dn_nodes_refresh_hosts(agent);
	dn_manifests_forget_unused(agent);
	dn_agent_settle(agent);
	return true;
}

static bool obey_forget(Agent *agent, const DnOrder *order, GError **error)
{
	if (!dn_epochs_may_forget(agent->epochs, order->service, error))
		return false;
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL &&
		    g_str_equal(agent->slots[i]->manifest->service, order->service)) {
			g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
				    "service %s still has node %s here", order->service,
				    agent->slots[i]->id);
			return false;
		}
	g_hash_table_remove(agent->services, order->service);
	dn_manifests_forget_unused(agent);
	dn_balance_apply(agent);
	dn_nodes_refresh_hosts(agent);
	return dn_state_forget_service(agent, order->service, error);
}

/* Of another host's nodes, and nothing else: a supervisor has no say in the host's own routes. */
static bool check_route(const Agent *agent, const DnRoute *route, GError **error)
{
	uint32_t network = 0;

	if (!dn_address_parse_host_cidr(route->cidr, &network, error))
		return false;
	g_autofree char *first = dn_address_of_slot(network, 0);
	if (dn_address_is_within(agent->node_cidr, first))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
		    "route to %s leads out of the cluster's nodes %s", route->cidr,
		    agent->node_cidr);
	return false;
}

static bool obey_routes(Agent *agent, const DnOrder *order, GError **error)
{
	g_autoptr(GPtrArray) routes = g_ptr_array_new();
	g_autofree DnHostRoute *rows = g_new0(DnHostRoute, order->routes->len);

	for (guint i = 0; i < order->routes->len; i++) {
		const DnRoute *route = g_ptr_array_index(order->routes, i);

		if (!check_route(agent, route, error)) {
			dn_report_event(agent, "critical", "order.refused", NULL, NULL,
					"order routes: %s", (*error)->message);
			return false;
		}
		if (g_strcmp0(route->cidr, agent->host_cidr) == 0)
			continue;
		rows[i] = (DnHostRoute){.cidr = route->cidr, .via = route->via};
		g_ptr_array_add(routes, &rows[i]);
	}
	return dn_network_set_routes_now(routes, error);
}

char *dn_agent_read_logs(Agent *agent, const char *node, uint32_t lines, uint64_t *offset,
			 GError **error)
{
	if (node[0] != '.' && strchr(node, '/') == NULL) {
		g_autofree char *folder = dn_node_log_dir(agent, node);

		if (g_file_test(folder, G_FILE_TEST_IS_DIR))
			return dn_logs_read_now(folder, lines, offset, error);
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "this host has no log of node %.64s", node);
	return NULL;
}

static bool obey_logs(Agent *agent, const DnOrder *order, DnAnswerTo *answer, GError **error)
{
	answer->offset = order->offset;
	answer->text = dn_agent_read_logs(agent, order->node, order->lines, &answer->offset, error);
	return answer->text != NULL;
}

/* One that is gone by now, or was cut, needs it no longer. */
static bool obey_dropped(Agent *agent, const DnOrder *order, GError **error)
{
	Node *node = dn_agent_find_node(agent, order->node);

	if (!dn_failpoint("agent.order.dropped.before", error))
		return false;
	if (node != NULL)
		dn_node_dropped(node);
	return dn_failpoint("agent.order.dropped.after", error);
}

static bool obey(Agent *agent, const DnOrder *order, DnAnswerTo *answer, GError **error)
{
	if (agent->firewall == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "this host is not ready yet");
		return false;
	}
	if (dn_agent_decides(agent, order) && !dn_agent_may_promise(agent, order, error))
		return false;
	switch (order->kind) {
	case DN_ORDER_MANIFEST:
		return dn_failpoint("agent.order.manifest.before", error) &&
		       dn_manifests_obey(agent, order, error) &&
		       dn_failpoint("agent.order.manifest.after", error);
	case DN_ORDER_ASSIGN:
		return dn_failpoint("agent.order.assign.before", error) &&
		       obey_assign(agent, order, error) &&
		       dn_failpoint("agent.order.assign.after", error);
	case DN_ORDER_FORGET:
		return dn_failpoint("agent.order.forget.before", error) &&
		       obey_forget(agent, order, error) &&
		       dn_failpoint("agent.order.forget.after", error);
	case DN_ORDER_ROUTES:
		return dn_failpoint("agent.order.routes.before", error) &&
		       obey_routes(agent, order, error) &&
		       dn_failpoint("agent.order.routes.after", error);
	case DN_ORDER_QUARANTINE:
		return dn_failpoint("agent.order.quarantine.before", error) &&
		       dn_agent_quarantine(agent, order->node, order->reason, error) &&
		       dn_failpoint("agent.order.quarantine.after", error);
	case DN_ORDER_DRILL:
		return dn_failpoint("agent.order.drill.before", error) &&
		       dn_agent_drill(agent, order->node, order->class, error) &&
		       dn_failpoint("agent.order.drill.after", error);
	case DN_ORDER_DESTROY:
		return dn_failpoint("agent.order.destroy.before", error) &&
		       dn_incident_destroy(agent, order, error) &&
		       dn_failpoint("agent.order.destroy.after", error);
	case DN_ORDER_STAMP:
		return dn_failpoint("agent.order.stamp.before", error) &&
		       dn_incident_stamp(agent, order->incident, order->stage, error) &&
		       dn_failpoint("agent.order.stamp.after", error);
	case DN_ORDER_AUDIT:
		if (!dn_failpoint("agent.order.audit.before", error))
			return false;
		dn_audit_order(agent, order);
		return true;
	case DN_ORDER_LOGS:
		return dn_failpoint("agent.order.logs.before", error) &&
		       obey_logs(agent, order, answer, error) &&
		       dn_failpoint("agent.order.logs.after", error);
	case DN_ORDER_SWEEP:
		return dn_sweep_obey(agent, order, error);
	case DN_ORDER_DROPPED:
		return obey_dropped(agent, order, error);
	case DN_ORDER_N:
		break;
	}
	g_assert_not_reached();
}

/* What would take something away for good: people hear of it, whoever asked. */
static void tell_refusal(Agent *agent, const DnOrder *order, const GError *error)
{
	bool is_final = order->kind == DN_ORDER_FORGET || order->kind == DN_ORDER_DESTROY;

	if (is_final && !g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE))
		dn_report_event(agent, "critical", "order.refused", order->service, NULL,
				"order %s: %s", dn_order_kind_name(order->kind), error->message);
}

void dn_agent_order(const DnOrder *order, void *data)
{
	Agent *agent = data;
	g_autoptr(DnAnswerTo) answer = dn_answer_to_new(order->sequence);
	g_autoptr(GError) error = NULL;

	bool decides = dn_agent_decides(agent, order);

	dn_agent_journal_head(agent, &order->head);
	if (!dn_envelope_accept(&agent->envelope, order, &error))
		dn_report_event(agent, "critical", "order.refused", NULL, NULL, "order %s: %s",
				dn_order_kind_name(order->kind), error->message);
	else if (!obey(agent, order, answer, &error))
		tell_refusal(agent, order, error);
	else if (order->kind == DN_ORDER_SWEEP)
		return; /* answered when everything has been looked at */
	else
		answer->done = true;
	if (answer->done && order->kind == DN_ORDER_AUDIT)
		return; /* a worker looks, and then it is answered */
	if (!answer->done) {
		answer->code = error->domain == DN_ERROR ? error->code : 0;
		answer->error = g_strdup(error->message);
	}
	dn_agent_answer(agent, order, decides, g_steal_pointer(&answer));
}
