/* SPDX-License-Identifier: Apache-2.0 */

/* What hosts answer to the core's own orders. A person's orders are answered by the caller. */

#include "base/clock.h"
#include "base/text.h"
#include "core/reconcile.h"
#include "core/rollout.h"

enum { RETRY_S = 2, LINE_LIMIT = 512 };

static void complain(const DnHost *host, const char *kind, const char *service,
		     const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	const char *text = answer->error == NULL ? "no reason given" : answer->error;
	g_autofree char *line = dn_text_printable(text, strnlen(text, LINE_LIMIT));
	DnEvent *event = dn_acts_event(acts, now.realtime_ns, kind,
				       answer->code == DN_ERROR_UNTRUSTED ? "critical" : "warning",
				       "%s: %s", host->name, line);

	event->host = g_strdup(host->name);
	event->service = g_strdup(service);
}

static DnService *service_of(const DnFleetCore *core, const char *digest)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, core->services);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (dn_service_release(value, digest) != NULL)
			return value;
	return NULL;
}

static void manifest_answered(DnFleetCore *core, DnHost *host, const char *digest,
			      const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	DnService *service = service_of(core, digest);
	DnHeld held = DN_HELD_ACCEPTED;

	if (service == NULL)
		return;
	service->touched = true;
	if (!answer->done && answer->code == DN_ERROR_UNAVAILABLE) {
		dn_host_told(host, service->name)->retry_ns =
			now.monotonic_ns + RETRY_S * DN_NS_PER_S;
		g_hash_table_remove(host->manifests, digest);
		return;
	}
	/* A host that runs nodes of it has accepted it before, whatever it says of it today. */
	if (!answer->done && !dn_host_has_digest(host, digest)) {
		DnRelease *release = dn_service_release(service, digest);

		held = DN_HELD_REFUSED;
		g_hash_table_remove(release->shares, host->name);
		dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
		complain(host, "manifest.refused", service->name, answer, now, acts);
	}
	g_hash_table_insert(host->manifests, g_strdup(digest), GINT_TO_POINTER(held));
}

static void assign_answered(DnFleetCore *core, DnHost *host, const DnPending *pending,
			    const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	DnTold *told = dn_host_told(host, pending->subject);
	DnService *service = dn_state_service(core, pending->subject);

	if (service != NULL)
		service->touched = true;
	if (answer->done) {
		told->acked = MAX(told->acked, pending->revision);
		return;
	}
	bool less = service != NULL && answer->code == DN_ERROR_CONFLICT &&
		    dn_rollout_ask_for_less(service, 1, host);
	if (less)
		dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
	else if (answer->code != DN_ERROR_UNAVAILABLE)
		complain(host, "assign.failed", pending->subject, answer, now, acts);
	if (told->revision == pending->revision) {
		g_clear_pointer(&told->sent, dn_assign_free);
		told->retry_ns = less ? 0 : now.monotonic_ns + RETRY_S * DN_NS_PER_S;
	}
}

static void take_answer(DnFleetCore *core, DnHost *host, const DnPending *pending,
			const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	switch (pending->kind) {
	case DN_ORDER_MANIFEST:
		manifest_answered(core, host, pending->subject, answer, now, acts);
		break;
	case DN_ORDER_ASSIGN:
		assign_answered(core, host, pending, answer, now, acts);
		break;
	case DN_ORDER_FORGET:
		if (!answer->done) {
			DnTold *told = dn_host_told(host, pending->subject);

			told->forgotten = false;
			told->retry_ns = now.monotonic_ns + RETRY_S * DN_NS_PER_S;
		}
		break;
	case DN_ORDER_ROUTES:
		if (!answer->done) {
			complain(host, "routes.failed", NULL, answer, now, acts);
			host->routes_retry_ns = now.monotonic_ns + RETRY_S * DN_NS_PER_S;
			g_clear_pointer(&host->routes_sent, g_free);
		}
		break;
	case DN_ORDER_QUARANTINE:
	case DN_ORDER_DRILL:
	case DN_ORDER_DESTROY:
	case DN_ORDER_STAMP:
	case DN_ORDER_LOGS:
	case DN_ORDER_N:
		break;
	}
}

void dn_fleet_core_answered(DnFleetCore *self, const char *name, uint64_t tag,
			    const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	DnHost *host = dn_state_host(self, name);
	gpointer key = NULL, value = NULL;

	if (host == NULL || !g_hash_table_lookup_extended(self->pending, &tag, NULL, &value) ||
	    !g_str_equal(((const DnPending *)value)->host, name))
		return;
	g_hash_table_steal_extended(self->pending, &tag, &key, &value);
	DnPending *pending = value;
	take_answer(self, host, pending, answer, now, acts);
	g_free(key);
	g_free(pending->host);
	g_free(pending->subject);
	g_free(pending);
	dn_reconcile(self, now, acts);
}
