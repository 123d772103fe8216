/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The prepared batch against libnftables: the two ways to carry out a cut must leave the same
 * ruleset, and a batch must still fit after the table changed.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>

#include "base/fd.h"
#include "firewall/firewall.h"
#include "support/suite.h"

#define A "10.77.0.1"
#define B "10.77.0.2"
#define C "10.77.0.3"
#define STANDBY "10.77.0.4"
#define ELSEWHERE "10.77.1.1"

static const DnFirewallConfig config = {
	.uplink = "up0", .node_cidr = "10.77.0.0/16", .vip_cidr = "10.99.0.0/16"};
static DnFirewall *firewall;
static DnFirewallState *state;

static DnBalanced *balance(const char *vip, uint16_t expose)
{
	DnBalanced *balanced = dn_balanced_new(vip, expose);

	g_ptr_array_add(state->balanced, balanced);
	return balanced;
}

static void setup(void)
{
	g_autoptr(GError) error = NULL;

	cr_assert(eq(int, unshare(CLONE_NEWNET), 0), "must run as root");
	firewall = dn_firewall_new(&config, &error);
	cr_assert(ne(ptr, firewall, NULL), "%s", error != NULL ? error->message : "");
	state = dn_firewall_state_new();
	DnBalanced *web = balance("10.99.0.1", 80);
	dn_endpoints_add(web->local, A, 8080);
	dn_endpoints_add(web->local, B, 8080);
	dn_endpoints_add(web->local, C, 8080);
	DnBalanced *lonely = balance("10.99.0.1", 81);
	dn_endpoints_add(lonely->local, A, 8081);
	DnBalanced *spread = balance("10.99.0.2", 53);
	spread->protocol = DN_PROTOCOL_UDP;
	dn_endpoints_add(spread->local, A, 53);
	dn_endpoints_add(spread->remote, ELSEWHERE, 53);
}

static void teardown(void)
{
	dn_firewall_state_free(state);
	dn_firewall_free(firewall);
	dn_suite_end();
}

TestSuite(batch, .init = setup, .fini = teardown, .timeout = 60);

static void apply(void)
{
	g_autoptr(GError) error = NULL;
	bool applied = dn_firewall_apply(firewall, state, &error);

	cr_assert(applied, "%s", error != NULL ? error->message : "no error was set");
}

static void replay(GBytes *batch)
{
	g_autoptr(GError) error = NULL;
	dn_autofd int fd = dn_firewall_open_replay(&error);
	size_t size = 0;
	const void *bytes = g_bytes_get_data(batch, &size);

	cr_assert(ge(int, fd, 0), "%s", error != NULL ? error->message : "");
	cr_assert(eq(int, dn_firewall_replay(fd, bytes, size), 0));
}

static GBytes *serialise(const char *address, const char *standby)
{
	g_autoptr(GError) error = NULL;
	GBytes *batch = dn_firewall_serialise_cut(firewall, state, address, standby, &error);

	cr_assert(ne(ptr, batch, NULL), "%s", error != NULL ? error->message : "");
	return batch;
}

static char *listing(void)
{
	char *text = NULL;
	g_autoptr(GError) error = NULL;

	g_spawn_command_line_sync("nft list table inet dnode", &text, NULL, NULL, &error);
	cr_assert(ne(ptr, text, NULL), "%s", error != NULL ? error->message : "");
	cr_assert(ne(ptr, strstr(text, "chain forward"), NULL));
	return text;
}

static void expect_same_cut(const char *standby)
{
	g_autoptr(GError) error = NULL;
	apply();
	g_autofree char *before = listing();
	g_autoptr(GBytes) batch = serialise(A, standby);

	replay(batch);
	g_autofree char *replayed = listing();
	bool removed = dn_firewall_remove(firewall, &error);
	cr_assert(removed, "%s", error != NULL ? error->message : "");
	apply();
	bool cut = dn_firewall_cut(firewall, state, A, standby, &error);
	cr_assert(cut, "%s", error != NULL ? error->message : "");
	g_autofree char *through_library = listing();

	cr_assert_str_neq(before, replayed);
	cr_assert_str_eq(replayed, through_library);
}

Test(batch, a_replayed_cut_leaves_the_ruleset_that_libnftables_makes)
{
	expect_same_cut(NULL);
}

Test(batch, so_does_a_cut_that_puts_a_standby_in)
{
	expect_same_cut(STANDBY);
}

Test(batch, a_batch_can_be_replayed_after_the_table_changed)
{
	apply();
	g_autoptr(GBytes) batch = serialise(A, STANDBY);

	dn_endpoints_add(balance("10.99.0.9", 99)->local, C, 8080);
	g_ptr_array_add(state->guarded, dn_guarded_new(C, "dn3"));
	apply();
	replay(batch);
	replay(batch);
	g_autofree char *text = listing();
	cr_assert(ne(ptr, strstr(text, "0 : " STANDBY " . 8080, 1 : " B), NULL), "%s", text);
	cr_assert(ne(ptr, strstr(text, "10.99.0.9 . tcp . 99 : goto"), NULL), "%s", text);
}

Test(batch, a_batch_that_the_kernel_refuses_is_reported)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GBytes) batch = serialise(A, NULL);
	dn_autofd int fd = dn_firewall_open_replay(&error);
	size_t size = 0;
	const void *bytes = g_bytes_get_data(batch, &size);

	cr_assert(eq(int, dn_firewall_replay(fd, bytes, size), -ENOENT), "there is no table");
}

Test(batch, the_window_opens_and_closes_and_closing_twice_is_no_error)
{
	const uint16_t ports[] = {8080, 8443};
	g_autoptr(GError) error = NULL;

	apply();
	g_autoptr(GBytes) open = dn_firewall_serialise_window(firewall, A, ports, 2, true, &error);
	g_autoptr(GBytes) close =
		dn_firewall_serialise_window(firewall, A, ports, 2, false, &error);
	replay(open);
	g_autofree char *opened = listing();
	cr_assert(ne(ptr, strstr(opened, A " . 8443"), NULL), "%s", opened);
	replay(close);
	replay(close);
	g_autofree char *closed = listing();
	cr_assert(eq(ptr, strstr(closed, A " . 8443"), NULL), "%s", closed);
}

Test(batch, a_table_changed_by_somebody_else_is_replaced)
{
	apply();
	g_spawn_command_line_sync("nft delete table inet dnode", NULL, NULL, NULL, NULL);
	g_array_set_size(((DnBalanced *)g_ptr_array_index(state->balanced, 0))->local, 1);
	apply();
	g_autofree char *text = listing();
	cr_assert(ne(ptr, strstr(text, "10.99.0.1 . tcp . 80 : goto"), NULL), "%s", text);
}

Test(batch, the_difference_between_two_states_makes_what_a_replacement_makes)
{
	g_ptr_array_add(state->guarded, dn_guarded_new(A, "dn1"));
	apply();
	DnGuarded *guarded = dn_guarded_new(B, "dn2");
	dn_guarded_allow(guarded, "10.99.0.2/32", 53, DN_PROTOCOL_UDP);
	dn_guarded_allow(guarded, "192.0.2.0/24", 0, DN_PROTOCOL_TCP);
	g_ptr_array_add(state->guarded, guarded);
	((DnGuarded *)g_ptr_array_index(state->guarded, 0))->quarantined = true;
	((DnBalanced *)g_ptr_array_index(state->balanced, 0))->publish_host = true;
	g_ptr_array_remove_index(state->balanced, 2);
	apply();
	g_autofree char *difference = listing();

	g_autoptr(GError) error = NULL;
	DnFirewall *fresh = dn_firewall_new(&config, &error);
	bool applied = dn_firewall_apply(fresh, state, &error);
	g_autofree char *whole = listing();
	dn_firewall_free(fresh);
	cr_assert(applied, "%s", error != NULL ? error->message : "");

	/* Chains are listed in the order of their making: compare what they hold. */
	g_auto(GStrv) left = g_strsplit(difference, "\n", -1);
	g_auto(GStrv) right = g_strsplit(whole, "\n", -1);
	cr_assert(eq(u32, g_strv_length(left), g_strv_length(right)));
	for (char **line = left; *line != NULL; line++)
		cr_assert(g_strv_contains((const char *const *)right, *line), "%s", *line);
}
