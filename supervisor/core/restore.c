/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Services and incidents as the store has them, and back at a start. Hosts and tokens: see
 * membership.c.
 */

#include "core/response.h"
#include "core/view.h"

const DnIncident *dn_fleet_core_incident(const DnFleetCore *self, const char *id)
{
	return g_hash_table_lookup(self->incidents, id);
}

bool dn_fleet_core_is_past(const DnFleetCore *self, const char *id)
{
	return g_hash_table_contains(self->past, id);
}

void dn_fleet_core_restore_incident(DnFleetCore *self, const DnIncident *incident)
{
	DnIncident *copy = dn_incident_copy(incident);

	g_hash_table_replace(self->incidents, copy->id, copy);
	dn_response_note(self, copy);
}

DnServiceRecord *dn_fleet_core_service_record(const DnFleetCore *self, const char *name)
{
	const DnService *service = dn_state_service(self, name);

	if (service == NULL)
		return NULL;
	DnServiceRecord *record = dn_service_record_new(service->name, service->vip);
	for (guint i = 0; i < service->releases->len; i++) {
		const DnRelease *release = g_ptr_array_index(service->releases, i);
		g_autoptr(GPtrArray) shares = dn_release_shares(release);

		dn_service_record_add(record, release->declaration, shares, release->former);
	}
	record->rolling = service->rolling;
	record->roll_started_ns = service->roll_started_ns;
	record->roll_error = g_strdup(service->roll_error);
	g_array_append_vals(record->drills, service->drills.spent->data,
			    service->drills.spent->len);
	return record;
}

bool dn_fleet_core_restore_service(DnFleetCore *self, const DnServiceRecord *record, GError **error)
{
	uint32_t vip = 0;

	if (record->releases->len == 0 || !dn_address_parse(record->vip, &vip) ||
	    !dn_range_contains(&self->vip_range, vip)) {
		g_set_error(
			error, DN_ERROR, DN_ERROR_CONFLICT,
			"service %s has VIP %s, which is not in vip_cidr; cluster.yaml must keep "
			"the range its services were given VIPs from",
			record->name, record->vip);
		return false;
	}
	DnService *service = dn_state_add_service(self, record->name, record->vip);
	for (guint i = 0; i < record->releases->len; i++) {
		const DnReleaseRecord *stored = g_ptr_array_index(record->releases, i);
		DnRelease *release = dn_release_new(stored->declaration);

		for (guint j = 0; j < stored->shares->len; j++) {
			const DnShare *share = g_ptr_array_index(stored->shares, j);
			DnShare *mine = dn_release_share(release, share->host);

			mine->running = share->running;
			mine->standby = share->standby;
		}
		for (guint j = 0; j < stored->former->len; j++)
			g_ptr_array_add(release->former,
					g_strdup(g_ptr_array_index(stored->former, j)));
		g_ptr_array_add(service->releases, release);
	}
	service->rolling = record->rolling;
	service->roll_started_ns = record->roll_started_ns;
	service->roll_error = g_strdup(record->roll_error);
	g_array_append_vals(service->drills.spent, record->drills->data, record->drills->len);
	/* What people knew before the restart is no news. */
	service->shown_state = dn_service_current(service)->declaration->manifest->removed
				       ? DN_SERVICE_REMOVED
				       : DN_SERVICE_RUNNING;
	service->touched = true;
	return true;
}
