/* SPDX-License-Identifier: Apache-2.0 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "desk.h"
#include "http/server.h"
#include "support/suite.h"

enum { NOBODY = 65534, OBJECT_BYTES = 3 * 1024 * 1024, MANY = 100 };

static Desk desk;

static void setup(void)
{
	desk_open(&desk);
}

static void teardown(void)
{
	desk_close(&desk);
	dn_suite_end();
}

TestSuite(api, .init = setup, .fini = teardown);

Test(api, the_socket_is_for_its_owner_and_group_only)
{
	struct stat info = {0};

	cr_assert(eq(int, stat(desk.socket_path, &info), 0));
	cr_assert(eq(uint, info.st_mode & 0777, 0660));
}

static bool gets_an_answer(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char request[] = "GET /v1/cluster HTTP/1.1\r\nHost: x\r\n\r\n";
	char byte = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	g_strlcpy(address.sun_path, desk.socket_path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		_exit(3);
	(void)send(fd, request, strlen(request), MSG_NOSIGNAL);
	return recv(fd, &byte, 1, 0) == 1;
}

static int ask_as(uid_t user, gid_t group)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (user != 0 && (setgroups(0, NULL) < 0 || setgid(group) < 0 || setuid(user) < 0))
			_exit(2);
		_exit(gets_an_answer() ? 0 : 1);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(500);
	return WEXITSTATUS(status);
}

Test(api, another_user_gets_no_answer_even_where_the_mode_was_widened)
{
	if (geteuid() != 0)
		cr_skip("only root can become somebody else");
	cr_assert(eq(int, chmod(desk.directory, 0755), 0));
	cr_assert(eq(int, chmod(desk.socket_path, 0666), 0));
	cr_assert(eq(int, ask_as(0, 0), 0));
	cr_assert(eq(int, ask_as(NOBODY, NOBODY), 1));
	cr_assert(eq(int, ask_as(NOBODY, getegid()), 0));
}

Test(api, a_service_is_shown_as_it_is)
{
	JsonObject *document = desk_get(&desk, "/v1/services/web");
	JsonObject *service = json_object_get_object_member(document, "service");

	cr_assert_str_eq(json_object_get_string_member(document, "schema"), "dnode/v1");
	cr_assert_str_eq(json_object_get_string_member(service, "vip"), "10.99.0.1");
	cr_assert(eq(i64, json_object_get_int_member(service, "ready"), 2));
	cr_assert(eq(i64, json_object_get_int_member(service, "standby"), 1));
	cr_assert(eq(i64, json_object_get_int_member(service, "port"), 80));
	cr_assert_str_eq(json_object_get_string_member(service, "state"), "running");
	cr_assert(json_object_get_null_member(service, "rolling"));
	json_object_unref(document);
}

Test(api, nodes_can_be_asked_for_by_service)
{
	JsonObject *mine = desk_get(&desk, "/v1/nodes?service=web");
	JsonObject *none = desk_get(&desk, "/v1/nodes?service=db");

	cr_assert(eq(uint, json_array_get_length(json_object_get_array_member(mine, "nodes")), 3));
	cr_assert(eq(uint, json_array_get_length(json_object_get_array_member(none, "nodes")), 0));
	json_object_unref(mine);
	json_object_unref(none);
}

Test(api, the_bytes_of_a_manifest_arrive_as_they_were_signed)
{
	JsonObject *body = json_object_new();
	JsonArray *signatures = json_array_new();

	json_object_set_string_member(body, "manifest", "YWJj");
	json_array_add_string_element(signatures, "eHl6");
	json_object_set_array_member(body, "signatures", signatures);
	json_object_set_boolean_member(body, "plan", TRUE);
	DeskCall call = {.method = "POST", .path = "/v1/manifests", .body = body};
	desk_call(&desk, &call);
	cr_assert(call.answer != NULL, "%s", call.error == NULL ? "" : call.error->message);
	cr_assert_str_eq(desk.asked->str, "apply:abc:1:1 ");
	json_object_unref(call.answer);
}

Test(api, a_problem_reaches_the_caller_with_its_code_and_its_line)
{
	JsonObject *body = json_object_new();

	g_autoptr(GPtrArray) nodes = dn_fleet_core_nodes(world_core(desk.world), "web");
	const DnNodeRecord *node = g_ptr_array_index(nodes, 0);
	g_autofree char *path = g_strdup_printf("/v1/nodes/%s/quarantine", node->id);
	g_autofree char *expected = g_strdup_printf("quarantine:%s:odd ", node->id);

	json_object_set_string_member(body, "reason", "odd");
	DeskCall call = {.method = "POST", .path = path, .body = body};
	desk_call(&desk, &call);
	cr_assert(eq(int, call.error->code, DN_ERROR_UNAVAILABLE));
	cr_assert(strstr(call.error->message, "host a is not connected") != NULL);
	cr_assert_str_eq(desk.asked->str, expected);
	g_clear_error(&call.error);
}

Test(api, what_does_not_exist_or_is_malformed_is_the_callers_mistake)
{
	cr_assert(eq(int, desk_code_of(&desk, "GET", "/v1/services/nope", NULL), DN_ERROR_INVALID));
	cr_assert(eq(int, desk_code_of(&desk, "GET", "/v1/nope", NULL), DN_ERROR_INVALID));
	cr_assert(eq(int, desk_code_of(&desk, "GET", "/v1/services/", NULL), DN_ERROR_INVALID));
	cr_assert(eq(int, desk_code_of(&desk, "POST", "/v1/services", json_object_new()),
		     DN_ERROR_INVALID));
	cr_assert(eq(int, desk_code_of(&desk, "POST", "/v1/manifests", json_object_new()),
		     DN_ERROR_INVALID));
	cr_assert(
		eq(int, desk_code_of(&desk, "GET", "/v1/events?since=-1", NULL), DN_ERROR_INVALID));
	cr_assert(eq(int, desk_code_of(&desk, "GET", "/v1/events?limit=1001", NULL),
		     DN_ERROR_INVALID));
	cr_assert_str_eq(desk.asked->str, "");
}

Test(api, only_a_host_that_is_there_can_be_cordoned)
{
	DeskCall call = {.method = "POST", .path = "/v1/hosts/a/cordon", .body = json_object_new()};

	desk_call(&desk, &call);
	cr_assert(call.answer != NULL, "%s", call.error == NULL ? "" : call.error->message);
	json_object_unref(call.answer);
	cr_assert(eq(int, desk_code_of(&desk, "POST", "/v1/hosts/nope/uncordon", json_object_new()),
		     DN_ERROR_INVALID));
	cr_assert_str_eq(desk.asked->str, "cordon:a:1 ");
}

typedef struct {
	const char *request; /* method and path */
	const char *body;
	const char *line; /* what the problem says */
} Stray;

/* The whole answer as it went over the socket. */
static char *ask_raw(const Stray *stray)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	g_autofree char *text =
		g_strdup_printf("%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
				"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
				stray->request, strlen(stray->body), stray->body);
	GString *answer = g_string_new(NULL);
	char part[4096];
	ssize_t length = 0;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, desk.socket_path, sizeof(address.sun_path));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text))
		while ((length = recv(fd, part, sizeof(part), 0)) > 0)
			g_string_append_len(answer, part, length);
	close(fd);
	return g_string_free(answer, FALSE);
}

static gpointer ask_raw_and_tell(gpointer data)
{
	gpointer *slot = data;
	char *answer = ask_raw(slot[0]);

	g_atomic_pointer_set(&slot[1], answer);
	g_main_context_wakeup(NULL);
	return NULL;
}

Test(api, a_name_that_nobody_has_is_a_404_that_names_it)
{
	static const Stray strays[] = {
		{"GET /v1/services/nope", "", "there is no service \\\"nope\\\""},
		{"GET /v1/incidents/nope", "", "there is no incident \\\"nope\\\""},
		{"GET /v1/nodes/nope/logs", "", "there is no node \\\"nope\\\""},
		{"GET /v1/nodes/nope/audit", "", "there is no node \\\"nope\\\""},
		{"GET /v1/hosts/nope/audit", "", "there is no host \\\"nope\\\""},
		{"POST /v1/nodes/nope/quarantine", "{\"reason\":\"odd\"}",
		 "there is no node \\\"nope\\\""},
		{"POST /v1/drills", "{\"class\":\"exec\",\"service\":\"nope\"}",
		 "there is no service \\\"nope\\\""},
		{"POST /v1/incidents/nope/destroy", "{\"statement\":\"eA==\",\"signatures\":[]}",
		 "there is no incident \\\"nope\\\""},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(strays); i++) {
		gpointer slot[2] = {(gpointer)&strays[i], NULL};
		GThread *thread = g_thread_new("stray", ask_raw_and_tell, slot);

		while (g_atomic_pointer_get(&slot[1]) == NULL)
			g_main_context_iteration(NULL, TRUE);
		g_thread_join(thread);
		g_autofree char *answer = slot[1];
		cr_assert(g_str_has_prefix(answer, "HTTP/1.1 404 "), "%s: %s", strays[i].request,
			  answer);
		cr_assert(strstr(answer, "application/problem+json") != NULL, "%s", answer);
		cr_assert(strstr(answer, strays[i].line) != NULL, "%s", answer);
		cr_assert(strstr(answer, "\"code\":1") != NULL, "%s", answer);
	}
	cr_assert_str_eq(desk.asked->str, "");
}

Test(api, a_node_is_unknown_only_once_every_host_has_told_of_its_nodes)
{
	static const uint8_t key[DN_PUBLIC_KEY_BYTES] = {1};
	const char *path = "/v1/nodes/web-00000009/logs";

	cr_assert(eq(int, desk_code_of(&desk, "GET", path, NULL), DN_ERROR_INVALID));
	g_autoptr(DnHostRecord) away = dn_host_record_new("z", key, "10.77.200.0/24", NULL);
	cr_assert(dn_fleet_core_restore_host(world_core(desk.world), away, NULL));
	cr_assert(eq(int, desk_code_of(&desk, "GET", path, NULL), DN_ERROR_UNAVAILABLE));
	g_autoptr(DnActs) acts = dn_acts_new();
	g_autoptr(DnFact) fact = dn_fact_new(DN_FACT_REPORT);
	fact->report = dn_host_report_new();
	fact->report->host = g_strdup("z");
	dn_fleet_core_connected(world_core(desk.world), "z", "192.168.0.250", world_now(desk.world),
				acts);
	dn_fleet_core_fact(world_core(desk.world), "z", fact, world_now(desk.world), acts);
	cr_assert(eq(int, desk_code_of(&desk, "GET", path, NULL), DN_ERROR_INVALID));
	cr_assert_str_eq(desk.asked->str, "");
}

Test(api, a_body_beyond_the_limit_is_refused_and_never_reaches_the_owner)
{
	JsonObject *body = json_object_new();
	g_autofree char *huge = g_strnfill(DN_HTTP_BODY_LIMIT, 'x');

	json_object_set_string_member(body, "reason", huge);
	cr_assert(eq(int, desk_code_of(&desk, "POST", "/v1/nodes/web-00000001/quarantine", body),
		     DN_ERROR_EXHAUSTED));
	cr_assert_str_eq(desk.asked->str, "");
}

Test(api, an_object_larger_than_any_document_arrives_whole)
{
	g_autofree guchar *data = g_malloc(OBJECT_BYTES);

	for (gsize i = 0; i < OBJECT_BYTES; i++)
		data[i] = (guchar)(i * 31 + i / 256);
	g_autofree char *digest =
		g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, OBJECT_BYTES);
	g_autofree char *wanted = g_strdup_printf("object:abc.file:%s ", digest);
	g_autoptr(GBytes) object = g_bytes_new(data, OBJECT_BYTES);
	DeskCall call = {.method = "PUT", .path = "/v1/images/objects/abc.file", .object = object};
	desk_call(&desk, &call);
	cr_assert(call.answer != NULL, "%s", call.error == NULL ? "" : call.error->message);
	cr_assert_str_eq(desk.asked->str, wanted);
	json_object_unref(call.answer);
}

static gpointer put_many(gpointer data)
{
	g_autofree char *target = g_strconcat("unix:", desk.socket_path, NULL);
	g_autoptr(DnHttp) http = dn_http_new(target, NULL);

	for (unsigned i = 0; i < MANY; i++) {
		g_autofree char *text = g_strdup_printf("object %u", i);
		g_autoptr(GBytes) object = g_bytes_new(text, strlen(text));
		JsonObject *answer =
			dn_http_put(http, "/v1/images/objects/abc.dirmeta", object, NULL);

		if (answer != NULL)
			json_object_unref(answer);
	}
	g_atomic_int_set((int *)data, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

Test(api, of_many_objects_from_one_client_none_arrives_empty)
{
	g_autoptr(GString) wanted = g_string_new(NULL);
	int done = 0;
	GThread *thread = g_thread_new("client", put_many, &done);

	for (unsigned i = 0; i < MANY; i++) {
		g_autofree char *text = g_strdup_printf("object %u", i);
		g_autofree char *digest =
			g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

		g_string_append_printf(wanted, "object:abc.dirmeta:%s ", digest);
	}
	while (!g_atomic_int_get(&done))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(thread);
	cr_assert_str_eq(desk.asked->str, wanted->str);
}

/* ---- the event stream ---- */

typedef struct {
	GMutex lock;
	GString *ids;
	unsigned wanted;
	int done;
	GCancellable *cancellable;
	const char *path;
} Follower;

static bool on_event(const char *id, JsonObject *data, gpointer user_data)
{
	Follower *follower = user_data;

	g_string_append_printf(follower->ids, "%s ", id);
	return --follower->wanted > 0;
}

static gpointer follow_in_thread(gpointer data)
{
	Follower *follower = data;
	g_autofree char *target = g_strconcat("unix:", desk.socket_path, NULL);
	g_autoptr(DnHttp) http = dn_http_new(target, NULL);

	if (!dn_http_follow(http, follower->path, on_event, follower, NULL, NULL))
		g_string_append(follower->ids, "failed");
	g_atomic_int_set(&follower->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

Test(api, a_follower_gets_what_it_missed_and_then_what_comes_each_once)
{
	Follower follower = {.ids = g_string_new(NULL), .wanted = 6, .path = "/v1/events?since=2"};
	gint64 next = 0;

	desk.last_event = 4;
	GThread *thread = g_thread_new("follower", follow_in_thread, &follower);
	while (strstr(desk.asked->str, "events:2:") == NULL)
		g_main_context_iteration(NULL, TRUE);
	while (!g_atomic_int_get(&follower.done)) {
		if (g_get_monotonic_time() >= next && desk.last_event < 8) {
			g_autoptr(DnEvent) event = desk_event(++desk.last_event);

			dn_api_publish(desk.api, event);
			next = g_get_monotonic_time() + 2000;
		}
		if (!g_main_context_iteration(NULL, FALSE))
			g_usleep(500);
	}
	g_thread_join(thread);
	cr_assert_str_eq(follower.ids->str, "3 4 5 6 7 8 ");
	g_string_free(follower.ids, TRUE);
}

Test(api, a_follower_that_leaves_is_forgotten)
{
	Follower follower = {.ids = g_string_new(NULL), .wanted = 1, .path = "/v1/events?since=1"};

	desk.last_event = 2;
	GThread *thread = g_thread_new("follower", follow_in_thread, &follower);
	while (!g_atomic_int_get(&follower.done))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(thread);
	for (unsigned i = 0; i < 5000; i++) {
		g_autoptr(DnEvent) event = desk_event(++desk.last_event);

		dn_api_publish(desk.api, event);
		while (g_main_context_iteration(NULL, FALSE))
			continue;
	}
	cr_assert_str_eq(follower.ids->str, "2 ");
	g_string_free(follower.ids, TRUE);
}
