/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/table.h"
#include "support/suite.h"

static char *out_text, *err_text;
static size_t out_size, err_size;
static FILE *out, *err;
static DnOutput *output;

static void setup(void)
{
	out = open_memstream(&out_text, &out_size);
	err = open_memstream(&err_text, &err_size);
	output = dn_output_new(out, err);
}

static void teardown(void)
{
	dn_output_free(output);
	(void)fclose(out);
	(void)fclose(err);
	free(out_text);
	free(err_text);
	dn_suite_end();
}

/* What stands on stdout by now. */
static const char *printed(void)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_output_finish(output, &error));
	return out_text;
}

TestSuite(output, .init = setup, .fini = teardown);

Test(output, a_line_cannot_steer_the_terminal)
{
	dn_output_line(output, "%s", "red \033[31m, back \r, next\nline");
	cr_assert_str_eq(printed(), "red \\x1b[31m, back \\x0d, next\\x0aline\n");
}

Test(output, a_text_keeps_its_lines_and_nothing_else_that_moves)
{
	dn_output_text(output, "one\ntwo\a\nthree", strlen("one\ntwo\a\nthree"));
	cr_assert_str_eq(printed(), "one\ntwo\\x07\nthree\n");
}

Test(output, an_error_goes_to_stderr_line_by_line_and_not_to_stdout)
{
	g_autoptr(GError) error =
		g_error_new_literal(DN_ERROR, DN_ERROR_INVALID, "a:1:1: x\nb:2:2: y");

	dn_output_error(output, error);
	(void)fflush(err);
	cr_assert_str_eq(err_text, "dnode: a:1:1: x\ndnode: b:2:2: y\n");
	cr_assert_str_eq(printed(), "");
}

Test(output, progress_is_plain_lines_where_there_is_no_terminal)
{
	dn_output_progress(output, "step %d", 1);
	dn_output_progress(output, "step %d", 2);
	(void)fflush(err);
	cr_assert_str_eq(err_text, "step 1\nstep 2\n");
}

Test(output, the_exit_code_tells_the_remedy)
{
	static const int expected[] = {
		[DN_ERROR_INVALID] = 2,     [DN_ERROR_UNTRUSTED] = 3, [DN_ERROR_CONFLICT] = 4,
		[DN_ERROR_UNAVAILABLE] = 5, [DN_ERROR_EXHAUSTED] = 6, [DN_ERROR_UNSUPPORTED] = 7,
	};

	for (int code = DN_ERROR_INVALID; code <= DN_ERROR_UNSUPPORTED; code++) {
		g_autoptr(GError) error = g_error_new_literal(DN_ERROR, code, "x");
		cr_assert_eq(dn_exit_code(error), expected[code]);
	}
	g_autoptr(GError) foreign = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_IO, "x");
	cr_assert_eq(dn_exit_code(foreign), 1);
	g_autoptr(GError) later = g_error_new_literal(DN_ERROR, 99, "x");
	cr_assert_eq(dn_exit_code(later), 1);
}

Test(output, a_table_aligns_its_columns_and_marks_what_is_missing)
{
	static const char *const titles[] = {"NAME", "STATE", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	dn_table_add(table, "a-long-name");
	dn_table_add(table, NULL);
	dn_table_add(table, "b");
	dn_table_add_format(table, "%d", 7);
	dn_output_table(output, table, "things");
	cr_assert_str_eq(printed(), "NAME         STATE\na-long-name  -\nb            7\n");
}

Test(output, a_cell_cannot_begin_a_new_row)
{
	static const char *const titles[] = {"NAME", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	dn_table_add(table, "x\ny");
	dn_output_table(output, table, "things");
	cr_assert_str_eq(printed(), "NAME\nx\\x0ay\n");
}

Test(output, an_empty_table_says_what_there_is_none_of)
{
	static const char *const titles[] = {"NAME", NULL};
	g_autoptr(DnTable) table = dn_table_new(titles);

	dn_output_table(output, table, "nodes");
	cr_assert_str_eq(printed(), "no nodes\n");
}

Test(output, every_document_names_its_schema)
{
	g_autoptr(JsonObject) bare = json_object_new();

	json_object_set_array_member(bare, "nodes", json_array_new());
	dn_output_json_line(output, bare);
	cr_assert_str_eq(printed(), "{\"schema\":\"dnode/v1\",\"nodes\":[]}\n");
}

Test(output, a_result_that_could_not_be_written_is_an_error)
{
	FILE *full = fopen("/dev/full", "w");
	DnOutput *lost = dn_output_new(full, err);
	g_autoptr(GError) error = NULL;

	dn_output_line(lost, "gone");
	cr_assert_not(dn_output_finish(lost, &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	dn_output_free(lost);
	(void)fclose(full);
}
