/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/error.h"
#include "image/run-file.h"
#include "support/suite.h"

TestSuite(run_file, .fini = dn_suite_end);

#define HEAD "[dnode]\nformat=1\n"

static bool read_text(const char *text, size_t size, GError **error)
{
	g_autoptr(GBytes) bytes = g_bytes_new(text, size);
	g_autoptr(GArray) ports = NULL;
	DnRun run = {0};

	bool accepted = dn_run_file_read(bytes, &run, &ports, error);
	if (accepted)
		dn_run_clear(&run);
	return accepted;
}

Test(run_file, the_documented_text_is_read)
{
	static const char text[] = HEAD "\n[run]\nargs=/bin/httpd;-p;8080;\nenv=A=1;MODE=prod;\n"
					"cwd=/srv\nuser=1000\nports=80;8080;\n";
	g_autoptr(GBytes) bytes = g_bytes_new_static(text, sizeof(text) - 1);
	g_autoptr(GArray) ports = NULL;
	g_autoptr(GError) error = NULL;
	DnRun run = {0};

	cr_assert(dn_run_file_read(bytes, &run, &ports, &error), "%s", error->message);
	cr_assert_str_eq(run.args[2], "8080");
	cr_assert_str_eq(run.env[1], "MODE=prod");
	cr_assert_str_eq(run.cwd, "/srv");
	cr_assert(eq(i64, run.uid, 1000));
	cr_assert(eq(u32, ports->len, 2));
	dn_run_clear(&run);
	cr_assert(read_text(HEAD, strlen(HEAD), NULL));
}

Test(run_file, there_is_one_text_for_one_set_of_values)
{
	static const char *const refused[] = {
		"",
		"[run]\ncwd=/\n",
		"[dnode]\nformat=2\n",
		"[dnode]\nformat=01\n",
		"[dnode]\nformat=1",
		"# comment\n" HEAD,
		HEAD "\n",
		HEAD "other=1\n",
		HEAD "\n[run]\n",
		HEAD "\n[run]\ncwd=/\ncwd=/\n",
		HEAD "\n[run]\nuser=1\ncwd=/\n",
		HEAD "\n[run]\nmay_exec=/bin/sh;\n",
		HEAD "\n[run]\ncwd = /\n",
		HEAD "\n[run]\ncwd=relative\n",
		HEAD "\n[run]\ncwd=/a/../b\n",
		HEAD "\n[run]\ncwd=/a/\n",
		HEAD "\n[run]\nuser=-1\n",
		HEAD "\n[run]\nuser=65536\n",
		HEAD "\n[run]\nuser=99999999999999999999\n",
		HEAD "\n[run]\nports=0;\n",
		HEAD "\n[run]\nports=65536;\n",
		HEAD "\n[run]\nports=80\n",
		HEAD "\n[run]\nargs=\n",
		HEAD "\n[run]\nargs=;\n",
		HEAD "\n[run]\nargs=/bin/a\n",
		HEAD "\n[run]\nenv=NOVALUE;\n",
		HEAD "\n[run]\nenv==1;\n",
		HEAD "\n[run]\nenv=B=1;A=1;\n",
		HEAD "\n[run]\nenv=A=1;A=2;\n",
		HEAD "\n[run]\nargs=\xff;\n",
		HEAD "\n[run]\ncwd[de]=/\n",
		HEAD "\n[other]\ncwd=/\n",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;

		cr_assert(not(read_text(refused[i], strlen(refused[i]), &error)), "accepted: %s",
			  refused[i]);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID), "%s", error->message);
	}
	cr_assert(not(read_text(HEAD "\0", sizeof(HEAD), NULL)));
}

Test(run_file, a_text_over_the_limit_is_refused)
{
	g_autofree char *value = g_strnfill(DN_RUN_FILE_LIMIT, 'a');
	g_autofree char *text = g_strconcat(HEAD "\n[run]\nargs=", value, ";\n", NULL);
	char *args[] = {value, NULL};
	DnRun run = {.args = args, .uid = -1};
	g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));

	cr_assert(not(read_text(text, strlen(text), NULL)));
	cr_assert(eq(ptr, dn_run_file_write(&run, ports, NULL), NULL));
}

Test(run_file, words_of_any_text_come_back_as_they_were)
{
	char *args[] = {(char *)"/bin/sh", (char *)"",         (char *)" a;b\\ \t\n",
			(char *)"=[x]#",   (char *)"\xc3\xa9", NULL};
	DnRun run = {.args = args, .uid = -1}, back = {0};
	g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	g_autoptr(GBytes) text = dn_run_file_write(&run, ports, NULL);
	g_autoptr(GError) error = NULL;

	cr_assert(ne(ptr, text, NULL));
	cr_assert(dn_run_file_read(text, &back, NULL, &error), "%s", error->message);
	cr_assert(g_strv_equal((const char *const *)args, (const char *const *)back.args));
	cr_assert(eq(i64, back.uid, -1));
	dn_run_clear(&back);
}
