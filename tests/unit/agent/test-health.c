/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "health/probe.h"
#include "support/suite.h"

#define MS DN_NS_PER_MS

/* A server of one answer: what it says, and whether it ever says it. */
typedef struct {
	int fd;
	uint16_t port;
	const char *answer; /* NULL: accept, then be silent */
	char request[512];
	GThread *thread;
} Server;

static DnHealthPolicy policy;

static void setup(void)
{
	policy = (DnHealthPolicy){
		.kind = DN_PROBE_HTTP,
		.path = (char *)"/healthz",
		.timeout_ms = 2000,
		.rise = 2,
		.fall = 3,
		.replace_after_ms = 1000,
	};
}

TestSuite(health, .init = setup, .fini = dn_suite_end);

static gpointer serve(gpointer data)
{
	Server *server = data;
	dn_autofd int fd = accept(server->fd, NULL, NULL);
	char rest;

	if (fd < 0)
		return NULL;
	ssize_t got = recv(fd, server->request, sizeof(server->request) - 1, 0);
	server->request[got > 0 ? got : 0] = '\0';
	/* In two parts, as a slow server would. */
	if (server->answer != NULL && server->answer[0] != '\0') {
		(void)send(fd, server->answer, 3, MSG_NOSIGNAL);
		(void)send(fd, server->answer + 3, strlen(server->answer) - 3, MSG_NOSIGNAL);
	}
	if (server->answer == NULL)
		while (recv(fd, &rest, 1, 0) > 0)
			;
	return NULL;
}

static void server_open(Server *server, const char *answer)
{
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(here);

	*server = (Server){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer};
	cr_assert(eq(int, bind(server->fd, (struct sockaddr *)&here, length), 0));
	cr_assert(eq(int, listen(server->fd, 4), 0));
	cr_assert(eq(int, getsockname(server->fd, (struct sockaddr *)&here, &length), 0));
	server->port = ntohs(here.sin_port);
	server->thread = g_thread_new("server", serve, server);
}

static void server_close(Server *server)
{
	(void)shutdown(server->fd, SHUT_RDWR);
	g_thread_join(server->thread);
	dn_fd_clear(&server->fd);
}

static bool answers_now(const char *answer)
{
	Server server;

	server_open(&server, answer);
	bool answered = dn_probe_now(&policy, "127.0.0.1", server.port);
	server_close(&server);
	return answered;
}

static void take_result(GObject *source, GAsyncResult *result, gpointer data)
{
	GAsyncResult **slot = data;

	*slot = g_object_ref(result);
}

static bool answers_async(const char *answer, GCancellable *cancellable, GError **error)
{
	g_autoptr(GAsyncResult) result = NULL;
	Server server;

	server_open(&server, answer);
	dn_probe_async(&policy, "127.0.0.1", server.port, cancellable, take_result, &result);
	while (result == NULL)
		g_main_context_iteration(NULL, TRUE);
	server_close(&server);
	return dn_probe_finish(result, error);
}

Test(health, a_success_or_a_redirect_answers_and_nothing_else_does)
{
	cr_assert(answers_now("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
	cr_assert(answers_now("HTTP/1.0 399 \r\n\r\n"));
	cr_assert(not(answers_now("HTTP/1.1 199 Early\r\n\r\n")));
	cr_assert(not(answers_now("HTTP/1.1 400 Bad\r\n\r\n")));
	cr_assert(not(answers_now("HTTP/1.1 503 Busy\r\n\r\n")));
	cr_assert(not(answers_now("HTTP/2.0 200 OK\r\n\r\n")));
	cr_assert(not(answers_now("HTTP/1.1 2x0 OK\r\n\r\n")));
	cr_assert(not(answers_now("SSH-2.0-OpenSSH_9.2\r\n")));
	cr_assert(not(answers_now("HTTP/1.1 2")));
	cr_assert(not(answers_now("")));
}

Test(health, the_request_names_path_and_host_and_asks_to_close)
{
	Server server;

	server_open(&server, "HTTP/1.1 200 OK\r\n\r\n");
	cr_assert(dn_probe_now(&policy, "127.0.0.1", server.port));
	g_autofree char *host = g_strdup_printf("\r\nHost: 127.0.0.1:%u\r\n", server.port);
	server_close(&server);
	cr_assert(g_str_has_prefix(server.request, "GET /healthz HTTP/1.1\r\n"));
	cr_assert(ne(ptr, strstr(server.request, host), NULL));
	cr_assert(ne(ptr, strstr(server.request, "\r\nConnection: close\r\n"), NULL));
	cr_assert(g_str_has_suffix(server.request, "\r\n\r\n"));
}

Test(health, a_silent_server_costs_the_timeout_and_no_more)
{
	g_autoptr(GError) error = NULL;

	policy.timeout_ms = 50;
	uint64_t begin = dn_clock_monotonic_ns();
	cr_assert(not(answers_now(NULL)));
	uint64_t took = dn_clock_monotonic_ns() - begin;
	cr_assert(took >= 50 * MS && took < 1000 * MS, "took %lu ns", (unsigned long)took);

	begin = dn_clock_monotonic_ns();
	cr_assert(not(answers_async(NULL, NULL, &error)));
	took = dn_clock_monotonic_ns() - begin;
	cr_assert(took >= 50 * MS && took < 1000 * MS, "took %lu ns", (unsigned long)took);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED));
}

Test(health, a_probe_that_is_stepped_says_what_it_waits_for_and_is_late_after_its_timeout)
{
	DnProbing probe = {0};
	struct pollfd wanted;
	Server server;

	policy.timeout_ms = 300;
	server_open(&server, NULL);
	uint64_t begin = dn_clock_monotonic_ns();
	do {
		cr_assert(not(dn_probe_step(&probe, &policy, "127.0.0.1", server.port, &wanted)));
		if (wanted.fd >= 0)
			(void)poll(&wanted, 1, 10);
	} while (wanted.fd >= 0);
	cr_assert(ge(u64, dn_clock_monotonic_ns() - begin, 300 * MS));
	cr_assert(eq(u64, probe.deadline_ns, 0), "none is under way any more");
	server_close(&server);
}

Test(health, the_asynchronous_probe_gives_the_same_verdicts)
{
	g_autoptr(GError) error = NULL;

	cr_assert(answers_async("HTTP/1.1 204 No Content\r\n\r\n", NULL, NULL));
	cr_assert(not(answers_async("HTTP/1.1 500 Oops\r\n\r\n", NULL, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
}

Test(health, a_cancelled_probe_ends_at_once_and_says_so)
{
	g_autoptr(GCancellable) cancellable = g_cancellable_new();
	g_autoptr(GError) error = NULL;

	policy.timeout_ms = 60000;
	g_cancellable_cancel(cancellable);
	cr_assert(not(answers_async(NULL, cancellable, &error)));
	cr_assert(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED));
}

Test(health, a_tcp_probe_wants_a_connection_and_no_more)
{
	Server server;

	policy.kind = DN_PROBE_TCP;
	server_open(&server, NULL);
	cr_assert(dn_probe_now(&policy, "127.0.0.1", server.port));
	uint16_t closed = server.port;
	server_close(&server);
	cr_assert(not(dn_probe_now(&policy, "127.0.0.1", closed)));
	cr_assert(not(dn_probe_now(&policy, "localhost", closed)));
}

Test(health, rises_and_falls_are_counted_in_a_row)
{
	DnHealth health = {0};

	cr_assert(not(dn_health_count(&health, &policy, true, 1 * MS)));
	cr_assert(not(dn_health_count(&health, &policy, false, 2 * MS)));
	cr_assert(not(dn_health_count(&health, &policy, true, 3 * MS)));
	cr_assert(dn_health_count(&health, &policy, true, 4 * MS));
	cr_assert(health.healthy);

	cr_assert(not(dn_health_count(&health, &policy, false, 5 * MS)));
	cr_assert(not(dn_health_count(&health, &policy, false, 6 * MS)));
	cr_assert(not(dn_health_count(&health, &policy, true, 7 * MS)));
	cr_assert(not(dn_health_count(&health, &policy, false, 8 * MS)));
	cr_assert(not(dn_health_count(&health, &policy, false, 9 * MS)));
	cr_assert(dn_health_count(&health, &policy, false, 10 * MS));
	cr_assert(not(health.healthy));
}

Test(health, a_node_is_hopeless_after_replace_after_and_not_before)
{
	DnHealth health = {0};

	cr_assert(not(dn_health_is_hopeless(&health, &policy, 9000 * MS)));
	dn_health_count(&health, &policy, false, 100 * MS);
	dn_health_count(&health, &policy, false, 200 * MS);
	cr_assert(not(dn_health_is_hopeless(&health, &policy, 1099 * MS)));
	cr_assert(dn_health_is_hopeless(&health, &policy, 1100 * MS));

	dn_health_count(&health, &policy, true, 1101 * MS);
	cr_assert(dn_health_is_hopeless(&health, &policy, 1102 * MS), "one rise is not health");
	dn_health_count(&health, &policy, true, 1103 * MS);
	cr_assert(not(dn_health_is_hopeless(&health, &policy, 9000 * MS)));
}
