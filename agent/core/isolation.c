/* SPDX-License-Identifier: Apache-2.0 */
#include "core/isolation.h"

#include "core/custody.h"
#include "core/respawn.h"

static bool may_replace(const DnIsolation *self, uint64_t now_ns)
{
	return dn_respawn_is_within(self->spent, self->manifest, self->grant, now_ns);
}

bool dn_isolation_awaits(const DnIsolation *self, uint64_t now_ns)
{
	return self->manifest->respawn_isolates && self->serves && !self->drill &&
	       !may_replace(self, now_ns);
}

const char *dn_isolation_ends(const DnIsolation *self, uint64_t now_ns)
{
	if (may_replace(self, now_ns))
		return "it may be replaced again";
	return self->serves ? NULL : "it serves no longer";
}

void dn_isolation_ended(DnIncident *incident, uint64_t at_ns)
{
	incident->stages_us[DN_STAGE_CUT_VERIFIED] = -1;
	dn_custody_stamp(incident, DN_STAGE_CUT, at_ns);
	if (incident->stages_us[DN_STAGE_CUT] >= 0)
		return;
	for (DnStage stage = 0; stage < DN_STAGE_N; stage++)
		incident->stages_us[DN_STAGE_CUT] =
			MAX(incident->stages_us[DN_STAGE_CUT], incident->stages_us[stage]);
	incident->stages_us[DN_STAGE_CUT] = MAX(incident->stages_us[DN_STAGE_CUT], 0);
}
