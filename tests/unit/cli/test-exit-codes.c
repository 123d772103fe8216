/* SPDX-License-Identifier: Apache-2.0 */

/* How the program ends, and what it says then. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

static const char manifest[] = "dnode: v1\nservice: web\nepoch: 1\n"
			       "image: {ref: a/b, commit: "
			       "0000000000000000000000000000000000000000000000000000000000000000}\n"
			       "resources: {memory: 64MiB, cpu: 0.5, pids: 32, files: 256}\n";

TestSuite(exit_codes, .init = program_init, .fini = program_clear, .timeout = 60);

Test(exit_codes, help_and_version_succeed)
{
	cr_assert_eq(program_run("--help", NULL), 0);
	cr_assert_eq(program_run("apply --help", NULL), 0);
	cr_assert_eq(program_run("image --help", NULL), 0);
	cr_assert_eq(program_run("--version", NULL), 0);
}

/* Run `dnode WORD` with its result going to @path. */
static int run_into(const char *word, const char *path)
{
	g_autoptr(GSubprocessLauncher) launcher =
		g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_SILENCE);
	g_autoptr(GSubprocess) process = NULL;

	g_subprocess_launcher_set_stdout_file_path(launcher, path);
	process = g_subprocess_launcher_spawn(launcher, NULL, DNODE, word, NULL);
	cr_assert(g_subprocess_wait(process, NULL, NULL));
	return g_subprocess_get_exit_status(process);
}

Test(exit_codes, what_was_not_printed_was_not_done)
{
	cr_assert_eq(run_into("--version", "/dev/null"), 0);
	cr_assert_eq(run_into("--version", "/dev/full"), 5);
	cr_assert_eq(run_into("--help", "/dev/full"), 5);
}

Test(exit_codes, bad_usage_is_2)
{
	cr_assert_eq(program_run("nonsense", NULL), 2);
	cr_assert_eq(program_run("apply", NULL), 2);
	cr_assert_eq(program_run("nodes --nonsense", NULL), 2);
	cr_assert_eq(program_run("nonsense --help", NULL), 2);
	cr_assert_eq(program_run("logs web-1 -n many", NULL), 2);
	cr_assert_eq(program_run("nodes --supervisor ftp://x", NULL), 2);
	cr_assert_eq(program_run("quarantine web-1", NULL), 2);
	cr_assert_eq(program_run("key gen Bad_Name --role deploy --home HOME", NULL), 2);
	cr_assert_eq(program_run("key gen good --role king --home HOME", NULL), 2);
	cr_assert_eq(program_run("lab status --name ../x", NULL), 2);

	g_autofree char *relative = NULL;
	cr_assert_eq(program_run("nodes --supervisor unix:rel/sock", &relative), 2);
	cr_assert_not_null(strstr(relative, "absolute path"), "%s", relative);
}

Test(exit_codes, more_events_than_anybody_answers_with_are_refused_before_they_are_asked_for)
{
	g_autofree char *said = NULL, *help = NULL;

	cr_assert_eq(program_run("events -n 1001", &said), 2);
	cr_assert_not_null(strstr(said, "-n 1001: a number up to 1000"), "%s", said);
	cr_assert_eq(program_run("events -n 1000", NULL), 5);
	cr_assert_eq(program_run("events ls --help", &help), 0);
	cr_assert_not_null(strstr(help, "at most 1000"), "%s", help);
}

Test(exit_codes, who_asks_an_agent_for_more_than_it_keeps_is_told)
{
	g_autofree char *few = NULL, *many = NULL;

	cr_assert_eq(program_run("events -n 256 --agent=/nonexistent/agent.sock", &few), 5);
	cr_assert_null(strstr(few, "keeps"), "%s", few);
	cr_assert_eq(program_run("events -n 257 --agent=/nonexistent/agent.sock", &many), 5);
	cr_assert_not_null(strstr(many, "an agent keeps its last 256 events"), "%s", many);
}

Test(exit_codes, an_absent_supervisor_is_5_and_named)
{
	g_autofree char *said = NULL;

	cr_assert_eq(program_run("services", &said), 5);
	cr_assert_not_null(strstr(said, "/nonexistent/sock"), "%s", said);
	cr_assert_eq(strchr(said, '\n'), said + strlen(said) - 1, "more than one line: %s", said);
}

Test(exit_codes, a_bad_manifest_is_2_with_every_fault_at_its_place)
{
	g_autofree char *said = NULL;

	program_write("web.yaml", "dnode: v1\nservice: web\nreplica: 3\nepoch: none\n");
	cr_assert_eq(program_run("manifest check HOME/web.yaml", &said), 2);
	cr_assert_not_null(strstr(said, "web.yaml:3:1: "), "%s", said);
	cr_assert_not_null(strstr(said, "did you mean \"replicas\"?"), "%s", said);
	cr_assert_not_null(strstr(said, "web.yaml:4:"), "%s", said);
}

Test(exit_codes, every_fault_is_told_to_programs_too)
{
	static const char *const wanted[] = {
		"{\"file\":\"HOME/web.yaml\",\"line\":3,\"column\":1,\"text\":\"unknown",
		"{\"file\":\"HOME/web.yaml\",\"line\":4,\"column\":8,\"text\":\"",
		"{\"file\":\"HOME/absent.yaml\",\"line\":null,\"column\":null,\"text\":\"",
		"\"bad\":2",
	};
	g_autofree char *said = NULL, *good = NULL;

	program_write("web.yaml", "dnode: v1\nservice: web\nreplica: 3\nepoch: none\n");
	program_write("good.yaml", "dnode: v1\nservice: web\nepoch: 1\nstate: removed\n");
	cr_assert_eq(
		program_run("manifest check --json HOME/web.yaml HOME/good.yaml HOME/absent.yaml",
			    &said),
		2);
	g_auto(GStrv) words = g_strsplit_set(said, " \n", -1);
	g_autofree char *dense = g_strjoinv(NULL, words);
	for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++) {
		g_auto(GStrv) parts = g_strsplit(wanted[i], "HOME", -1);
		g_autofree char *here = g_strjoinv(program_home, parts);
		cr_assert_not_null(strstr(dense, here), "no %s in %s", here, said);
	}
	cr_assert_eq(program_run("manifest check --json HOME/good.yaml", &good), 0);
	cr_assert_not_null(strstr(good, "\"faults\" : []"), "%s", good);
}

Test(exit_codes, an_unsigned_manifest_is_3_before_anybody_is_asked)
{
	program_write("web.yaml", manifest);
	cr_assert_eq(program_run("apply HOME/web.yaml", NULL), 3);
}

Test(exit_codes, what_dnode_signs_apply_finds_beside_the_file)
{
	program_write("web.yaml", manifest);
	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME/c", NULL), 0);
	cr_assert_eq(program_run("manifest sign HOME/web.yaml --key ops --home HOME/c", NULL), 0);
	/* Signed, so it gets as far as the supervisor that is not there. */
	cr_assert_eq(program_run("apply HOME/web.yaml", NULL), 5);
}

Test(exit_codes, what_is_no_plain_file_is_not_replaced_by_a_result)
{
	static const char *const bad[] = {"link", "fifo", "web.yaml", "hard", "none/x", "keys"};
	g_autofree char *link = g_build_filename(program_home, "link", NULL);
	g_autofree char *hard = g_build_filename(program_home, "hard", NULL);
	g_autofree char *fifo = g_build_filename(program_home, "fifo", NULL);
	g_autofree char *path = g_build_filename(program_home, "web.yaml", NULL);
	GStatBuf info;

	program_write("web.yaml", manifest);
	cr_assert_eq(symlink("web.yaml", link), 0);
	cr_assert_eq(linkat(AT_FDCWD, path, AT_FDCWD, hard, 0), 0);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_assert_eq(program_run("cluster init --dir HOME", NULL), 0);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME", NULL), 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *said = NULL;
		g_autofree char *line = g_strdup_printf(
			"manifest sign HOME/web.yaml --key ops --home HOME --output HOME/%s",
			bad[i]);
		cr_assert_eq(program_run(line, &said), 2, "%s: %s", bad[i], said);
		cr_assert_not_null(strstr(said, "--output"), "%s", said);
	}
	g_autofree char *after = program_read("web.yaml");
	cr_assert_str_eq(after, manifest);
	cr_assert(g_lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
	cr_assert(g_lstat(fifo, &info) == 0 && S_ISFIFO(info.st_mode));
	/* A signature that is there is what --output is for. */
	cr_assert_eq(
		program_run("manifest sign HOME/web.yaml --key ops --home HOME --output HOME/s",
			    NULL),
		0);
	cr_assert_eq(
		program_run("manifest sign HOME/web.yaml --key ops --home HOME --output HOME/s",
			    NULL),
		0);
}

Test(exit_codes, a_report_that_cannot_be_written_is_told_before_the_first_drill)
{
	g_autofree char *device = NULL, *nowhere = NULL;

	cr_assert_eq(program_run("drill all web --report /dev/null", &device), 2);
	cr_assert_not_null(strstr(device, "--report"), "%s", device);
	cr_assert_eq(program_run("drill all web --report HOME/none/report.json", &nowhere), 2);
	cr_assert_not_null(strstr(nowhere, "--report"), "%s", nowhere);
	/* As far as the supervisor that is not there. */
	cr_assert_eq(program_run("drill all web --report HOME/report.json", NULL), 5);
}

Test(exit_codes, a_directory_is_no_manifest_where_a_service_has_its_name)
{
	g_autofree char *here = g_get_current_dir();

	cr_assert_eq(g_chdir(program_home), 0);
	cr_assert_eq(g_mkdir("web", 0700), 0);
	/* As far as the supervisor, who knows the service. */
	cr_assert_eq(program_run("manifest show web", NULL), 5);
	program_write("db", manifest);
	cr_assert_eq(program_run("manifest show db", NULL), 0);
	cr_assert_eq(program_run("manifest show ./web", NULL), 2);
	cr_assert_eq(g_chdir(here), 0);
}
