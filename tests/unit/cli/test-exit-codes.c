/* SPDX-License-Identifier: Apache-2.0 */

/* The program itself, run as a script would run it. */

#include <criterion/criterion.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "seal/token.h"
#include "support/suite.h"

static const char manifest[] = "dnode: v1\nservice: web\nepoch: 1\n"
			       "image: {ref: a/b, commit: "
			       "0000000000000000000000000000000000000000000000000000000000000000}\n"
			       "resources: {memory: 64MiB, cpu: 0.5, pids: 32, files: 256}\n";

static char *home;

static void setup(void)
{
	home = g_dir_make_tmp("dnode-home-XXXXXX", NULL);
}

static void teardown(void)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_remove_tree(home, &error));
	g_clear_pointer(&home, g_free);
	dn_suite_end();
}

TestSuite(exit_codes, .init = setup, .fini = teardown, .timeout = 60);

/* What run() gives the program as $DNODE_HOME and $DNODE_SUPERVISOR. */
static const char *home_named;
static const char *supervisor = "unix:/nonexistent/sock";

/* Run `dnode LINE`, HOME in it being the test's own directory. */
static int run(const char *line, char **said)
{
	g_auto(GStrv) parts = g_strsplit(line, "HOME", -1);
	g_autofree char *quoted_home = g_shell_quote(home);
	g_autofree char *quoted_dnode = g_shell_quote(DNODE);
	g_autofree char *whole = g_strjoinv(quoted_home, parts);
	g_autofree char *command = g_strconcat(quoted_dnode, " ", whole, NULL);
	g_auto(GStrv) argv = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *all = NULL;

	cr_assert(g_shell_parse_argv(command, NULL, &argv, &error));
	g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
		G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE);
	g_subprocess_launcher_setenv(launcher, "DNODE_SUPERVISOR", supervisor, TRUE);
	g_subprocess_launcher_unsetenv(launcher, "DNODE_HOME");
	if (home_named != NULL)
		g_subprocess_launcher_setenv(launcher, "DNODE_HOME", home_named, TRUE);
	g_autoptr(GSubprocess) process =
		g_subprocess_launcher_spawnv(launcher, (const char *const *)argv, &error);
	cr_assert_not_null(process);
	cr_assert(g_subprocess_communicate_utf8(process, NULL, NULL, &all, NULL, &error));
	if (said != NULL)
		*said = g_steal_pointer(&all);
	return g_subprocess_get_exit_status(process);
}

static void write_file(const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(home, name, NULL);

	cr_assert(g_file_set_contents(path, text, -1, NULL));
}

Test(exit_codes, help_and_version_succeed)
{
	cr_assert_eq(run("--help", NULL), 0);
	cr_assert_eq(run("apply --help", NULL), 0);
	cr_assert_eq(run("image --help", NULL), 0);
	cr_assert_eq(run("--version", NULL), 0);
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
	cr_assert_eq(run("nonsense", NULL), 2);
	cr_assert_eq(run("apply", NULL), 2);
	cr_assert_eq(run("nodes --nonsense", NULL), 2);
	cr_assert_eq(run("nonsense --help", NULL), 2);
	cr_assert_eq(run("logs web-1 -n many", NULL), 2);
	cr_assert_eq(run("nodes --supervisor ftp://x", NULL), 2);
	cr_assert_eq(run("quarantine web-1", NULL), 2);
	cr_assert_eq(run("key gen Bad_Name --role deploy --home HOME", NULL), 2);
	cr_assert_eq(run("key gen good --role king --home HOME", NULL), 2);
	cr_assert_eq(run("lab status --name ../x", NULL), 2);

	g_autofree char *relative = NULL;
	cr_assert_eq(run("nodes --supervisor unix:rel/sock", &relative), 2);
	cr_assert_not_null(strstr(relative, "absolute path"), "%s", relative);
}

Test(exit_codes, more_events_than_anybody_answers_with_are_refused_before_they_are_asked_for)
{
	g_autofree char *said = NULL, *help = NULL;

	cr_assert_eq(run("events -n 1001", &said), 2);
	cr_assert_not_null(strstr(said, "-n 1001: a number up to 1000"), "%s", said);
	cr_assert_eq(run("events -n 1000", NULL), 5);
	cr_assert_eq(run("events ls --help", &help), 0);
	cr_assert_not_null(strstr(help, "at most 1000"), "%s", help);
}

Test(exit_codes, who_asks_an_agent_for_more_than_it_keeps_is_told)
{
	g_autofree char *few = NULL, *many = NULL;

	cr_assert_eq(run("events -n 256 --agent=/nonexistent/agent.sock", &few), 5);
	cr_assert_null(strstr(few, "keeps"), "%s", few);
	cr_assert_eq(run("events -n 257 --agent=/nonexistent/agent.sock", &many), 5);
	cr_assert_not_null(strstr(many, "an agent keeps its last 256 events"), "%s", many);
}

Test(exit_codes, an_absent_supervisor_is_5_and_named)
{
	g_autofree char *said = NULL;

	cr_assert_eq(run("services", &said), 5);
	cr_assert_not_null(strstr(said, "/nonexistent/sock"), "%s", said);
	cr_assert_eq(strchr(said, '\n'), said + strlen(said) - 1, "more than one line: %s", said);
}

Test(exit_codes, a_bad_manifest_is_2_with_every_fault_at_its_place)
{
	g_autofree char *said = NULL;

	write_file("web.yaml", "dnode: v1\nservice: web\nreplica: 3\nepoch: none\n");
	cr_assert_eq(run("manifest check HOME/web.yaml", &said), 2);
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

	write_file("web.yaml", "dnode: v1\nservice: web\nreplica: 3\nepoch: none\n");
	write_file("good.yaml", "dnode: v1\nservice: web\nepoch: 1\nstate: removed\n");
	cr_assert_eq(
		run("manifest check --json HOME/web.yaml HOME/good.yaml HOME/absent.yaml", &said),
		2);
	g_auto(GStrv) words = g_strsplit_set(said, " \n", -1);
	g_autofree char *dense = g_strjoinv(NULL, words);
	for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++) {
		g_auto(GStrv) parts = g_strsplit(wanted[i], "HOME", -1);
		g_autofree char *here = g_strjoinv(home, parts);
		cr_assert_not_null(strstr(dense, here), "no %s in %s", here, said);
	}
	cr_assert_eq(run("manifest check --json HOME/good.yaml", &good), 0);
	cr_assert_not_null(strstr(good, "\"faults\" : []"), "%s", good);
}

Test(exit_codes, a_cluster_is_made_once_and_keys_are_never_overwritten)
{
	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 4);
	cr_assert_eq(run("key gen ops --role deploy --home HOME/c", NULL), 0);
	cr_assert_eq(run("key gen ops --role deploy --home HOME/c", NULL), 4);
	cr_assert_eq(run("trust check --home HOME/c", NULL), 0);
	cr_assert_eq(run("cluster init --dir HOME/d --node-cidr nonsense", NULL), 2);
}

static void take_away(const char *name)
{
	g_autofree char *path = g_build_filename(home, name, NULL);

	cr_assert_eq(g_unlink(path), 0, "%s", name);
}

static char *read_text(const char *name)
{
	g_autofree char *path = g_build_filename(home, name, NULL);
	char *text = NULL;

	cr_assert(g_file_get_contents(path, &text, NULL, NULL), "%s", name);
	return text;
}

Test(exit_codes, a_cluster_whose_init_was_killed_is_made_by_the_next)
{
	/* What it makes, in its order; killed before each of the last three. */
	static const char *const last[] = {"c/cluster.yaml", "c/trust.yaml", "c/supervisor.pub"};

	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(run("key gen ops --role deploy --home HOME/c", NULL), 0);
	g_autofree char *key = read_text("c/supervisor.key");
	g_autofree char *public = read_text("c/supervisor.pub");
	for (unsigned n = 1; n <= G_N_ELEMENTS(last); n++) {
		g_autofree char *trust = read_text("c/trust.yaml");
		for (unsigned i = 0; i < n; i++)
			take_away(last[i]);
		cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
		g_autofree char *key_after = read_text("c/supervisor.key");
		g_autofree char *public_after = read_text("c/supervisor.pub");
		g_autofree char *trust_after = read_text("c/trust.yaml");
		cr_assert_str_eq(key_after, key);
		cr_assert_str_eq(public_after, public);
		/* Whom it names, it goes on to name. */
		cr_assert_eq(n == 1, strcmp(trust_after, trust) == 0);
		cr_assert_eq(run("cluster init --dir HOME/c", NULL), 4);
	}
}

Test(exit_codes, a_cluster_keeps_the_id_that_its_trust_file_has)
{
	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	g_autofree char *before = read_text("c/cluster.yaml");
	take_away("c/cluster.yaml");
	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	g_autofree char *after = read_text("c/cluster.yaml");
	cr_assert_str_eq(after, before);
}

Test(exit_codes, keys_that_are_made_at_once_are_all_trusted)
{
	enum { MAKERS = 8 };
	GSubprocess *makers[MAKERS];
	g_autofree char *directory = g_build_filename(home, "c", NULL);

	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	for (unsigned i = 0; i < MAKERS; i++) {
		g_autofree char *name = g_strdup_printf("key-%u", i);
		makers[i] = g_subprocess_new(
			G_SUBPROCESS_FLAGS_STDOUT_SILENCE | G_SUBPROCESS_FLAGS_STDERR_SILENCE, NULL,
			DNODE, "key", "gen", name, "--role", "deploy", "--home", directory, NULL);
		cr_assert_not_null(makers[i]);
	}
	for (unsigned i = 0; i < MAKERS; i++) {
		cr_assert(g_subprocess_wait_check(makers[i], NULL, NULL));
		g_object_unref(makers[i]);
	}
	g_autofree char *trust = read_text("c/trust.yaml");
	for (unsigned i = 0; i < MAKERS; i++) {
		g_autofree char *entry = g_strdup_printf("{name: key-%u, ", i);
		cr_assert_not_null(strstr(trust, entry), "%s is lost: %s", entry, trust);
	}
}

Test(exit_codes, a_secret_key_is_never_printed_and_readable_by_its_owner_only)
{
	g_autofree char *said = NULL, *path = g_build_filename(home, "c/keys/ops.key", NULL);
	g_autofree char *text = NULL;
	GStatBuf info;

	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(run("key gen ops --role deploy --home HOME/c", &said), 0);
	cr_assert_eq(g_stat(path, &info), 0);
	cr_assert_eq(info.st_mode & 07777, 0600u);
	cr_assert(g_file_get_contents(path, &text, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	cr_assert_null(strstr(said, lines[1]));
}

Test(exit_codes, an_unsigned_manifest_is_3_before_anybody_is_asked)
{
	write_file("web.yaml", manifest);
	cr_assert_eq(run("apply HOME/web.yaml", NULL), 3);
}

Test(exit_codes, what_dnode_signs_apply_finds_beside_the_file)
{
	write_file("web.yaml", manifest);
	cr_assert_eq(run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(run("key gen ops --role deploy --home HOME/c", NULL), 0);
	cr_assert_eq(run("manifest sign HOME/web.yaml --key ops --home HOME/c", NULL), 0);
	/* Signed, so it gets as far as the supervisor that is not there. */
	cr_assert_eq(run("apply HOME/web.yaml", NULL), 5);
}

Test(exit_codes, what_is_no_plain_file_is_not_replaced_by_a_result)
{
	static const char *const bad[] = {"link", "fifo", "web.yaml", "hard", "none/x", "keys"};
	g_autofree char *link = g_build_filename(home, "link", NULL);
	g_autofree char *hard = g_build_filename(home, "hard", NULL);
	g_autofree char *fifo = g_build_filename(home, "fifo", NULL);
	g_autofree char *path = g_build_filename(home, "web.yaml", NULL);
	GStatBuf info;

	write_file("web.yaml", manifest);
	cr_assert_eq(symlink("web.yaml", link), 0);
	cr_assert_eq(linkat(AT_FDCWD, path, AT_FDCWD, hard, 0), 0);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	cr_assert_eq(run("cluster init --dir HOME", NULL), 0);
	cr_assert_eq(run("key gen ops --role deploy --home HOME", NULL), 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *said = NULL;
		g_autofree char *line = g_strdup_printf(
			"manifest sign HOME/web.yaml --key ops --home HOME --output HOME/%s",
			bad[i]);
		cr_assert_eq(run(line, &said), 2, "%s: %s", bad[i], said);
		cr_assert_not_null(strstr(said, "--output"), "%s", said);
	}
	g_autofree char *after = read_text("web.yaml");
	cr_assert_str_eq(after, manifest);
	cr_assert(g_lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
	cr_assert(g_lstat(fifo, &info) == 0 && S_ISFIFO(info.st_mode));
	/* A signature that is there is what --output is for. */
	cr_assert_eq(run("manifest sign HOME/web.yaml --key ops --home HOME --output HOME/s", NULL),
		     0);
	cr_assert_eq(run("manifest sign HOME/web.yaml --key ops --home HOME --output HOME/s", NULL),
		     0);
}

Test(exit_codes, a_report_that_cannot_be_written_is_told_before_the_first_drill)
{
	g_autofree char *device = NULL, *nowhere = NULL;

	cr_assert_eq(run("drill all web --report /dev/null", &device), 2);
	cr_assert_not_null(strstr(device, "--report"), "%s", device);
	cr_assert_eq(run("drill all web --report HOME/none/report.json", &nowhere), 2);
	cr_assert_not_null(strstr(nowhere, "--report"), "%s", nowhere);
	/* As far as the supervisor that is not there. */
	cr_assert_eq(run("drill all web --report HOME/report.json", NULL), 5);
}

Test(exit_codes, a_cluster_is_made_where_every_other_command_looks_for_it)
{
	g_autofree char *said = NULL, *file = g_build_filename(home, "e/cluster.yaml", NULL);
	g_autofree char *named = g_build_filename(home, "e", NULL);

	home_named = named;
	cr_assert_eq(run("cluster init", NULL), 0);
	cr_assert(g_file_test(file, G_FILE_TEST_EXISTS));
	cr_assert_eq(run("trust check", NULL), 0);
	/* What is typed wins, and only one directory can be meant. */
	cr_assert_eq(run("cluster init --home HOME/f", NULL), 0);
	cr_assert_eq(run("cluster init --dir HOME/g --home HOME/h", &said), 2);
	cr_assert_not_null(strstr(said, "--dir"), "%s", said);
	cr_assert_eq(run("cluster init --dir HOME/g --home HOME/g", NULL), 0);
}

Test(exit_codes, a_bad_value_of_a_new_cluster_is_told_by_its_option)
{
	static const struct {
		const char *options, *begin;
	} bad[] = {
		{"--listen nonsense", "dnode: --listen nonsense: "},
		{"--advertise x", "dnode: --advertise x: "},
		{"--vip-cidr 10.77.0.0/24", "dnode: --vip-cidr 10.77.0.0/24: "},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autofree char *said = NULL;
		g_autofree char *line =
			g_strdup_printf("cluster init --dir HOME/c %s", bad[i].options);
		cr_assert_eq(run(line, &said), 2);
		cr_assert(g_str_has_prefix(said, bad[i].begin), "%s", said);
	}
	/* Each overlaps with the default of the other, but nobody asked for that. */
	cr_assert_eq(run("cluster init --dir HOME/c --node-cidr 10.99.0.0/16 "
			 "--vip-cidr 10.77.0.0/24",
			 NULL),
		     0);
}

Test(exit_codes, a_trust_file_with_a_key_that_is_everybodys_is_neither_well_formed_nor_added_to)
{
	g_autofree char *said = NULL, *added = NULL;
	g_autofree char *key = g_build_filename(home, "keys/ops.key", NULL);

	write_file("trust.yaml", "dnode: trust/v1\ncluster: \"0123456789abcdef\"\nkeys:\n"
				 "- {name: mallory, role: deploy, key: "
				 "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}\n");
	cr_assert_eq(run("trust check HOME/trust.yaml", &said), 2);
	cr_assert_not_null(strstr(said, "\"mallory\""), "%s", said);
	cr_assert_eq(run("key gen ops --role deploy --home HOME", &added), 2);
	cr_assert_not_null(strstr(added, "\"mallory\""), "%s", added);
	cr_assert_not(g_file_test(key, G_FILE_TEST_EXISTS));
	cr_assert_eq(run("cluster init --home HOME", NULL), 2);
}

static const char *const anywhere[] = {"0.0.0.0:7443", "[::]:7443", "[0:0::0]:1", "0:7443"};

Test(exit_codes, who_makes_a_cluster_that_no_host_could_find_is_told)
{
	g_autofree char *said = NULL, *named = NULL;

	cr_assert_eq(run("cluster init --dir HOME/a", &said), 0);
	cr_assert_not_null(strstr(said, "--advertise HOST:PORT"), "%s", said);
	cr_assert_eq(run("cluster init --dir HOME/b --advertise boss:7443", &named), 0);
	cr_assert_null(strstr(named, "cannot find"), "%s", named);
	for (unsigned i = 0; i < G_N_ELEMENTS(anywhere); i++) {
		g_autofree char *why = NULL;
		g_autofree char *line =
			g_strdup_printf("cluster init --dir HOME/c --advertise %s", anywhere[i]);
		cr_assert_eq(run(line, &why), 2);
		cr_assert_not_null(strstr(why, "--advertise"), "%s", why);
	}
}

typedef struct {
	GSocketListener *listener;
	const char *token;
} Desk;

/* A supervisor that gives one token, whatever it is asked. */
static gpointer give_token(gpointer data)
{
	const Desk *desk = data;
	g_autoptr(GSocketConnection) connection =
		g_socket_listener_accept(desk->listener, NULL, NULL, NULL);
	g_autofree char *body = g_strdup_printf(
		"{\"token\":\"%s\",\"expires\":\"2026-01-02T03:04:05Z\"}", desk->token);
	g_autofree char *answer = g_strdup_printf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n"
						  "Content-Type: application/json\r\n"
						  "Connection: close\r\n\r\n%s",
						  strlen(body), body);
	char asked[4096];

	GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
	(void)g_input_stream_read(in, asked, sizeof(asked), NULL, NULL);
	(void)g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)),
					answer, strlen(answer), NULL, NULL, NULL);
	/* Closing with something unread would take the answer away. */
	while (g_input_stream_read(in, asked, sizeof(asked), NULL, NULL) > 0)
		continue;
	return NULL;
}

static char *ask_for_token(const char *address)
{
	g_autoptr(DnHostToken) token = dn_host_token_new();
	g_autoptr(GError) error = NULL;
	char *said = NULL;

	token->address = g_strdup(address);
	token->cluster = g_strdup("0123456789abcdef");
	token->host = g_strdup("edge-1");
	token->expires_s = 1800000000;
	g_autofree char *text = dn_host_token_encode(token, &error);
	cr_assert_not_null(text, "%s", error != NULL ? error->message : "");
	g_autofree char *path = g_build_filename(home, "sock", NULL);
	g_autofree char *named = g_strconcat("unix:", path, NULL);
	g_autoptr(GSocketAddress) at = g_unix_socket_address_new(path);
	g_autoptr(GSocketListener) listener = g_socket_listener_new();
	cr_assert(g_socket_listener_add_address(listener, at, G_SOCKET_TYPE_STREAM,
						G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error));
	Desk desk = {listener, text};
	GThread *thread = g_thread_new("supervisor", give_token, &desk);
	supervisor = named;
	cr_assert_eq(run("host token edge-1", &said), 0, "%s", said);
	(void)g_thread_join(thread);
	cr_assert_eq(g_unlink(path), 0);
	cr_assert_not_null(strstr(said, text), "%s", said);
	return said;
}

Test(exit_codes, who_gets_a_token_that_leads_nowhere_is_told)
{
	g_autofree char *good = ask_for_token("boss:7443");

	cr_assert_null(strstr(good, "cannot find"), "%s", good);
	for (unsigned i = 0; i < G_N_ELEMENTS(anywhere); i++) {
		g_autofree char *said = ask_for_token(anywhere[i]);
		cr_assert_not_null(strstr(said, "cannot find"), "%s", said);
	}
}
