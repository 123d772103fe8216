/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What hosts say. A host is root on its own machine and may be anybody's by now: it is believed
 * about its own nodes in its own address range, and about nothing else.
 */

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/facts.h"
#include "core/incidents.h"
#include "core/lifecycle.h"
#include "core/reconcile.h"
#include "core/response.h"

enum {
	NODE_DIGITS = 8,
	EVENTS_PER_S = 20,
	CHANGES_PER_S = 50,
	TEXT_LIMIT = 1000,
	KIND_LIMIT = 64,
	SPOOL_DIGITS = 16,
};

char *dn_fact_cut(const char *text, size_t limit)
{
	const char *end = NULL;

	if (text == NULL)
		return NULL;
	char *shown = dn_text_printable(text, strnlen(text, limit));
	if (strlen(shown) > limit) {
		(void)g_utf8_validate(shown, (gssize)limit, &end);
		shown[end - shown] = '\0';
	}
	return shown;
}

char *dn_fact_printable(const char *text)
{
	return dn_fact_cut(text, TEXT_LIMIT);
}

/*
 * What a host may tell people. Events are words of its own; changes are what its nodes become, of
 * which a host that starts a thousand nodes has several each.
 */
static const DnBucketRate event_rate = {.burst = 200, .per_s = EVENTS_PER_S};
static const DnBucketRate change_rate = {.burst = 4096, .per_s = CHANGES_PER_S};

bool dn_fact_may_speak(DnHost *host, DnNow now, DnActs *acts)
{
	if (dn_bucket_take(&host->events, &event_rate, now.monotonic_ns)) {
		host->events_dropped = false;
		return true;
	}
	if (!host->events_dropped)
		dn_acts_event(acts, now.realtime_ns, "events.dropped", "warning",
			      "%s sends more than %d events a second; the rest is dropped",
			      host->name, EVENTS_PER_S)
			->host = g_strdup(host->name);
	host->events_dropped = true;
	return false;
}

/* The change itself is always taken: dnode nodes shows what is, whoever was told. */
static bool may_tell_change(DnHost *host, DnNow now, DnActs *acts)
{
	if (dn_bucket_take(&host->changes, &change_rate, now.monotonic_ns)) {
		host->changes_dropped = false;
		return true;
	}
	if (!host->changes_dropped)
		dn_acts_event(acts, now.realtime_ns, "events.dropped", "critical",
			      "the nodes of %s change more than %d times a second, which is not "
			      "told any more; if it is not misconfigured, treat it as taken over",
			      host->name, CHANGES_PER_S)
			->host = g_strdup(host->name);
	host->changes_dropped = true;
	return false;
}

void dn_fact_refuse(DnHost *host, DnNow now, DnActs *acts, const GError *why)
{
	if (!dn_fact_may_speak(host, now, acts))
		return;
	dn_acts_event(acts, now.realtime_ns, "fact.refused", "critical",
		      "%s was not believed: %s; if it is not misconfigured, treat it as taken over",
		      host->name, why->message)
		->host = g_strdup(host->name);
}

static DnEvent *speak(DnActs *acts, DnNow now, const char *kind, const char *severity,
		      const DnNodeRecord *node, const char *text)
{
	DnEvent *event = dn_acts_event(acts, now.realtime_ns, kind, severity, "%s", text);

	event->host = g_strdup(node->host);
	event->service = g_strdup(node->service);
	event->node = g_strdup(node->id);
	event->incident = g_strdup(node->incident);
	return event;
}

void dn_fact_touch(DnFleetCore *core, const char *service)
{
	DnService *known = service == NULL ? NULL : dn_state_service(core, service);

	if (known != NULL)
		known->touched = true;
}

bool dn_fact_names_node(const char *id, const char *service)
{
	size_t length = strlen(service);

	return dn_text_is_name(service) && g_str_has_prefix(id, service) && id[length] == '-' &&
	       dn_text_is_hex(id + length + 1, NODE_DIGITS);
}

/*
 * Nodes are not stored: when a host reports for the first time since the start, it is chance who
 * came before it, and its own nodes are no worse for that. From then on a node is of who has it.
 */
static bool check_claim(const DnFleetCore *core, const DnHost *host, const DnNodeRecord *node,
			GError **error)
{
	DnNodeRecord *theirs = NULL;
	const DnHost *rival = dn_state_rival(core, host, node->id, &theirs);

	if (rival == NULL)
		return true;
	DnClaim mine = dn_state_claim(host, node), other = dn_state_claim(rival, theirs);
	if (mine > other || (mine == other && !host->known))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED, "it claimed node %s of host %s", node->id,
		    rival->name);
	return false;
}

/* @is_news: about one node. A report may come from an agent that has started over. */
static bool check_node(const DnFleetCore *core, const DnHost *host, const DnNodeRecord *node,
		       bool is_news, GError **error)
{
	const DnNodeRecord *known = NULL;
	uint32_t address = 0;

	if (node->id == NULL || node->service == NULL ||
	    !dn_fact_names_node(node->id, node->service)) {
		g_autofree char *shown = dn_text_printable(node->id == NULL ? "" : node->id,
							   node->id == NULL ? 0 : strlen(node->id));

		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "it named a node \"%.64s\"", shown);
		return false;
	}
	if (g_strcmp0(node->host, host->name) != 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "it spoke of node %s as another host's", node->id);
		return false;
	}
	if (node->address != NULL && node->address[0] != '\0' &&
	    (!dn_address_parse(node->address, &address) ||
	     !dn_range_contains(&host->range, address))) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "it gave node %s an address outside %s", node->id, host->cidr);
		return false;
	}
	known = g_hash_table_lookup(host->nodes, node->id);
	if (known == NULL && !check_claim(core, host, node, error))
		return false;
	bool cut = dn_response_is_cut(core, node) ||
		   (known != NULL && known->state == DN_NODE_QUARANTINED);
	if (node->state == DN_NODE_LOST ||
	    (cut && !dn_lifecycle_may_reach(DN_NODE_QUARANTINED, node->state)) ||
	    (is_news && known != NULL && !dn_lifecycle_may_reach(known->state, node->state))) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "it said that node %s, which is %s, had become %s", node->id,
			    cut ? "quarantined"
				: (known != NULL ? dn_node_state_name(known->state) : "unknown"),
			    dn_node_state_name(node->state));
		return false;
	}
	return true;
}

static void tell_change(DnHost *host, const DnNodeRecord *before, const DnNodeRecord *node,
			DnNow now, DnActs *acts)
{
	const char *name = dn_node_state_name(node->state);
	g_autofree char *kind = g_strdup_printf("node.%s", name);
	g_autofree char *text = g_strdup_printf("%s on %s is %s", node->id, node->host, name);
	bool bad = node->state == DN_NODE_FAILED || node->state == DN_NODE_QUARANTINED;

	if ((before != NULL && before->state == node->state) || !may_tell_change(host, now, acts))
		return;
	speak(acts, now, kind, bad ? "warning" : "info", node, text);
}

static void watch_incident_of(DnFleetCore *core, const DnNodeRecord *node)
{
	const DnIncident *incident = node->incident == NULL
					     ? NULL
					     : g_hash_table_lookup(core->incidents, node->incident);

	if (incident != NULL && g_str_equal(incident->node, node->id))
		dn_response_watch(core, incident);
}

/* Both are taken, each for itself. Once a minute: an honest host pays for no word of it. */
static void tell_rival(DnFleetCore *core, const DnHost *host, const DnNodeRecord *node, DnNow now,
		       DnActs *acts)
{
	DnNodeRecord *theirs = NULL;
	const DnHost *rival = dn_state_rival(core, host, node->id, &theirs);

	if (rival == NULL || rival->fenced != NULL)
		return;
	g_autofree char *text = g_strdup_printf(
		"%s and %s both say that node %s is theirs; treat the one that does not run it as "
		"taken over",
		rival->name, host->name, node->id);
	dn_fleet_core_trouble(core, DN_TROUBLE_CLAIMS, host->name, text, now, acts);
}

static void take_node(DnFleetCore *core, DnHost *host, const DnNodeRecord *node, bool is_news,
		      DnNow now, DnActs *acts)
{
	g_autoptr(GError) error = NULL;
	const DnNodeRecord *before =
		node->id == NULL ? NULL : g_hash_table_lookup(host->nodes, node->id);

	if (!check_node(core, host, node, is_news, &error)) {
		dn_fact_refuse(host, now, acts, error);
		return;
	}
	if (before == NULL && g_hash_table_size(host->nodes) >= DN_FLEET_HOST_NODES) {
		g_set_error(&error, DN_ERROR, DN_ERROR_EXHAUSTED, "it named more than %d nodes",
			    DN_FLEET_HOST_NODES);
		dn_fact_refuse(host, now, acts, error);
		return;
	}
	if (before == NULL)
		tell_rival(core, host, node, now, acts);
	tell_change(host, before, node, now, acts);
	DnNodeRecord *copy = dn_node_record_copy(node);
	if (copy->address != NULL && copy->address[0] == '\0')
		g_clear_pointer(&copy->address, g_free);
	g_hash_table_replace(host->nodes, copy->id, copy);
	watch_incident_of(core, copy);
	dn_response_watch_drain(core, copy);
	dn_fact_touch(core, copy->service);
}

/* Evidence that is gone without a destruction is an incident of its own. */
static void take_gone(DnFleetCore *core, DnHost *host, const char *id, DnNow now, DnActs *acts)
{
	const DnNodeRecord *node = g_hash_table_lookup(host->nodes, id);

	if (node == NULL)
		return;
	if (node->state == DN_NODE_QUARANTINED && dn_response_is_cut(core, node)) {
		g_autofree char *text = g_strdup_printf(
			"%s was quarantined on %s and is gone though nobody destroyed it", id,
			host->name);

		speak(acts, now, "node.vanished", "critical", node, text);
	}
	dn_fact_touch(core, node->service);
	g_hash_table_remove(host->nodes, id);
}

static void take_properties(DnHost *host, const DnHostReport *report)
{
	GHashTableIter iter;
	gpointer key, value;

	g_free(host->version);
	g_free(host->kernel);
	host->version = dn_fact_printable(report->version);
	host->kernel = dn_fact_printable(report->kernel);
	host->slots = report->slots;
	g_hash_table_remove_all(host->capabilities);
	g_hash_table_iter_init(&iter, report->capabilities);
	while (g_hash_table_iter_next(&iter, &key, &value))
		g_hash_table_insert(host->capabilities, dn_fact_printable(key),
				    dn_fact_printable(value));
	g_hash_table_remove_all(host->epochs);
	g_hash_table_iter_init(&iter, report->epochs);
	while (g_hash_table_iter_next(&iter, &key, &value))
		g_hash_table_insert(host->epochs, g_strdup(key),
				    g_memdup2(value, sizeof(uint64_t)));
}

/* Ids that @host had and that @report does not name. */
static GPtrArray *missing_from(const DnHost *host, const DnHostReport *report)
{
	g_autoptr(GHashTable) said = g_hash_table_new(g_str_hash, g_str_equal);
	GPtrArray *missing = g_ptr_array_new_with_free_func(g_free);
	GHashTableIter iter;
	gpointer key;

	for (guint i = 0; i < report->nodes->len; i++) {
		const DnNodeRecord *node = g_ptr_array_index(report->nodes, i);

		if (node->id != NULL)
			g_hash_table_add(said, node->id);
	}
	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, &key, NULL))
		if (!g_hash_table_contains(said, key))
			g_ptr_array_add(missing, g_strdup(key));
	return missing;
}

static void take_report(DnFleetCore *core, DnHost *host, const DnHostReport *report, DnNow now,
			DnActs *acts)
{
	g_autoptr(GPtrArray) missing = missing_from(host, report);

	take_properties(host, report);
	for (guint i = 0; i < missing->len; i++)
		take_gone(core, host, g_ptr_array_index(missing, i), now, acts);
	for (guint i = 0; i < report->nodes->len; i++)
		take_node(core, host, g_ptr_array_index(report->nodes, i), false, now, acts);
	for (guint i = 0; i < report->incidents->len; i++)
		dn_incidents_take(core, host, g_ptr_array_index(report->incidents, i), now, acts);
	host->reported = host->known = true;
	dn_reconcile_touch_all(core);
}

static bool is_severity(const char *severity)
{
	const char *const known[] = {"info", "warning", "critical", NULL};

	return severity != NULL && g_strv_contains(known, severity);
}

/* Dotted words of a-z, 0-9 and '-'. */
static bool is_kind(const char *kind)
{
	if (kind == NULL || kind[0] == '\0' || strlen(kind) > KIND_LIMIT)
		return false;
	for (const char *at = kind; *at != '\0'; at++)
		if (!g_ascii_islower(*at) && !g_ascii_isdigit(*at) && *at != '-' && *at != '.')
			return false;
	return true;
}

/* A host that does not trust itself is not trusted with anything new; the first reason stays. */
static void suspect(DnHost *host, const char *why, DnActs *acts)
{
	if (host->suspect != NULL)
		return;
	host->suspect = dn_fact_printable(why);
	dn_acts_record(acts, DN_RECORD_HOST, host->name);
}

/* What only the supervisor decides or sees; a host that says so speaks of itself all the same. */
static bool is_supervisors(const char *kind)
{
	static const char *const words[] = {"service.", "roll.", "host.", "supervisor.", "fact."};

	for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
		if (g_str_has_prefix(kind, words[i]))
			return !g_str_equal(kind, DN_EVENT_HOST_SUSPECT);
	return g_str_equal(kind, "manifest.accepted");
}

/* Has it ever taken a manifest of @service? */
static bool carries(const DnHost *host, const char *service)
{
	return g_hash_table_contains(host->epochs, service) ||
	       g_hash_table_contains(host->told, service);
}

/* Of whom it speaks, as far as that is its own. */
static void name_subject(const DnFleetCore *core, const DnHost *host, const DnEvent *said,
			 DnEvent *event)
{
	DnNodeRecord *node = NULL;
	const DnIncident *incident = NULL;

	if (said->service != NULL && dn_text_is_name(said->service) && carries(host, said->service))
		event->service = g_strdup(said->service);
	if (said->node != NULL && event->service != NULL &&
	    dn_fact_names_node(said->node, event->service)) {
		if (g_hash_table_contains(host->nodes, said->node) ||
		    dn_state_host_of_node(core, said->node, &node) == NULL)
			event->node = g_strdup(said->node);
	}
	if (said->incident != NULL && dn_text_is_hex(said->incident, 16)) {
		incident = g_hash_table_lookup(core->incidents, said->incident);
		if (incident == NULL || g_str_equal(incident->host, host->name))
			event->incident = g_strdup(said->incident);
	}
}

static void take_event(const DnFleetCore *core, DnHost *host, const DnEvent *event, DnNow now,
		       DnActs *acts)
{
	if (!dn_fact_may_speak(host, now, acts))
		return;
	bool is_its_own = is_kind(event->kind) && !is_supervisors(event->kind);
	const char *text = event->text == NULL ? "" : event->text;
	g_autofree char *line = dn_text_printable(text, strnlen(text, TEXT_LIMIT));
	DnEvent *copy = dn_acts_event(acts, event->time_ns == 0 ? now.realtime_ns : event->time_ns,
				      is_its_own ? event->kind : "host.event",
				      is_severity(event->severity) ? event->severity : "warning",
				      "%s", line);

	if (g_str_equal(copy->kind, DN_EVENT_HOST_SUSPECT))
		suspect(host, line, acts);
	copy->seq = event->seq;
	copy->told = true;
	copy->host = g_strdup(host->name);
	name_subject(core, host, event, copy);
}

void dn_fact_heard(DnHost *host, DnNow now, DnActs *acts)
{
	if (host->lost)
		dn_acts_event(acts, now.realtime_ns, "host.up", "info", "%s answers again",
			      host->name)
			->host = g_strdup(host->name);
	host->lost = false;
	host->seen_ns = now.monotonic_ns;
	host->last_seen_ns = now.realtime_ns;
}

uint64_t dn_fleet_core_stored(const DnFleetCore *self, const char *name, const char *spool)
{
	const DnHost *host = dn_state_host(self, name);

	return host != NULL && g_strcmp0(host->spool, spool) == 0 ? host->stored : 0;
}

/*
 * Whether a fact of a spool is the next one, and may be taken now. Not taken are: what was taken
 * before; what follows a fact that was not, which the host sends again; and more events than a
 * host may tell, which it sends again when they are not acknowledged.
 */
static bool take_number(DnHost *host, const DnFact *fact, DnNow now, DnActs *acts)
{
	if (g_strcmp0(host->spool, fact->spool) != 0) {
		if (!dn_text_is_hex(fact->spool, SPOOL_DIGITS))
			return false;
		g_free(host->spool);
		host->spool = g_strdup(fact->spool);
		host->stored = 0;
	}
	if (fact->number <= host->stored || fact->previous > host->stored ||
	    !dn_bucket_has(&host->events, &event_rate, now.monotonic_ns))
		return false;
	host->stored = fact->number;
	dn_acts_record(acts, DN_RECORD_HOST, host->name);
	return true;
}

void dn_fleet_core_fact(DnFleetCore *self, const char *name, const DnFact *fact, DnNow now,
			DnActs *acts)
{
	DnHost *host = dn_state_host(self, name);

	g_return_if_fail(host != NULL);
	dn_reconcile_begin(self, now);
	if (host->fenced != NULL)
		return;
	if (host->lost)
		dn_reconcile_touch_all(self);
	dn_fact_heard(host, now, acts);
	if (fact->spool != NULL && !take_number(host, fact, now, acts))
		return;
	switch (fact->kind) {
	case DN_FACT_REPORT:
		take_report(self, host, fact->report, now, acts);
		break;
	case DN_FACT_NODE:
		take_node(self, host, fact->node, true, now, acts);
		break;
	case DN_FACT_NODE_GONE:
		take_gone(self, host, fact->id, now, acts);
		break;
	case DN_FACT_INCIDENT:
		dn_incidents_take(self, host, fact->incident, now, acts);
		break;
	case DN_FACT_EVENT:
		take_event(self, host, fact->event, now, acts);
		break;
	case DN_FACT_HEARTBEAT:
	case DN_FACT_N:
		break;
	}
	dn_reconcile(self, now, acts);
}
