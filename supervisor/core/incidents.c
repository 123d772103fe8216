/* SPDX-License-Identifier: Apache-2.0 */
#include "core/incidents.h"

#include <string.h>

#include "base/text.h"
#include "core/attack.h"
#include "core/facts.h"
#include "core/response.h"
#include "core/sweep.h"

enum { REPLACEMENTS_LIMIT = 16, ROW_BYTES = 256, WORD_BYTES = 64 };

/*
 * Whose the node is nobody asks: it may be gone, and claimed by another host meanwhile. What is
 * taken here cuts nodes of @host alone.
 */
static bool check_incident(const DnFleetCore *core, const DnHost *host, const DnIncident *incident,
			   GError **error)
{
	const DnIncident *known = NULL;

	if (incident->id == NULL || !dn_text_is_hex(incident->id, 16) || incident->node == NULL ||
	    incident->service == NULL || !dn_fact_names_node(incident->node, incident->service)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "it sent an incident without a proper id, node or service");
		return false;
	}
	known = g_hash_table_lookup(core->incidents, incident->id);
	if (g_strcmp0(incident->host, host->name) != 0 ||
	    (known != NULL && !g_str_equal(known->host, host->name))) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "it spoke of incident %s as another host's", incident->id);
		return false;
	}
	if (known != NULL &&
	    (incident->state < known->state || !g_str_equal(known->node, incident->node))) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "it turned incident %s back from %s to %s", incident->id,
			    dn_incident_state_name(known->state),
			    dn_incident_state_name(incident->state));
		return false;
	}
	if (known != NULL && dn_incident_is_isolated(incident) && !dn_incident_is_isolated(known)) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "it said that the node of incident %s, which is cut, served again",
			    incident->id);
		return false;
	}
	return true;
}

/* One that is past: the host says it again with every link. Nothing of it may become otherwise. */
static bool check_past(const DnPast *past, const DnHost *host, const DnIncident *incident,
		       GError **error)
{
	if (!g_str_equal(past->host, host->name)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNTRUSTED,
			    "it spoke of incident %s as another host's", past->id);
		return false;
	}
	if (incident->state == DN_INCIDENT_DESTROYED && g_str_equal(past->node, incident->node))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
		    "it turned incident %s back from destroyed to %s", past->id,
		    dn_incident_state_name(incident->state));
	return false;
}

/* What @host has told of incidents other than @but. */
typedef struct {
	unsigned incidents;
	unsigned rows;      /* sockets and flows of them */
	const char *oldest; /* id of the first that was destroyed, of the past if there is one */
} Told;

static unsigned rows_of(const DnIncident *incident)
{
	return incident->sockets->len + incident->conntrack->len;
}

static void count_past(const DnFleetCore *core, const DnHost *host, Told *told)
{
	const DnPast *first = NULL;
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->past);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnPast *past = value;

		if (!g_str_equal(past->host, host->name))
			continue;
		told->incidents++;
		if (first == NULL || past->event_time_ns < first->event_time_ns)
			first = past;
	}
	if (first != NULL)
		told->oldest = first->id;
}

static Told count_told(const DnFleetCore *core, const DnHost *host, const char *but)
{
	const DnIncident *first = NULL;
	GHashTableIter iter;
	gpointer value;
	Told told = {0};

	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *one = value;

		if (!g_str_equal(one->host, host->name) || g_str_equal(one->id, but))
			continue;
		told.incidents++;
		told.rows += rows_of(one);
		if (one->state == DN_INCIDENT_DESTROYED &&
		    (first == NULL || one->event_time_ns < first->event_time_ns))
			first = one;
	}
	told.oldest = first == NULL ? NULL : first->id;
	count_past(core, host, &told);
	return told;
}

/* Past the limit an incident whose node was destroyed makes room; one in force never does. */
static bool make_room(DnFleetCore *core, const Told *told, DnActs *acts)
{
	if (told->incidents < DN_FLEET_HOST_INCIDENTS)
		return true;
	if (told->oldest == NULL)
		return false;
	dn_acts_record(acts, DN_RECORD_INCIDENT, told->oldest);
	if (!g_hash_table_remove(core->past, told->oldest))
		g_hash_table_remove(core->incidents, told->oldest);
	return true;
}

/* Keep so many sockets and flows as there is room for, sockets first. */
static void cut_rows(DnIncident *incident, const Told *told)
{
	guint left = told->rows >= DN_FLEET_HOST_ROWS ? 0 : DN_FLEET_HOST_ROWS - told->rows;
	guint sockets = MIN(incident->sockets->len, MIN(left, DN_FLEET_INCIDENT_ROWS));

	left = MIN(left, DN_FLEET_INCIDENT_ROWS) - sockets;
	if (incident->replacements->len > REPLACEMENTS_LIMIT)
		g_ptr_array_set_size(incident->replacements, REPLACEMENTS_LIMIT);
	g_ptr_array_set_size(incident->sockets, (gint)sockets);
	g_ptr_array_set_size(incident->conntrack, (gint)MIN(incident->conntrack->len, left));
}

/* One that is destroyed when it is first heard of is past: those are as many as the host likes. */
static void tell_incident(DnHost *host, const DnIncident *known, const DnIncident *incident,
			  DnNow now, DnActs *acts)
{
	bool past = known == NULL && incident->state == DN_INCIDENT_DESTROYED;
	bool opened = known == NULL && !past;

	if ((known != NULL && known->state == incident->state) ||
	    (past && !dn_fact_may_speak(host, now, acts)))
		return;
	g_autofree char *kind = g_strdup_printf(
		"incident.%s", opened ? "opened" : dn_incident_state_name(incident->state));
	DnEvent *event = dn_acts_event(
		acts, now.realtime_ns, kind, opened && !incident->drill ? "critical" : "warning",
		"%s%s on %s: %s%s%s", incident->drill ? "drill: " : "", incident->node,
		incident->host, incident->class == NULL ? "" : incident->class,
		incident->detail == NULL ? "" : ": ",
		incident->detail == NULL ? "" : incident->detail);

	event->host = g_strdup(incident->host);
	event->service = g_strdup(incident->service);
	event->node = g_strdup(incident->node);
	event->incident = g_strdup(incident->id);
}

static void stamp_reported(DnFleetCore *core, const DnIncident *incident, DnActs *acts)
{
	DnOrder *order = dn_order_new(DN_ORDER_STAMP);

	order->incident = g_strdup(incident->id);
	order->stage = DN_STAGE_REPORTED;
	dn_acts_dispatch(acts, incident->host, order, dn_state_tag(core), true);
}

/* What the supervisor has noted itself is no matter of a host. */
static void keep_ours(const DnIncident *known, DnIncident *copy)
{
	g_free(copy->attack);
	copy->attack = known == NULL ? NULL : g_strdup(known->attack);
	copy->elsewhere = known == NULL ? (DnSiblings){.time_us = -1} : known->elsewhere;
	copy->here.looked = MIN(copy->here.looked, DN_SIBLINGS_LIMIT);
	copy->here.found = MIN(copy->here.found, copy->here.looked);
}

static void replace(char **text, char *shown)
{
	g_free(*text);
	*text = shown;
}

/* What the host quotes from a node goes to people's terminals. */
static void make_printable(char **text)
{
	replace(text, dn_fact_printable(*text));
}

/* … and to the store, where a byte that is not printable takes six. */
static void make_rows_printable(DnIncident *incident)
{
	for (guint i = 0; i < incident->sockets->len; i++) {
		DnSocketRecord *socket = g_ptr_array_index(incident->sockets, i);

		replace(&socket->protocol, dn_fact_cut(socket->protocol, WORD_BYTES));
		replace(&socket->state, dn_fact_cut(socket->state, WORD_BYTES));
		replace(&socket->local, dn_fact_cut(socket->local, WORD_BYTES));
		replace(&socket->peer, dn_fact_cut(socket->peer, WORD_BYTES));
	}
	for (guint i = 0; i < incident->conntrack->len; i++)
		replace((char **)&g_ptr_array_index(incident->conntrack, i),
			dn_fact_cut(g_ptr_array_index(incident->conntrack, i), ROW_BYTES));
	for (guint i = 0; i < incident->replacements->len; i++)
		replace((char **)&g_ptr_array_index(incident->replacements, i),
			dn_fact_cut(g_ptr_array_index(incident->replacements, i), WORD_BYTES));
}

void dn_incidents_take(DnFleetCore *core, DnHost *host, const DnIncident *incident, DnNow now,
		       DnActs *acts)
{
	const DnIncident *known =
		incident->id == NULL ? NULL : g_hash_table_lookup(core->incidents, incident->id);
	g_autoptr(GError) error = NULL;

	if (!check_incident(core, host, incident, &error)) {
		dn_fact_refuse(host, now, acts, error);
		return;
	}
	const DnPast *past = g_hash_table_lookup(core->past, incident->id);
	if (past != NULL) {
		if (!check_past(past, host, incident, &error))
			dn_fact_refuse(host, now, acts, error);
		return;
	}
	Told told = count_told(core, host, incident->id);
	if (known == NULL && !make_room(core, &told, acts)) {
		g_set_error(&error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "it sent more than %d incidents that are not destroyed",
			    DN_FLEET_HOST_INCIDENTS);
		dn_fact_refuse(host, now, acts, error);
		return;
	}
	DnIncident *copy = dn_incident_copy(incident);
	make_printable(&copy->class);
	make_printable(&copy->detail);
	make_printable(&copy->indicator_path);
	make_printable(&copy->indicator_comm);
	keep_ours(known, copy);
	cut_rows(copy, &told);
	make_rows_printable(copy);
	tell_incident(host, known, copy, now, acts);
	bool opened = known == NULL; /* it goes now */
	bool changed = opened || !dn_incident_equal(known, copy);
	g_hash_table_replace(core->incidents, copy->id, copy);
	if (changed)
		dn_acts_record(acts, DN_RECORD_INCIDENT, copy->id);
	dn_response_note(core, copy);
	dn_sweep_begin(core, copy, now, acts);
	if (opened)
		dn_attack_note(core, copy, now, acts);
	if (copy->stages_us[DN_STAGE_REPORTED] < 0)
		stamp_reported(core, copy, acts);
	dn_response_watch(core, copy);
	dn_fact_touch(core, copy->service);
}

/* ---- what is past ---- */

static gint compare_ages(gconstpointer a, gconstpointer b)
{
	const DnIncident *const *x = a, *const *y = b;

	if ((*x)->event_time_ns != (*y)->event_time_ns)
		return (*x)->event_time_ns < (*y)->event_time_ns ? -1 : 1;
	return strcmp((*x)->id, (*y)->id);
}

/* char * host → GPtrArray of DnIncident *, borrowed: what was destroyed. */
static GHashTable *destroyed_by_host(const DnFleetCore *core)
{
	GHashTable *hosts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
						  (GDestroyNotify)g_ptr_array_unref);
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		DnIncident *incident = value;
		GPtrArray *mine = g_hash_table_lookup(hosts, incident->host);

		if (incident->state != DN_INCIDENT_DESTROYED)
			continue;
		if (mine == NULL) {
			mine = g_ptr_array_new();
			g_hash_table_insert(hosts, incident->host, mine);
		}
		g_ptr_array_add(mine, incident);
	}
	return hosts;
}

static void add_rows(GHashTable *rows, const char *host, unsigned more)
{
	guint sum = GPOINTER_TO_UINT(g_hash_table_lookup(rows, host));

	g_hash_table_replace(rows, g_strdup(host), GUINT_TO_POINTER(sum + more));
}

/* char * host → sockets and flows of what is past */
static GHashTable *past_rows(const DnFleetCore *core)
{
	GHashTable *rows = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->past);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnPast *past = value;

		if (past->rows > 0)
			add_rows(rows, past->host, past->rows);
	}
	return rows;
}

/* Beyond the limit what is past has no rows: it stays here until it was recorded without them. */
static bool must_drop_rows(DnIncident *incident, GHashTable *rows, DnActs *acts)
{
	guint past = GPOINTER_TO_UINT(g_hash_table_lookup(rows, incident->host));

	if (rows_of(incident) == 0 || past + rows_of(incident) <= DN_FLEET_HOST_ROWS)
		return false;
	g_ptr_array_set_size(incident->sockets, 0);
	g_ptr_array_set_size(incident->conntrack, 0);
	dn_acts_record(acts, DN_RECORD_INCIDENT, incident->id);
	return true;
}

static void retire(DnFleetCore *core, const DnIncident *incident, GHashTable *rows)
{
	DnPast *past = g_new0(DnPast, 1);

	past->id = g_strdup(incident->id);
	past->host = g_strdup(incident->host);
	past->node = g_strdup(incident->node);
	past->event_time_ns = incident->event_time_ns;
	past->rows = rows_of(incident);
	add_rows(rows, past->host, past->rows);
	g_hash_table_replace(core->past, past->id, past);
	g_hash_table_remove(core->incidents, past->id);
}

void dn_incidents_retire(DnFleetCore *core, DnActs *acts)
{
	g_autoptr(GHashTable) rows = NULL;
	g_autoptr(GHashTable) hosts = NULL;
	g_autoptr(GPtrArray) due = g_ptr_array_new();
	GHashTableIter iter;
	gpointer value;

	/* Nothing can be due: no need to sort anything twice a second. */
	if (g_hash_table_size(core->incidents) <= DN_FLEET_HOST_PAST)
		return;
	hosts = destroyed_by_host(core);
	g_hash_table_iter_init(&iter, hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		GPtrArray *mine = value;

		g_ptr_array_sort(mine, compare_ages);
		for (guint i = 0; i + DN_FLEET_HOST_PAST < mine->len; i++)
			g_ptr_array_add(due, g_ptr_array_index(mine, i));
	}
	/* The names of the table are those of the incidents that go. */
	g_hash_table_remove_all(hosts);
	rows = past_rows(core);
	for (guint i = 0; i < due->len; i++) {
		DnIncident *incident = g_ptr_array_index(due, i);

		if (!must_drop_rows(incident, rows, acts))
			retire(core, incident, rows);
	}
}
