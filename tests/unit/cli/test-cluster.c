/* SPDX-License-Identifier: Apache-2.0 */

/* A cluster's directory, and the keys in it, as people make them. */

#include <criterion/criterion.h>
#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>

#include "program.h"
#include "seal/token.h"

TestSuite(cluster, .init = program_init, .fini = program_clear, .timeout = 60);

Test(cluster, a_cluster_is_made_once_and_keys_are_never_overwritten)
{
	g_autofree char *said = NULL;

	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 4);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME/c", &said), 0);
	cr_assert_not_null(strstr(said, "started anew"), "%s", said);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME/c", NULL), 4);
	cr_assert_eq(program_run("trust check --home HOME/c", NULL), 0);
	cr_assert_eq(program_run("cluster init --dir HOME/d --node-cidr nonsense", NULL), 2);
}

Test(cluster, a_cluster_whose_init_was_killed_is_made_by_the_next)
{
	/* What it makes, in its order; killed before each of the last three. */
	static const char *const last[] = {"c/cluster.yaml", "c/trust.yaml", "c/supervisor.pub"};

	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME/c", NULL), 0);
	g_autofree char *key = program_read("c/supervisor.key");
	g_autofree char *public = program_read("c/supervisor.pub");
	for (unsigned n = 1; n <= G_N_ELEMENTS(last); n++) {
		g_autofree char *trust = program_read("c/trust.yaml");
		for (unsigned i = 0; i < n; i++)
			program_remove(last[i]);
		cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
		g_autofree char *key_after = program_read("c/supervisor.key");
		g_autofree char *public_after = program_read("c/supervisor.pub");
		g_autofree char *trust_after = program_read("c/trust.yaml");
		cr_assert_str_eq(key_after, key);
		cr_assert_str_eq(public_after, public);
		/* Whom it names, it goes on to name. */
		cr_assert_eq(n == 1, strcmp(trust_after, trust) == 0);
		cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 4);
	}
}

Test(cluster, a_cluster_keeps_the_id_that_its_trust_file_has)
{
	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
	g_autofree char *before = program_read("c/cluster.yaml");
	program_remove("c/cluster.yaml");
	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
	g_autofree char *after = program_read("c/cluster.yaml");
	cr_assert_str_eq(after, before);
}

Test(cluster, keys_that_are_made_at_once_are_all_trusted)
{
	enum { MAKERS = 8 };
	GSubprocess *makers[MAKERS];
	g_autofree char *directory = g_build_filename(program_home, "c", NULL);

	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
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
	g_autofree char *trust = program_read("c/trust.yaml");
	for (unsigned i = 0; i < MAKERS; i++) {
		g_autofree char *entry = g_strdup_printf("{name: key-%u, ", i);
		cr_assert_not_null(strstr(trust, entry), "%s is lost: %s", entry, trust);
	}
}

Test(cluster, a_key_whose_making_was_killed_is_finished_by_the_next)
{
	/* Killed at the very end, before the trust file and before the public half were written. */
	enum { WITHOUT_TRUST = 1, WITHOUT_PUBLIC, N_TIMES };
	g_autofree char *said = NULL;

	cr_assert_eq(program_run("cluster init --dir HOME", NULL), 0);
	g_autofree char *nobody = program_read("trust.yaml");
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME", NULL), 0);
	g_autofree char *key = program_read("keys/ops.key");
	g_autofree char *trust = program_read("trust.yaml");
	for (unsigned n = 0; n < N_TIMES; n++) {
		program_write("keys/ops.begun", "");
		program_write("keys/ops.key.0123456789ab.tmp", "half");
		if (n >= WITHOUT_TRUST)
			program_write("trust.yaml", nobody);
		if (n >= WITHOUT_PUBLIC)
			program_remove("keys/ops.pub");
		g_clear_pointer(&said, g_free);
		cr_assert_eq(program_run("key gen ops --role deploy --home HOME", &said), 0);
		cr_assert_not_null(strstr(said, "was killed"), "%s", said);
		g_autofree char *key_after = program_read("keys/ops.key");
		g_autofree char *trust_after = program_read("trust.yaml");
		g_autofree char *public G_GNUC_UNUSED = program_read("keys/ops.pub");
		cr_assert_str_eq(key_after, key);
		cr_assert_str_eq(trust_after, trust);
		g_autofree char *path =
			g_build_filename(program_home, "keys/ops.key.0123456789ab.tmp", NULL);
		cr_assert_not(g_file_test(path, G_FILE_TEST_EXISTS));
		cr_assert_eq(program_run("key gen ops --role deploy --home HOME", NULL), 4);
	}
}

Test(cluster, a_key_that_was_taken_out_of_the_trust_file_is_not_put_back)
{
	cr_assert_eq(program_run("cluster init --dir HOME", NULL), 0);
	g_autofree char *nobody = program_read("trust.yaml");
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME", NULL), 0);
	program_write("trust.yaml", nobody);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME", NULL), 4);
	g_autofree char *after = program_read("trust.yaml");
	cr_assert_str_eq(after, nobody);
}

Test(cluster, a_secret_key_is_never_printed_and_readable_by_its_owner_only)
{
	g_autofree char *said = NULL,
			*path = g_build_filename(program_home, "c/keys/ops.key", NULL);
	g_autofree char *text = NULL;
	GStatBuf info;

	cr_assert_eq(program_run("cluster init --dir HOME/c", NULL), 0);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME/c", &said), 0);
	cr_assert_eq(g_stat(path, &info), 0);
	cr_assert_eq(info.st_mode & 07777, 0600u);
	cr_assert(g_file_get_contents(path, &text, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	cr_assert_null(strstr(said, lines[1]));
}

Test(cluster, a_cluster_is_made_where_every_other_command_looks_for_it)
{
	g_autofree char *said = NULL,
			*file = g_build_filename(program_home, "e/cluster.yaml", NULL);
	g_autofree char *named = g_build_filename(program_home, "e", NULL);

	program_home_named = named;
	cr_assert_eq(program_run("cluster init", NULL), 0);
	cr_assert(g_file_test(file, G_FILE_TEST_EXISTS));
	cr_assert_eq(program_run("trust check", NULL), 0);
	/* What is typed wins, and only one directory can be meant. */
	cr_assert_eq(program_run("cluster init --home HOME/f", NULL), 0);
	cr_assert_eq(program_run("cluster init --dir HOME/g --home HOME/h", &said), 2);
	cr_assert_not_null(strstr(said, "--dir"), "%s", said);
	cr_assert_eq(program_run("cluster init --dir HOME/g --home HOME/g", NULL), 0);
}

Test(cluster, a_bad_value_of_a_new_cluster_is_told_by_its_option)
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
		cr_assert_eq(program_run(line, &said), 2);
		cr_assert(g_str_has_prefix(said, bad[i].begin), "%s", said);
	}
	/* Each overlaps with the default of the other, but nobody asked for that. */
	cr_assert_eq(program_run("cluster init --dir HOME/c --node-cidr 10.99.0.0/16 "
				 "--vip-cidr 10.77.0.0/24",
				 NULL),
		     0);
}

Test(cluster, a_trust_file_with_a_key_that_is_everybodys_is_neither_well_formed_nor_added_to)
{
	g_autofree char *said = NULL, *added = NULL;
	g_autofree char *key = g_build_filename(program_home, "keys/ops.key", NULL);

	program_write("trust.yaml", "dnode: trust/v1\ncluster: \"0123456789abcdef\"\nkeys:\n"
				    "- {name: mallory, role: deploy, key: "
				    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}\n");
	cr_assert_eq(program_run("trust check HOME/trust.yaml", &said), 2);
	cr_assert_not_null(strstr(said, "\"mallory\""), "%s", said);
	cr_assert_eq(program_run("key gen ops --role deploy --home HOME", &added), 2);
	cr_assert_not_null(strstr(added, "\"mallory\""), "%s", added);
	cr_assert_not(g_file_test(key, G_FILE_TEST_EXISTS));
	cr_assert_eq(program_run("cluster init --home HOME", NULL), 2);
}

static const char *const anywhere[] = {"0.0.0.0:7443", "[::]:7443", "[0:0::0]:1", "0:7443"};

Test(cluster, who_makes_a_cluster_that_no_host_could_find_is_told)
{
	g_autofree char *said = NULL, *named = NULL;

	cr_assert_eq(program_run("cluster init --dir HOME/a", &said), 0);
	cr_assert_not_null(strstr(said, "--advertise HOST:PORT"), "%s", said);
	cr_assert_eq(program_run("cluster init --dir HOME/b --advertise boss:7443", &named), 0);
	cr_assert_null(strstr(named, "cannot find"), "%s", named);
	for (unsigned i = 0; i < G_N_ELEMENTS(anywhere); i++) {
		g_autofree char *why = NULL;
		g_autofree char *line =
			g_strdup_printf("cluster init --dir HOME/c --advertise %s", anywhere[i]);
		cr_assert_eq(program_run(line, &why), 2);
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
	g_autofree char *path = g_build_filename(program_home, "sock", NULL);
	g_autofree char *named = g_strconcat("unix:", path, NULL);
	g_autoptr(GSocketAddress) at = g_unix_socket_address_new(path);
	g_autoptr(GSocketListener) listener = g_socket_listener_new();
	cr_assert(g_socket_listener_add_address(listener, at, G_SOCKET_TYPE_STREAM,
						G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error));
	Desk desk = {listener, text};
	GThread *thread = g_thread_new("supervisor", give_token, &desk);
	program_supervisor = named;
	cr_assert_eq(program_run("host token edge-1", &said), 0, "%s", said);
	(void)g_thread_join(thread);
	cr_assert_eq(g_unlink(path), 0);
	cr_assert_not_null(strstr(said, text), "%s", said);
	return said;
}

Test(cluster, who_gets_a_token_that_leads_nowhere_is_told)
{
	g_autofree char *good = ask_for_token("boss:7443");

	cr_assert_null(strstr(good, "cannot find"), "%s", good);
	for (unsigned i = 0; i < G_N_ELEMENTS(anywhere); i++) {
		g_autofree char *said = ask_for_token(anywhere[i]);
		cr_assert_not_null(strstr(said, "cannot find"), "%s", said);
	}
}
