/* SPDX-License-Identifier: Apache-2.0 */

/* The client against a real server on a real socket, which runs in a thread of the test. */

#include <criterion/criterion.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <libsoup/soup.h>
#include <string.h>

#include "http/client.h"
#include "support/suite.h"

static char *directory, *path;
static GThread *thread;
static GMainContext *context;
static GMainLoop *loop;
static GMutex lock;
static GCond ready;
static bool is_ready;

static void answer(SoupServerMessage *message, unsigned status, const char *type, const char *body)
{
	soup_server_message_set_status(message, status, NULL);
	soup_server_message_set_response(message, type, SOUP_MEMORY_COPY, body, strlen(body));
}

static void handle(SoupServer *server, SoupServerMessage *message, const char *at,
		   GHashTable *query, gpointer data)
{
	SoupMessageBody *body = soup_server_message_get_request_body(message);
	g_autoptr(GBytes) bytes = soup_message_body_flatten(body);
	g_autofree char *text = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));

	(void)server, (void)query, (void)data;
	if (strcmp(at, "/echo") == 0) {
		g_autofree char *reply =
			g_strdup_printf("{\"method\":\"%s\",\"size\":%zu,\"json\":%s}",
					soup_server_message_get_method(message), strlen(text),
					text[0] == '{' ? text : "null");
		answer(message, 200, "application/json", reply);
	} else if (strcmp(at, "/list") == 0) {
		answer(message, 200, "application/json", "[1]");
	} else if (strcmp(at, "/text") == 0) {
		answer(message, 200, "text/plain", "hello");
	} else if (strcmp(at, "/events") == 0) {
		answer(message, 200, "text/event-stream",
		       "id: 1\ndata: {\"n\":1}\n\n"
		       "id: 2\ndata: {\"n\":2}\n\n");
	} else {
		answer(message, 409, "application/problem+json",
		       "{\"code\":3,\"detail\":\"somebody was faster\"}");
	}
}

static gpointer serve(gpointer data)
{
	g_autoptr(GError) error = NULL;

	(void)data;
	g_main_context_push_thread_default(context);
	g_autoptr(SoupServer) server = soup_server_new(NULL, NULL);
	g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
	soup_server_add_handler(server, NULL, handle, NULL, NULL);
	g_assert_true(soup_server_listen(server, address, 0, &error));
	g_mutex_lock(&lock);
	is_ready = true;
	g_cond_signal(&ready);
	g_mutex_unlock(&lock);
	g_main_loop_run(loop);
	soup_server_disconnect(server);
	g_clear_object(&server);
	while (g_main_context_iteration(context, FALSE)) {
	}
	g_main_context_pop_thread_default(context);
	return NULL;
}

static void setup(void)
{
	directory = g_dir_make_tmp("dnode-http-XXXXXX", NULL);
	path = g_build_filename(directory, "s", NULL);
	context = g_main_context_new();
	loop = g_main_loop_new(context, FALSE);
	thread = g_thread_new("server", serve, NULL);
	g_mutex_lock(&lock);
	while (!is_ready)
		g_cond_wait(&ready, &lock);
	g_mutex_unlock(&lock);
}

static gboolean quit(gpointer data)
{
	g_main_loop_quit(data);
	return G_SOURCE_REMOVE;
}

static void teardown(void)
{
	/* From inside the loop: quitting one that does not run yet would be forgotten. */
	g_autoptr(GSource) last = g_idle_source_new();
	g_source_set_callback(last, quit, loop, NULL);
	g_source_attach(last, context);
	g_thread_join(thread);
	g_main_loop_unref(loop);
	g_main_context_unref(context);
	(void)g_unlink(path);
	(void)g_rmdir(directory);
	g_clear_pointer(&last, g_source_unref);
	g_free(path);
	g_free(directory);
	dn_suite_end();
}

TestSuite(http, .init = setup, .fini = teardown, .timeout = 60);

static DnHttp *client(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *target = g_strconcat("unix:", path, NULL);
	DnHttp *http = dn_http_new(target, &error);

	cr_assert_not_null(http);
	return http;
}

Test(http, a_body_goes_there_and_an_object_comes_back)
{
	g_autoptr(DnHttp) http = client();
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonObject) body = json_object_new();

	json_object_set_string_member(body, "name", "web");
	g_autoptr(JsonObject) posted = dn_http_post(http, "/echo", body, &error);
	cr_assert_not_null(posted, "%s", error != NULL ? error->message : "");
	cr_assert_str_eq(json_object_get_string_member(posted, "method"), "POST");
	JsonObject *inner = json_object_get_object_member(posted, "json");
	cr_assert_str_eq(json_object_get_string_member(inner, "name"), "web");

	g_autoptr(GBytes) bytes = g_bytes_new("12345", 5);
	g_autoptr(JsonObject) put = dn_http_put(http, "/echo", bytes, &error);
	cr_assert_eq(json_object_get_int_member(put, "size"), 5);
}

Test(http, a_problem_is_told_with_its_code_and_words)
{
	g_autoptr(DnHttp) http = client();
	g_autoptr(GError) error = NULL;

	cr_assert_null(dn_http_get(http, "/problem", &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	cr_assert_str_eq(error->message, "somebody was faster");
}

Test(http, an_answer_that_is_no_object_is_refused)
{
	static const char *const bad[] = {"/list", "/text"};
	g_autoptr(DnHttp) http = client();

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		cr_assert_null(dn_http_get(http, bad[i], &error));
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	}
}

/* One request, answered with the size of its body, and the end without a warning. */
static void answer_and_hang_up(GSocketConnection *connection)
{
	GInputStream *in = g_io_stream_get_input_stream(G_IO_STREAM(connection));
	GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
	g_autoptr(GDataInputStream) lines = g_data_input_stream_new(in);
	char body[64] = {0};
	gint64 size = 0;
	gsize length = 0;

	for (;;) {
		g_autofree char *line = g_data_input_stream_read_line(lines, &length, NULL, NULL);
		if (line == NULL)
			return;
		g_strchomp(line);
		if (line[0] == '\0')
			break;
		if (g_ascii_strncasecmp(line, "content-length:", 15) == 0)
			size = MIN(g_ascii_strtoll(line + 15, NULL, 10), (gint64)sizeof(body));
	}
	g_input_stream_read_all(G_INPUT_STREAM(lines), body, (gsize)size, &length, NULL, NULL);
	g_autofree char *text = g_strdup_printf("{\"size\":%zu}", length);
	g_output_stream_printf(out, NULL, NULL, NULL,
			       "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(text),
			       text);
}

typedef struct {
	GSocketListener *listener;
	GCancellable *end;
} Hasty;

static gpointer serve_hastily(gpointer data)
{
	Hasty *self = data;

	for (;;) {
		g_autoptr(GSocketConnection) connection =
			g_socket_listener_accept(self->listener, NULL, self->end, NULL);
		if (connection == NULL)
			return NULL;
		answer_and_hang_up(connection);
	}
}

Test(http, no_body_is_lost_when_the_server_hangs_up_after_each_answer)
{
	g_autofree char *other = g_build_filename(directory, "hasty", NULL);
	g_autoptr(GSocketAddress) address = g_unix_socket_address_new(other);
	g_autoptr(GSocketListener) listener = g_socket_listener_new();
	g_autoptr(GCancellable) end = g_cancellable_new();
	g_autoptr(GError) error = NULL;
	g_autoptr(DnHttp) hasty = dn_http_new(other, &error);
	g_autoptr(GBytes) body = g_bytes_new("twelve bytes", 12);

	cr_assert(g_socket_listener_add_address(listener, address, G_SOCKET_TYPE_STREAM,
						G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error));
	GThread *server = g_thread_new("hasty", serve_hastily, &(Hasty){listener, end});
	for (unsigned i = 0; i < 300; i++) {
		g_autoptr(JsonObject) reply = dn_http_put(hasty, "/x", body, &error);
		cr_assert_not_null(reply, "%s", error != NULL ? error->message : "");
		cr_assert_eq(json_object_get_int_member(reply, "size"), 12, "request %u", i);
	}
	g_cancellable_cancel(end);
	g_thread_join(server);
	g_socket_listener_close(listener);
	(void)g_unlink(other);
}

static bool count(const char *id, JsonObject *data, gpointer user_data)
{
	gint64 *sum = user_data;

	*sum += json_object_get_int_member(data, "n") * 10 + (gint64)strlen(id);
	return json_object_get_int_member(data, "n") < 2;
}

Test(http, events_are_followed_until_the_caller_has_enough)
{
	g_autoptr(DnHttp) http = client();
	g_autoptr(GError) error = NULL;
	gint64 sum = 0;

	cr_assert(dn_http_follow(http, "/events", count, &sum, NULL, &error));
	cr_assert_eq(sum, 32);
}

static bool more(const char *id, JsonObject *data, gpointer user_data)
{
	(void)id, (void)data, (void)user_data;
	return true;
}

Test(http, a_stream_that_the_server_ends_is_an_error)
{
	g_autoptr(DnHttp) http = client();
	g_autoptr(GError) error = NULL;

	cr_assert_not(dn_http_follow(http, "/events", more, NULL, NULL, &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
}

Test(http, nobody_at_the_socket_is_unavailable_and_says_what_to_do)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnHttp) http = dn_http_new("unix:/nonexistent/socket", &error);

	cr_assert_null(dn_http_get(http, "/x", &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	cr_assert_not_null(strstr(error->message, "is dnode-supervisor running?"));
}

Test(http, other_kinds_of_address_are_refused)
{
	static const char *const bad[] = {"https://x", "ftp://x", "x", "", "http://["};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		cr_assert_null(dn_http_new(bad[i], &error), "%s", bad[i]);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}
