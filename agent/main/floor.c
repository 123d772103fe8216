/* SPDX-License-Identifier: Apache-2.0 */
#include "main/agent.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"

/* STATE_DIR/time-floor: one line, RFC 3339. */

enum { LINE_LIMIT = 64 };

static char *path_of(const Agent *agent)
{
	return g_build_filename(agent->instance->state_dir, "time-floor", NULL);
}

bool dn_floor_load(Agent *agent, GError **error)
{
	g_autofree char *path = path_of(agent);
	g_autoptr(GError) missing = NULL;
	g_autoptr(GBytes) bytes = dn_file_read(path, LINE_LIMIT, &missing);

	if (g_error_matches(missing, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
		return true;
	if (bytes == NULL) {
		g_propagate_error(error, g_steal_pointer(&missing));
		return false;
	}
	g_autofree char *line = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	if (!dn_clock_parse(g_strstrip(line), &agent->floor.seen_ns)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s: no time; if the clock is right, remove the file", path);
		return false;
	}
	agent->floor.kept_ns = agent->floor.seen_ns;
	return true;
}

static void on_saved(Agent *agent, const char *key, const GError *error, uint64_t done_ns)
{
	if (error == NULL)
		return;
	g_warning("time floor: %s", error->message);
	/* Due again with the next time that is seen. */
	agent->floor.kept_ns = 0;
}

void dn_floor_raise(Agent *agent, uint64_t time_ns)
{
	if (!dn_time_floor_raise(&agent->floor, time_ns) || agent->disk == NULL)
		return;
	g_autofree char *path = path_of(agent);
	g_autofree char *time = dn_clock_format(agent->floor.seen_ns);
	g_autofree char *line = g_strconcat(time, "\n", NULL);
	g_autoptr(GBytes) bytes = g_bytes_new(line, strlen(line));

	agent->floor.kept_ns = agent->floor.seen_ns;
	dn_disk_write(agent, path, bytes, "time-floor", on_saved);
}

uint64_t dn_floor_judge(const Agent *agent)
{
	return dn_time_floor_judge(&agent->floor, dn_clock_realtime_ns());
}

/* The accepted manifest of @service, when it has expired. */
static const DnManifest *expired(const Agent *agent, const Service *service)
{
	const DnEpoch *epoch = g_hash_table_lookup(agent->epochs, service->name);
	const DnManifest *manifest = epoch == NULL || epoch->digest == NULL
					     ? NULL
					     : g_hash_table_lookup(agent->manifests, epoch->digest);

	if (manifest == NULL || service->assign == NULL || service->assign->parts->len == 0 ||
	    !dn_manifest_is_expired(manifest, dn_floor_judge(agent)))
		return NULL;
	return manifest;
}

void dn_floor_tick(Agent *agent)
{
	GHashTableIter iter;
	gpointer value = NULL;

	g_hash_table_iter_init(&iter, agent->services);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		Service *service = value;
		const DnManifest *manifest = expired(agent, service);

		if (manifest == NULL ||
		    !dn_expiry_is_due(&service->expiry_told_ns, dn_clock_monotonic_ns()))
			continue;
		g_autofree char *until = dn_clock_format(manifest->valid_until_ns);
		dn_report_event(agent, "warning", "manifest.expired", service->name, NULL,
				"%s epoch %" G_GUINT64_FORMAT " was valid until %.10s; its nodes "
				"here go on and are replaced, other hosts do not take it: sign a "
				"new epoch",
				service->name, manifest->epoch, until);
	}
}
