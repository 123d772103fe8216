/* SPDX-License-Identifier: Apache-2.0 */
#include "core/respawn.h"

#include "base/clock.h"

static uint64_t within_ns(const DnManifest *manifest)
{
	return (uint64_t)manifest->respawn_within_ms * DN_NS_PER_MS;
}

bool dn_respawn_is_within(const DnBudget *spent, const DnManifest *manifest, uint32_t grant,
			  uint64_t now_ns)
{
	return dn_budget_allows(spent, MIN(grant, manifest->respawn_count), within_ns(manifest),
				now_ns);
}

uint64_t dn_respawn_charge_ns(const DnIncident *incident)
{
	int64_t cut_us = incident->stages_us[DN_STAGE_CUT];

	return incident->isolated_us < 0 || cut_us < 0
		       ? incident->event_monotonic_ns
		       : incident->event_monotonic_ns + (uint64_t)cut_us * DN_NS_PER_US;
}

DnRespawn dn_respawn_judge(DnBudget *spent, const DnManifest *manifest, uint32_t grant,
			   const DnIncident *incident, bool missed, uint64_t now_ns)
{
	bool replaced = incident->replacements->len > 0;

	if (incident->isolated_us >= 0 && !missed && !replaced)
		return DN_RESPAWN_NONE;
	if (!incident->drill && !replaced && !dn_respawn_is_within(spent, manifest, grant, now_ns))
		return DN_RESPAWN_HELD;
	if (!incident->drill)
		dn_budget_spend(spent, within_ns(manifest), dn_respawn_charge_ns(incident));
	return replaced ? DN_RESPAWN_DONE : DN_RESPAWN_OWED;
}

bool dn_respawn_is_settled(const DnBudget *spent, const GPtrArray *held, const DnManifest *manifest,
			   const DnIncident *incident, uint64_t now_ns)
{
	uint64_t charged_ns = dn_respawn_charge_ns(incident);

	if (incident->drill ||
	    g_ptr_array_find_with_equal_func((GPtrArray *)held, incident->id, g_str_equal, NULL))
		return true;
	for (guint i = 0; i < spent->spent->len; i++)
		if (g_array_index(spent->spent, uint64_t, i) == charged_ns)
			return true;
	/* Charges are forgotten when their time is over. */
	return now_ns > charged_ns && now_ns - charged_ns >= within_ns(manifest);
}
