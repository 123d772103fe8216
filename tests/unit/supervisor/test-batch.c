/* SPDX-License-Identifier: Apache-2.0 */

/* What a batch keeps while a disk without room lets it fill for as long as it likes. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "main/batch.h"
#include "main/records.h"
#include "store/backend.h"
#include "support/suite.h"

static DnBatch *batch;

static void setup(void)
{
	batch = dn_batch_new(1);
}

static void teardown(void)
{
	g_clear_pointer(&batch, dn_batch_free);
	dn_suite_end();
}

TestSuite(batch, .init = setup, .fini = teardown);

/* ---- orders ---- */

/* The tag of the order that has become void, 0: none. */
static uint64_t add(const char *host, DnOrder *order, uint64_t tag)
{
	DnDispatch *dispatch = g_new0(DnDispatch, 1);

	dispatch->host = g_strdup(host);
	dispatch->order = order;
	dispatch->tag = tag;
	DnDispatch *is_void = dn_batch_add_dispatch(batch, dispatch);
	uint64_t void_tag = is_void == NULL ? 0 : is_void->tag;
	dn_dispatch_free(is_void);
	return void_tag;
}

static uint64_t assign(const char *host, const char *service, uint64_t tag)
{
	DnOrder *order = dn_order_new(DN_ORDER_ASSIGN);

	order->assign = dn_assign_new(service, "10.99.0.1");
	return add(host, order, tag);
}

static uint64_t stamp(const char *host, const char *incident, DnStage stage, uint64_t tag)
{
	DnOrder *order = dn_order_new(DN_ORDER_STAMP);

	order->incident = g_strdup(incident);
	order->stage = stage;
	return add(host, order, tag);
}

static void has_tags(const char *wanted)
{
	g_autoptr(GString) tags = g_string_new(NULL);

	for (guint i = 0; i < batch->dispatches->len; i++) {
		const DnDispatch *dispatch = g_ptr_array_index(batch->dispatches, i);

		g_string_append_printf(tags, "%u ", (unsigned)dispatch->tag);
	}
	cr_assert_str_eq(tags->str, wanted);
}

Test(batch, an_assignment_is_void_by_the_next_one_of_the_service_on_its_host)
{
	cr_assert(eq(u64, assign("h1", "web", 1), 0));
	cr_assert(eq(u64, assign("h1", "db", 2), 0));
	cr_assert(eq(u64, assign("h2", "web", 3), 0));
	cr_assert(eq(u64, add("h1", dn_order_new(DN_ORDER_DRILL), 4), 0));
	cr_assert(eq(u64, add("h1", dn_order_new(DN_ORDER_DRILL), 5), 0));
	cr_assert(eq(u64, assign("h1", "web", 6), 1));
	cr_assert(eq(u64, assign("h1", "web", 7), 6));
	has_tags("2 3 4 5 7 ");
}

Test(batch, routes_are_void_by_the_next_ones_of_the_host)
{
	cr_assert(eq(u64, add("h1", dn_order_new(DN_ORDER_ROUTES), 1), 0));
	cr_assert(eq(u64, add("h2", dn_order_new(DN_ORDER_ROUTES), 2), 0));
	cr_assert(eq(u64, add("h1", dn_order_new(DN_ORDER_ROUTES), 3), 1));
	has_tags("2 3 ");
}

Test(batch, a_stamp_is_void_by_the_same_one)
{
	cr_assert(eq(u64, stamp("h1", "a", DN_STAGE_REPORTED, 1), 0));
	cr_assert(eq(u64, stamp("h1", "b", DN_STAGE_REPORTED, 2), 0));
	cr_assert(eq(u64, stamp("h1", "a", DN_STAGE_LB_OUT_ALL, 3), 0));
	cr_assert(eq(u64, stamp("h1", "a", DN_STAGE_REPORTED, 4), 1));
	has_tags("2 3 4 ");
}

Test(batch, orders_end_with_the_link_of_their_host_and_with_no_other)
{
	(void)assign("h1", "web", 1);
	(void)assign("h2", "web", 2);
	(void)add("h1", dn_order_new(DN_ORDER_ROUTES), 3);
	g_autoptr(GPtrArray) taken = dn_batch_take_dispatches(batch, "h1");

	cr_assert(eq(u32, taken->len, 2));
	cr_assert(not(dn_batch_names_host(batch, "h1")));
	cr_assert(dn_batch_names_host(batch, "h2"));
	cr_assert(eq(u64, assign("h1", "web", 4), 0));
	has_tags("2 4 ");
}

/* ---- events ---- */

static void add_events(uint64_t first, uint64_t last)
{
	for (uint64_t id = first; id <= last; id++) {
		DnEvent *event = dn_event_new("host.event", "info", "text");

		event->id = id;
		dn_batch_add_event(batch, event);
	}
	dn_batch_seal(batch);
}

/* How many events the transaction puts, or removes, from @first to @last. */
static unsigned count(bool put, uint64_t first, uint64_t last)
{
	unsigned found = 0;

	for (uint64_t id = first; id <= last; id++) {
		g_autofree char *key = dn_record_event_key(id);
		const DnStoreWrite *write = g_hash_table_lookup(batch->txn->by_key, key);

		found += write != NULL && (write->value != NULL) == put;
	}
	return found;
}

Test(batch, an_event_takes_the_place_of_one_that_is_no_longer_among_the_last)
{
	add_events(DN_RING_LIMIT + 5, DN_RING_LIMIT + 7);
	cr_assert(eq(uint, count(true, DN_RING_LIMIT + 5, DN_RING_LIMIT + 7), 3));
	cr_assert(eq(uint, count(false, 5, 7), 3));
	cr_assert(eq(u32, batch->txn->writes->len, 6));
}

Test(batch, no_more_events_are_kept_than_are_shown)
{
	const uint64_t first = 100, last = first + 3 * DN_RING_LIMIT;

	add_events(first, last);
	cr_assert(eq(u32, batch->events.length, DN_RING_LIMIT));
	cr_assert(eq(uint, count(true, last - DN_RING_LIMIT + 1, last), DN_RING_LIMIT));
	/* All of before, and nothing that never was stored. */
	cr_assert(eq(uint, count(false, 1, first - 1), (unsigned)first - 1));
	cr_assert(eq(u32, batch->txn->writes->len, DN_RING_LIMIT + (unsigned)first - 1));
}
