/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "repo/server.h"
#include "support/suite.h"

enum { CLIENTS = 50, WAIT_MS = 5000 };

static char *folder;
static DnRepoServer *server;

static void setup(void)
{
	g_autoptr(GError) error = NULL;

	folder = g_dir_make_tmp("dnode-repo-XXXXXX", &error);
	cr_assert_not_null(folder);
	g_autofree char *config = g_build_filename(folder, "config", NULL);
	cr_assert(g_file_set_contents(config, "[core]\n", -1, NULL));
	server = dn_repo_server_new(&(DnRepoServerConfig){.path = folder, .listen = "127.0.0.1:0"},
				    &error);
	cr_assert_not_null(server, "%s", error != NULL ? error->message : "no error was set");
}

static void teardown(void)
{
	g_autofree char *config = g_build_filename(folder, "config", NULL);

	g_clear_pointer(&server, dn_repo_server_free);
	(void)g_unlink(config);
	(void)g_rmdir(folder);
	g_clear_pointer(&folder, g_free);
	dn_suite_end();
}

TestSuite(repo, .init = setup, .fini = teardown);

static unsigned count_descriptors(void)
{
	g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned n = 0;

	while (g_dir_read_name(directory) != NULL)
		n++;
	return n;
}

/* Let the server work until @client has something to read. */
static bool wait_readable(GSocketConnection *client)
{
	GSocket *socket = g_socket_connection_get_socket(client);
	gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;

	while (!(g_socket_condition_check(socket, G_IO_IN) & G_IO_IN)) {
		if (g_get_monotonic_time() > end)
			return false;
		(void)g_main_context_iteration(NULL, FALSE);
	}
	return true;
}

/* A client that leaves its connection open until it has an answer, then closes it. */
static void ask(const char *path)
{
	g_autoptr(GSocketClient) dialler = g_socket_client_new();
	g_autoptr(GSocketConnection) client = g_socket_client_connect_to_host(
		dialler, "127.0.0.1", dn_repo_server_port(server), NULL, NULL);
	cr_assert_not_null(client);
	g_autofree char *request = g_strdup_printf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(client));
	char answer[1024] = "";

	cr_assert(g_output_stream_write_all(out, request, strlen(request), NULL, NULL, NULL));
	cr_assert(wait_readable(client), "no answer");
	gssize got = g_input_stream_read(g_io_stream_get_input_stream(G_IO_STREAM(client)), answer,
					 sizeof(answer) - 1, NULL, NULL);
	cr_assert(got > 0);
	cr_assert(g_str_has_prefix(answer, "HTTP/1.1 "));
}

static void let_it_work(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		continue;
}

Test(repo, a_connection_that_its_client_has_closed_is_not_kept)
{
	ask("/repo/config");
	let_it_work();
	unsigned before = count_descriptors();

	for (unsigned i = 0; i < CLIENTS; i++)
		ask(i % 2 == 0 ? "/repo/config" : "/repo/none");
	gint64 end = g_get_monotonic_time() + WAIT_MS * 1000;
	while (count_descriptors() > before && g_get_monotonic_time() < end)
		let_it_work();
	cr_assert_leq(count_descriptors(), before);
}
