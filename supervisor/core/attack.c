/* SPDX-License-Identifier: Apache-2.0 */
#include "core/attack.h"

#include "base/clock.h"
#include "model/drift.h"

static bool is_attack(const DnIncident *incident)
{
	return !incident->drill && incident->image_commit != NULL &&
	       g_strcmp0(incident->class, dn_drift_name(DN_DRIFT_MANUAL)) != 0;
}

static bool belongs(const DnIncident *one, const DnIncident *other)
{
	uint64_t first_ns = MIN(one->event_time_ns, other->event_time_ns);
	uint64_t last_ns = MAX(one->event_time_ns, other->event_time_ns);

	return one != other && is_attack(other) &&
	       g_str_equal(one->image_commit, other->image_commit) &&
	       last_ns - first_ns <= DN_ATTACK_WITHIN_S * DN_NS_PER_S;
}

static bool is_before(const DnIncident *one, const DnIncident *other)
{
	if (one->event_time_ns != other->event_time_ns)
		return one->event_time_ns < other->event_time_ns;
	return g_strcmp0(one->id, other->id) < 0;
}

/* The earliest that @incident belongs with, or NULL. */
static DnIncident *find_earliest(const DnFleetCore *core, const DnIncident *incident)
{
	DnIncident *earliest = NULL;
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (belongs(incident, value) && (earliest == NULL || is_before(value, earliest)))
			earliest = value;
	return earliest;
}

static void join(DnIncident *incident, const char *attack, DnActs *acts)
{
	g_free(incident->attack);
	incident->attack = g_strdup(attack);
	dn_acts_record(acts, DN_RECORD_INCIDENT, incident->id);
}

/* Names, sorted and each once. */
static char *list_of(GHashTable *set)
{
	g_autoptr(GList) names = dn_state_sorted(set);
	GString *text = g_string_new(NULL);

	for (GList *at = names; at != NULL; at = at->next)
		g_string_append_printf(text, "%s%s", at == names ? "" : ", ",
				       (const char *)at->data);
	return g_string_free(text, FALSE);
}

static void tell(const DnFleetCore *core, const DnIncident *incident, DnNow now, DnActs *acts)
{
	g_autoptr(GHashTable) hosts = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) classes = g_hash_table_new(g_str_hash, g_str_equal);
	uint64_t since_ns = incident->event_time_ns;
	unsigned count = 0;
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->incidents);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnIncident *one = value;

		if (g_strcmp0(one->attack, incident->attack) != 0)
			continue;
		count++;
		since_ns = MIN(since_ns, one->event_time_ns);
		g_hash_table_add(hosts, one->host);
		if (one->class != NULL)
			g_hash_table_add(classes, one->class);
	}
	if (count < 2 || (count & (count - 1)) != 0)
		return;
	g_autofree char *where = list_of(hosts);
	g_autofree char *what = list_of(classes);
	g_autofree char *since = dn_clock_format(since_ns);
	DnEvent *event = dn_acts_event(
		acts, now.realtime_ns, "attack.repeated", "critical",
		"%u incidents of image %.64s since %s are one attack, the first is %s: %s on %s",
		count, incident->image_commit, since, incident->attack, what, where);
	event->service = g_strdup(incident->service);
	event->incident = g_strdup(incident->attack);
}

void dn_attack_note(DnFleetCore *core, DnIncident *incident, DnNow now, DnActs *acts)
{
	DnIncident *first = is_attack(incident) ? find_earliest(core, incident) : NULL;

	if (first == NULL)
		return;
	if (first->attack == NULL)
		join(first, is_before(incident, first) ? incident->id : first->id, acts);
	join(incident, first->attack, acts);
	tell(core, incident, now, acts);
}
