/* SPDX-License-Identifier: Apache-2.0 */
#include "core/trouble.h"

#include "base/clock.h"
#include "core/state.h"

enum { TELL_EVERY_S = 60 };

static const struct {
	const char *kind, *severity;
} troubles[] = {
	[DN_TROUBLE_CROWDED] = {"link.crowded", "warning"},
	[DN_TROUBLE_REFUSED] = {"link.refused", "warning"},
	[DN_TROUBLE_ENROLMENT] = {"host.refused", "warning"},
	[DN_TROUBLE_FLOODED] = {"link.flooded", "critical"},
	[DN_TROUBLE_RECONNECTS] = {"host.reconnects", "critical"},
	[DN_TROUBLE_JOURNAL] = {"journal.shortened", "critical"},
	[DN_TROUBLE_CLAIMS] = {"host.claims", "critical"},
	[DN_TROUBLE_HTTP] = {"api.crowded", "warning"},
};
_Static_assert(G_N_ELEMENTS(troubles) == DN_TROUBLE_N, "every trouble needs a row");

void dn_fleet_core_trouble(DnFleetCore *self, DnTrouble trouble, const char *name, const char *text,
			   DnNow now, DnActs *acts)
{
	DnHost *host = name == NULL ? NULL : dn_state_host(self, name);
	uint64_t *told_ns =
		host != NULL ? &host->troubles_ns[trouble] : &self->troubles_ns[trouble];

	if (*told_ns != 0 && now.monotonic_ns - *told_ns < TELL_EVERY_S * DN_NS_PER_S)
		return;
	*told_ns = MAX(now.monotonic_ns, 1);
	DnEvent *event = dn_acts_event(acts, now.realtime_ns, troubles[trouble].kind,
				       troubles[trouble].severity, "%s", text);
	if (host != NULL)
		event->host = g_strdup(host->name);
}
