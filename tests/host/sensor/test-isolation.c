/* SPDX-License-Identifier: Apache-2.0 */

/* A node that is marked in mode isolate serves what it declared, and begins nothing. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "network.h"
#include "support/suite.h"

static Host host;
static NetNode node;

static void setup(void)
{
	host_set_up(&host);
	net_node_set_up(&node, &host);
}

static void teardown(void)
{
	net_node_tear_down(&node);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(isolation, .init = setup, .fini = teardown, .timeout = 60);

static struct dn_sensor_mark mark(void)
{
	return *(struct dn_sensor_mark *)net_node_mark(&node);
}

/* What drift does to a node whose service has spent its budget. */
static void isolate(void)
{
	dn_sensor_set_mode(host.sensor, SLOT, DN_MODE_ISOLATE);
	net_node_cut(&node);
	cr_assert(dn_sensor_is_isolated(host.sensor, SLOT));
}

/* Does the service answer a client on @fd? */
static bool answers(int fd)
{
	for (int tries = 0; tries < 100; tries++) {
		net_node_tell(&node, 'w');
		if (net_receive(fd, 10) == 1)
			return true;
	}
	return false;
}

/* Is the connection that the node begins on @command made within @limit_ms? */
static bool reaches(int listener, char command, int limit_ms)
{
	struct pollfd readable = {listener, POLLIN, 0};

	net_node_tell(&node, command);
	if (poll(&readable, 1, limit_ms) == 0)
		return false;
	dn_autofd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return fd >= 0;
}

Test(isolation, clients_are_served_before_and_after_the_mark_on_old_and_new_connections)
{
	dn_autofd int before = -1, after = -1, v6 = -1;

	cr_assert(eq(int, net_connect(NODE_V4, DECLARED, &before), 0));
	cr_assert(answers(before));
	isolate();
	cr_assert(answers(before));
	cr_assert(eq(int, net_connect(NODE_V4, DECLARED, &after), 0));
	cr_assert(answers(after));
	cr_assert(eq(int, net_connect(NODE_V6, DECLARED, &v6), 0));
	cr_assert(answers(v6));
	cr_assert(gt(u64, mark().served, 0));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(isolation, a_declared_udp_port_answers_and_another_does_not)
{
	cr_assert(eq(int, net_ask(DECLARED_UDP, 1000), 1));
	cr_assert(eq(int, net_ask(UNDECLARED_UDP, 1000), 1));
	isolate();
	cr_assert(eq(int, net_ask(DECLARED_UDP, 1000), 1));
	cr_assert(eq(int, net_ask(UNDECLARED_UDP, 200), -EAGAIN));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(isolation, no_connection_that_the_node_begins_comes_about)
{
	dn_autofd int listener = net_tcp_listener();

	cr_assert(reaches(listener, 'c', 2000));
	isolate();
	uint64_t drops = mark().drops[DN_PATH_CGROUP_OUT];
	cr_assert(not(reaches(listener, 'c', 300)));
	cr_assert(gt(u64, mark().drops[DN_PATH_CGROUP_OUT], drops));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(isolation, no_connection_from_the_declared_port_comes_about_either)
{
	dn_autofd int listener = net_tcp_listener();

	isolate();
	cr_assert(not(reaches(listener, 's', 300)));
	cr_assert(gt(u64, mark().drops[DN_PATH_CGROUP_OUT], 0));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(isolation, a_declared_port_can_be_connected_from_without_a_mark)
{
	dn_autofd int listener = net_tcp_listener();

	cr_assert(reaches(listener, 's', 2000));
}

Test(isolation, datagrams_from_other_ports_do_not_arrive)
{
	dn_autofd int udp = net_udp_socket();

	isolate();
	net_node_tell(&node, 'u');
	cr_assert(eq(int, net_receive(udp, 200), -EAGAIN));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}

Test(isolation, an_undeclared_port_is_closed_at_once)
{
	dn_autofd int open = -1, fd = -1;

	cr_assert(eq(int, net_connect(NODE_V4, UNDECLARED, &open), 0));
	isolate();
	cr_assert(eq(int, net_connect(NODE_V4, UNDECLARED, &fd), ECONNREFUSED));
}

Test(isolation, it_ends_with_the_next_packet_and_does_not_come_back)
{
	dn_autofd int fd = -1, late = -1;

	isolate();
	cr_assert(eq(int, net_connect(NODE_V4, DECLARED, &fd), 0));
	cr_assert(answers(fd));
	while (net_receive(fd, 20) == 1)
		continue;
	dn_sensor_end_isolation(host.sensor, SLOT);
	net_node_tell(&node, 'w');
	cr_assert(eq(int, net_receive(fd, 100), -EAGAIN));
	cr_assert(eq(int, net_connect(NODE_V4, DECLARED, &late), ECONNREFUSED));
	dn_sensor_set_mode(host.sensor, SLOT, DN_MODE_ISOLATE);
	cr_assert(not(dn_sensor_is_isolated(host.sensor, SLOT)));
	cr_assert(eq(u64, mark().packets_after_cut, 0));
}
