/* SPDX-License-Identifier: Apache-2.0 */

/* When a drain ends. The node is this process, with a connection to a port of its own. */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "main/agent.h"
#include "support/suite.h"

enum { LONG_MS = 60000, SHORT_MS = 300, LIMIT_S = 20, NOBODY = 0x7fffffff };

static Agent agent;
static Node node;
static DnManifest manifest;
static int listen_fd, client_fd, served_fd;

void dn_node_become(Node *self, DnNodeState state)
{
	self->state = state;
}

bool dn_balance_apply(Agent *self)
{
	return true;
}

void dn_agent_settle(Agent *self)
{
}

void dn_source_clear(GSource **source)
{
	if (*source != NULL)
		g_source_destroy(*source);
	g_clear_pointer(source, g_source_unref);
}

void dn_node_set_timer(Node *self, unsigned after_ms, GSourceFunc call)
{
	dn_source_clear(&self->timer);
	self->timer = g_timeout_source_new(after_ms);
	g_source_set_callback(self->timer, call, self, NULL);
	g_source_attach(self->timer, NULL);
}

static void setup(void)
{
	static char name[] = "n0";
	struct sockaddr_in here = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(here);
	DnListen listens = {0};

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, bind(listen_fd, (struct sockaddr *)&here, length), 0));
	cr_assert(eq(int, listen(listen_fd, 4), 0));
	cr_assert(eq(int, getsockname(listen_fd, (struct sockaddr *)&here, &length), 0));
	client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(eq(int, connect(client_fd, (struct sockaddr *)&here, length), 0));
	served_fd = accept(listen_fd, NULL, NULL);
	listens.port = ntohs(here.sin_port);
	manifest.listen = g_array_new(FALSE, FALSE, sizeof(DnListen));
	g_array_append_val(manifest.listen, listens);
	manifest.roll_drain_ms = LONG_MS;
	node = (Node){.agent = &agent, .id = name, .manifest = &manifest};
	node.container.pid = getpid();
	agent.slots[0] = &node;
}

static void hang_up(void)
{
	dn_fd_clear(&client_fd);
	dn_fd_clear(&served_fd);
}

static void teardown(void)
{
	hang_up();
	close(listen_fd);
	dn_source_clear(&node.timer);
	cr_assert(dn_work_is_done(&agent));
	for (int i = 0; i < 50; i++) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
	g_array_unref(manifest.listen);
	dn_suite_end();
}

TestSuite(drain, .init = setup, .fini = teardown, .timeout = 60);

static void run_for(unsigned ms)
{
	uint64_t end = dn_clock_monotonic_ns() + ms * DN_NS_PER_MS;

	while (node.drain_until_ns != 0 && dn_clock_monotonic_ns() < end) {
		(void)g_main_context_iteration(NULL, FALSE);
		g_usleep(1000);
	}
}

static void expect_end(void)
{
	run_for(LIMIT_S * 1000);
	cr_assert(zero(u64, node.drain_until_ns));
}

Test(drain, it_ends_when_nobody_balances_to_the_node_and_it_has_no_connection)
{
	dn_node_drain(&node);
	dn_node_dropped(&node);
	run_for(500);
	cr_assert(ne(u64, node.drain_until_ns, 0), "it has a connection");
	hang_up();
	expect_end();
}

Test(drain, it_goes_on_while_somebody_balances_to_the_node)
{
	hang_up();
	dn_node_drain(&node);
	run_for(500);
	cr_assert(ne(u64, node.drain_until_ns, 0));
	dn_node_dropped(&node);
	expect_end();
}

Test(drain, what_cannot_be_read_may_be_a_connection_until_the_time_is_up)
{
	hang_up();
	node.container.pid = NOBODY;
	manifest.roll_drain_ms = SHORT_MS;
	uint64_t begin = dn_clock_monotonic_ns();
	dn_node_drain(&node);
	dn_node_dropped(&node);
	expect_end();
	cr_assert(ge(u64, dn_clock_monotonic_ns() - begin, SHORT_MS * DN_NS_PER_MS));
}

Test(drain, what_a_look_found_of_one_drain_does_not_end_the_next)
{
	hang_up();
	dn_node_drain(&node);
	dn_node_dropped(&node);
	while (!node.counting)
		(void)g_main_context_iteration(NULL, TRUE);
	dn_node_drain(&node);
	/* All that keeps it is that the look which is out was begun for another drain. */
	node.dropped = true;
	while (node.counting)
		(void)g_main_context_iteration(NULL, TRUE);
	cr_assert(ne(u64, node.drain_until_ns, 0), "somebody balances to it again");
}
