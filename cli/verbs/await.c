/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/await.h"

#include <string.h>

#include "base/clock.h"

#define AWAIT_NS (300 * DN_NS_PER_S)
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
	char *now = g_strdup_printf(
		"%s %" G_GINT64_FORMAT " %" G_GINT64_FORMAT, dn_answer_word(service, "state"),
		dn_answer_number(service, "ready", 0), dn_answer_number(rolling, "ready", -1));

	if (g_strcmp0(now, *before) != 0)
		tell(call, service, manifest);
	g_free(*before);
	*before = now;
}

bool dn_await_service(DnCall *call, DnHttp *http, const DnManifest *manifest, GError **error)
{
	g_autofree char *name = dn_http_escape(manifest->service);
	g_autofree char *path = g_strconcat("/v1/services/", name, NULL);
	uint64_t deadline = dn_clock_monotonic_ns() + AWAIT_NS;
	g_autofree char *before = NULL;

	while (dn_clock_monotonic_ns() < deadline) {
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
		g_usleep(POLL_US);
	}
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "%s is not as declared after 5 minutes; see 'dnode nodes %s' and 'dnode "
		    "events'",
		    manifest->service, manifest->service);
	return false;
}
