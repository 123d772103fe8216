/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "support/suite.h"
#include "verbs/statement.h"

TestSuite(statement, .fini = dn_suite_end);

static DnStatement sample(void)
{
	return (DnStatement){.cluster = "0123456789abcdef",
			     .host = "h1",
			     .incident = "fedcba9876543210",
			     .reason = "only a drill"};
}

Test(statement, has_exactly_the_documented_six_lines)
{
	DnStatement statement = sample();
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) bytes = dn_statement_write(&statement, &error);

	cr_assert_not_null(bytes);
	g_autofree char *text = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	cr_assert_str_eq(text, "dnode destroy v1\n"
			       "cluster: 0123456789abcdef\n"
			       "host: h1\n"
			       "incident: fedcba9876543210\n"
			       "evidence: none\n"
			       "reason: only a drill\n");
}

Test(statement, names_the_evidence_when_there_is_some)
{
	DnStatement statement = sample();
	g_autoptr(GError) error = NULL;

	statement.evidence = "abcd";
	g_autoptr(GBytes) bytes = dn_statement_write(&statement, &error);
	g_autofree char *text = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
	cr_assert_not_null(strstr(text, "\nevidence: abcd\n"));
}

Test(statement, refuses_a_part_that_could_forge_another_line)
{
	static const char *const bad[] = {"two\nlines", "", "carriage\rreturn", "esc\033", "\xff"};
	g_autofree char *long_reason = g_strnfill(513, 'x');

	for (unsigned i = 0; i <= G_N_ELEMENTS(bad); i++) {
		DnStatement statement = sample();
		g_autoptr(GError) error = NULL;
		statement.reason = i < G_N_ELEMENTS(bad) ? bad[i] : long_reason;
		cr_assert_null(dn_statement_write(&statement, &error), "reason %u was taken", i);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}

Test(statement, refuses_what_the_supervisor_left_out)
{
	DnStatement statement = sample();
	g_autoptr(GError) error = NULL;

	statement.host = NULL;
	cr_assert_null(dn_statement_write(&statement, &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
}

Test(statement, is_signed_under_a_comment_that_names_the_incident)
{
	g_autofree char *comment = dn_statement_comment("fedcba9876543210");

	cr_assert_str_eq(comment, "dnode destroy fedcba9876543210");
}
