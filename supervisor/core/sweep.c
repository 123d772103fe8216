/* SPDX-License-Identifier: Apache-2.0 */
#include "core/sweep.h"

#include "base/clock.h"
#include "base/text.h"
#include "core/lifecycle.h"
#include "model/drift.h"

enum { FRESH_S = 600, COMMIT_DIGITS = 64 };

/* Of each host's incidents. */
static const DnBucketRate sweep_rate = {.burst = 32, .per_s = 1};

/* One that is under way. */
typedef struct {
	uint64_t began_ns; /* CLOCK_MONOTONIC */
	unsigned waiting, hosts, silent;
	DnSiblings siblings;
} Sweep;

GHashTable *dn_sweeps_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

static bool has_nodes_of(const DnHost *host, const char *commit)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, host->nodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnNodeRecord *node = value;

		if (dn_lifecycle_is_live(node->state) && g_strcmp0(node->image_commit, commit) == 0)
			return true;
	}
	return false;
}

static void send(DnFleetCore *core, const DnHost *host, const DnIncident *incident, DnActs *acts)
{
	DnOrder *order = dn_order_new(DN_ORDER_SWEEP);

	order->incident = g_strdup(incident->id);
	order->commit = g_strdup(incident->image_commit);
	order->class = g_strdup(incident->class);
	order->path = g_strdup(incident->indicator_path);
	order->comm = g_strdup(incident->indicator_comm);
	order->drill = incident->drill;
	dn_acts_dispatch(acts, host->name, order,
			 dn_state_pending(core, host->name, DN_ORDER_SWEEP, incident->id, 0),
			 false);
}

/* Is there something to look for, and is it still of use? */
static bool is_due(const DnFleetCore *core, const DnIncident *incident, DnNow now)
{
	enum dn_drift_class drift = DN_DRIFT_NONE;

	return incident->elsewhere.time_us < 0 && incident->state != DN_INCIDENT_DESTROYED &&
	       incident->class != NULL && dn_drift_parse(incident->class, &drift) &&
	       incident->image_commit != NULL &&
	       dn_text_is_hex(incident->image_commit, COMMIT_DIGITS) &&
	       incident->event_time_ns + FRESH_S * DN_NS_PER_S > now.realtime_ns &&
	       !g_hash_table_contains(core->sweeps, incident->id);
}

void dn_sweep_begin(DnFleetCore *core, const DnIncident *incident, DnNow now, DnActs *acts)
{
	DnHost *home = dn_state_host(core, incident->host);
	g_autoptr(GList) names = dn_state_sorted(core->hosts);
	unsigned sent = 0;

	if (home == NULL || !is_due(core, incident, now))
		return;
	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);

		if (host == home || !host->connected || !has_nodes_of(host, incident->image_commit))
			continue;
		if (sent == 0 && !dn_bucket_take(&home->sweeps, &sweep_rate, now.monotonic_ns))
			return;
		send(core, host, incident, acts);
		sent++;
	}
	if (sent == 0)
		return;
	Sweep *sweep = g_new0(Sweep, 1);
	sweep->began_ns = now.monotonic_ns;
	sweep->waiting = sweep->hosts = sent;
	g_hash_table_insert(core->sweeps, g_strdup(incident->id), sweep);
}

static void tell(const DnIncident *incident, const Sweep *sweep, DnNow now, DnActs *acts)
{
	const DnSiblings *found = &sweep->siblings;
	g_autofree char *silent =
		sweep->silent == 0
			? g_strdup("")
			: g_strdup_printf("; %u of the hosts did not answer", sweep->silent);
	DnEvent *event = dn_acts_event(
		acts, now.realtime_ns, found->found > 0 ? "sweep.found" : "sweep.clean",
		found->found > 0 ? (incident->drill ? "warning" : "critical") : "info",
		"%s%u of %u nodes of the same image on %u other hosts show what incident %s left "
		"behind, looked at in %" G_GINT64_FORMAT " ms%s",
		incident->drill ? "drill: " : "", found->found, found->looked, sweep->hosts,
		incident->id, found->time_us / 1000, silent);

	event->service = g_strdup(incident->service);
	event->incident = g_strdup(incident->id);
}

void dn_sweep_answered(DnFleetCore *core, const DnHost *host, const char *id,
		       const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	Sweep *sweep = g_hash_table_lookup(core->sweeps, id);
	DnIncident *incident = g_hash_table_lookup(core->incidents, id);

	if (sweep == NULL)
		return;
	if (answer->done) {
		sweep->siblings.looked += MIN(answer->looked, DN_SIBLINGS_LIMIT);
		sweep->siblings.found += MIN(answer->found, MIN(answer->looked, DN_SIBLINGS_LIMIT));
	} else {
		sweep->silent++;
	}
	if (--sweep->waiting > 0)
		return;
	sweep->siblings.time_us = (int64_t)((now.monotonic_ns - sweep->began_ns) / DN_NS_PER_US);
	if (incident != NULL) {
		incident->elsewhere = sweep->siblings;
		dn_acts_record(acts, DN_RECORD_INCIDENT, id);
		tell(incident, sweep, now, acts);
	}
	g_hash_table_remove(core->sweeps, id);
}
