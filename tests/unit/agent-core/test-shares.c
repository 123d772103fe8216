/* SPDX-License-Identifier: Apache-2.0 */

/* What a supervisor may say of a share: nothing that the balancer could not take. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/error.h"
#include "core/address.h"
#include "core/share.h"
#include "support/suite.h"

#define NODES "10.77.0.0/16"
#define VIPS "10.99.0.0/24"

static const DnExposed http = {.port = 80}, dns = {.port = 53, .protocol = DN_PROTOCOL_UDP};
static DnAssign *share;

static void setup(void)
{
	share = dn_assign_new("web", "10.99.0.1");
	g_array_append_val(share->exposed, http);
	g_array_append_val(share->exposed, dns);
	g_ptr_array_add(share->endpoints, dn_remote_endpoint_new(http, "10.77.2.1", 8080));
}

static void teardown(void)
{
	dn_assign_free(share);
	dn_suite_end();
}

TestSuite(shares, .init = setup, .fini = teardown);

/* 0: it is taken. */
static int refusal(void)
{
	g_autoptr(GError) error = NULL;
	bool taken = dn_share_check(share, NODES, VIPS, &error);

	cr_assert(eq(int, taken, error == NULL));
	cr_assert(taken || error->domain == DN_ERROR);
	return taken ? 0 : error->code;
}

static void name_vip(const char *vip)
{
	g_free(share->vip);
	share->vip = g_strdup(vip);
}

static void name_endpoint(const char *address, uint16_t port)
{
	g_ptr_array_set_size(share->endpoints, 0);
	g_ptr_array_add(share->endpoints, dn_remote_endpoint_new(http, address, port));
}

Test(shares, what_a_supervisor_says_in_good_faith_is_taken)
{
	cr_assert(eq(int, refusal(), 0));
	g_ptr_array_set_size(share->endpoints, 0);
	g_array_set_size(share->exposed, 0);
	cr_assert(eq(int, refusal(), 0));
}

Test(shares, a_vip_is_one_of_the_clusters)
{
	static const char *const bad[] = {"10.99.1.1",
					  "10.77.2.1",
					  "192.0.2.1",
					  "",
					  "::1",
					  "10.99.0.01",
					  "10.99.0.1 ; flush ruleset"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		name_vip(bad[i]);
		cr_assert(eq(int, refusal(), DN_ERROR_UNTRUSTED), "%s", bad[i]);
	}
}

Test(shares, an_endpoint_is_one_of_the_clusters_nodes_and_has_a_port)
{
	static const char *const bad[] = {"10.78.0.1",   "10.99.0.1",     "127.0.0.1", "x",
					  "10.77.2.256", "10.77.2.1 . 1", "0x0a4d0201"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		name_endpoint(bad[i], 8080);
		cr_assert(eq(int, refusal(), DN_ERROR_UNTRUSTED), "%s", bad[i]);
	}
	name_endpoint("10.77.2.1", 0);
	cr_assert(eq(int, refusal(), DN_ERROR_INVALID));
}

Test(shares, a_port_of_a_vip_is_named_once)
{
	const DnExposed tcp = {.port = 53};

	g_array_append_val(share->exposed, tcp);
	cr_assert(eq(int, refusal(), 0));
	g_array_append_val(share->exposed, dns);
	cr_assert(eq(int, refusal(), DN_ERROR_INVALID));
}

Test(shares, a_port_has_so_many_endpoints_and_no_more)
{
	while (share->endpoints->len < DN_SHARE_ENDPOINTS)
		g_ptr_array_add(share->endpoints, dn_remote_endpoint_new(http, "10.77.2.1", 8080));
	g_ptr_array_add(share->endpoints, dn_remote_endpoint_new(dns, "10.77.2.1", 8053));
	cr_assert(eq(int, refusal(), 0));
	g_ptr_array_add(share->endpoints, dn_remote_endpoint_new(http, "10.77.2.1", 8080));
	cr_assert(eq(int, refusal(), DN_ERROR_EXHAUSTED));
}

Test(shares, two_services_do_not_claim_one_port_of_a_vip)
{
	DnAssign *other = dn_assign_new("db", "10.99.0.1");
	const DnExposed postgres = {.port = 5432}, web = {.port = 80};

	g_array_append_val(other->exposed, postgres);
	cr_assert(not(dn_shares_collide(share, other)));
	g_array_append_val(other->exposed, web);
	cr_assert(dn_shares_collide(share, other));
	name_vip("10.99.0.2");
	cr_assert(not(dn_shares_collide(share, other)));
	dn_assign_free(other);
}

Test(shares, an_address_is_within_a_range_or_is_none)
{
	cr_assert(dn_address_is_within("10.77.0.0/16", "10.77.255.255"));
	cr_assert(not(dn_address_is_within("10.77.0.0/16", "10.78.0.0")));
	cr_assert(dn_address_is_within("10.77.3.7/32", "10.77.3.7"));
	cr_assert(not(dn_address_is_within("10.77.3.7/32", "10.77.3.6")));
	cr_assert(dn_address_is_within("0.0.0.0/0", "255.255.255.255"));
	cr_assert(not(dn_address_is_within("10.77.0.0", "10.77.0.0")));
	cr_assert(not(dn_address_is_within("10.77.0.0/33", "10.77.0.0")));
	cr_assert(not(dn_address_is_within("fd00::/8", "10.77.0.0")));
}
