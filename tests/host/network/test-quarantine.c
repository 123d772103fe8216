/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A node is cut off: three ways to do it must be felt alike, and the exemption for resets must
 * let resets out and nothing else.
 */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "network/diag.h"
#include "support/suite.h"
#include "world.h"

static DnFirewall *firewall;
static DnFirewallState *state;
static DnBalanced *web;
static DnGuarded *guarded[2];
static GArray *listen_web;
static WorldNode *victim, *other;
static int victim_listener = -1, other_listener = -1, replay_fd = -1;

#define VICTIM "10.77.0.1"
#define OTHER "10.77.0.2"

static const uint16_t ports[] = {8080};

static void setup(void)
{
	g_autoptr(GError) error = NULL;
	DnListen listen = {.port = 8080, .expose = 80};

	world_begin();
	firewall = dn_firewall_new(&world_config, &error);
	world_must(firewall != NULL, &error);
	replay_fd = dn_firewall_open_replay(&error);
	world_must(replay_fd >= 0, &error);
	victim = world_node(0);
	other = world_node(1);
	victim_listener = world_listen(victim->ns_fd, 8080);
	other_listener = world_listen(other->ns_fd, 8080);
	listen_web = g_array_new(FALSE, TRUE, sizeof(DnListen));
	g_array_append_val(listen_web, listen);
	state = dn_firewall_state_new();
	web = dn_balanced_new(WORLD_VIP, 80);
	dn_endpoints_add(web->local, VICTIM, 8080);
	g_ptr_array_add(state->balanced, web);
	for (unsigned i = 0; i < 2; i++) {
		guarded[i] = dn_guarded_new(i == 0 ? VICTIM : OTHER, i == 0 ? "dn0" : "dn1");
		guarded[i]->listen = listen_web;
		dn_guarded_allow(guarded[i], "10.88.0.0/24", 0, DN_PROTOCOL_TCP);
		dn_guarded_allow(guarded[i], "10.88.0.0/24", 0, DN_PROTOCOL_UDP);
		g_ptr_array_add(state->guarded, guarded[i]);
	}
	world_must(dn_firewall_apply(firewall, state, &error), &error);
}

static void teardown(void)
{
	dn_fd_clear(&victim_listener);
	dn_fd_clear(&other_listener);
	dn_fd_clear(&replay_fd);
	dn_firewall_free(firewall);
	dn_firewall_state_free(state);
	g_array_unref(listen_web);
	world_end();
	dn_suite_end();
}

TestSuite(quarantine, .init = setup, .fini = teardown, .timeout = 60);

static void replay(GBytes *batch)
{
	size_t size = 0;
	const void *bytes = g_bytes_get_data(batch, &size);

	cr_assert(eq(int, dn_firewall_replay(replay_fd, bytes, size), 0));
}

static void cut_by_replay(const char *standby)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) batch =
		dn_firewall_serialise_cut(firewall, state, VICTIM, standby, &error);

	world_must(batch != NULL, &error);
	replay(batch);
}

static void cut_by_library(const char *standby)
{
	g_autoptr(GError) error = NULL;

	world_must(dn_firewall_cut(firewall, state, VICTIM, standby, &error), &error);
}

static void cut_by_state(const char *standby)
{
	g_autoptr(GError) error = NULL;

	guarded[0]->quarantined = true;
	if (standby != NULL)
		dn_endpoints_add(web->local, standby, 8080);
	world_must(dn_firewall_apply(firewall, state, &error), &error);
}

static void window(bool open)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) batch =
		dn_firewall_serialise_window(firewall, VICTIM, ports, 1, open, &error);

	world_must(batch != NULL, &error);
	replay(batch);
}

typedef struct {
	int client, server;    /* a connection of a client to the node */
	int node_end, outside; /* a connection that the node opened */
} Connections;

static Connections connect_both_ways(void)
{
	Connections made;
	int listener = world_listen(world_client, 443);

	made.client = world_dial(world_client, WORLD_VIP, 80);
	made.server = world_accept(victim_listener, NULL);
	made.node_end = world_dial(victim->ns_fd, WORLD_CLIENT, 443);
	made.outside = world_accept(listener, NULL);
	cr_assert(made.client >= 0 && made.server >= 0 && made.node_end >= 0 && made.outside >= 0);
	close(listener);
	return made;
}

static void disconnect(const Connections *made)
{
	close(made->client);
	close(made->server);
	close(made->node_end);
	close(made->outside);
}

static void expect_nothing_passes(const Connections *made)
{
	char buffer[16];
	int datagrams = world_udp(world_client, WORLD_CLIENT, 53);
	int sender = world_udp(victim->ns_fd, VICTIM, 8080);

	cr_assert(eq(int, (int)send(made->server, "leak", 4, MSG_NOSIGNAL), 4));
	cr_assert(eq(int, (int)send(made->node_end, "leak", 4, MSG_NOSIGNAL), 4));
	world_send_to(sender, WORLD_CLIENT, 53, "leak");
	cr_assert(world_is_silent(made->client));
	cr_assert(world_is_silent(made->outside));
	cr_assert(world_is_silent(datagrams));
	cr_assert(eq(int, world_dial(victim->ns_fd, WORLD_CLIENT, 443), -ETIMEDOUT));

	/* Inwards: whoever speaks is told at once, and the node hears nothing of it. */
	cr_assert(eq(int, (int)send(made->client, "ask", 3, MSG_NOSIGNAL), 3));
	cr_assert(eq(int, world_read(made->client, buffer, sizeof(buffer)), -ECONNRESET));
	cr_assert(world_is_silent(made->server));
	cr_assert(eq(int, world_dial(world_client, VICTIM, 8080), -ECONNREFUSED));
	cr_assert(eq(int, world_dial(world_host_a, VICTIM, 8080), -ECONNREFUSED));
	cr_assert(world_send_to(datagrams, VICTIM, 8080, "ask"));
	cr_assert(world_is_silent(sender));
	close(datagrams);
	close(sender);
}

static void expect_cut(void (*cut)(const char *standby))
{
	Connections made = connect_both_ways();

	cut(NULL);
	expect_nothing_passes(&made);
	cr_assert(eq(int, world_dial(world_client, WORLD_VIP, 80), -ECONNREFUSED));
	disconnect(&made);
}

Test(quarantine, a_replayed_batch_cuts_both_directions_and_tells_clients)
{
	expect_cut(cut_by_replay);
}

Test(quarantine, a_cut_through_libnftables_cuts_the_same)
{
	expect_cut(cut_by_library);
}

Test(quarantine, a_quarantined_node_in_the_state_is_cut_the_same)
{
	expect_cut(cut_by_state);
}

static void expect_standby(void (*cut)(const char *standby))
{
	int dialled[3];

	cut(OTHER);
	for (size_t i = 0; i < G_N_ELEMENTS(dialled); i++) {
		dialled[i] = world_dial(world_client, WORLD_VIP, 80);
		cr_assert(ge(int, dialled[i], 0), "%s", g_strerror(-dialled[i]));
		dn_autofd int accepted = world_accept(other_listener, NULL);
		cr_assert(ge(int, accepted, 0));
		close(dialled[i]);
	}
	cr_assert(eq(int, world_accept(victim_listener, NULL), -1));
}

Test(quarantine, the_standby_answers_after_a_replay)
{
	expect_standby(cut_by_replay);
}

Test(quarantine, the_standby_answers_after_a_cut_through_libnftables)
{
	expect_standby(cut_by_library);
}

Test(quarantine, a_later_state_keeps_the_cut_that_was_replayed)
{
	Connections made = connect_both_ways();
	g_autoptr(GError) error = NULL;

	cut_by_replay(OTHER);
	/* What main applies next: it has not heard of the cut yet, and changes something else. */
	dn_endpoints_add(web->remote, "10.77.1.1", 8080);
	g_ptr_array_add(state->guarded, dn_guarded_new("10.77.0.9", "dn8"));
	world_must(dn_firewall_apply(firewall, state, &error), &error);
	expect_nothing_passes(&made);
	disconnect(&made);
}

Test(quarantine, idle_clients_are_reset_through_the_window)
{
	Connections made = connect_both_ways();
	g_autoptr(GError) error = NULL;
	g_autoptr(DnDiag) diag = dn_diag_new(&error);
	char buffer[16];

	world_must(diag != NULL, &error);
	cut_by_replay(NULL);
	cr_assert(ge(int, dn_diag_dump_sockets(diag, victim->network.diag_fd), 3));
	window(true);
	cr_assert(eq(int, dn_diag_destroy_accepted(diag, victim->network.diag_fd, ports, 1), 1));
	window(false);
	cr_assert(eq(int, world_read(made.client, buffer, sizeof(buffer)), -ECONNRESET));
	/* What the node opened stays as evidence, cut off. */
	cr_assert(world_is_silent(made.outside));
	cr_assert(eq(int, (int)send(made.node_end, "leak", 4, MSG_NOSIGNAL), 4));
	cr_assert(world_is_silent(made.outside));
	disconnect(&made);
}

/* A TCP header from the node's @port, and @payload bytes behind it, as a raw packet. */
static void send_raw(uint16_t port, uint8_t flags, size_t payload)
{
	char command[512];

	g_snprintf(command, sizeof(command),
		   "/usr/bin/python3 -c 'import socket, struct; "
		   "s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP); "
		   "s.sendto(struct.pack(\"!HHIIBBHHH\", %u, 7777, 1, 1, 0x50, %u, 0, 0, 0) + "
		   "bytes(%zu), (\"" WORLD_CLIENT "\", 0))'",
		   port, flags, payload);
	g_free(world_sh(victim->ns_fd, command));
}

/* A socket in the client's namespace that sees every TCP packet that comes in. */
static bool arrives(int listener)
{
	struct {
		uint8_t ip[20];
		struct tcphdr tcp;
		uint8_t rest[256];
	} packet;

	while (!world_is_silent(listener))
		if (recv(listener, &packet, sizeof(packet), 0) >= 40 &&
		    ntohs(packet.tcp.dest) == 7777)
			return true;
	return false;
}

Test(quarantine, the_window_lets_out_bare_resets_of_declared_ports_only)
{
	int sniffer = world_raw_tcp(world_client);

	cut_by_replay(NULL);
	send_raw(8080, TH_RST | TH_ACK, 0);
	cr_assert(not(arrives(sniffer)), "the window is closed");
	window(true);
	send_raw(8080, TH_RST | TH_ACK, 0);
	cr_assert(arrives(sniffer));
	send_raw(8080, TH_RST | TH_ACK, 4);
	cr_assert(not(arrives(sniffer)), "it carries data");
	send_raw(8080, TH_RST | TH_SYN, 0);
	cr_assert(not(arrives(sniffer)), "it is no plain reset");
	send_raw(8080, TH_ACK, 0);
	cr_assert(not(arrives(sniffer)), "it is no reset");
	send_raw(9090, TH_RST | TH_ACK, 0);
	cr_assert(not(arrives(sniffer)), "its port is not declared");
	window(false);
	send_raw(8080, TH_RST | TH_ACK, 0);
	cr_assert(not(arrives(sniffer)), "the window is closed again");
	close(sniffer);
}
