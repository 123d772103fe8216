/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "support/suite.h"
#include "unit/link/ends.h"

/* How long after the last packet both ends must know; the kernel checks about every other second.
 */
#define KNOWN_WITHIN_US (15 * G_USEC_PER_SEC)

static ServerEnd server;
static ClientEnd client;

static void teardown(void)
{
	client_end_clear(&client);
	server_end_clear(&server);
	dn_suite_end();
}

TestSuite(dead_peer, .fini = teardown, .timeout = 60);

static void set_loopback(bool up)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = (short)(up ? IFF_UP : 0)};
	dn_autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert(eq(int, ioctl(fd, SIOCSIFFLAGS, &request), 0), "%s", g_strerror(errno));
}

/* A network of this test process alone, which goes with it, and a link in it. */
static void connect_alone(void)
{
	cr_assert(eq(int, unshare(CLONE_NEWNET), 0), "%s", g_strerror(errno));
	set_loopback(true);
	server_end_init(&server, (DnLinkConfig){0});
	client_end_init(&client, &server, (DnLinkClientConfig){.is_once = true});
	run_until(client.connected == 1 && server.opened == 1);
	/* Let the handshake's last packets be acknowledged. */
	client_end_send(&client, "x");
	run_until(server.frames == 1);
	run_for_ms(100);
}

static void lose_the_network_and_wait(void)
{
	gint64 begin = g_get_monotonic_time();

	set_loopback(false);
	while (client.closed == 0 || server.closed == 0) {
		run_once();
		cr_assert(lt(long, g_get_monotonic_time() - begin, KNOWN_WITHIN_US),
			  "client %u, server %u", client.closed, server.closed);
	}
	cr_assert(eq(int, client.code, DN_ERROR_UNAVAILABLE), "%s", client.reason);
	cr_assert(eq(int, server.code, DN_ERROR_UNAVAILABLE), "%s", server.reason);
}

Test(dead_peer, both_ends_of_an_idle_link_notice_that_the_other_is_gone)
{
	connect_alone();
	lose_the_network_and_wait();
}

Test(dead_peer, an_end_that_is_sending_notices_that_the_other_is_gone)
{
	g_autofree char *text = g_strnfill(100000, 'x');
	g_autoptr(GBytes) frame = g_bytes_new(text, 100000);

	connect_alone();
	set_loopback(false);
	cr_assert(dn_link_client_send(client.client, frame));
	lose_the_network_and_wait();
}
