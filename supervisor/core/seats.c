/* SPDX-License-Identifier: Apache-2.0 */
#include "core/seats.h"

#include "core/placement.h"

bool dn_release_is_expired(const DnRelease *release, DnNow now)
{
	return dn_manifest_is_expired(release->declaration->manifest, now.realtime_ns);
}

bool dn_host_takes(const DnHost *host, const DnRelease *release)
{
	const char *digest = release->declaration->manifest->digest;

	return dn_host_takes_new(host) &&
	       GPOINTER_TO_INT(g_hash_table_lookup(host->manifests, digest)) != DN_HELD_REFUSED;
}

static int64_t standbys_on(const DnService *service, const DnHost *host)
{
	int64_t count = 0;

	for (guint i = 0; service != NULL && i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		const DnShare *share = g_hash_table_lookup(release->shares, host->name);

		count += share != NULL ? share->standby : 0;
	}
	return count;
}

GArray *dn_seats_new(const DnFleetCore *core, const DnService *service, const DnRelease *release)
{
	GArray *seats = g_array_new(FALSE, TRUE, sizeof(DnSeat));
	g_autoptr(GList) names = dn_state_sorted(core->hosts);

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		DnSeat seat = {.host = host->name};

		if (!dn_host_takes(host, release) || !dn_host_is_up(host))
			continue;
		seat.room =
			(uint32_t)MAX(dn_state_spare(core, host) + standbys_on(service, host), 0);
		seat.running = dn_release_running_on(release, host->name);
		for (guint i = 0; service != NULL && i < service->releases->len; i++) {
			const DnRelease *other = g_ptr_array_index(service->releases, i);
			uint32_t there = dn_release_running_on(other, host->name);

			if (other != release)
				*(dn_service_keeps(service, other) ? &seat.running
								   : &seat.weight) += there;
		}
		g_array_append_val(seats, seat);
	}
	return seats;
}

static void add_shut(GString *text, unsigned count, const char *one, const char *many)
{
	if (count > 0)
		g_string_append_printf(text, "; %u %s", count, count == 1 ? one : many);
}

char *dn_seats_shut(const DnFleetCore *core, const DnRelease *release)
{
	GHashTableIter iter;
	gpointer value;
	unsigned cordoned = 0, suspect = 0, refused = 0;
	GString *text = g_string_new(NULL);

	g_hash_table_iter_init(&iter, core->hosts);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const DnHost *host = value;

		if (!dn_host_is_up(host) || dn_host_takes(host, release))
			continue;
		if (host->cordoned)
			cordoned++;
		else if (host->suspect != NULL)
			suspect++;
		else
			refused++;
	}
	add_shut(text, cordoned, "host is cordoned", "hosts are cordoned");
	add_shut(text, suspect, "is suspect", "are suspect");
	add_shut(text, refused, "has refused the manifest", "have refused the manifest");
	return g_string_free(text, FALSE);
}
