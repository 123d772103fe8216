/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/isolation.h"
#include "core/respawn.h"
#include "support/suite.h"

/* Which nodes drift is to isolate, when that ends, and who pays for it. */

static DnManifest *manifest;
static DnBudget spent;
static DnIncident *incident;
static DnIsolation node;

#define NOW_NS (1000 * DN_NS_PER_S)
#define WITHIN_NS (60 * DN_NS_PER_S)

static void setup(void)
{
	manifest = dn_manifest_new();
	manifest->respawn_count = 1;
	manifest->respawn_within_ms = 60000;
	manifest->respawn_isolates = true;
	dn_budget_init(&spent);
	incident = dn_incident_new();
	incident->id = g_strdup("00000000000000a1");
	incident->event_monotonic_ns = NOW_NS;
	node = (DnIsolation){.manifest = manifest, .spent = &spent, .grant = 1, .serves = true};
}

static void teardown(void)
{
	dn_manifest_unref(manifest);
	dn_budget_clear(&spent);
	dn_incident_free(incident);
	dn_suite_end();
}

TestSuite(isolation, .init = setup, .fini = teardown);

static void spend(void)
{
	dn_budget_spend(&spent, WITHIN_NS, NOW_NS);
}

Test(isolation, only_past_the_budget_is_a_node_to_be_isolated)
{
	cr_assert(not(dn_isolation_awaits(&node, NOW_NS)));
	spend();
	cr_assert(dn_isolation_awaits(&node, NOW_NS));
	cr_assert(dn_isolation_awaits(&node, NOW_NS + WITHIN_NS - 1));
	cr_assert(not(dn_isolation_awaits(&node, NOW_NS + WITHIN_NS)));
}

Test(isolation, a_host_without_a_grant_isolates_from_the_first_drift_on)
{
	node.grant = 0;
	cr_assert(dn_isolation_awaits(&node, NOW_NS));
}

Test(isolation, hold_a_drill_and_what_serves_nobody_are_cut)
{
	spend();
	node.drill = true;
	cr_assert(not(dn_isolation_awaits(&node, NOW_NS)));
	node.drill = false;
	node.serves = false;
	cr_assert(not(dn_isolation_awaits(&node, NOW_NS)));
	node.serves = true;
	manifest->respawn_isolates = false;
	cr_assert(not(dn_isolation_awaits(&node, NOW_NS)));
}

Test(isolation, it_ends_when_the_node_may_be_replaced_or_serves_no_longer)
{
	spend();
	cr_assert(eq(ptr, (void *)dn_isolation_ends(&node, NOW_NS), NULL));
	cr_assert_str_eq(dn_isolation_ends(&node, NOW_NS + WITHIN_NS), "it may be replaced again");
	node.serves = false;
	cr_assert_str_eq(dn_isolation_ends(&node, NOW_NS), "it serves no longer");
}

Test(isolation, the_cut_is_the_end_of_it_and_is_verified_anew)
{
	incident->isolated_us = 40;
	incident->stages_us[DN_STAGE_CUT_VERIFIED] = 30000;
	cr_assert(dn_incident_is_isolated(incident));
	dn_isolation_ended(incident, NOW_NS + 5 * DN_NS_PER_S);
	cr_assert(eq(i64, incident->stages_us[DN_STAGE_CUT], 5000000));
	cr_assert(eq(i64, incident->stages_us[DN_STAGE_CUT_VERIFIED], -1));
	cr_assert(not(dn_incident_is_isolated(incident)));
}

Test(isolation, one_of_an_earlier_boot_has_ended_after_all_that_is_known)
{
	incident->isolated_us = 40;
	incident->stages_us[DN_STAGE_DURABLE] = 9000;
	dn_isolation_ended(incident, 0);
	cr_assert(eq(i64, incident->stages_us[DN_STAGE_CUT], 9000));
	cr_assert(not(dn_incident_is_isolated(incident)));
}

Test(isolation, a_replacement_is_charged_when_it_is_made_and_not_when_the_event_was)
{
	g_autoptr(GPtrArray) held = g_ptr_array_new();
	uint64_t later_ns = NOW_NS + WITHIN_NS;

	spend();
	incident->isolated_us = 0;
	dn_isolation_ended(incident, later_ns);
	cr_assert(not(dn_respawn_is_settled(&spent, held, manifest, incident, later_ns)));
	cr_assert(eq(int, dn_respawn_judge(&spent, manifest, 1, incident, true, later_ns),
		     DN_RESPAWN_OWED));
	cr_assert(dn_respawn_is_settled(&spent, held, manifest, incident, later_ns));
	/* By the event's time it would be paid back at once. */
	cr_assert(not(dn_respawn_is_within(&spent, manifest, 1, later_ns + WITHIN_NS - 1)));
	cr_assert(dn_respawn_is_within(&spent, manifest, 1, later_ns + WITHIN_NS));
}

Test(isolation, one_that_nobody_misses_costs_nothing_and_holds_nothing_back)
{
	spend();
	incident->isolated_us = 0;
	dn_isolation_ended(incident, NOW_NS + 1000);
	cr_assert(eq(int, dn_respawn_judge(&spent, manifest, 1, incident, false, NOW_NS + 2000),
		     DN_RESPAWN_NONE));
	cr_assert(eq(uint, spent.spent->len, 1));
	cr_assert(eq(int, dn_respawn_judge(&spent, manifest, 1, incident, true, NOW_NS + 2000),
		     DN_RESPAWN_HELD));
}
