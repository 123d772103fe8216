/* SPDX-License-Identifier: Apache-2.0 */

/* What nft is told: the text of a transaction follows from two states and nothing else. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/error.h"
#include "firewall/table.h"
#include "support/suite.h"

static const DnFirewallConfig config = {
	.uplink = "eth0", .node_cidr = "10.77.0.0/16", .vip_cidr = "10.99.0.0/16"};
static DnFirewallState *state;

static DnGuarded *guard(const char *address, const char *ifname)
{
	DnGuarded *guarded = dn_guarded_new(address, ifname);

	g_ptr_array_add(state->guarded, guarded);
	return guarded;
}

static void setup(void)
{
	DnBalanced *web = dn_balanced_new("10.99.0.1", 80);

	state = dn_firewall_state_new();
	dn_endpoints_add(web->local, "10.77.0.1", 8080);
	dn_endpoints_add(web->local, "10.77.0.2", 8080);
	dn_endpoints_add(web->remote, "10.77.1.1", 8080);
	g_ptr_array_add(state->balanced, web);
	dn_guarded_allow(guard("10.77.0.1", "dn0"), "192.0.2.0/24", 443, DN_PROTOCOL_TCP);
	dn_guarded_allow(guard("10.77.0.2", "dn1"), "192.0.2.0/24", 443, DN_PROTOCOL_TCP);
}

static void teardown(void)
{
	dn_firewall_state_free(state);
	dn_suite_end();
}

TestSuite(table, .init = setup, .fini = teardown);

static DnTable *table(void)
{
	g_autoptr(GError) error = NULL;
	DnTable *made = dn_table_new(&config, state, &error);

	cr_assert(ne(ptr, made, NULL), "%s", error != NULL ? error->message : "no error was set");
	return made;
}

static char *difference(const DnTable *from)
{
	g_autoptr(DnTable) now = table();
	GString *script = g_string_new(NULL);

	dn_table_print_difference(now, from, script);
	return g_string_free(script, FALSE);
}

static bool is_refused(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnTable) made = dn_table_new(&config, state, &error);

	cr_assert(eq(int, made == NULL, error != NULL));
	return made == NULL;
}

Test(table, equal_states_need_no_transaction)
{
	g_autoptr(DnTable) before = table();
	g_autofree char *script = difference(before);

	cr_assert_str_empty(script);
}

Test(table, a_node_with_the_rights_of_another_costs_elements_only)
{
	g_autoptr(DnTable) before = table();

	dn_guarded_allow(guard("10.77.0.3", "dn2"), "192.0.2.0/24", 443, DN_PROTOCOL_TCP);
	g_autofree char *script = difference(before);
	cr_assert(eq(ptr, strstr(script, " chain "), NULL), "%s", script);
	cr_assert(ne(ptr, strstr(script, "egress { 10.77.0.3 : goto out_"), NULL), "%s", script);
}

Test(table, the_last_node_with_a_right_takes_its_chain_along_after_its_element)
{
	g_autoptr(DnTable) before = table();

	g_ptr_array_set_size(state->guarded, 0);
	g_autofree char *script = difference(before);
	const char *element = strstr(script, "delete element inet dnode egress");
	const char *chain = strstr(script, "delete chain inet dnode out_");
	cr_assert(element != NULL && chain != NULL && element < chain, "%s", script);
}

Test(table, a_quarantined_node_is_balanced_nowhere_and_has_no_rights)
{
	g_autoptr(DnTable) before = table();

	((DnGuarded *)g_ptr_array_index(state->guarded, 0))->quarantined = true;
	g_autofree char *script = difference(before);
	cr_assert(ne(ptr, strstr(script, "mod 1 map { 0 : 10.77.0.2 . 8080 }"), NULL), "%s",
		  script);
	cr_assert(ne(ptr, strstr(script, "delete element inet dnode egress { 10.77.0.1"), NULL));
	cr_assert(
		ne(ptr, strstr(script, "add element inet dnode quarantined { 10.77.0.1 }"), NULL));
}

Test(table, an_isolated_node_stays_balanced_and_is_only_put_into_its_set)
{
	g_autoptr(DnTable) before = table();

	((DnGuarded *)g_ptr_array_index(state->guarded, 0))->isolated = true;
	g_autofree char *script = difference(before);
	cr_assert_str_eq(script, "add element inet dnode isolated { 10.77.0.1 }\n");
}

Test(table, remote_nodes_are_used_only_when_no_local_one_is_left)
{
	g_autoptr(DnTable) before = table();
	GString *whole = g_string_new(NULL);

	dn_table_print(before, whole);
	cr_assert(eq(ptr, strstr(whole->str, "10.77.1.1"), NULL), "%s", whole->str);
	g_string_free(whole, TRUE);
	g_array_set_size(((DnBalanced *)g_ptr_array_index(state->balanced, 0))->local, 0);
	g_autofree char *script = difference(before);
	cr_assert(ne(ptr, strstr(script, "0 : 10.77.1.1 . 8080"), NULL), "%s", script);
}

Test(table, one_vip_and_port_belongs_to_one_service)
{
	g_ptr_array_add(state->balanced, dn_balanced_new("10.99.0.1", 80));
	cr_assert(is_refused());
}

Test(table, strings_that_could_end_a_statement_are_refused)
{
	static const char *const cidrs[] = {"0.0.0.0/0 accept; drop",
					    "10.0.0.0/33",
					    "10.0.0.0",
					    "10.0.0.0/-1",
					    "10.0.0.0/8/8",
					    ""};

	for (size_t i = 0; i < G_N_ELEMENTS(cidrs); i++) {
		DnGuarded *guarded = g_ptr_array_index(state->guarded, 0);

		g_array_set_size(guarded->egress, 0);
		dn_guarded_allow(guarded, cidrs[i], 0, DN_PROTOCOL_TCP);
		cr_assert(is_refused(), "%s", cidrs[i]);
	}
}

Test(table, an_uplink_with_the_name_of_a_node_is_refused)
{
	g_autoptr(GError) error = NULL;
	DnFirewallConfig wrong = config;

	wrong.uplink = "dn0";
	cr_assert(not(dn_table_check_config(&wrong, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	wrong.uplink = "eth0\" accept";
	g_clear_error(&error);
	cr_assert(not(dn_table_check_config(&wrong, &error)));
}
