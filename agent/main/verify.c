/* SPDX-License-Identifier: Apache-2.0 */

/* (h): the cut is probed from outside; what cannot be verified is not assumed. */

#include "main/agent.h"
#include "main/incident.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "cgroup/cgroup.h"
#include "core/custody.h"
#include "core/isolation.h"
#include "network/verify.h"

enum { AGAIN_S = 5 };

typedef struct {
	Agent *agent;
	char *incident;
	char *node;
	char *address;
	char *netns;
	uint32_t slot;
	uint16_t ports[DN_SENSOR_PORTS];
	size_t n_ports;
	bool isolated; /* it serves on: only what it begins is asked for, and no client is lost */
	uint64_t verified_ns;
	DnIncident *swept; /* owned: only its conntrack is used; NULL: nothing could be read */
	GError *link_left; /* owned: why the link of an unverified cut is still there, or NULL */
} Verify;

static void verify_free(gpointer data)
{
	Verify *job = data;

	g_free(job->incident);
	g_free(job->node);
	g_free(job->address);
	g_free(job->netns);
	dn_incident_free(job->swept);
	g_clear_error(&job->link_left);
	g_free(job);
}

/*
 * Connections that no socket is left of, which the reflex had no time to look for. Its clients'
 * entries go then: those of UDP lead into the cut node for as long as a client goes on asking.
 */
static void sweep_flows(Verify *job)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnDiag) diag = dn_diag_new(&error);

	if (diag == NULL || dn_diag_sweep_flows(diag, job->address) < 0) {
		g_warning("connections of node %s could not be read: %s", job->node,
			  error != NULL ? error->message : "the kernel refused the dump");
		return;
	}
	job->swept = dn_incident_new();
	dn_diag_record(diag, NULL, 0, job->swept);
	if (job->isolated)
		return;
	if (!dn_diag_forget_clients(job->address, &error))
		g_warning("clients of node %s: %s", job->node, error->message);
}

static bool verify_now(const Verify *job, GError **error)
{
	if (!dn_failpoint("agent.incident.verify.before", error))
		return false;
	return job->isolated ? dn_network_verify_mute_now(job->netns, error)
			     : dn_network_verify_cut_now(job->netns, job->address, job->ports,
							 job->n_ports, error);
}

/* worker */
static void verify_in_thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
	Verify *job = data;
	GError *error = NULL;

	bool verified = verify_now(job, &error);

	if (!job->isolated)
		dn_cgroup_spare_now(job->agent->instance, job->node);
	job->verified_ns = dn_clock_monotonic_ns();
	if (verified) {
		sweep_flows(job);
		g_task_return_boolean(task, TRUE);
		return;
	}
	/* Never assume: a cut that cannot be verified becomes a link that is not there. */
	if (dn_failpoint("agent.incident.remove-link.before", &job->link_left))
		(void)!dn_network_remove_link_now(job->agent->instance, job->slot, &job->link_left);
	sweep_flows(job);
	g_task_return_error(task, error);
}

typedef struct {
	Agent *agent;
	char *incident; /* owned */
} Again;

static void again_free(gpointer data)
{
	Again *again = data;

	g_free(again->incident);
	g_free(again);
}

static gboolean on_again(gpointer data)
{
	const Again *again = data;
	const DnIncident *incident = g_hash_table_lookup(again->agent->incidents, again->incident);

	for (unsigned i = 0; incident != NULL && i < DN_SLOTS; i++) {
		const Node *node = again->agent->slots[i];

		if (node != NULL && g_str_equal(node->id, incident->node))
			dn_incident_verify(again->agent, node, incident);
	}
	return G_SOURCE_REMOVE;
}

static void tell_unverified(const Verify *job, const DnIncident *incident, const GError *error)
{
	Again *again = NULL;

	if (job->link_left == NULL) {
		dn_report_event(job->agent, "critical", "cut.link-removed", incident->service,
				incident->node,
				"the cut of node %s could not be verified, so its link was taken "
				"away: %s",
				incident->node, error->message);
		return;
	}
	dn_report_event(job->agent, "critical", "cut.unverified", incident->service, incident->node,
			"the cut of node %s could not be verified (%s), and its link could not be "
			"taken away (%s): take this host off the network; both are tried again in "
			"%d s",
			incident->node, error->message, job->link_left->message, AGAIN_S);
	again = g_new0(Again, 1);
	again->agent = job->agent;
	again->incident = g_strdup(incident->id);
	g_timeout_add_seconds_full(G_PRIORITY_DEFAULT, AGAIN_S, on_again, again, again_free);
}

static void on_verified(GObject *source, GAsyncResult *result, gpointer data)
{
	const Verify *job = g_task_get_task_data(G_TASK(result));
	Agent *agent = job->agent;
	DnIncident *incident = g_hash_table_lookup(agent->incidents, job->incident);
	g_autoptr(GError) error = NULL;

	Node *node = agent->slots[job->slot];
	if (incident == NULL)
		return;
	bool verified = g_task_propagate_boolean(G_TASK(result), &error);
	if (verified && job->isolated)
		incident->isolated_verified_us =
			(int64_t)((job->verified_ns - incident->event_monotonic_ns) / DN_NS_PER_US);
	else if (verified)
		dn_custody_stamp(incident, DN_STAGE_CUT_VERIFIED, job->verified_ns);
	else
		tell_unverified(job, incident, error);
	if (node != NULL && !g_str_equal(node->id, incident->node))
		node = NULL;
	if (node != NULL)
		dn_incident_read_counters(agent, node, incident);
	if (node != NULL && !verified && job->isolated)
		dn_isolation_end(node, "it could not be verified");
	if (job->swept != NULL)
		dn_diag_merge_flows(incident->conntrack, job->swept->conntrack);
	dn_incident_save(agent, incident);
}

void dn_incident_verify(Agent *agent, const Node *node, const DnIncident *incident)
{
	g_autoptr(GTask) task = g_task_new(NULL, NULL, on_verified, NULL);
	Verify *job = g_new0(Verify, 1);

	job->agent = agent;
	job->incident = g_strdup(incident->id);
	job->node = g_strdup(node->id);
	job->address = g_strdup(node->address);
	job->netns = dn_network_netns_path(agent->instance, node->id);
	job->slot = node->slot;
	job->isolated = dn_node_is_isolated(node);
	job->n_ports = dn_node_ports(node->manifest, job->ports);
	g_task_set_task_data(task, job, verify_free);
	dn_work_begin(agent, task, verify_in_thread);
}
