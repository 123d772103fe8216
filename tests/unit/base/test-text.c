/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "support/suite.h"

TestSuite(text, .fini = dn_suite_end);

Test(text, a_misspelt_word_finds_the_nearest_candidate)
{
	const char *const keys[] = {"replicas", "respawn", "resources", NULL};

	cr_assert_str_eq(dn_text_suggest("replica", keys), "replicas");
	cr_assert(eq(ptr, (void *)dn_text_suggest("health", keys), NULL));
}

Test(text, a_name_that_could_leave_its_directory_is_no_name)
{
	const char *const bad[] = {"", "-rf", "../x", "a/b", "A", "a-", "1a", "a b", "a.b"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
		cr_assert(not(dn_text_is_name(bad[i])), "%s", bad[i]);
	cr_assert(dn_text_is_name("web-2"));
}

Test(text, a_number_with_anything_beside_its_digits_is_refused)
{
	uint64_t value = 0;

	cr_assert(not(dn_text_parse_u64("-1", 100, &value)));
	cr_assert(not(dn_text_parse_u64("+1", 100, &value)));
	cr_assert(not(dn_text_parse_u64(" 1", 100, &value)));
	cr_assert(not(dn_text_parse_u64("101", 100, &value)));
	cr_assert(dn_text_parse_u64("100", 100, &value));
	cr_assert(eq(u64, value, 100));
}

Test(text, bytes_of_a_node_cannot_steer_a_terminal)
{
	g_autofree char *shown = dn_text_printable("a\033[2J\xff", 6);

	cr_assert_str_eq(shown, "a\\x1b[2J\\xff");
}

Test(text, bytes_of_a_node_cannot_turn_what_is_read_around)
{
	/* Right-to-left override and its end, an isolate, a line and a paragraph separator. */
	static const char *const bad[] = {"\u202e", "\u202c", "\u2066", "\u2028",
					  "\u2029", "\u200f", "\ufeff"};
	g_autofree char *kept = dn_text_printable("\u05d0\u00e9\t\u20ac", 8);

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *shown = dn_text_printable(bad[i], strlen(bad[i]));
		cr_assert_eq(strspn(shown, "\\x0123456789abcdef"), 4 * strlen(bad[i]));
		cr_assert_eq(strlen(shown), 4 * strlen(bad[i]), "%s", shown);
	}
	cr_assert_str_eq(kept, "\u05d0\u00e9\t\u20ac");
}

Test(text, a_time_survives_being_written_and_read_to_the_nanosecond)
{
	uint64_t again = 0;
	g_autofree char *written = dn_clock_format(UINT64_C(1767323045000000006));

	cr_assert_str_eq(written, "2026-01-02T03:04:05.000000006Z");
	cr_assert(dn_clock_parse(written, &again));
	cr_assert(eq(u64, again, UINT64_C(1767323045000000006)));
	cr_assert(not(dn_clock_parse("tomorrow", &again)));
}
