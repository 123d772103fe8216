/* SPDX-License-Identifier: Apache-2.0 */

/* What a person is told when the real daemon has asked a host for it. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>

#include "daemon.h"
#include "http/client.h"
#include "link-host.h"
#include "support/suite.h"
#include "wire/json.h"

enum { LISTED = 64 }; /* destroyed incidents of a host that are listed */

static LinkHost *host;

static void setup(void)
{
	daemon_new();
	daemon_start();
	host = link_host_new("h1");
}

static void teardown(void)
{
	g_clear_pointer(&host, link_host_free);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	daemon_free();
	dn_suite_end();
}

TestSuite(people, .init = setup, .fini = teardown);

/* One request on a thread of its own, so that the host can answer meanwhile. */
typedef struct {
	GThread *thread;
	char *path;
	JsonObject *answer;
	GError *error;
	gint done;
} Request;

static gpointer ask(gpointer data)
{
	Request *request = data;
	g_autoptr(GMainContext) context = g_main_context_new();
	g_autoptr(DnHttp) http = dn_http_new(daemon_target(), NULL);
	g_autoptr(GBytes) statement = g_bytes_new_static("destroy it", 10);
	JsonObject *body = json_object_new();

	g_main_context_push_thread_default(context);
	dn_json_set_base64(body, "statement", statement);
	json_object_set_array_member(body, "signatures", json_array_new());
	request->answer = dn_http_post(http, request->path, body, &request->error);
	g_clear_pointer(&http, dn_http_free);
	g_main_context_pop_thread_default(context);
	g_atomic_int_set(&request->done, 1);
	return NULL;
}

static Request *ask_to_destroy(unsigned number)
{
	g_autofree char *id = link_host_incident(number);
	Request *request = g_new0(Request, 1);

	request->path = g_strdup_printf("/v1/incidents/%s/destroy", id);
	request->thread = g_thread_new("person", ask, request);
	return request;
}

static bool is_answered(void *data)
{
	return g_atomic_int_get(&((Request *)data)->done) != 0;
}

static void request_free(Request *request)
{
	g_thread_join(request->thread);
	g_clear_pointer(&request->answer, json_object_unref);
	g_clear_error(&request->error);
	g_free(request->path);
	g_free(request);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Request, request_free)

static gint64 number_of(const char *name)
{
	JsonObject *answer = daemon_get("/v1/incidents");

	cr_assert(answer != NULL, "the daemon does not answer");
	gint64 number =
		g_str_equal(name, "older")
			? json_object_get_int_member(answer, "older")
			: json_array_get_length(json_object_get_array_member(answer, "incidents"));
	json_object_unref(answer);
	return number;
}

static bool are_all_listed(void *data)
{
	return number_of("incidents") == LISTED + 1;
}

static bool is_one_past(void *data)
{
	return number_of("older") == 1;
}

Test(people, an_incident_that_is_past_before_its_host_answers_is_shown_destroyed)
{
	link_host_say_incident(host, 1, DN_INCIDENT_SEALED);
	for (unsigned i = 2; i <= LISTED + 1; i++)
		link_host_say_incident(host, i, DN_INCIDENT_DESTROYED);
	cr_assert(link_host_wait(are_all_listed, NULL));
	g_autoptr(Request) request = ask_to_destroy(1);
	uint64_t sequence = link_host_await(host, DN_ORDER_DESTROY);
	/* A host says what it has done before it answers. */
	link_host_say_incident(host, 1, DN_INCIDENT_DESTROYED);
	cr_assert(link_host_wait(is_one_past, NULL));

	link_host_answer(host, sequence);
	cr_assert(link_host_wait(is_answered, request));
	cr_assert(ne(ptr, request->answer, NULL), "%s",
		  request->error == NULL ? "" : request->error->message);
	JsonObject *incident = json_object_get_object_member(request->answer, "incident");
	cr_assert_str_eq(json_object_get_string_member(incident, "id"), "0000000000000001");
	cr_assert_str_eq(json_object_get_string_member(incident, "state"), "destroyed");
	cr_assert(eq(int, daemon_stop(SIGTERM), 0));
}
