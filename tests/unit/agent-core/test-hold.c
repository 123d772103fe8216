/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/hold.h"
#include "support/suite.h"

/* When a node is frozen so that nothing of it can keep out of sight, and for how long. */

static DnHold hold;

#define NOW (1000 * DN_NS_PER_S)
#define MS DN_NS_PER_MS

static void setup(void)
{
	hold = (DnHold){0};
}

static void teardown(void)
{
	dn_suite_end();
}

TestSuite(hold, .init = setup, .fini = teardown);

Test(hold, a_node_that_is_seen_to_its_end_is_never_frozen)
{
	cr_assert(not(dn_hold_is_due(&hold, 0, 0, 1, NOW)));
	cr_assert(not(dn_hold_is_due(&hold, 49, 0, 1, NOW)));
}

Test(hold, one_that_has_no_end_is_frozen_after_a_second_of_looks)
{
	cr_assert(dn_hold_is_due(&hold, 50, 0, 1, NOW));
	cr_assert(eq(u64, dn_hold_limit_ns(&hold), 500 * MS));
}

Test(hold, many_ordinary_processes_have_the_time_that_they_take)
{
	/* A millisecond each: three seconds more, which are 150 looks. */
	cr_assert(not(dn_hold_is_due(&hold, 199, 0, 3000, NOW)));
	cr_assert(dn_hold_is_due(&hold, 200, 0, 3000, NOW));
}

Test(hold, one_whose_newest_processes_escape_look_after_look_is_frozen)
{
	cr_assert(not(dn_hold_is_due(&hold, 0, 7, 1, NOW)));
	cr_assert(dn_hold_is_due(&hold, 0, 8, 1, NOW));
	dn_hold_ended(&hold, true, NOW, NOW + 2 * MS);
	cr_assert(not(dn_hold_is_due(&hold, 0, 8, 1, NOW + 41 * MS)));
}

Test(hold, it_is_frozen_for_a_twentieth_of_the_time_at_most)
{
	dn_hold_ended(&hold, true, NOW, NOW + 100 * MS);
	cr_assert(not(dn_hold_is_due(&hold, 1000, 0, 1, NOW + 2099 * MS)));
	cr_assert(dn_hold_is_due(&hold, 1000, 0, 1, NOW + 2100 * MS));
}

Test(hold, what_was_not_seen_to_the_end_is_held_longer_the_next_time_within_bounds)
{
	dn_hold_ended(&hold, false, NOW, NOW + 500 * MS);
	cr_assert(eq(u64, dn_hold_limit_ns(&hold), 1000 * MS));
	for (int i = 0; i < 10; i++)
		dn_hold_ended(&hold, false, NOW, NOW + MS);
	cr_assert(eq(u64, dn_hold_limit_ns(&hold), 4000 * MS));
	dn_hold_ended(&hold, true, NOW, NOW + MS);
	cr_assert(eq(u64, dn_hold_limit_ns(&hold), 500 * MS));
}
