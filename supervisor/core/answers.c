/* SPDX-License-Identifier: Apache-2.0 */

/* What hosts answer to the core's own orders. A person's orders are answered by the caller. */

#include "base/clock.h"
#include "base/text.h"
#include "core/facts.h"
#include "core/reconcile.h"
#include "core/rollout.h"
#include "core/sweep.h"

enum {
	RETRY_S = 2,
	FAILED_S = 10,
	LINE_LIMIT = 512,
	COMPLAIN_AGAIN_S = 60,
	COMPLAINTS_LIMIT = 1024,
};

static gboolean is_old(gpointer key, gpointer told_ns, gpointer now_ns)
{
	return *(const uint64_t *)told_ns + COMPLAIN_AGAIN_S * DN_NS_PER_S <=
	       *(const uint64_t *)now_ns;
}

/*
 * What is asked again and again is refused again and again: people hear of it once a minute. What
 * the host's own rate kept from them counts as unheard.
 */
static bool may_complain(DnHost *host, const char *kind, const char *about, DnNow now, DnActs *acts)
{
	uint64_t now_ns = now.monotonic_ns;
	g_autofree char *key = g_strdup_printf("%s %s", kind, about == NULL ? "" : about);
	const uint64_t *told_ns = g_hash_table_lookup(host->complaints, key);

	if (told_ns != NULL && !is_old(NULL, (gpointer)told_ns, &now_ns))
		return false;
	if (g_hash_table_size(host->complaints) >= COMPLAINTS_LIMIT)
		g_hash_table_foreach_remove(host->complaints, is_old, &now_ns);
	if (g_hash_table_size(host->complaints) >= COMPLAINTS_LIMIT ||
	    !dn_fact_may_speak(host, now, acts))
		return false;
	g_hash_table_insert(host->complaints, g_steal_pointer(&key),
			    g_memdup2(&now_ns, sizeof(now_ns)));
	return true;
}

/* @about: what was refused; NULL: of this kind there is one alone. */
static void complain(DnHost *host, const char *kind, const char *about, const char *service,
		     const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	if (!may_complain(host, kind, about, now, acts))
		return;
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

static void note_epoch(DnHost *host, const DnManifest *manifest)
{
	const uint64_t *known = g_hash_table_lookup(host->epochs, manifest->service);

	if (known == NULL || *known < manifest->epoch)
		g_hash_table_insert(host->epochs, g_strdup(manifest->service),
				    g_memdup2(&manifest->epoch, sizeof(manifest->epoch)));
}

/*
 * The host's own trouble, which may pass, and no judgement of what it was asked for: a full disk, a
 * file that cannot be written.
 */
static bool may_pass(const DnAnswerTo *answer)
{
	return answer->code == 0;
}

static void manifest_answered(DnFleetCore *core, DnHost *host, const char *digest,
			      const DnAnswerTo *answer, DnNow now, DnActs *acts)
{
	DnService *service = service_of(core, digest);
	DnHeld held = DN_HELD_ACCEPTED;

	if (service == NULL)
		return;
	DnRelease *release = dn_service_release(service, digest);
	service->touched = true;
	if (!answer->done && answer->code == DN_ERROR_UNAVAILABLE) {
		dn_host_told(host, service->name)->retry_ns =
			now.monotonic_ns + RETRY_S * DN_NS_PER_S;
		g_hash_table_remove(host->manifests, digest);
		return;
	}
	/* A host that runs nodes of it has accepted it before, whatever it says of it today. */
	if (!answer->done && !dn_host_has_digest(host, digest)) {
		held = DN_HELD_REFUSED;
		g_hash_table_remove(release->shares, host->name);
		dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
		complain(host, may_pass(answer) ? "manifest.failed" : "manifest.refused", digest,
			 service->name, answer, now, acts);
	}
	/* Others carry it meanwhile; what it has to be told of them does not wait. */
	if (held == DN_HELD_REFUSED && may_pass(answer)) {
		uint64_t again_ns = now.monotonic_ns + FAILED_S * DN_NS_PER_S;

		g_hash_table_insert(host->failed, g_strdup(digest),
				    g_memdup2(&again_ns, sizeof(again_ns)));
	}
	if (held == DN_HELD_ACCEPTED)
		note_epoch(host, release->declaration->manifest);
	g_hash_table_insert(host->manifests, g_strdup(digest), GINT_TO_POINTER(held));
}

/*
 * A host knows of a later epoch, or by its own clock the last one has expired; then nothing new of
 * that is placed there on this link. True when it is asked for less from here on.
 */
static bool ask_for_less(DnService *service, const DnHost *host, int code)
{
	if (code == DN_ERROR_CONFLICT)
		return dn_rollout_ask_for_less(service, 1, host);
	if (code != DN_ERROR_UNTRUSTED || !dn_rollout_ask_for_less(service, 0, host))
		return false;
	g_hash_table_insert(host->manifests,
			    g_strdup(dn_service_current(service)->declaration->manifest->digest),
			    GINT_TO_POINTER(DN_HELD_REFUSED));
	return true;
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
	bool less = service != NULL && ask_for_less(service, host, answer->code);
	if (less)
		dn_acts_record(acts, DN_RECORD_SERVICE, service->name);
	if (less ? answer->code == DN_ERROR_UNTRUSTED : answer->code != DN_ERROR_UNAVAILABLE)
		complain(host, "assign.failed", pending->subject, pending->subject, answer, now,
			 acts);
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
		dn_reconcile_manifest_answered(core, host, pending->revision);
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
		/* Of earlier ones nothing is owed any more. */
		if (!answer->done && pending->revision == host->routes_revision) {
			complain(host, "routes.failed", NULL, NULL, answer, now, acts);
			host->routes_retry_ns = now.monotonic_ns + RETRY_S * DN_NS_PER_S;
			g_clear_pointer(&host->routes_sent, g_free);
		}
		break;
	case DN_ORDER_SWEEP:
		dn_sweep_answered(core, host, pending->subject, answer, now, acts);
		break;
	case DN_ORDER_QUARANTINE:
	case DN_ORDER_DRILL:
	case DN_ORDER_DESTROY:
	case DN_ORDER_STAMP:
	case DN_ORDER_LOGS:
	case DN_ORDER_AUDIT:
	case DN_ORDER_DROPPED:
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
