/* SPDX-License-Identifier: Apache-2.0 */

/* The service of images/hello as a client sees it; the program's path is in DNODE_TEST_HELLO. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "support/suite.h"

static pid_t pid;
static uint16_t port;

static int dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t size = sizeof(any);
	dn_autofd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(eq(int, bind(fd, (struct sockaddr *)&any, sizeof(any)), 0));
	cr_assert(eq(int, getsockname(fd, (struct sockaddr *)&any, &size), 0));
	return ntohs(any.sin_port);
}

static void setup(void)
{
	const char *program = g_getenv("DNODE_TEST_HELLO");
	g_autofree char *text = NULL;

	port = free_port();
	text = g_strdup_printf("%u", port);
	char *argv[] = {(char *)"hello", text, NULL};
	char *env[] = {(char *)"DNODE_NODE=web-1",    (char *)"DNODE_SERVICE=web",
		       (char *)"DNODE_IMAGE=a\"b\\c", (char *)"DNODE_EPOCH=7",
		       (char *)"VERSION=2",           NULL};
	pid = fork();
	if (pid == 0) {
		execve(program, argv, env);
		_exit(127);
	}
	for (;;) {
		dn_autofd int fd = dial();
		int status = 0;

		if (fd >= 0)
			return;
		cr_assert(eq(int, waitpid(pid, &status, WNOHANG), 0), "%s ended", program);
		g_usleep(1000);
	}
}

static void teardown(void)
{
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
	dn_suite_end();
}

TestSuite(hello, .init = setup, .fini = teardown);

static void tell(int fd, const char *text)
{
	cr_assert(eq(sz, (size_t)send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text)));
}

/* All that comes until the service closes. */
static char *hear(int fd)
{
	GString *heard = g_string_new(NULL);
	char part[4096];
	ssize_t got;

	while ((got = recv(fd, part, sizeof(part), 0)) > 0)
		g_string_append_len(heard, part, got);
	cr_assert(eq(int, (int)got, 0), "%s", g_strerror(errno));
	return g_string_free(heard, FALSE);
}

static char *ask(const char *request)
{
	dn_autofd int fd = dial();

	tell(fd, request);
	return hear(fd);
}

static void expect(const char *request, const char *status, const char *body)
{
	g_autofree char *answer = ask(request);
	g_autofree char *line = g_strdup_printf("HTTP/1.1 %s\r\n", status);

	cr_assert(g_str_has_prefix(answer, line), "%s", answer);
	cr_assert(ne(ptr, strstr(answer, body), NULL), "%s", answer);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

Test(hello, each_page_answers)
{
	expect(GET("/"), "200 OK", "\r\n\r\nhello");
	expect(GET("/healthz"), "200 OK", "ok");
	expect(GET("/version"), "200 OK", "\r\n\r\n2\n");
	expect(GET("/whoami"), "200 OK", "\"node\": \"web-1\"");
	expect(GET("/whoami"), "200 OK", "\"image\": \"a\\\"b\\\\c\"");
	expect(GET("/whoami"), "200 OK", "\"epoch\": \"7\"");
	expect(GET("/nothing"), "404 Not Found", "no such page");
	expect(GET("/slow?ms=60001"), "400 Bad Request", "");
	expect(GET("/slow?ms=-1"), "400 Bad Request", "");
}

Test(hello, head_has_the_length_and_no_body)
{
	g_autofree char *answer = ask("HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n");

	cr_assert(ne(ptr, strstr(answer, "Content-Length: 6\r\n"), NULL), "%s", answer);
	cr_assert(g_str_has_suffix(answer, "\r\n\r\n"), "%s", answer);
}

Test(hello, pipelined_requests_are_answered_in_order_and_bodies_are_skipped)
{
	g_autofree char *answer = ask("GET /version HTTP/1.1\r\n\r\n"
				      "GET /slow?ms=50 HTTP/1.1\r\n\r\n"
				      "POST / HTTP/1.1\r\nContent-Length: 25\r\n\r\n"
				      "GET /healthz HTTP/1.1\r\n\r\n" GET("/nothing"));
	const char *version = strstr(answer, "\r\n\r\n2\n");
	const char *slow = strstr(answer, "slow");
	const char *refused = strstr(answer, "405 ");
	const char *nothing = strstr(answer, "404 ");

	cr_assert(version != NULL && slow > version && refused > slow && nothing > refused, "%s",
		  answer);
	cr_assert(eq(ptr, strstr(answer, "ok\n"), NULL), "%s", answer);
}

Test(hello, a_thousand_pipelined_requests_get_a_thousand_answers)
{
	g_autoptr(GString) requests = g_string_new(NULL);
	unsigned found = 0;

	for (int i = 0; i < 999; i++)
		g_string_append(requests, "GET / HTTP/1.1\r\n\r\n");
	g_string_append(requests, GET("/"));
	g_autofree char *answer = ask(requests->str);
	for (const char *at = answer; (at = strstr(at, "200 OK")) != NULL; at++)
		found++;
	cr_assert(eq(u32, found, 1000));
}

Test(hello, hostile_requests_are_refused_and_closed)
{
	g_autofree char *endless = g_strnfill(9000, 'a');
	g_autofree char *head = g_strconcat("GET /", endless, NULL);

	expect(head, "431 Request Header Fields Too Large", "");
	expect("nonsense\r\n\r\n", "400 Bad Request", "");
	expect("GET http://x/ HTTP/1.1\r\n\r\n", "400 Bad Request", "");
	expect("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	       "400 Bad Request", "");
	expect("GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n", "400 Bad Request", "");
	expect("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400 Bad Request", "");
	expect("GET / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n", "413 Content Too Large", "");
	expect("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "501 Not Implemented", "");
	expect(GET("/healthz"), "200 OK", "ok");
}

Test(hello, a_slow_answer_holds_nobody_up)
{
	dn_autofd int slow = dial();

	tell(slow, GET("/slow?ms=60000"));
	uint64_t before = dn_clock_monotonic_ns();
	expect(GET("/"), "200 OK", "hello");
	cr_assert(lt(u64, dn_clock_monotonic_ns() - before, 10 * DN_NS_PER_S));
}

static int wait_for_end(void)
{
	int status = 0;

	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	pid = 0;
	return status;
}

Test(hello, sigterm_finishes_what_is_under_way_and_exits_zero)
{
	dn_autofd int slow = dial();
	dn_autofd int kept = dial();
	char first[512];

	tell(kept, "GET / HTTP/1.1\r\n\r\n");
	cr_assert(gt(int, (int)recv(kept, first, sizeof(first), 0), 0));
	tell(slow, "GET /slow?ms=300 HTTP/1.1\r\n\r\n");
	/* Answered on another connection: the slow one has been read by now. */
	expect(GET("/healthz"), "200 OK", "ok");
	cr_assert(eq(int, kill(pid, SIGTERM), 0));

	for (int fd = 0; fd >= 0;) {
		fd = dial();
		if (fd >= 0)
			(void)close(fd);
	}
	tell(kept, "GET /version HTTP/1.1\r\n\r\n");
	g_autofree char *last = hear(kept);
	cr_assert(ne(ptr, strstr(last, "Connection: close"), NULL), "%s", last);
	cr_assert(g_str_has_suffix(last, "\r\n\r\n2\n"), "%s", last);
	g_autofree char *answer = hear(slow);
	cr_assert(g_str_has_suffix(answer, "slow\n"), "%s", answer);
	int status = wait_for_end();
	cr_assert(eq(int, status, 0));
}
