/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/drill-all.h"

#include <gio/gio.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "verbs/destroy.h"
#include "verbs/drill-report.h"
#include "verbs/named.h"

#define PATIENCE_NS (120 * DN_NS_PER_S) /* with what may pass: readiness, a budget */
#define WHOLE_NS (10 * DN_NS_PER_S)
#define LOOK_US (200 * 1000)
#define ROUNDS_LIMIT 1000
#define HOST_NODES 200 /* quarantined ones included, with room left for those that serve */

typedef struct {
	DnCall *call;
	DnHttp *http;
	const GPtrArray *keys; /* of DnSecretKey, borrowed; NULL: incidents are kept */
	const char *service, *reason;
	int64_t ready, standby; /* nodes of the service before the first drill */
} All;

static bool may_pass(const GError *error)
{
	return g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE) ||
	       g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED);
}

/* True while it is worth to try again; else @error is what was said last. */
static bool wait_longer(All *all, const char *what, uint64_t deadline, GError *said, bool *told,
			GError **error)
{
	if (!may_pass(said) || dn_clock_monotonic_ns() > deadline) {
		g_propagate_prefixed_error(error, said, "%s: ", what);
		return false;
	}
	if (!*told)
		dn_output_progress(all->call->output, "%s waits: %s", what, said->message);
	*told = true;
	g_error_free(said);
	g_usleep(LOOK_US);
	return true;
}

static bool look_at_service(const All *all, int64_t *ready, int64_t *standby, GError **error)
{
	g_autofree char *name = dn_http_escape(all->service);
	g_autofree char *path = g_strconcat("/v1/services/", name, NULL);
	g_autoptr(JsonObject) answer = dn_http_get(all->http, path, error);
	JsonObject *service = dn_answer_object(answer, "service");

	*ready = dn_answer_number(service, "ready", 0);
	*standby = dn_answer_number(service, "standby", 0);
	return answer != NULL;
}

/* Every drill meets the same service, standbys included; one that stays smaller is drilled so. */
static bool await_whole(const All *all, GError **error)
{
	uint64_t deadline = dn_clock_monotonic_ns() + WHOLE_NS;
	int64_t ready = 0, standby = 0;

	while (dn_clock_monotonic_ns() < deadline) {
		if (!look_at_service(all, &ready, &standby, error))
			return false;
		if (ready >= all->ready && standby >= all->standby)
			return true;
		g_usleep(LOOK_US / 4);
	}
	return true;
}

static DnDrilled *drill(All *all, const char *class, GError **error)
{
	uint64_t deadline = dn_clock_monotonic_ns() + PATIENCE_NS;
	bool told = false;

	for (;;) {
		GError *said = NULL;
		DnDrilled *drilled = dn_drill_once(all->http, class, all->service, &said);

		if (drilled != NULL)
			return drilled;
		if (!wait_longer(all, class, deadline, said, &told, error))
			return NULL;
	}
}

/* An answer that was lost on its way does not undo what was done. */
static bool is_destroyed(const All *all, const char *incident)
{
	g_autofree char *path = g_strconcat("/v1/incidents/", incident, NULL);
	g_autoptr(JsonObject) answer = dn_http_get(all->http, path, NULL);
	JsonObject *found = answer != NULL ? dn_answer_object(answer, "incident") : NULL;

	return found != NULL && g_strcmp0(dn_answer_text(found, "state"), "destroyed") == 0;
}

/* What was drilled is on record here by now; its node takes a place that others need. */
static bool let_go(All *all, const DnDrilled *drilled, GError **error)
{
	const char *incident = dn_answer_text(drilled->incident, "id");
	uint64_t deadline = dn_clock_monotonic_ns() + PATIENCE_NS;
	bool told = false;

	while (all->keys != NULL && incident != NULL) {
		GError *said = NULL;
		g_autoptr(JsonObject) answer =
			dn_incident_destroy(all->http, all->keys, incident, all->reason, &said);

		if (answer != NULL)
			return true;
		if (is_destroyed(all, incident)) {
			g_error_free(said);
			return true;
		}
		if (!wait_longer(all, incident, deadline, said, &told, error))
			return false;
	}
	return true;
}

static bool run_rounds(All *all, JsonArray *classes, unsigned rounds, DnDrillReport *report,
		       GError **error)
{
	unsigned n = dn_answer_length(classes);

	for (unsigned i = 0; i < rounds * n; i++) {
		JsonObject *class = dn_answer_at(classes, i % n);
		const char *name = dn_answer_word(class, "name");

		dn_output_progress(all->call->output, "drill %u of %u: %s", i + 1, rounds * n,
				   name);
		g_autoptr(DnDrilled) drilled =
			await_whole(all, error) ? drill(all, name, error) : NULL;
		if (drilled == NULL)
			return false;
		dn_drill_report_add(report, dn_answer_word(class, "tier"), drilled);
		if (!let_go(all, drilled, error))
			return false;
	}
	return true;
}

/* Without a key every drill leaves a quarantined node behind. */
static bool has_room(const All *all, unsigned drills, GError **error)
{
	g_autoptr(JsonObject) answer = NULL;
	int64_t room = 0;

	if (all->keys != NULL)
		return true;
	answer = dn_http_get(all->http, "/v1/hosts", error);
	if (answer == NULL)
		return false;
	JsonArray *hosts = dn_answer_array(answer, "hosts");
	for (unsigned i = 0; i < dn_answer_length(hosts); i++)
		room += MAX(HOST_NODES - dn_answer_number(dn_answer_at(hosts, i), "nodes", 0), 0);
	if (room >= drills)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "%u drills would leave more quarantined nodes than the hosts have room for "
		    "(%" G_GINT64_FORMAT "); let each go after it with --key K --reason TEXT, or "
		    "make fewer --rounds",
		    drills, room);
	return false;
}

/* Printed first: a file that cannot be written loses no drill. */
static bool conclude(DnCall *call, const DnDrillReport *report, GError **error)
{
	const char *path = dn_call_option(call, "report");
	unsigned missed = dn_drill_report_missed(report);
	g_autoptr(JsonObject) document = dn_drill_report_document(report);

	if (call->json)
		dn_output_json(call->output, document);
	else
		dn_drill_report_show(report, call->output);
	if (path != NULL) {
		g_autoptr(GBytes) bytes = dn_json_print(json_object_ref(document));

		if (!dn_file_replace(path, bytes, 0644, error))
			return false;
	}
	if (missed == 0)
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
		    "%u drills were missed or lack a stage; see the report, and 'dnode events'",
		    missed);
	return false;
}

bool dn_drill_all(DnCall *call, const char *service, GError **error)
{
	const char *wanted = dn_call_option(call, "rounds");
	const char *path = dn_call_option(call, "report");
	uint64_t rounds = 1;

	if (wanted != NULL && (!dn_text_parse_u64(wanted, ROUNDS_LIMIT, &rounds) || rounds == 0)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "--rounds %s: a number from 1 to %d",
			    wanted, ROUNDS_LIMIT);
		return false;
	}
	if (path != NULL && !dn_named_is_replaceable(path, NULL, "report", error))
		return false;
	bool destroys = dn_call_has(call, "key");
	All all = {.call = call, .service = service, .reason = dn_call_option(call, "reason")};
	if (destroys && dn_call_need(call, "reason", error) == NULL)
		return false;
	g_autoptr(GPtrArray) keys = destroys ? dn_call_keys(call, error) : NULL;
	if (destroys && keys == NULL)
		return false;
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) list = http != NULL ? dn_http_get(http, "/v1/drills", error) : NULL;
	if (list == NULL)
		return false;
	JsonArray *classes = dn_answer_array(list, "classes");
	g_autoptr(DnDrillReport) report = dn_drill_report_new(service, (unsigned)rounds);
	g_autoptr(GError) unkept = NULL;
	all.keys = keys;
	all.http = http;
	if (!has_room(&all, (unsigned)rounds * dn_answer_length(classes), error) ||
	    !look_at_service(&all, &all.ready, &all.standby, error))
		return false;
	/* What was seen until a failure is shown all the same. */
	if (run_rounds(&all, classes, (unsigned)rounds, report, error))
		return conclude(call, report, error);
	if (!conclude(call, report, &unkept))
		dn_output_note(call->output, "%s", unkept->message);
	return false;
}
