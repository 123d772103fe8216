/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"
#include "main/check.h"
#include "main/journal.h"

#include <dnode/version.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/custody.h"
#include "link/link.h"
#include "wire/records.h"

static void send_fact(Agent *agent, DnFact *fact)
{
	if (agent->uplink != NULL)
		dn_uplink_send_fact(agent->uplink, fact);
}

/* ---- facts that wait until the supervisor has stored them ---- */

enum {
	SAID_LIMIT = 64,
	ROWS_TOLD = 1000,
	TELLING_MS = 50,
	INCIDENT_COST = 6, /* as the supervisor counts it, beside its bytes */
};

/* The other half is for whatever else this host says. */
static const DnBucketRate telling_rate = {.burst = DN_LINK_FRAMES_BURST / 2,
					  .per_s = DN_LINK_FRAMES_PER_S / 2};

bool dn_report_open(Agent *agent, GError **error)
{
	g_autofree char *path = g_build_filename(agent->instance->state_dir, "spool", NULL);

	agent->said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	agent->untold = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	dn_past_open(agent);
	agent->spool = dn_spool_open(path, DN_SPOOL_LIMIT, error);
	return agent->spool != NULL;
}

void dn_report_close(Agent *agent)
{
	dn_report_link_closed(agent);
	g_clear_pointer(&agent->spool, dn_spool_close);
	g_clear_pointer(&agent->said, g_hash_table_unref);
	g_clear_pointer(&agent->untold, g_hash_table_unref);
	dn_past_close(agent);
}

static bool send_entry(Agent *agent, const DnSpoolEntry *entry)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnFrame) frame = dn_frame_decode(entry->payload, &error);

	if (frame == NULL || frame->type != DN_FRAME_FACT) {
		g_warning("a fact of the spool is none and is given up: %s",
			  error != NULL ? error->message : "");
		return false;
	}
	frame->fact->spool = g_strdup(dn_spool_name(agent->spool));
	frame->fact->number = entry->number;
	frame->fact->previous = entry->previous;
	send_fact(agent, frame->fact);
	return true;
}

static void send_spooled(Agent *agent)
{
	DnSpoolEntry entry = {0};

	while (agent->linked && dn_spool_take(agent->spool, &entry)) {
		if (!send_entry(agent, &entry))
			dn_spool_give_up(agent->spool);
		g_bytes_unref(entry.payload);
	}
}

static void tell_dropped(Agent *agent)
{
	uint64_t dropped = dn_spool_dropped(agent->spool, true);

	if (dropped > 0)
		dn_report_event(agent, "warning", "events.dropped", NULL, NULL,
				"%" G_GUINT64_FORMAT
				" facts of this host or more were dropped before a supervisor had "
				"stored them: its spool was full, or damaged; they are in the "
				"agent's log",
				dropped);
}

void dn_report_spooled(Agent *agent)
{
	g_hash_table_remove_all(agent->said);
	agent->waits = false;
	dn_spool_rewind(agent->spool);
	send_spooled(agent);
	tell_dropped(agent);
}

void dn_report_stored(const char *spool, uint64_t number, void *data)
{
	Agent *agent = data;

	if (g_strcmp0(spool, dn_spool_name(agent->spool)) != 0)
		return;
	agent->waits = false;
	dn_past_stored(agent, number);
	dn_spool_acknowledge(agent->spool, number);
	send_spooled(agent);
}

void dn_report_tick(Agent *agent)
{
	if (agent->waits && agent->linked)
		dn_spool_rewind(agent->spool);
	agent->waits = dn_spool_sent(agent->spool) > 0;
	send_spooled(agent);
	/* Not while the rest is still on its way: the event would push out what it speaks of. */
	if (agent->linked && dn_spool_length(agent->spool) == 0)
		tell_dropped(agent);
}

/* Whatever the supervisor's state: it is kept first, and sent when its turn has come. */
static void spool(Agent *agent, DnFact *fact)
{
	g_autoptr(GBytes) bytes = dn_frame_encode_fact(fact);
	g_autoptr(GError) error = NULL;

	if (agent->spool != NULL && dn_spool_append(agent->spool, bytes, &error)) {
		send_spooled(agent);
		return;
	}
	/* A full disk: what can be said now is said, what cannot is counted. */
	if (error != NULL)
		g_warning("%s", error->message);
	if (agent->linked && dn_uplink_has_room(agent->uplink))
		send_fact(agent, fact);
	else if (agent->spool != NULL)
		dn_spool_count_dropped(agent->spool);
}

/* A supervisor whose welcome is refused comes again and again: what is said is said once. */
static bool is_said(Agent *agent, const DnEvent *event)
{
	if (agent->linked || agent->said == NULL || g_hash_table_size(agent->said) >= SAID_LIMIT)
		return false;
	return !g_hash_table_add(
		agent->said, g_strdup_printf("%s %s %s %s", event->kind,
					     event->service != NULL ? event->service : "",
					     event->node != NULL ? event->node : "", event->text));
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

static void say_checks(DnHostReport *report, GPtrArray *checks)
{
	for (unsigned i = 0; i < checks->len; i++) {
		const DnCheck *check = checks->pdata[i];
		g_autofree char *text =
			g_strdup_printf("%s: %.200s", check->can ? "yes" : "no", check->why);
		say(report, check->name, text);
	}
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
	say_checks(report, agent->checks);
	report->slots = DN_SLOTS;
	for (unsigned i = 0; i < DN_SLOTS; i++)
		if (agent->slots[i] != NULL) {
			report->slots_used++;
			g_ptr_array_add(report->nodes, dn_node_record(agent->slots[i]));
		}
	g_hash_table_iter_init(&iter, agent->incidents);
	/* One that is still being written follows when it is on disk. */
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (dn_custody_may_report(value))
			g_ptr_array_add(report->incidents, dn_incident_copy(value));
	g_hash_table_iter_init(&iter, agent->epochs);
	while (g_hash_table_iter_next(&iter, &name, &value)) {
		const DnEpoch *epoch = value;

		g_hash_table_insert(report->epochs, g_strdup(name),
				    g_memdup2(&epoch->epoch, sizeof(epoch->epoch)));
	}
	return report;
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
	spool(agent, fact);
}

/* What fits into a frame; the record on this host has all of them. */
static void keep_first(GPtrArray *rows)
{
	if (rows->len > ROWS_TOLD)
		g_ptr_array_set_size(rows, ROWS_TOLD);
}

static void send_incident(Agent *agent, const DnIncident *incident)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_INCIDENT);

	fact->incident = dn_incident_copy(incident);
	keep_first(fact->incident->sockets);
	keep_first(fact->incident->conntrack);
	size_t size = dn_uplink_send_fact(agent->uplink, fact);
	dn_bucket_spend(&agent->tellings, &telling_rate,
			INCIDENT_COST + (double)size / DN_LINK_FRAME_UNIT, dn_clock_monotonic_ns());
	if (size > 0)
		dn_past_told(agent, incident);
}

/* What is past leaves a half to what happens now. */
static bool may_tell(Agent *agent, bool past)
{
	return dn_uplink_has_room(agent->uplink) &&
	       dn_bucket_has(&agent->tellings, &telling_rate, dn_clock_monotonic_ns()) &&
	       (!past || agent->tellings.tokens > telling_rate.burst / 2);
}

static void tell_incidents(Agent *agent, bool past)
{
	GHashTableIter iter;
	gpointer id = NULL;

	g_hash_table_iter_init(&iter, agent->untold);
	while (may_tell(agent, past) && g_hash_table_iter_next(&iter, &id, NULL)) {
		const DnIncident *incident = g_hash_table_lookup(agent->incidents, id);

		if (incident != NULL && (incident->state == DN_INCIDENT_DESTROYED) != past)
			continue;
		if (incident != NULL && dn_custody_may_report(incident))
			send_incident(agent, incident);
		g_hash_table_iter_remove(&iter);
	}
}

static gboolean on_telling(gpointer data)
{
	Agent *agent = data;

	tell_incidents(agent, false);
	tell_incidents(agent, true);
	if (g_hash_table_size(agent->untold) > 0)
		return G_SOURCE_CONTINUE;
	dn_source_clear(&agent->telling);
	return G_SOURCE_REMOVE;
}

static void want_told(Agent *agent, const DnIncident *incident)
{
	if (dn_custody_may_report(incident) && agent->linked)
		g_hash_table_add(agent->untold, g_strdup(incident->id));
}

static void tell_soon(Agent *agent)
{
	if (g_hash_table_size(agent->untold) == 0 || on_telling(agent) == G_SOURCE_REMOVE ||
	    agent->telling != NULL)
		return;
	agent->telling = g_timeout_source_new(TELLING_MS);
	g_source_set_callback(agent->telling, on_telling, agent, NULL);
	g_source_attach(agent->telling, NULL);
}

/*
 * A record with all its sockets is long, and a host may have hundreds: more at once than the link
 * queues would end the link, at each of its beginnings, and more than the supervisor reads of a
 * host would pass for a flood. What has no room is told as it then is.
 */
void dn_report_incident(Agent *agent, const DnIncident *incident)
{
	want_told(agent, incident);
	tell_soon(agent);
}

void dn_report_all(Agent *agent)
{
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_REPORT);

	fact->report = dn_report_make(agent);
	/* One by one: all of them with their sockets would not fit into a frame. */
	g_autoptr(GPtrArray) incidents = g_steal_pointer(&fact->report->incidents);
	fact->report->incidents = g_ptr_array_new();
	send_fact(agent, fact);
	for (guint i = 0; i < incidents->len; i++)
		want_told(agent, g_ptr_array_index(incidents, i));
	tell_soon(agent);
}

void dn_report_incident_first(Agent *agent, const DnIncident *incident)
{
	if (!dn_custody_may_report(incident) || !agent->linked)
		return;
	g_hash_table_remove(agent->untold, incident->id);
	send_incident(agent, incident);
}

void dn_report_link_closed(Agent *agent)
{
	dn_source_clear(&agent->telling);
	if (agent->untold == NULL)
		return;
	g_hash_table_remove_all(agent->untold);
	dn_past_link_closed(agent);
	agent->tellings = (DnBucket){0};
}

/* For who asks this agent itself. */
static void remember(Agent *agent, const DnEvent *event)
{
	DnEvent *copy = dn_event_copy(event);

	copy->id = copy->seq;
	g_queue_push_tail(&agent->recent, copy);
	if (agent->recent.length > DN_EVENTS_KEPT)
		dn_event_free(g_queue_pop_head(&agent->recent));
}

void dn_report_suspect(Agent *agent, const char *reason)
{
	if (g_strcmp0(agent->suspected, reason) == 0)
		return;
	g_free(agent->suspected);
	agent->suspected = g_strdup(reason);
	dn_report_event(agent, "critical", DN_EVENT_HOST_SUSPECT, NULL, NULL,
			"host %s may be tampered with: %s; nothing new is placed here until "
			"'dnode host uncordon %s'; to keep it so: dnode host cordon %s; to shut it "
			"out: dnode host fence %s",
			agent->instance->name, reason, agent->instance->name, agent->instance->name,
			agent->instance->name);
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
	dn_floor_raise(agent, fact->event->time_ns);
	fact->event->host = g_strdup(agent->instance->name);
	fact->event->service = g_strdup(service);
	fact->event->node = g_strdup(node);
	remember(agent, fact->event);
	if (is_said(agent, fact->event))
		return;
	dn_agent_journal_event(agent, fact->event);
	spool(agent, fact);
}
