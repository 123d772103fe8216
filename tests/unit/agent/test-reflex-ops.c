/* SPDX-License-Identifier: Apache-2.0 */

/* The probe of a created standby, as the reflex thread asks for it. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "main/side.h"
#include "support/suite.h"

/* What one step costs at most: far more than it does, and less than its timeout. */
enum { SLOT = 3, TIMEOUT_MS = 2000, STEP_MS = 500, LIMIT_S = 10 };

static struct ReflexSide side;
static Agent agent = {.side = &side};
static DnReflexOps ops;
static int listen_fd, accepted_fd;

static void setup(void)
{
	static char path[] = "/healthz";
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(here);

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, bind(listen_fd, (struct sockaddr *)&here, length), 0));
	cr_assert(eq(int, listen(listen_fd, 4), 0));
	cr_assert(eq(int, getsockname(listen_fd, (struct sockaddr *)&here, &length), 0));
	ops = dn_reflex_ops();
	g_mutex_init(&side.probes);
	side.slots[SLOT].health =
		(DnHealthPolicy){.kind = DN_PROBE_HTTP, .path = path, .timeout_ms = TIMEOUT_MS};
	side.slots[SLOT].health_port = ntohs(here.sin_port);
	g_strlcpy(side.slots[SLOT].address, "127.0.0.1", sizeof(side.slots[SLOT].address));
}

static void teardown(void)
{
	close(listen_fd);
	g_mutex_clear(&side.probes);
	dn_suite_end();
}

TestSuite(reflex_ops, .init = setup, .fini = teardown, .timeout = 60);

static bool ask(struct pollfd *wanted)
{
	uint64_t begin = dn_clock_monotonic_ns();

	*wanted = (struct pollfd){.fd = -1};
	bool answered = ops.answers(&agent, SLOT, wanted);
	cr_assert(lt(u64, dn_clock_monotonic_ns() - begin, STEP_MS * DN_NS_PER_MS));
	return answered;
}

/* The standby accepts, and takes the request. */
static void accept_probe(void)
{
	struct pollfd wanted;
	char request[512];

	cr_assert(not(ask(&wanted)));
	cr_assert(ge(int, wanted.fd, 0));
	accepted_fd = accept(listen_fd, NULL, NULL);
	cr_assert(ge(int, accepted_fd, 0));
	cr_assert(not(ask(&wanted)));
	cr_assert(gt(i64, recv(accepted_fd, request, sizeof(request), 0), 0));
}

Test(reflex_ops, a_standby_that_accepts_and_does_not_answer_is_not_waited_for)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n";
	struct pollfd wanted;

	accept_probe();
	cr_assert(not(ask(&wanted)));
	cr_assert(not(ask(&wanted)));
	cr_assert(eq(i64, send(accepted_fd, ok, sizeof(ok) - 1, 0), sizeof(ok) - 1));
	cr_assert(eq(int, poll(&wanted, 1, LIMIT_S * 1000), 1));
	cr_assert(ask(&wanted));
	close(accepted_fd);
}

Test(reflex_ops, a_probe_that_is_given_up_is_closed)
{
	char byte;

	accept_probe();
	ops.give_up(&agent, SLOT);
	cr_assert(zero(i64, recv(accepted_fd, &byte, 1, 0)));
	ops.give_up(&agent, SLOT);
	close(accepted_fd);
}

Test(reflex_ops, a_standby_that_has_gone_answers_nothing)
{
	struct pollfd wanted;

	side.slots[SLOT].address[0] = '\0';
	side.slots[SLOT].health = (DnHealthPolicy){0};
	cr_assert(not(ask(&wanted)));
	cr_assert(lt(int, wanted.fd, 0));
}
