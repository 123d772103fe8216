/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/await.h"

#include <string.h>

#include "base/clock.h"

#define REMOVAL_NS (300 * DN_NS_PER_S)
#define GRACE_NS (2 * DN_NS_PER_S)
#define POLL_US (50 * 1000)

typedef enum { NOT_YET, DONE, FAILED } Progress;

static Progress judge_error(JsonObject *rolling, GError **error)
{
	const char *why = dn_answer_text(rolling, "error");

	if (why == NULL)
		return NOT_YET;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "the roll was given up: %s", why);
	return FAILED;
}

static Progress judge(JsonObject *service, const DnManifest *manifest, GError **error)
{
	uint64_t epoch = (uint64_t)dn_answer_number(service, "epoch", 0);
	JsonObject *rolling = dn_answer_object(service, "rolling");
	const char *state = dn_answer_word(service, "state");

	if (epoch > manifest->epoch) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s is at epoch %" G_GUINT64_FORMAT " by now: somebody else applied "
			    "another manifest",
			    manifest->service, epoch);
		return FAILED;
	}
	if (manifest->removed)
		return strcmp(state, "removed") == 0 ? DONE : NOT_YET;
	if (judge_error(rolling, error) == FAILED)
		return FAILED;
	bool done = rolling == NULL && epoch == manifest->epoch && strcmp(state, "running") == 0 &&
		    dn_answer_number(service, "ready", 0) >= manifest->replicas;
	return done ? DONE : NOT_YET;
}

static void tell(DnCall *call, JsonObject *service, const DnManifest *manifest)
{
	JsonObject *rolling = dn_answer_object(service, "rolling");

	if (manifest->removed)
		dn_output_progress(call->output, "%s: %s", manifest->service,
				   dn_answer_word(service, "state"));
	else if (rolling != NULL)
		dn_output_progress(call->output,
				   "%s: rolling, %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
				   " new nodes are ready",
				   manifest->service, dn_answer_number(rolling, "ready", 0),
				   dn_answer_number(rolling, "wanted", 0));
	else
		dn_output_progress(call->output, "%s: %s, %" G_GINT64_FORMAT " of %u are ready",
				   manifest->service, dn_answer_word(service, "state"),
				   dn_answer_number(service, "ready", 0), manifest->replicas);
}

/* A line for each change, not for each look. */
static void tell_news(DnCall *call, JsonObject *service, const DnManifest *manifest, char **before)
{
	JsonObject *rolling = dn_answer_object(service, "rolling");
	g_autofree char *now = g_strdup_printf(
		"%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, dn_answer_word(service, "state"),
		dn_answer_number(service, "ready", 0), dn_answer_number(rolling, "ready", -1));

	if (g_strcmp0(now, *before) == 0)
		return;
	tell(call, service, manifest);
	g_free(*before);
	*before = g_steal_pointer(&now);
}

/* More nodes than ever before are ready; one that comes and goes is no step further. */
static bool is_step(JsonObject *service, int64_t *best)
{
	JsonObject *rolling = dn_answer_object(service, "rolling");
	int64_t ready = dn_answer_number(rolling != NULL ? rolling : service, "ready", 0);

	if (ready <= *best)
		return false;
	*best = ready;
	return true;
}

static uint64_t patience_ns(const DnManifest *manifest)
{
	uint64_t node_ms = MAX(manifest->roll_deadline_ms, manifest->run.start_deadline_ms);

	if (manifest->removed) /* each node may finish what it has, and then has its grace */
		return REMOVAL_NS +
		       ((uint64_t)manifest->roll_drain_ms + manifest->run.stop_grace_ms) *
			       DN_NS_PER_MS;
	/* A supervisor that judges a roll itself goes first. */
	return node_ms * DN_NS_PER_MS + GRACE_NS;
}

/* "KIND: TEXT" of the last thing that went wrong with @service, or NULL. */
static char *last_trouble(DnHttp *http, const char *service)
{
	g_autoptr(JsonObject) answer = dn_http_get(http, "/v1/events?limit=1000", NULL);
	JsonArray *events = dn_answer_array(answer, "events");

	for (unsigned i = dn_answer_length(events); i-- > 0;) {
		JsonObject *event = dn_answer_at(events, i);

		if (g_strcmp0(dn_answer_text(event, "service"), service) == 0 &&
		    strcmp(dn_answer_word(event, "severity"), "info") != 0 &&
		    !g_str_has_prefix(dn_answer_word(event, "kind"), "service."))
			return g_strdup_printf("%s: %s", dn_answer_word(event, "kind"),
					       dn_answer_word(event, "text"));
	}
	return NULL;
}

static void give_up(DnHttp *http, JsonObject *service, const DnManifest *manifest, GError **error)
{
	const char *name = manifest->service;
	const char *why = dn_answer_text(service, "why");
	g_autofree char *trouble = last_trouble(http, name);

	if (manifest->removed)
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%s is still %s after %" G_GUINT64_FORMAT " s; see 'dnode nodes %s'",
			    name, dn_answer_word(service, "state"),
			    patience_ns(manifest) / DN_NS_PER_S, name);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%s: %" G_GINT64_FORMAT " of %u nodes are ready, and none more within "
			    "%" G_GUINT64_FORMAT " s%s%s; last heard: %s; see 'dnode nodes %s' and "
			    "'dnode logs'",
			    name, dn_answer_number(service, "ready", 0), manifest->replicas,
			    patience_ns(manifest) / DN_NS_PER_S, why != NULL ? ": " : "",
			    why != NULL ? why : "", trouble != NULL ? trouble : "nothing", name);
}

bool dn_await_service(DnCall *call, DnHttp *http, const DnManifest *manifest, GError **error)
{
	g_autofree char *name = dn_http_escape(manifest->service);
	g_autofree char *path = g_strconcat("/v1/services/", name, NULL);
	uint64_t step_ns = dn_clock_monotonic_ns();
	int64_t best = -1;
	g_autofree char *before = NULL;

	for (;;) {
		g_autoptr(GError) cause = NULL;
		g_autoptr(JsonObject) answer = dn_http_get(http, path, &cause);
		JsonObject *service = dn_answer_object(answer, "service");
		/* A service that is gone is unknown. */
		if (manifest->removed && g_error_matches(cause, DN_ERROR, DN_ERROR_INVALID))
			return true;
		if (service == NULL) {
			g_propagate_error(error, g_steal_pointer(&cause));
			return false;
		}
		Progress progress = judge(service, manifest, error);
		if (progress != NOT_YET)
			return progress == DONE;
		tell_news(call, service, manifest, &before);
		if (!manifest->removed && is_step(service, &best))
			step_ns = dn_clock_monotonic_ns();
		if (dn_clock_monotonic_ns() - step_ns > patience_ns(manifest)) {
			give_up(http, service, manifest, error);
			return false;
		}
		g_usleep(POLL_US);
	}
}
