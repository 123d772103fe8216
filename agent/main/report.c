/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <dnode/version.h>

#include "base/clock.h"
#include "base/text.h"

static void send_fact(Agent *agent, DnFact *fact)
{
	if (agent->uplink != NULL)
		dn_uplink_send_fact(agent->uplink, fact);
}

/* ---- events that wait for a link ---- */

enum { UNSENT_LIMIT = 64 };

static bool says_the_same(const DnEvent *a, const DnEvent *b)
{
	return g_str_equal(a->kind, b->kind) && g_strcmp0(a->service, b->service) == 0 &&
	       g_strcmp0(a->node, b->node) == 0 && g_str_equal(a->text, b->text);
}

/*
 * Takes @fact. A supervisor whose welcome is refused comes again and again: what is said already
 * is said once, and past the limit the oldest goes.
 */
static void keep_unsent(Agent *agent, DnFact *fact)
{
	for (GList *i = agent->unsent.head; i != NULL; i = i->next)
		if (says_the_same(((DnFact *)i->data)->event, fact->event)) {
			dn_fact_free(fact);
			return;
		}
	g_queue_push_tail(&agent->unsent, fact);
	if (agent->unsent.length > UNSENT_LIMIT) {
		dn_fact_free(g_queue_pop_head(&agent->unsent));
		agent->dropped++;
	}
}

void dn_report_unsent(Agent *agent)
{
	unsigned dropped = agent->dropped;

	while (!g_queue_is_empty(&agent->unsent)) {
		g_autoptr(DnFact) fact = g_queue_pop_head(&agent->unsent);

		send_fact(agent, fact);
	}
	agent->dropped = 0;
	if (dropped > 0)
		dn_report_event(agent, "warning", "events.dropped", NULL, NULL,
				"%u events were dropped while no supervisor was linked; they are "
				"in the agent's log",
				dropped);
}

void dn_report_forget_unsent(Agent *agent)
{
	while (!g_queue_is_empty(&agent->unsent))
		dn_fact_free(g_queue_pop_head(&agent->unsent));
}

/* ---- facts ---- */

static void say(DnHostReport *report, const char *name, const char *value)
{
	g_hash_table_replace(report->capabilities, g_strdup(name), g_strdup(value));
}

static void say_yes_no(DnHostReport *report, const char *name, bool yes)
{
	say(report, name, yes ? "yes" : "no");
}

DnHostReport *dn_report_make(const Agent *agent)
{
	DnHostReport *report = dn_host_report_new();
	GHashTableIter iter;
	gpointer name = NULL, value = NULL;

	report->host = g_strdup(agent->instance->name);
	report->version = g_strdup(DN_VERSION);
	report->kernel = g_strdup(agent->kernel);
	report->boot_id = g_strdup(agent->boot_id);
	say(report, "runtime", agent->ability.version);
	say_yes_no(report, "fast_start", agent->ability.fast_start);
	say_yes_no(report, "sensor", agent->sensor != NULL);
	report->slots = DN_SLOTS;
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL) {
			report->slots_used++;
			g_ptr_array_add(report->nodes, dn_node_record(agent->slots[i]));
		}
	g_hash_table_iter_init(&iter, agent->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_ptr_array_add(report->incidents, dn_incident_copy(value));
	g_hash_table_iter_init(&iter, agent->epochs);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const DnEpoch *epoch = value;

		g_hash_table_insert(report->epochs, g_strdup(name),
				    g_memdup2(&epoch->epoch, sizeof(epoch->epoch)));
	}
	return report;
}

void dn_report_all(Agent *agent)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_REPORT);

	fact->report = dn_report_make(agent);
	send_fact(agent, fact);
}

void dn_report_node(Node *node)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_NODE);

	fact->node = dn_node_record(node);
	send_fact(node->agent, fact);
}

void dn_report_gone(Agent *agent, const char *id)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_NODE_GONE);

	fact->id = g_strdup(id);
	send_fact(agent, fact);
}

void dn_report_incident(Agent *agent, const DnIncident *incident)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);

	/* Nothing is reported before it is durable (DESIGN 4 g). */
	if (incident->stages_us[DN_STAGE_DURABLE] < 0)
		return;
	fact->incident = dn_incident_copy(incident);
	send_fact(agent, fact);
}

/* For who asks this agent itself. */
static void remember(Agent *agent, const DnEvent *event)
{
	DnEvent *copy = dn_event_copy(event);

	copy->id = copy->seq;
	g_queue_push_tail(&agent->recent, copy);
	if (agent->recent.length > DN_LOCAL_EVENTS_LIMIT)
		dn_event_free(g_queue_pop_head(&agent->recent));
}

void dn_report_event(Agent *agent, const char *severity, const char *kind, const char *service,
		     const char *node, const char *format, ...)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_EVENT);
	va_list args;

	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *line = dn_text_printable(text, strnlen(text, 1024));
	g_message("%s: %s", kind, line);
	fact->event = dn_event_new(kind, severity, line);
	fact->event->seq = ++agent->event_sequence;
	fact->event->time_ns = dn_clock_realtime_ns();
	fact->event->host = g_strdup(agent->instance->name);
	fact->event->service = g_strdup(service);
	fact->event->node = g_strdup(node);
	remember(agent, fact->event);
	if (agent->linked)
		send_fact(agent, fact);
	else
		keep_unsent(agent, g_steal_pointer(&fact));
}
