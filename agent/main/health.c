/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/audit.h"
#include "main/incident.h"

#include "base/clock.h"
#include "core/life.h"

enum {
	/* A starting node is asked this often, first and later: it serves as soon as it can. */
	START_EVERY_MS = 1,
	START_RARELY_MS = 10,
	START_SOON_MS = 100,
	START_TIMEOUT_MS = 250,
	/* A node that has run this long is no crash loop. */
	SETTLED_S = 10,
};

typedef struct {
	Agent *agent;
	char *id;
} Asked;

static uint16_t port_of(const DnManifest *manifest)
{
	if (manifest->health.port != 0)
		return manifest->health.port;
	return manifest->listen->len > 0 ? g_array_index(manifest->listen, DnListen, 0).port : 0;
}

static gboolean on_time(gpointer data)
{
	dn_node_probe(data);
	return G_SOURCE_REMOVE;
}

/* The first answer of a starting node makes it serve. */
static void on_first_answer(Node *self)
{
	uint64_t now = dn_clock_monotonic_ns();

	self->health = (DnHealth){.good = self->manifest->health.rise, .healthy = true};
	dn_node_become(self, dn_life_after_first_answer(self->role == DN_ROLE_STANDBY));
	g_message("node %s answers after %" G_GUINT64_FORMAT " us", self->id,
		  (now - self->started_monotonic_ns) / DN_NS_PER_US);
	dn_balance_apply(self->agent);
	if (self->replaces != NULL)
		dn_incident_replaced(self);
}

static void count(Node *self, bool answered)
{
	uint64_t now = dn_clock_monotonic_ns();

	if (now - self->started_monotonic_ns > SETTLED_S * DN_NS_PER_S)
		dn_backoffs_settled(dn_node_service(self)->backoffs, self->manifest->digest);
	if (!dn_health_count(&self->health, &self->manifest->health, answered, now))
		return;
	dn_report_event(self->agent, self->health.healthy ? "info" : "warning",
			self->health.healthy ? "node.healthy" : "node.unhealthy",
			self->manifest->service, self->id, "node %s is %s", self->id,
			self->health.healthy ? "healthy again"
					     : "unhealthy and out of the balancer");
	dn_report_node(self);
	dn_balance_apply(self->agent);
}

static unsigned start_pause_ms(const Node *self)
{
	uint64_t age_ns = dn_clock_monotonic_ns() - self->started_monotonic_ns;

	return age_ns < START_SOON_MS * DN_NS_PER_MS ? START_EVERY_MS : START_RARELY_MS;
}

static void on_answer(GObject *source, GAsyncResult *result, gpointer data)
{
	g_autofree Asked *asked = data;
	g_autofree char *id = asked->id;
	Node *self = dn_agent_find_node(asked->agent, id);
	bool answered = dn_probe_finish(result, NULL);

	if (self == NULL)
		return;
	self->probing = false;
	/* While the probe was out the node may have been cut, stopped or drained. */
	if (self->state == DN_NODE_STARTING) {
		if (answered)
			on_first_answer(self);
		else
			dn_node_set_timer(self, start_pause_ms(self), on_time);
	} else if (self->state == DN_NODE_READY || self->state == DN_NODE_STANDBY) {
		count(self, answered);
	}
	if (self->state == DN_NODE_READY || self->state == DN_NODE_STANDBY) {
		dn_node_set_timer(self, self->manifest->health.every_ms, on_time);
		/* It serves already: nobody waits for what is looked at now. */
		if (answered)
			dn_audit_verify(self);
	}
	if (!answered || self->timer == NULL)
		dn_agent_settle(self->agent);
}

void dn_node_probe(Node *self)
{
	DnHealthPolicy policy = self->manifest->health;
	Asked *asked = NULL;

	if (self->probing || (self->state != DN_NODE_STARTING && self->state != DN_NODE_READY &&
			      self->state != DN_NODE_STANDBY))
		return;
	if (self->state == DN_NODE_STARTING)
		policy.timeout_ms = MIN(policy.timeout_ms, START_TIMEOUT_MS);
	asked = g_new0(Asked, 1);
	asked->agent = self->agent;
	asked->id = g_strdup(self->id);
	self->probing = true;
	dn_probe_async(&policy, self->address, port_of(self->manifest), NULL, on_answer, asked);
}
