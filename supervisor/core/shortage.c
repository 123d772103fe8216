/* SPDX-License-Identifier: Apache-2.0 */
#include "core/shortage.h"

#include "base/clock.h"
#include "core/seats.h"

static void tell_expired(DnService *service, uint32_t given, DnNow now, DnActs *acts)
{
	const DnManifest *manifest = dn_service_current(service)->declaration->manifest;
	g_autofree char *until = dn_clock_format(manifest->valid_until_ns);

	dn_acts_event(acts, now.realtime_ns, "service.expired", "warning",
		      "%s: %u of %u nodes are asked for and no more: epoch %" G_GUINT64_FORMAT
		      " was valid until %s; apply a new epoch",
		      service->name, given, manifest->replicas, manifest->epoch, until)
		->service = g_strdup(service->name);
}

void dn_shortage_tell(const DnFleetCore *core, DnService *service, uint32_t given, DnNow now,
		      DnActs *acts)
{
	const DnRelease *current = dn_service_current(service);
	uint32_t want = current->declaration->manifest->replicas;
	bool expired = dn_release_is_expired(current, now);
	bool *told = expired ? &service->told_expired : &service->told_no_room;

	if (service->rolling || service->roll_error != NULL || given >= want) {
		service->told_no_room = service->told_expired = false;
		return;
	}
	if (*told)
		return;
	*told = true;
	if (expired) {
		tell_expired(service, given, now, acts);
		return;
	}
	g_autofree char *shut = dn_seats_shut(core, current);
	dn_acts_event(
		acts, now.realtime_ns, "service.no-room", "warning",
		"%s: only %u of %u nodes found a host with a free slot%s; enrol a host or lower "
		"replicas",
		service->name, given, want, shut)
		->service = g_strdup(service->name);
}
