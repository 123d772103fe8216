/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "model/budget.h"
#include "support/suite.h"

static DnBudget budget;

static void setup(void)
{
	dn_budget_init(&budget);
}

static void teardown(void)
{
	dn_budget_clear(&budget);
	dn_suite_end();
}

TestSuite(budget, .init = setup, .fini = teardown);

Test(budget, is_spent_and_comes_back)
{
	cr_assert(dn_budget_allows(&budget, 2, 100, 1000));
	dn_budget_spend(&budget, 100, 1000);
	dn_budget_spend(&budget, 100, 1010);
	cr_assert(not(dn_budget_allows(&budget, 2, 100, 1020)));
	cr_assert(dn_budget_allows(&budget, 2, 100, 1105));
	cr_assert(not(dn_budget_allows(&budget, 2, 100, 500)), "a clock set back gives no budget");
	cr_assert(not(dn_budget_allows(&budget, 0, 100, 9999)));
}

Test(budget, says_when_the_next_is_possible)
{
	cr_assert(eq(u64, dn_budget_next_ns(&budget, 1, 100, 1000), 0));
	cr_assert(eq(u64, dn_budget_next_ns(&budget, 0, 100, 1000), UINT64_MAX));
	dn_budget_spend(&budget, 100, 1000);
	dn_budget_spend(&budget, 100, 1010);
	dn_budget_spend(&budget, 100, 1020);
	cr_assert(eq(u64, dn_budget_next_ns(&budget, 4, 100, 1030), 0));
	cr_assert(eq(u64, dn_budget_next_ns(&budget, 3, 100, 1030), 1100));
	/* Of a count that was lowered, all above it have to pass. */
	cr_assert(eq(u64, dn_budget_next_ns(&budget, 1, 100, 1030), 1120));
	cr_assert(eq(u64, dn_budget_next_ns(&budget, 3, 100, 1100), 0));
}

Test(budget, keeps_no_more_than_what_counts)
{
	for (uint64_t now = 1000; now < 100000; now += 10)
		dn_budget_spend(&budget, 100, now);
	cr_assert(le(uint, budget.spent->len, 11));
}

Test(budget, a_refused_drill_says_how_many_in_what_time_and_when_again)
{
	g_autoptr(DnManifest) manifest = dn_manifest_new();
	g_autoptr(GError) error = NULL;
	const uint64_t now = 5000 * DN_NS_PER_S;

	manifest->service = g_strdup("web");
	manifest->respawn_count = 2;
	manifest->respawn_within_ms = 600000;
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(dn_budget_allows_drill(&budget, manifest, now, NULL));
		dn_budget_spend_drill(&budget, manifest, now);
	}
	cr_assert(not(dn_budget_allows_drill(&budget, manifest, now + DN_NS_PER_S, &error)));
	cr_assert(eq(int, error->code, DN_ERROR_EXHAUSTED));
	cr_assert_str_eq(error->message,
			 "web: all 2 drills within 600 s are spent (respawn.count and "
			 "respawn.within of its manifest); the next is possible in 599 s");
}

Test(budget, of_an_earlier_boot_comes_back_when_this_one_is_old_enough)
{
	dn_budget_spend(&budget, 100, 70000);
	dn_budget_spend(&budget, 100, 70010);
	dn_budget_carry_over(&budget);
	cr_assert(not(dn_budget_allows(&budget, 2, 100, 99)));
	cr_assert(dn_budget_allows(&budget, 2, 100, 100));
}

Test(budget, a_count_of_zero_allows_no_drill_and_says_what_to_do)
{
	g_autoptr(DnManifest) manifest = dn_manifest_new();
	g_autoptr(GError) error = NULL;

	manifest->service = g_strdup("web");
	manifest->respawn_count = 0;
	cr_assert(not(dn_budget_allows_drill(&budget, manifest, DN_NS_PER_S, &error)));
	cr_assert(eq(int, error->code, DN_ERROR_EXHAUSTED));
	cr_assert(strstr(error->message, "respawn.count 0") != NULL, "%s", error->message);
}
