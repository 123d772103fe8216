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

GArray *dn_seats_new(const DnFleetCore *core, const DnService *service, const DnRelease *release)
{
	GArray *seats = g_array_new(FALSE, TRUE, sizeof(DnSeat));
	g_autoptr(GList) names = dn_state_sorted(core->hosts);

	for (GList *at = names; at != NULL; at = at->next) {
		const DnHost *host = dn_state_host(core, at->data);
		DnSeat seat = {.host = host->name};

		if (!dn_host_takes(host, release) || !dn_host_is_up(host))
			continue;
		seat.room = dn_state_room(core, host);
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
