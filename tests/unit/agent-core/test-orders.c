/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/clock.h"
#include "core/address.h"
#include "core/envelope.h"
#include "core/epoch.h"
#include "core/instance.h"
#include "core/share.h"
#include "core/time-floor.h"
#include "support/suite.h"

static DnEnvelope envelope;
static GHashTable *epochs;

static void setup(void)
{
	envelope = (DnEnvelope){.cluster = g_strdup("c"), .term = 5};
	dn_envelope_begin(&envelope, "s");
	epochs = dn_epochs_new();
}

static void teardown(void)
{
	dn_envelope_clear(&envelope);
	g_hash_table_unref(epochs);
	dn_suite_end();
}

TestSuite(orders, .init = setup, .fini = teardown);

static bool accepts(const char *cluster, const char *session, uint64_t term, uint64_t sequence)
{
	DnOrder order = {.cluster = (char *)cluster,
			 .session = (char *)session,
			 .term = term,
			 .sequence = sequence};

	return dn_envelope_accept(&envelope, &order, NULL);
}

Test(orders, an_order_is_taken_once)
{
	cr_assert(accepts("c", "s", 5, 1));
	cr_assert(not(accepts("c", "s", 5, 1)));
	cr_assert(accepts("c", "s", 5, 3));
	cr_assert(not(accepts("c", "s", 5, 2)));
}

Test(orders, an_order_of_another_cluster_session_or_term_is_refused)
{
	cr_assert(not(accepts("other", "s", 5, 1)));
	cr_assert(not(accepts("c", "old", 5, 1)));
	cr_assert(not(accepts("c", "s", 4, 1)));
	cr_assert(not(accepts("c", "s", 6, 1)));
	cr_assert(accepts("c", "s", 5, 1));
}

Test(orders, an_order_of_the_last_link_is_a_replay)
{
	cr_assert(accepts("c", "s", 5, 1));
	dn_envelope_begin(&envelope, "s2");
	cr_assert(not(accepts("c", "s", 5, 2)));
}

Test(orders, a_welcome_of_a_lower_term_is_refused_and_a_higher_one_raises)
{
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_envelope_welcome(&envelope, "c", "s", 4, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	cr_assert(dn_envelope_welcome(&envelope, "c", "s", 9, NULL));
	dn_envelope_raise(&envelope, 9);
	cr_assert(not(dn_envelope_welcome(&envelope, "c", "s", 8, NULL)));
	dn_envelope_raise(&envelope, 8);
	cr_assert(eq(u64, envelope.term, 9));
}

Test(orders, a_term_counts_only_once_it_was_kept)
{
	/* What could not be made durable has to look as new the next time. */
	cr_assert(dn_envelope_welcome(&envelope, "c", "s", 9, NULL));
	cr_assert(eq(u64, envelope.term, 5));
	cr_assert(dn_envelope_welcome(&envelope, "c", "s", 5, NULL));
}

Test(orders, a_welcome_cannot_use_the_terms_up)
{
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_envelope_welcome(&envelope, "c", "s", G_MAXINT64, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	cr_assert(not(dn_envelope_welcome(&envelope, "c", "s", 5 + DN_TERM_STEP + 1, NULL)));
	cr_assert(eq(u64, envelope.term, 5));
	cr_assert(dn_envelope_welcome(&envelope, "c", "s", 5 + DN_TERM_STEP, NULL));
}

static bool takes(uint64_t epoch, const char *digest, uint64_t minimum, uint64_t valid_until)
{
	g_autoptr(DnManifest) manifest = dn_manifest_new();

	manifest->service = g_strdup("web");
	manifest->epoch = epoch;
	manifest->digest = g_strdup(digest);
	manifest->valid_until_ns = valid_until;
	return dn_epochs_may_accept(epochs, manifest, minimum, 1000, NULL);
}

Test(orders, an_epoch_only_grows)
{
	dn_epochs_set(epochs, "web", 5, "d5", false);
	cr_assert(not(takes(4, "d4", 0, 0)));
	cr_assert(takes(5, "d5", 0, 0));
	cr_assert(not(takes(5, "other", 0, 0)));
	cr_assert(takes(6, "d6", 0, 0));
	cr_assert(not(takes(5 + DN_EPOCH_STEP + 1, "far", 0, 0)));
	dn_epochs_set(epochs, "web", 3, "d3", false);
	cr_assert(not(takes(4, "d4", 0, 0)));
}

Test(orders, an_epoch_known_by_number_alone_takes_its_manifest)
{
	dn_epochs_set(epochs, "web", 5, NULL, false);
	cr_assert(takes(5, "d5", 0, 0));
	cr_assert(not(takes(4, "d4", 0, 0)));
}

Test(orders, an_epoch_that_could_not_be_kept_was_not_accepted)
{
	g_autoptr(DnEpoch) none = dn_epochs_copy(epochs, "web");

	cr_assert(eq(ptr, none, NULL));
	dn_epochs_set(epochs, "web", 5, "d5", false);
	DnEpoch *was = dn_epochs_copy(epochs, "web");
	dn_epochs_set(epochs, "web", 6, "d6", false);
	dn_epochs_put_back(epochs, "web", was);
	cr_assert(takes(5, "d5", 0, 0));
	cr_assert(not(takes(6, "d6", 0, 999)));
	dn_epochs_put_back(epochs, "web", NULL);
	cr_assert(not(g_hash_table_contains(epochs, "web")));
}

Test(orders, what_was_accepted_is_accepted_again_though_its_time_has_passed)
{
	dn_epochs_set(epochs, "web", 5, "d5", false);
	cr_assert(takes(5, "d5", 0, 999));
	cr_assert(not(takes(6, "d6", 0, 999)));
	dn_epochs_set(epochs, "db", 5, NULL, false);
	cr_assert(not(takes(5, "d5", 6, 999)));
}

Test(orders, an_expired_manifest_and_one_below_the_minimum_are_refused)
{
	cr_assert(not(takes(1, "d", 0, 999)));
	cr_assert(takes(1, "d", 0, 1001));
	cr_assert(not(takes(1, "d", 2, 0)));
}

Test(orders, a_share_is_of_a_service_that_an_epoch_is_known_of)
{
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_epochs_know_service(epochs, "web", &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	/* A removed one is told of once more, and one that enrolment named. */
	dn_epochs_set(epochs, "web", 5, "gone", true);
	dn_epochs_set(epochs, "db", 2, NULL, false);
	cr_assert(dn_epochs_know_service(epochs, "web", NULL));
	cr_assert(dn_epochs_know_service(epochs, "db", NULL));
}

Test(orders, a_host_has_shares_of_so_many_services_and_no_more)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_share_has_room(DN_SHARES_LIMIT - 1, NULL));
	cr_assert(not(dn_share_has_room(DN_SHARES_LIMIT, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED));
}

static bool may_assign(uint32_t before, uint32_t after, uint64_t epoch)
{
	g_autoptr(DnAssign) old = dn_assign_new("web", "10.99.0.1");
	g_autoptr(DnAssign) next = dn_assign_new("web", "10.99.0.1");

	g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);

	g_ptr_array_add(old->parts, dn_part_new("old", epoch, before, 0));
	g_ptr_array_add(next->parts, dn_part_new("old", epoch, after, 0));
	return dn_epochs_may_assign(epochs, none, old, next, NULL);
}

Test(orders, no_assignment_grows_an_older_epoch)
{
	dn_epochs_set(epochs, "web", 5, "new", false);
	cr_assert(may_assign(2, 2, 4));
	cr_assert(may_assign(2, 1, 4));
	cr_assert(not(may_assign(2, 3, 4)));
	cr_assert(not(may_assign(0, 1, 4)));
	cr_assert(may_assign(0, 9, 5));
	cr_assert(not(may_assign(0, 1, 6)));
}

Test(orders, a_removed_service_gets_no_node)
{
	dn_epochs_set(epochs, "web", 5, "gone", true);
	cr_assert(not(may_assign(1, 1, 5)));
	cr_assert(may_assign(1, 0, 5));
}

Test(orders, a_slot_has_its_address_and_a_bad_range_is_refused)
{
	uint32_t network = 0;

	cr_assert(dn_address_parse_host_cidr("10.77.3.0/24", &network, NULL));
	g_autofree char *address = dn_address_of_slot(network, 0);
	cr_assert_str_eq(address, "10.77.3.1");
	cr_assert(not(dn_address_parse_host_cidr("10.77.3.1/24", &network, NULL)));
	cr_assert(not(dn_address_parse_host_cidr("10.77.0.0/16", &network, NULL)));
	cr_assert(not(dn_address_parse_host_cidr("x/24", &network, NULL)));
}

Test(orders, an_address_has_its_slot_and_a_foreign_one_has_none)
{
	const uint32_t network = 0x0a4d0300; /* 10.77.3.0 */

	for (uint32_t slot = 0; slot < DN_SLOTS; slot++) {
		g_autofree char *address = dn_address_of_slot(network, slot);

		cr_assert(eq(u32, dn_address_find_slot(network, DN_SLOTS, address), slot));
	}
	static const char *const foreign[] = {"10.77.3.0",   "10.77.3.251", "10.77.2.255",
					      "10.77.4.1",   "fd00::1",     "",
					      "10.77.3.1/24"};
	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++)
		cr_assert(eq(u32, dn_address_find_slot(network, DN_SLOTS, foreign[i]), DN_SLOTS),
			  "%s", foreign[i]);
}

/* ---- time ---- */

#define YEAR_NS (365 * 24 * 3600 * DN_NS_PER_S)
#define NOW_NS (50 * YEAR_NS)

static bool may_accept(const DnTimeFloor *floor, uint64_t clock_ns, uint64_t until_ns)
{
	DnManifest manifest = {.service = (char *)"web",
			       .digest = (char *)"d",
			       .epoch = 1,
			       .valid_until_ns = until_ns};

	return dn_epochs_may_accept(epochs, &manifest, 0, dn_time_floor_judge(floor, clock_ns),
				    NULL);
}

Test(orders, a_clock_that_was_set_back_revives_no_expired_manifest)
{
	DnTimeFloor floor = {0};

	cr_assert(may_accept(&floor, NOW_NS - YEAR_NS, NOW_NS - 1));
	dn_time_floor_raise(&floor, NOW_NS);
	cr_assert(not(may_accept(&floor, NOW_NS - YEAR_NS, NOW_NS - 1)));
	cr_assert(may_accept(&floor, NOW_NS - YEAR_NS, NOW_NS + 1));
	cr_assert(may_accept(&floor, NOW_NS - YEAR_NS, 0));
}

Test(orders, a_floor_only_grows_and_is_due_on_disk_when_it_lags_by_a_minute)
{
	DnTimeFloor floor = {.seen_ns = NOW_NS, .kept_ns = NOW_NS};

	cr_assert(not(dn_time_floor_raise(&floor, NOW_NS - YEAR_NS)));
	cr_assert(not(dn_time_floor_raise(&floor, NOW_NS + 59 * DN_NS_PER_S)));
	cr_assert(dn_time_floor_raise(&floor, NOW_NS + 60 * DN_NS_PER_S));
	cr_assert(eq(u64, dn_time_floor_judge(&floor, NOW_NS), NOW_NS + 60 * DN_NS_PER_S));
	cr_assert(eq(u64, dn_time_floor_judge(&floor, NOW_NS + YEAR_NS), NOW_NS + YEAR_NS));
}

Test(orders, a_clock_a_year_ahead_takes_nothing_from_an_accepted_epoch)
{
	DnTimeFloor floor = {0};
	DnAssign *share = dn_assign_new("web", "10.99.0.1");

	cr_assert(may_accept(&floor, NOW_NS, NOW_NS + YEAR_NS / 2));
	dn_epochs_set(epochs, "web", 1, "d", false);
	dn_time_floor_raise(&floor, NOW_NS + YEAR_NS);
	g_ptr_array_add(share->parts, dn_part_new("d", 1, 3, 1));
	/* Its nodes are respawned and its standbys made: no judgement of time stands in between. */
	g_autoptr(GHashTable) none = g_hash_table_new(g_str_hash, g_str_equal);
	cr_assert(dn_epochs_may_assign(epochs, none, NULL, share, NULL));
	/* And a manifest that is valid long enough is accepted. */
	cr_assert(may_accept(&floor, NOW_NS, NOW_NS + 2 * YEAR_NS));
	dn_assign_free(share);
}

static void free_manifest(gpointer manifest)
{
	dn_manifest_unref(manifest);
}

static DnManifest *know(GHashTable *manifests, const char *digest, uint64_t epoch, uint64_t restart)
{
	DnManifest *manifest = dn_manifest_new();

	manifest->service = g_strdup("web");
	manifest->digest = g_strdup(digest);
	manifest->epoch = epoch;
	manifest->restart = restart;
	g_hash_table_insert(manifests, manifest->digest, manifest);
	return manifest;
}

static GHashTable *manifests_new(void)
{
	return g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_manifest);
}

/* Running nodes of the manifests "one" and "two", which make the same nodes. */
static DnAssign *share_of(uint32_t one, uint32_t two)
{
	DnAssign *share = dn_assign_new("web", "10.99.0.1");

	if (one > 0)
		g_ptr_array_add(share->parts, dn_part_new("one", 1, one, 0));
	if (two > 0)
		g_ptr_array_add(share->parts, dn_part_new("two", 2, two, 0));
	return share;
}

static bool may_place(GHashTable *manifests, DnAssign *has, DnAssign *next)
{
	g_autoptr(DnAssign) before = has;
	g_autoptr(DnAssign) after = next;
	g_autoptr(GError) error = NULL;
	bool may = dn_epochs_may_place(manifests, before, after, NOW_NS, &error);

	cr_assert(may || g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED));
	return may;
}

Test(orders, what_has_expired_is_kept_and_replaced_and_never_placed_anew)
{
	g_autoptr(GHashTable) manifests = manifests_new();
	DnManifest *one = know(manifests, "one", 1, 0);

	cr_assert(may_place(manifests, NULL, share_of(3, 0)), "it has no end");
	one->valid_until_ns = NOW_NS + 1;
	cr_assert(may_place(manifests, NULL, share_of(3, 0)));
	one->valid_until_ns = NOW_NS;
	cr_assert(not(may_place(manifests, NULL, share_of(1, 0))));
	cr_assert(not(may_place(manifests, share_of(2, 0), share_of(3, 0))));
	cr_assert(may_place(manifests, share_of(2, 0), share_of(2, 0)));
	cr_assert(may_place(manifests, share_of(2, 0), share_of(1, 0)));
	cr_assert(may_place(manifests, share_of(2, 0), share_of(0, 0)));
	/* A share that was lost, of nodes that are there. */
	DnAssign *here = share_of(0, 0);
	dn_share_raise(here, "one", 1, 2);
	cr_assert(may_place(manifests, here, share_of(2, 0)));
}

Test(orders, nodes_go_on_under_a_later_manifest_that_has_expired_since)
{
	g_autoptr(GHashTable) manifests = manifests_new();

	(void)know(manifests, "one", 1, 0);
	DnManifest *two = know(manifests, "two", 2, 0);
	two->valid_until_ns = NOW_NS;
	cr_assert(may_place(manifests, share_of(3, 0), share_of(0, 3)));
	cr_assert(may_place(manifests, share_of(2, 1), share_of(1, 2)));
	cr_assert(not(may_place(manifests, share_of(3, 0), share_of(0, 4))));
	two->restart = 7;
	cr_assert(not(may_place(manifests, share_of(3, 0), share_of(0, 3))), "they are others");
}

static bool may_become(GHashTable *manifests, DnAssign *has, DnAssign *next)
{
	g_autoptr(DnAssign) before = has;
	g_autoptr(DnAssign) after = next;

	return dn_epochs_may_assign(epochs, manifests, before, after, NULL);
}

/* "three" is the highest epoch; the host was away while "two" took over what "one" had. */
Test(orders, nodes_go_on_under_a_later_manifest_that_is_not_the_last_one)
{
	g_autoptr(GHashTable) manifests = manifests_new();

	dn_epochs_set(epochs, "web", 3, "three", false);
	(void)know(manifests, "one", 1, 0);
	DnManifest *two = know(manifests, "two", 2, 0);
	cr_assert(may_become(manifests, share_of(2, 0), share_of(0, 2)));
	cr_assert(may_become(manifests, share_of(2, 0), share_of(1, 1)));
	cr_assert(not(may_become(manifests, share_of(2, 0), share_of(1, 2))));
	cr_assert(not(may_become(manifests, share_of(2, 0), share_of(0, 3))));
	/* Back to what is older they never go. */
	cr_assert(not(may_become(manifests, share_of(0, 2), share_of(2, 0))));
	two->restart = 7;
	cr_assert(not(may_become(manifests, share_of(2, 0), share_of(0, 2))), "they are others");
}

Test(orders, a_share_counts_the_nodes_that_are_here)
{
	g_autoptr(DnAssign) share = share_of(2, 0);
	const DnPart *one = g_ptr_array_index(share->parts, 0);

	dn_share_raise(share, "one", 1, 1);
	cr_assert(eq(u32, one->running, 2));
	dn_share_raise(share, "one", 1, 5);
	cr_assert(eq(u32, one->running, 5));
	dn_share_raise(share, "two", 2, 0);
	cr_assert(eq(u32, share->parts->len, 2));
}

Test(orders, people_hear_of_an_expired_manifest_once_a_day)
{
	uint64_t told_ns = 0, day_ns = 24 * 3600 * DN_NS_PER_S;

	cr_assert(dn_expiry_is_due(&told_ns, 5));
	cr_assert(not(dn_expiry_is_due(&told_ns, 5 + day_ns - 1)));
	cr_assert(dn_expiry_is_due(&told_ns, 5 + day_ns));
	cr_assert(not(dn_expiry_is_due(&told_ns, 6 + day_ns)));
}

Test(orders, a_node_goes_on_under_the_latest_manifest_that_would_make_it_alike)
{
	g_autoptr(GHashTable) manifests = manifests_new();
	g_autoptr(DnAssign) share = dn_assign_new("web", "10.99.0.1");
	const DnManifest *first = know(manifests, "one", 1, 0);
	const DnManifest *second = know(manifests, "two", 2, 0);
	const DnManifest *third = know(manifests, "three", 3, 5);

	cr_assert(dn_epochs_successor(manifests, share, first) == NULL, "a share of nothing");
	g_ptr_array_add(share->parts, dn_part_new("two", 2, 1, 0));
	g_ptr_array_add(share->parts, dn_part_new("three", 3, 1, 0));
	g_ptr_array_add(share->parts, dn_part_new("unknown", 4, 1, 0));
	cr_assert(dn_epochs_successor(manifests, share, first) == second);
	cr_assert(dn_epochs_successor(manifests, share, second) == NULL, "it is asked for");
	cr_assert(dn_epochs_successor(manifests, share, third) == NULL);
	/* Never back to an earlier one. */
	const DnManifest *fifth = know(manifests, "five", 5, 0);
	cr_assert(dn_epochs_successor(manifests, share, fifth) == NULL);
	/* And not while its own is asked for too. */
	g_ptr_array_add(share->parts, dn_part_new("one", 1, 0, 1));
	cr_assert(dn_epochs_successor(manifests, share, first) == NULL);
}
