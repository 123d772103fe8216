/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the parts of a cut and of a node's birth cost: one line each, microseconds, p50 and p99
 * of 100. Run by `meson test --benchmark`.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "network/diag.h"
#include "support/suite.h"
#include "world.h"

enum { ROUNDS = 100, NODES = 30 };

static uint64_t took[ROUNDS];
static DnFirewall *firewall;
static DnFirewallState *state;
static DnBalanced *web;

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static void report(const char *what)
{
	qsort(took, ROUNDS, sizeof(took[0]), compare);
	printf("%-44s p50 %8.1f  p99 %8.1f us\n", what, (double)took[ROUNDS / 2] / 1e3,
	       (double)took[ROUNDS * 99 / 100 - 1] / 1e3);
}

#define MEASURE(what_, act_)                                                                       \
	do {                                                                                       \
		for (int round = 0; round < ROUNDS; round++) {                                     \
			uint64_t start = dn_clock_monotonic_ns();                                  \
			act_;                                                                      \
			took[round] = dn_clock_monotonic_ns() - start;                             \
		}                                                                                  \
		report(what_);                                                                     \
	} while (0)

static void setup(void)
{
	g_autoptr(GError) error = NULL;

	world_begin();
	firewall = dn_firewall_new(&world_config, &error);
	world_must(firewall != NULL, &error);
	state = dn_firewall_state_new();
	web = dn_balanced_new(WORLD_VIP, 80);
	g_ptr_array_add(state->balanced, web);
	for (unsigned i = 0; i < NODES; i++) {
		g_autofree char *address = g_strdup_printf("10.77.0.%u", i + 1);
		g_autofree char *ifname = g_strdup_printf("dn%u", i);
		DnGuarded *guarded = dn_guarded_new(address, ifname);

		dn_guarded_allow(guarded, "192.0.2.0/24", 443, DN_PROTOCOL_TCP);
		g_ptr_array_add(state->guarded, guarded);
		dn_endpoints_add(web->local, address, 8080);
	}
	world_must(dn_firewall_apply(firewall, state, &error), &error);
}

static void teardown(void)
{
	dn_firewall_free(firewall);
	dn_firewall_state_free(state);
	world_end();
	dn_suite_end();
}

TestSuite(bench, .init = setup, .fini = teardown, .timeout = 120);

Test(bench, node_networks)
{
	g_autoptr(GError) error = NULL;
	DnNetworkSpec spec = {
		.node = "bench", .slot = 99, .address = {.v4 = (char *)"10.77.0.100"}};
	DnNetwork made = {.diag_fd = -1};
	uint64_t deleting[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t start = dn_clock_monotonic_ns();
		world_must(dn_network_create_now(&world_instance, &spec, &made, &error), &error);
		took[round] = dn_clock_monotonic_ns() - start;
		dn_network_close(&made);
		start = dn_clock_monotonic_ns();
		world_must(dn_network_delete_now(&world_instance, &spec, &error), &error);
		deleting[round] = dn_clock_monotonic_ns() - start;
	}
	report("create a node's network");
	memcpy(took, deleting, sizeof(took));
	report("delete a node's network");
}

Test(bench, transactions)
{
	g_autoptr(GError) error = NULL;
	dn_autofd int fd = dn_firewall_open_replay(&error);
	g_autoptr(GBytes) batch =
		dn_firewall_serialise_cut(firewall, state, "10.77.0.1", NULL, &error);
	const void *bytes = g_bytes_get_data(batch, NULL);

	MEASURE("serialise a cut, 30 endpoints", {
		GBytes *made =
			dn_firewall_serialise_cut(firewall, state, "10.77.0.1", NULL, &error);
		g_bytes_unref(made);
	});
	MEASURE("replay a cut",
		cr_assert(eq(int, dn_firewall_replay(fd, bytes, g_bytes_get_size(batch)), 0)));
	MEASURE("cut through libnftables",
		world_must(dn_firewall_cut(firewall, state, "10.77.0.1", NULL, &error), &error));
	MEASURE("apply a change of endpoints", {
		if ((round & 1) == 0)
			g_array_set_size(web->local, NODES - 1);
		else
			dn_endpoints_add(web->local, "10.77.0.30", 8080);
		world_must(dn_firewall_apply(firewall, state, &error), &error);
	});
	MEASURE("replace the table", {
		g_autoptr(DnFirewall) fresh = dn_firewall_new(&world_config, &error);
		world_must(dn_firewall_apply(fresh, state, &error), &error);
	});
}

Test(bench, dumps)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnDiag) diag = dn_diag_new(&error);
	WorldNode *node = world_node(99);
	world_held int listener = world_listen(node->ns_fd, 8080);
	dn_autofd int noise = world_udp(world_host_a, WORLD_HOST_A, 5000);
	int clients[32];

	for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
		clients[i] = world_dial(node->ns_fd, "127.0.0.1", 8080);
	MEASURE("dump 65 sockets", dn_diag_dump_sockets(diag, node->network.diag_fd));
	int from_host[32];
	for (size_t i = 0; i < G_N_ELEMENTS(from_host); i++)
		from_host[i] = world_dial(world_host_a, "10.77.0.100", 8080);
	dn_diag_dump_sockets(diag, node->network.diag_fd);
	MEASURE("look up the flows of 97 sockets", dn_diag_dump_flows(diag, "10.77.0.100"));
	MEASURE("sweep flows, hardly any", dn_diag_sweep_flows(diag, "10.77.0.100"));
	for (uint16_t port = 10000; port < 20000; port++)
		world_send_to(noise, WORLD_CLIENT, port, "x");
	MEASURE("sweep flows among 10,000 others", dn_diag_sweep_flows(diag, "10.77.0.100"));
	for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
		close(clients[i]);
		close(from_host[i]);
	}
}
