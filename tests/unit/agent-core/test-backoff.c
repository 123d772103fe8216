/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/backoff.h"
#include "support/suite.h"

/* How long a manifest's nodes are left alone after they have failed. */

#define NOW (1000 * DN_NS_PER_S)

static DnBackoffs *backoffs;

static void setup(void)
{
	backoffs = dn_backoffs_new();
}

static void teardown(void)
{
	g_clear_pointer(&backoffs, dn_backoffs_free);
	dn_suite_end();
}

TestSuite(backoff, .init = setup, .fini = teardown);

Test(backoff, it_grows_to_a_minute_and_no_further)
{
	cr_assert(eq(u64, dn_backoff_ns(1), 0));
	cr_assert(eq(u64, dn_backoff_ns(2), DN_NS_PER_S));
	cr_assert(eq(u64, dn_backoff_ns(7), 32 * DN_NS_PER_S));
	cr_assert(eq(u64, dn_backoff_ns(8), 60 * DN_NS_PER_S));
	cr_assert(eq(u64, dn_backoff_ns(4000000000u), 60 * DN_NS_PER_S));
}

Test(backoff, what_exits_once_is_made_again_at_once_what_cannot_be_made_is_not)
{
	dn_backoffs_failed(backoffs, "ran", false, NOW);
	dn_backoffs_failed(backoffs, "unmade", true, NOW);
	cr_assert(eq(u64, dn_backoffs_until_ns(backoffs, "ran"), NOW));
	cr_assert(eq(u64, dn_backoffs_until_ns(backoffs, "unmade"), NOW + DN_NS_PER_S));
	cr_assert(eq(u64, dn_backoffs_until_ns(backoffs, "neither"), 0));
}

Test(backoff, the_first_that_may_be_made_again_is_the_next)
{
	cr_assert(eq(u64, dn_backoffs_next_ns(backoffs, NOW), 0));
	dn_backoffs_failed(backoffs, "a", true, NOW);
	dn_backoffs_failed(backoffs, "a", true, NOW);
	dn_backoffs_failed(backoffs, "b", true, NOW);
	cr_assert(eq(u64, dn_backoffs_next_ns(backoffs, NOW), NOW + DN_NS_PER_S));
	cr_assert(eq(u64, dn_backoffs_next_ns(backoffs, NOW + DN_NS_PER_S), NOW + 2 * DN_NS_PER_S));
	cr_assert(eq(u64, dn_backoffs_next_ns(backoffs, NOW + 2 * DN_NS_PER_S), 0));
}

Test(backoff, one_that_has_run_long_enough_begins_anew)
{
	for (int i = 0; i < 5; i++)
		dn_backoffs_failed(backoffs, "a", false, NOW);
	dn_backoffs_settled(backoffs, "a");
	dn_backoffs_failed(backoffs, "a", false, NOW);
	cr_assert(eq(u64, dn_backoffs_until_ns(backoffs, "a"), NOW));
}

Test(backoff, what_no_share_names_is_forgotten)
{
	g_autoptr(DnAssign) assign = dn_assign_new("web", "10.97.0.1");

	g_ptr_array_add(assign->parts, dn_part_new("a", 1, 1, 0));
	dn_backoffs_failed(backoffs, "a", true, NOW);
	dn_backoffs_failed(backoffs, "b", true, NOW);
	dn_backoffs_keep(backoffs, assign);
	cr_assert(ne(u64, dn_backoffs_until_ns(backoffs, "a"), 0));
	cr_assert(eq(u64, dn_backoffs_until_ns(backoffs, "b"), 0));
}
