/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Balancer and node firewall as clients, nodes and hosts feel them. Nodes listen on 8080, which
 * is declared, and on 9090, which is not.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "network/diag.h"
#include "network/netns.h"
#include "support/suite.h"
#include "world.h"

enum { NODES = 3 };

static DnFirewall *firewall;
static DnFirewallState *state;
static DnBalanced *web;
static GArray *listen_web;
static WorldNode *node[NODES];
static DnGuarded *guarded[NODES];
static int declared[NODES], undeclared[NODES];

static void apply(void)
{
	g_autoptr(GError) error = NULL;

	world_must(dn_firewall_apply(firewall, state, &error), &error);
}

static void setup(void)
{
	g_autoptr(GError) error = NULL;
	DnListen listen = {.port = 8080, .expose = 80};

	world_begin();
	firewall = dn_firewall_new(&world_config, &error);
	world_must(firewall != NULL, &error);
	state = dn_firewall_state_new();
	listen_web = g_array_new(FALSE, TRUE, sizeof(DnListen));
	g_array_append_val(listen_web, listen);
	web = dn_balanced_new(WORLD_VIP, 80);
	g_ptr_array_add(state->balanced, web);
	for (unsigned i = 0; i < NODES; i++) {
		node[i] = world_node(i);
		guarded[i] = dn_guarded_new(node[i]->spec.address.v4, node[i]->network.ifname);
		guarded[i]->listen = listen_web;
		g_ptr_array_add(state->guarded, guarded[i]);
		dn_endpoints_add(web->local, node[i]->spec.address.v4, 8080);
		declared[i] = world_listen(node[i]->ns_fd, 8080);
		undeclared[i] = world_listen(node[i]->ns_fd, 9090);
	}
	apply();
}

static void teardown(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		dn_fd_clear(&declared[i]);
		dn_fd_clear(&undeclared[i]);
	}
	dn_firewall_free(firewall);
	dn_firewall_state_free(state);
	g_array_unref(listen_web);
	world_end();
	dn_suite_end();
}

TestSuite(firewall, .init = setup, .fini = teardown, .timeout = 60);

/* How many connections wait at a listener; they are closed. */
static unsigned count(int listener)
{
	unsigned n = 0;

	for (int fd; (fd = world_accept(listener, NULL)) >= 0; n++)
		close(fd);
	return n;
}

static void expect_dial(int ns_fd, const char *address, uint16_t port, int wanted)
{
	dn_autofd int fd = world_dial(ns_fd, address, port);

	if (wanted == 0)
		cr_assert(ge(int, fd, 0), "%s:%u: %s", address, port, g_strerror(-fd));
	else
		cr_assert(eq(int, fd, -wanted), "%s:%u", address, port);
}

Test(firewall, a_vip_spreads_connections_evenly)
{
	int fds[30];

	for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
		fds[i] = world_dial(world_client, WORLD_VIP, 80);
		cr_assert(ge(int, fds[i], 0), "%s", g_strerror(-fds[i]));
	}
	for (unsigned i = 0; i < NODES; i++)
		cr_assert(eq(u32, count(declared[i]), 10));
	for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
		close(fds[i]);
}

Test(firewall, an_old_connection_outlives_its_nodes_removal_from_the_balancer)
{
	char buffer[16], peer[16];
	world_held int client = world_dial(world_client, WORLD_VIP, 80);
	dn_autofd int server = world_accept(declared[0], peer);

	cr_assert(ge(int, server, 0));
	cr_assert_str_eq(peer, WORLD_CLIENT, "a local node sees the client's address");
	g_array_remove_index(web->local, 0);
	apply();
	cr_assert(eq(int, (int)send(client, "old", 3, MSG_NOSIGNAL), 3));
	cr_assert(eq(int, world_read(server, buffer, sizeof(buffer)), 3));
	for (unsigned i = 0; i < 4; i++)
		expect_dial(world_client, WORLD_VIP, 80, 0);
	cr_assert(eq(u32, count(declared[0]), 0));
	cr_assert(eq(u32, count(declared[1]), 2));
}

Test(firewall, a_vip_without_nodes_refuses_at_once)
{
	g_array_set_size(web->local, 0);
	apply();
	expect_dial(world_client, WORLD_VIP, 80, ECONNREFUSED);
	expect_dial(world_host_a, WORLD_VIP, 80, ECONNREFUSED);
}

/* The node whose socket a datagram has come to, or -1. */
static int who_got_it(const int *sockets)
{
	for (unsigned round = 0; round < 100; round++) {
		for (int i = 0; i < NODES; i++) {
			char text[16];

			if (recv(sockets[i], text, sizeof(text), MSG_DONTWAIT) > 0)
				return i;
		}
		g_usleep(1000);
	}
	return -1;
}

Test(firewall, a_client_of_udp_keeps_its_node_until_its_entry_is_forgotten)
{
	DnListen datagrams = {.port = 5353, .expose = 53, .protocol = DN_PROTOCOL_UDP};
	DnBalanced *dns = dn_balanced_new(WORLD_VIP, 53);
	g_autoptr(GError) error = NULL;
	int sockets[NODES];

	dns->protocol = DN_PROTOCOL_UDP;
	g_array_append_val(listen_web, datagrams);
	g_ptr_array_add(state->balanced, dns);
	for (unsigned i = 0; i < NODES; i++) {
		dn_endpoints_add(dns->local, node[i]->spec.address.v4, 5353);
		sockets[i] = world_udp(node[i]->ns_fd, "0.0.0.0", 5353);
	}
	apply();
	dn_autofd int client = world_udp(world_client, WORLD_CLIENT, 5000);
	cr_assert(world_send_to(client, WORLD_VIP, 53, "1"));
	int first = who_got_it(sockets);
	cr_assert(ge(int, first, 0), "no node got it");

	/* It leaves the balancer, and the client goes on asking it. */
	g_array_remove_index(dns->local, (guint)first);
	apply();
	cr_assert(world_send_to(client, WORLD_VIP, 53, "2"));
	cr_assert(eq(int, who_got_it(sockets), first));

	world_must(dn_diag_forget_udp_clients(node[first]->spec.address.v4, &error), &error);
	cr_assert(world_send_to(client, WORLD_VIP, 53, "3"));
	int second = who_got_it(sockets);
	cr_assert(second >= 0 && second != first, "%d after %d", second, first);
	for (unsigned i = 0; i < NODES; i++)
		dn_fd_clear(&sockets[i]);
}

Test(firewall, a_port_or_vip_that_nobody_exposes_is_refused_at_once)
{
	expect_dial(world_client, WORLD_VIP, 81, ECONNREFUSED);
	expect_dial(world_client, "10.99.7.7", 80, ECONNREFUSED);
}

Test(firewall, the_host_itself_reaches_vips_and_nodes)
{
	expect_dial(world_host_a, WORLD_VIP, 80, 0);
	expect_dial(world_host_a, node[1]->spec.address.v4, 8080, 0);
}

Test(firewall, a_published_port_answers_on_the_hosts_own_address)
{
	expect_dial(world_client, WORLD_HOST_A, 80, ECONNREFUSED);
	web->publish_host = true;
	apply();
	expect_dial(world_client, WORLD_HOST_A, 80, 0);
	expect_dial(world_host_a, WORLD_HOST_A, 80, 0);
	cr_assert(eq(u32, count(declared[0]) + count(declared[1]) + count(declared[2]), 2));
	expect_dial(world_host_a, "127.0.0.1", 80, ECONNREFUSED);
}

Test(firewall, only_declared_ports_of_a_node_are_reachable)
{
	expect_dial(world_client, node[0]->spec.address.v4, 8080, 0);
	expect_dial(world_client, node[0]->spec.address.v4, 9090, ECONNREFUSED);
	expect_dial(node[1]->ns_fd, node[0]->spec.address.v4, 9090, ECONNREFUSED);
	cr_assert(eq(u32, count(undeclared[0]), 0));
}

Test(firewall, a_node_opens_nothing_it_did_not_declare)
{
	world_held int listener = world_listen(world_client, 443);
	world_held int datagrams = world_udp(world_client, WORLD_CLIENT, 53);
	dn_autofd int sender = world_udp(node[0]->ns_fd, node[0]->spec.address.v4, 5000);

	expect_dial(node[0]->ns_fd, WORLD_CLIENT, 443, ECONNREFUSED);
	expect_dial(node[0]->ns_fd, WORLD_VIP, 80, ECONNREFUSED);
	expect_dial(node[0]->ns_fd, node[1]->spec.address.v4, 8080, ECONNREFUSED);
	cr_assert(world_send_to(sender, WORLD_CLIENT, 53, "exfiltrate"));
	cr_assert(world_is_silent(datagrams));
	cr_assert(eq(u32, count(listener), 0));
}

Test(firewall, declared_egress_opens_that_range_port_and_protocol_only)
{
	world_held int listener = world_listen(world_client, 443);
	world_held int other = world_listen(world_client, 444);
	world_held int datagrams = world_udp(world_client, WORLD_CLIENT, 443);
	dn_autofd int sender = world_udp(node[0]->ns_fd, node[0]->spec.address.v4, 5000);
	char peer[16];

	/* Overlapping ranges are ordinary. */
	dn_guarded_allow(guarded[0], "10.88.0.0/30", 443, DN_PROTOCOL_TCP);
	dn_guarded_allow(guarded[0], "10.88.0.2/32", 443, DN_PROTOCOL_TCP);
	dn_guarded_allow(guarded[0], "2001:db8::/32", 0, DN_PROTOCOL_TCP);
	apply();
	expect_dial(node[0]->ns_fd, WORLD_CLIENT, 443, 0);
	dn_autofd int accepted = world_accept(listener, peer);
	cr_assert(ge(int, accepted, 0));
	cr_assert_str_eq(peer, WORLD_HOST_A, "nobody outside has a route to nodes");
	expect_dial(node[0]->ns_fd, WORLD_CLIENT, 444, ECONNREFUSED);
	expect_dial(node[0]->ns_fd, WORLD_HOST_B, 443, ECONNREFUSED);
	expect_dial(node[1]->ns_fd, WORLD_CLIENT, 443, ECONNREFUSED);
	cr_assert(world_send_to(sender, WORLD_CLIENT, 443, "wrong protocol"));
	cr_assert(world_is_silent(datagrams));
}

Test(firewall, no_declared_range_reaches_link_local_addresses)
{
	g_free(world_sh(world_client, "ip addr add 169.254.169.254/32 dev lo"));
	g_free(world_sh(world_host_a, "ip route add 169.254.169.254/32 via " WORLD_CLIENT));
	world_held int listener = world_listen(world_client, 80);

	dn_guarded_allow(guarded[0], "0.0.0.0/0", 80, DN_PROTOCOL_TCP);
	apply();
	expect_dial(node[0]->ns_fd, WORLD_CLIENT, 80, 0);
	expect_dial(world_host_a, "169.254.169.254", 80, 0);
	expect_dial(node[0]->ns_fd, "169.254.169.254", 80, ECONNREFUSED);
}

Test(firewall, egress_to_a_service_is_judged_by_its_vip)
{
	dn_guarded_allow(guarded[0], WORLD_VIP "/32", 80, DN_PROTOCOL_TCP);
	apply();
	expect_dial(node[0]->ns_fd, node[1]->spec.address.v4, 8080, ECONNREFUSED);
	/* Three in turn: itself and both others. */
	for (unsigned i = 0; i < NODES; i++)
		expect_dial(node[0]->ns_fd, WORLD_VIP, 80, 0);
	for (unsigned i = 0; i < NODES; i++)
		cr_assert(eq(u32, count(declared[i]), 1));
}

Test(firewall, a_right_that_is_taken_away_is_gone)
{
	world_held int listener = world_listen(world_client, 443);

	dn_guarded_allow(guarded[0], "0.0.0.0/0", 0, DN_PROTOCOL_TCP);
	apply();
	expect_dial(node[0]->ns_fd, WORLD_CLIENT, 443, 0);
	g_array_set_size(guarded[0]->egress, 0);
	apply();
	expect_dial(node[0]->ns_fd, WORLD_CLIENT, 443, ECONNREFUSED);
}

Test(firewall, a_node_never_reaches_the_hosts_own_addresses)
{
	world_held int listener = world_listen(world_host_a, 22);

	dn_guarded_allow(guarded[0], "0.0.0.0/0", 0, DN_PROTOCOL_TCP);
	apply();
	expect_dial(node[0]->ns_fd, WORLD_HOST_A, 22, ECONNREFUSED);
	expect_dial(node[0]->ns_fd, "169.254.1.1", 22, ECONNREFUSED);
	cr_assert(eq(u32, count(listener), 0));
}

Test(firewall, a_packet_with_another_source_address_is_dropped)
{
	world_held int datagrams = world_udp(world_client, WORLD_CLIENT, 53);

	dn_guarded_allow(guarded[0], "0.0.0.0/0", 0, DN_PROTOCOL_UDP);
	dn_guarded_allow(guarded[1], "0.0.0.0/0", 0, DN_PROTOCOL_UDP);
	apply();
	dn_autofd int honest = world_udp(node[0]->ns_fd, node[0]->spec.address.v4, 5000);
	cr_assert(world_send_to(honest, WORLD_CLIENT, 53, "honest"));
	char buffer[16];
	cr_assert(eq(int, world_read(datagrams, buffer, sizeof(buffer)), 6));

	/* Another node's address: it has the right, this one has not its interface. */
	g_free(world_sh(node[0]->ns_fd, "ip addr add 10.77.0.2/32 dev lo"));
	dn_autofd int spoofed = world_udp(node[0]->ns_fd, "10.77.0.2", 5001);
	cr_assert(world_send_to(spoofed, WORLD_CLIENT, 53, "spoofed"));
	cr_assert(world_is_silent(datagrams));
}

Test(firewall, a_node_that_was_not_applied_has_no_network)
{
	WorldNode *unknown = world_node(20);
	world_held int listener = world_listen(unknown->ns_fd, 8080);
	world_held int datagrams = world_udp(world_client, WORLD_CLIENT, 53);
	dn_autofd int sender = world_udp(unknown->ns_fd, unknown->spec.address.v4, 5000);

	expect_dial(world_client, unknown->spec.address.v4, 8080, ECONNREFUSED);
	cr_assert(world_send_to(sender, WORLD_CLIENT, 53, "early"));
	cr_assert(world_is_silent(datagrams));
	cr_assert(eq(u32, count(listener), 0));
}

/* Host B, with one node of its own, in its own namespace. */
static const DnInstance instance_b = {.name = (char *)"dntb", .uplink = (char *)"up0"};
static const DnNetworkSpec spec_b = {
	.node = "far", .slot = 0, .address = {.v4 = (char *)"10.77.1.1"}};
static DnNetwork network_b = {.diag_fd = -1};
static DnFirewall *firewall_b;
static DnFirewallState *state_b;

static bool begin_host_b(void *data, GError **error)
{
	DnGuarded *far = dn_guarded_new("10.77.1.1", "dn0");

	far->listen = listen_web;
	state_b = dn_firewall_state_new();
	g_ptr_array_add(state_b->guarded, far);
	if (!dn_netns_enter(world_host_b, error) || !dn_network_prepare_host(&instance_b, error) ||
	    !dn_network_create_now(&instance_b, &spec_b, &network_b, error))
		return false;
	firewall_b = dn_firewall_new(&world_config, error);
	return firewall_b != NULL && dn_firewall_apply(firewall_b, state_b, error);
}

static bool end_host_b(void *data, GError **error)
{
	dn_firewall_free(firewall_b);
	dn_firewall_state_free(state_b);
	dn_network_close(&network_b);
	return dn_netns_enter(world_host_b, error) &&
	       dn_network_delete_now(&instance_b, &spec_b, error);
}

Test(firewall, a_vip_leads_to_another_host_when_no_local_node_is_left)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) routes = g_ptr_array_new();
	DnHostRoute route = {(char *)"10.77.1.0/24", (char *)WORLD_HOST_B};
	char peer[16];

	world_must(dn_netns_run(begin_host_b, NULL, &error), &error);
	g_ptr_array_add(routes, &route);
	world_must(dn_network_set_routes_now(routes, &error), &error);
	int far_ns = open("/run/netns/dntb-far", O_RDONLY | O_CLOEXEC);
	int far = world_listen(far_ns, 8080);
	dn_endpoints_add(web->remote, "10.77.1.1", 8080);
	apply();
	expect_dial(world_client, WORLD_VIP, 80, 0);
	cr_assert(eq(u32, count(far), 0), "a local node comes first");

	g_array_set_size(web->local, 0);
	dn_guarded_allow(guarded[0], WORLD_VIP "/32", 80, DN_PROTOCOL_TCP);
	apply();
	expect_dial(world_client, WORLD_VIP, 80, 0);
	dn_autofd int accepted = world_accept(far, peer);
	cr_assert(ge(int, accepted, 0));
	cr_assert_str_eq(peer, WORLD_HOST_A, "or the answer would go past host A");
	expect_dial(node[0]->ns_fd, WORLD_VIP, 80, 0);
	expect_dial(world_host_a, WORLD_VIP, 80, 0);
	close(far);
	close(far_ns);
	world_must(dn_netns_run(end_host_b, NULL, &error), &error);
}

Test(firewall, what_nft_must_not_be_shown_is_refused)
{
	static const char *const addresses[] = {"10.77.0.1; flush ruleset", "", "::1", "10.77.0"};
	static const char *const names[] = {"eth0", "dn0\" accept", "dn012345678901234", ""};

	for (size_t i = 0; i < G_N_ELEMENTS(addresses) + G_N_ELEMENTS(names); i++) {
		g_autoptr(DnFirewallState) bad = dn_firewall_state_new();
		g_autoptr(GError) error = NULL;
		bool is_name = i >= G_N_ELEMENTS(addresses);
		const char *name = is_name ? names[i - G_N_ELEMENTS(addresses)] : "dn0";

		g_ptr_array_add(bad->guarded,
				dn_guarded_new(is_name ? "10.77.0.1" : addresses[i], name));
		cr_assert(not(dn_firewall_apply(firewall, bad, &error)));
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID), "%s", error->message);
	}
}
