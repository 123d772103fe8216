/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "core/image-table.h"
#include "support/suite.h"

/* Which set of programs a node runs by, while checkouts are made anew under nodes that run. */

#define COMMIT "cccc"
#define KEY COMMIT "\n/bin/app"
#define OTHER_KEY COMMIT "\n/bin/tool"

static DnImageTable *table;
static DnRun defaults = {.uid = 1000};

static void setup(void)
{
	table = dn_image_table_new();
}

static void teardown(void)
{
	dn_image_table_free(table);
	dn_suite_end();
}

TestSuite(image_table, .init = setup, .fini = teardown);

static DnImageSet take(const char *key, guint placed)
{
	DnRun run = {.uid = -1};
	DnImageSet set = dn_image_table_take(table, key, &placed, &run);

	cr_assert(eq(i64, run.uid, set.known ? 1000 : -1));
	dn_run_clear(&run);
	return set;
}

/* A node of @key is made from checkout @placed; its set. */
static DnImageSet make(const char *key, guint placed)
{
	DnImageSet set = take(key, placed);

	set.placed = placed;
	dn_image_table_remember(table, key, &set, &defaults);
	return set;
}

static bool is_dropped(uint32_t number)
{
	const GArray *dropped = dn_image_table_dropped(table);
	guint found = 0;

	for (guint i = 0; i < dropped->len; i++)
		found += g_array_index(dropped, uint32_t, i) == number;
	cr_assert(le(u32, found, 1));
	return found == 1;
}

Test(image_table, nodes_of_one_image_and_manifest_share_a_set_and_others_have_their_own)
{
	DnImageSet first = make(KEY, 1);

	cr_assert(not(first.known));
	cr_assert(ne(u32, first.number, 0));
	cr_assert(take(KEY, 1).known);
	cr_assert(eq(u32, take(KEY, 1).number, first.number));
	cr_assert(ne(u32, take(OTHER_KEY, 1).number, first.number));
	cr_assert(eq(u32, dn_image_table_dropped(table)->len, 0));
}

Test(image_table, nodes_that_are_made_at_the_same_time_share_what_the_first_one_drew)
{
	uint32_t number = take(KEY, 0).number;

	cr_assert(eq(u32, take(KEY, 0).number, number));
	cr_assert(eq(u32, make(KEY, 1).number, number));
	cr_assert(take(KEY, 1).known);
}

Test(image_table, after_a_repair_new_nodes_get_a_new_set_and_those_that_run_keep_theirs)
{
	DnImageSet running = make(KEY, 1), other = make(OTHER_KEY, 1);

	dn_image_table_drop(table, COMMIT);
	cr_assert(is_dropped(running.number));
	cr_assert(is_dropped(other.number));
	DnImageSet next = take(KEY, 2);
	cr_assert(not(next.known));
	cr_assert(ne(u32, next.number, running.number));
	cr_assert(ne(u32, next.number, other.number));
	cr_assert(not(is_dropped(next.number)));
}

Test(image_table, a_checkout_that_was_exchanged_in_silence_gives_a_new_set_as_well)
{
	DnImageSet running = make(KEY, 1), next = take(KEY, 2);

	cr_assert(not(next.known));
	cr_assert(ne(u32, next.number, running.number));
	cr_assert(is_dropped(running.number));
}

Test(image_table, a_checkout_that_was_withdrawn_gives_no_set_that_is_known)
{
	DnImageSet running = make(KEY, 1);
	DnRun run = {.uid = -1};
	DnImageSet next = dn_image_table_take(table, KEY, NULL, &run);

	cr_assert(not(next.known));
	cr_assert(ne(u32, next.number, running.number));
}

Test(image_table, a_node_that_was_being_made_when_the_image_was_changed_makes_nothing_known)
{
	DnImageSet running = make(KEY, 1);
	DnImageSet late = take(KEY, 1);

	dn_image_table_drop(table, COMMIT);
	dn_image_table_remember(table, KEY, &late, &defaults);
	cr_assert(not(take(KEY, 2).known));
	cr_assert(ne(u32, take(KEY, 2).number, running.number));
	/* And one that is made next does. */
	DnImageSet next = make(KEY, 2);
	dn_image_table_remember(table, KEY, &late, &defaults);
	cr_assert(take(KEY, 2).known);
	cr_assert(eq(u32, take(KEY, 2).number, next.number));
}

Test(image_table, a_new_agent_goes_on_with_the_set_of_the_checkout_in_place_only)
{
	const DnImageSet aside = {.number = 3}, in_place = {.number = 7};

	dn_image_table_adopt(table, NULL, &aside, &defaults);
	dn_image_table_adopt(table, KEY, &in_place, &defaults);
	dn_image_table_adopt(table, NULL, &aside, &defaults);
	cr_assert(take(KEY, 0).known);
	cr_assert(eq(u32, take(KEY, 0).number, 7));
	cr_assert(is_dropped(3));
	cr_assert(not(is_dropped(7)));
	cr_assert(gt(u32, take(OTHER_KEY, 0).number, 7));
}

Test(image_table, a_set_that_a_cut_node_has_as_well_stays_of_those_that_serve)
{
	const DnImageSet set = {.number = 7};

	/* Evidence, whose checkout nobody asked for, before and after one that serves. */
	dn_image_table_adopt(table, NULL, &set, &defaults);
	dn_image_table_adopt(table, KEY, &set, &defaults);
	dn_image_table_adopt(table, NULL, &set, &defaults);
	cr_assert(eq(u32, take(KEY, 0).number, 7));
	cr_assert(not(is_dropped(7)));
}

Test(image_table, two_sets_of_one_checkout_do_not_hide_each_other)
{
	const DnImageSet first = {.number = 2}, second = {.number = 5};

	dn_image_table_adopt(table, KEY, &first, &defaults);
	dn_image_table_adopt(table, KEY, &second, &defaults);
	cr_assert(eq(u32, take(KEY, 0).number, 5));
	cr_assert(is_dropped(2));
}
