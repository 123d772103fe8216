/* SPDX-License-Identifier: Apache-2.0 */

/* One contract, every store. What the reference does, SQLite does, and whatever comes after it. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/file.h"
#include "store/memory.h"
#include "support/suite.h"

typedef enum { MEMORY, SLOW_MEMORY, SQLITE, N_STORES } Kind;

static char *directory;
static DnStore *store;
static uint64_t term;

/* ---- waiting for what is asynchronous ---- */

static void on_result(GObject *source, GAsyncResult *result, gpointer data)
{
	*(GAsyncResult **)data = g_object_ref(result);
}

static GAsyncResult *wait_for(GAsyncResult **slot)
{
	while (*slot == NULL)
		g_main_context_iteration(NULL, TRUE);
	return *slot;
}

static uint64_t campaign(void)
{
	g_autoptr(GAsyncResult) result = NULL;
	g_autoptr(GError) error = NULL;

	dn_store_campaign_async(store, "test", on_result, &result);
	uint64_t won = dn_store_campaign_finish(store, wait_for(&result), &error);
	cr_assert(error == NULL, "%s", error != NULL ? error->message : "");
	return won;
}

static DnStoreEntry *get(const char *key)
{
	g_autoptr(GAsyncResult) result = NULL;
	g_autoptr(GError) error = NULL;

	dn_store_get_async(store, key, on_result, &result);
	DnStoreEntry *entry = dn_store_get_finish(store, wait_for(&result), &error);
	cr_assert(error == NULL, "%s", error != NULL ? error->message : "");
	return entry;
}

static GPtrArray *list(const char *prefix, uint64_t at, uint64_t *revision, int *code)
{
	g_autoptr(GAsyncResult) result = NULL;
	g_autoptr(GError) error = NULL;

	dn_store_list_async(store, prefix, at, on_result, &result);
	GPtrArray *entries = dn_store_list_finish(store, wait_for(&result), revision, &error);
	*code = error == NULL ? 0 : error->code;
	return entries;
}

/* Returns the revision, 0 when a comparison failed; *@code is that of the error. */
static uint64_t commit(DnStoreTxn *txn, int *code)
{
	g_autoptr(GAsyncResult) result = NULL;
	g_autoptr(GError) error = NULL;
	bool applied = false;
	uint64_t revision = 0;

	dn_store_txn_async(store, txn, on_result, &result);
	bool done = dn_store_txn_finish(store, wait_for(&result), &applied, &revision, &error);
	cr_assert(eq(int, done, error == NULL));
	*code = error == NULL ? 0 : error->code;
	return applied ? revision : 0;
}

static GBytes *bytes_of(const char *text)
{
	return g_bytes_new(text, strlen(text));
}

static void put_into(DnStoreTxn *txn, const char *key, const char *value)
{
	g_autoptr(GBytes) bytes = bytes_of(value);

	dn_store_txn_put(txn, key, bytes);
}

static uint64_t put(const char *key, const char *value)
{
	DnStoreTxn *txn = dn_store_txn_new(term);
	int code = 0;

	put_into(txn, key, value);
	uint64_t revision = commit(txn, &code);
	cr_assert(eq(int, code, 0));
	return revision;
}

static bool has(const char *key, const char *value)
{
	g_autoptr(DnStoreEntry) entry = get(key);
	g_autoptr(GBytes) wanted = bytes_of(value);

	return entry != NULL && g_bytes_equal(entry->value, wanted);
}

/* ---- one store a test ---- */

static void open_store(Kind kind)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(directory, "store.db", NULL);

	store = kind == SQLITE ? dn_store_open_sqlite(path, NULL, &error) : dn_store_open_memory();
	cr_assert(store != NULL, "%s", error != NULL ? error->message : "");
	if (kind == SLOW_MEMORY)
		dn_store_memory_delay(store, 3);
}

static void begin(Kind kind)
{
	directory = g_dir_make_tmp("dnt-store-XXXXXX", NULL);
	open_store(kind);
	term = campaign();
}

static void end(void)
{
	g_clear_pointer(&store, dn_store_close);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_clear_pointer(&directory, g_free);
	dn_suite_end();
}

#define CONTRACT(name_)                                                                            \
	static void name_(Kind kind);                                                              \
	Test(store_in_memory, name_)                                                               \
	{                                                                                          \
		begin(MEMORY);                                                                     \
		name_(MEMORY);                                                                     \
		end();                                                                             \
	}                                                                                          \
	Test(store_in_slow_memory, name_)                                                          \
	{                                                                                          \
		begin(SLOW_MEMORY);                                                                \
		name_(SLOW_MEMORY);                                                                \
		end();                                                                             \
	}                                                                                          \
	Test(store_in_sqlite, name_)                                                               \
	{                                                                                          \
		begin(SQLITE);                                                                     \
		name_(SQLITE);                                                                     \
		end();                                                                             \
	}                                                                                          \
	static void name_(Kind kind)

TestSuite(store_in_memory, .fini = dn_suite_end);
TestSuite(store_in_slow_memory, .fini = dn_suite_end);
TestSuite(store_in_sqlite, .fini = dn_suite_end);

/* ---- the contract ---- */

CONTRACT(what_was_put_is_read_back_byte_for_byte)
{
	const char raw[] = "a\0b\xff";
	g_autoptr(GBytes) value = g_bytes_new(raw, sizeof(raw));
	g_autoptr(GBytes) nothing = g_bytes_new("", 0);
	DnStoreTxn *txn = dn_store_txn_new(term);
	int code = 0;

	dn_store_txn_put(txn, "raw", value);
	dn_store_txn_put(txn, "empty", nothing);
	uint64_t revision = commit(txn, &code);
	g_autoptr(DnStoreEntry) read = get("raw");
	g_autoptr(DnStoreEntry) empty = get("empty");
	g_autoptr(DnStoreEntry) missing = get("ra");
	cr_assert(g_bytes_equal(read->value, value));
	cr_assert(eq(u64, read->revision, revision));
	cr_assert(eq(sz, g_bytes_get_size(empty->value), 0));
	cr_assert(eq(ptr, missing, NULL));
}

CONTRACT(revisions_grow_by_one_and_a_txn_without_writes_takes_none)
{
	int code = 0;
	uint64_t first = put("a", "1");

	cr_assert(eq(u64, put("b", "1"), first + 1));
	cr_assert(eq(u64, commit(dn_store_txn_new(term), &code), first + 1));
	cr_assert(eq(u64, put("c", "1"), first + 2));
}

CONTRACT(a_list_has_the_keys_of_its_prefix_in_order_and_no_others)
{
	uint64_t revision = 0;
	int code = 0;

	put("host/b", "2");
	put("host/a", "1");
	put("hosts", "x");
	put("host.", "x");
	put("host0", "x");
	uint64_t last = put("host/c", "3");
	g_autoptr(GPtrArray) entries = list("host/", 0, &revision, &code);
	cr_assert(eq(u64, revision, last));
	cr_assert(eq(uint, entries->len, 3));
	for (guint i = 0; i < 3; i++) {
		const char *const keys[] = {"host/a", "host/b", "host/c"};

		cr_assert_str_eq(((DnStoreEntry *)g_ptr_array_index(entries, i))->key, keys[i]);
	}
	g_autoptr(GPtrArray) all = list("", 0, &revision, &code);
	cr_assert(eq(uint, all->len, 6));
}

CONTRACT(the_past_can_be_read_until_it_is_compacted)
{
	int code = 0;
	uint64_t then = put("k", "old");

	put("k", "new");
	DnStoreTxn *txn = dn_store_txn_new(term);
	dn_store_txn_delete(txn, "k");
	commit(txn, &code);
	g_autoptr(GPtrArray) past = list("k", then, NULL, &code);
	g_autoptr(GPtrArray) present = list("k", 0, NULL, &code);
	cr_assert(eq(uint, past->len, 1));
	cr_assert(eq(uint, present->len, 0));
	g_autoptr(GPtrArray) future = list("k", 1000000, NULL, &code);
	cr_assert(eq(ptr, future, NULL));
	cr_assert(eq(int, code, DN_ERROR_EXHAUSTED));

	for (unsigned i = 0; kind == SQLITE && i < 2 * DN_STORE_KEEP; i++)
		put("other", "x");
	if (kind != SQLITE)
		dn_store_memory_compact(store);
	g_autoptr(GPtrArray) gone = list("k", then, NULL, &code);
	cr_assert(eq(ptr, gone, NULL));
	cr_assert(eq(int, code, DN_ERROR_EXHAUSTED));
	g_autoptr(DnStoreEntry) still = get("k");
	cr_assert(eq(ptr, still, NULL));
}

CONTRACT(a_comparison_that_fails_lets_none_of_the_writes_through)
{
	int code = 0;
	uint64_t revision = put("a", "1");
	DnStoreTxn *stale = dn_store_txn_new(term);

	dn_store_txn_compare(stale, "a", revision - 1);
	put_into(stale, "a", "2");
	put_into(stale, "b", "2");
	cr_assert(eq(u64, commit(stale, &code), 0));
	cr_assert(eq(int, code, 0));
	g_autoptr(DnStoreEntry) b = get("b");
	cr_assert(eq(ptr, b, NULL));

	DnStoreTxn *good = dn_store_txn_new(term);
	dn_store_txn_compare(good, "a", revision);
	dn_store_txn_compare(good, "b", 0);
	put_into(good, "a", "2");
	cr_assert(eq(u64, commit(good, &code), revision + 1));
	cr_assert(has("a", "2"));
}

CONTRACT(who_has_lost_the_campaign_writes_nothing_more)
{
	int code = 0;
	uint64_t old = term;

	cr_assert(eq(u64, campaign(), old + 1));
	DnStoreTxn *late = dn_store_txn_new(old);
	put_into(late, "a", "1");
	commit(late, &code);
	cr_assert(eq(int, code, DN_ERROR_CONFLICT));
	g_autoptr(DnStoreEntry) a = get("a");
	cr_assert(eq(ptr, a, NULL));
	DnStoreTxn *nobody = dn_store_txn_new(0);
	put_into(nobody, "a", "1");
	commit(nobody, &code);
	cr_assert(eq(int, code, DN_ERROR_CONFLICT));
}

CONTRACT(a_value_beyond_the_limit_is_refused_and_changes_nothing)
{
	g_autofree char *huge = g_strnfill(DN_STORE_VALUE_LIMIT + 1, 'x');
	DnStoreTxn *txn = dn_store_txn_new(term);
	int code = 0;

	put_into(txn, "small", "1");
	put_into(txn, "huge", huge);
	commit(txn, &code);
	cr_assert(eq(int, code, DN_ERROR_EXHAUSTED));
	g_autoptr(DnStoreEntry) small = get("small");
	cr_assert(eq(ptr, small, NULL));
}

/* ---- watches ---- */

typedef struct {
	GString *seen; /* "key=value@revision " */
	bool compacted;
} Seen;

static void on_changed(GPtrArray *changes, uint64_t revision, gpointer data)
{
	Seen *seen = data;

	seen->compacted = changes == NULL;
	for (guint i = 0; changes != NULL && i < changes->len; i++) {
		const DnStoreEntry *entry = g_ptr_array_index(changes, i);

		cr_assert(le(u64, entry->revision, revision));
		g_string_append_printf(
			seen->seen, "%s=%.*s ", entry->key,
			entry->value == NULL ? 1 : (int)g_bytes_get_size(entry->value),
			entry->value == NULL ? "-"
					     : (const char *)g_bytes_get_data(entry->value, NULL));
	}
}

static void let_it_come(void)
{
	/* A read that was asked for after the change comes back after the watch's. */
	dn_store_entry_free(get("nothing"));
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	dn_store_entry_free(get("nothing"));
	while (g_main_context_iteration(NULL, FALSE))
		continue;
}

CONTRACT(a_watch_sees_every_change_once_in_order_from_the_revision_it_names)
{
	Seen seen = {.seen = g_string_new(NULL)};
	int code = 0;

	put("w/a", "0");
	uint64_t since = put("w/a", "1");
	put("w/b", "2");
	put("x", "no");
	DnStoreWatch *watch = dn_store_watch(store, "w/", since, on_changed, &seen);
	put("w/a", "3");
	DnStoreTxn *txn = dn_store_txn_new(term);
	dn_store_txn_delete(txn, "w/b");
	commit(txn, &code);
	put("w/c", "4");
	let_it_come();
	cr_assert_str_eq(seen.seen->str, "w/b=2 w/a=3 w/b=- w/c=4 ");
	dn_store_unwatch(watch);
	put("w/d", "5");
	let_it_come();
	cr_assert_str_eq(seen.seen->str, "w/b=2 w/a=3 w/b=- w/c=4 ");
	g_string_free(seen.seen, TRUE);
}

CONTRACT(a_watch_from_a_compacted_revision_says_so_and_ends)
{
	Seen seen = {.seen = g_string_new(NULL)};
	uint64_t since = put("w/a", "0");

	for (unsigned i = 0; i < (kind == SQLITE ? 2 * DN_STORE_KEEP : 2); i++)
		put("other", "x");
	if (kind != SQLITE)
		dn_store_memory_compact(store);
	DnStoreWatch *watch = dn_store_watch(store, "w/", since, on_changed, &seen);
	let_it_come();
	cr_assert(seen.compacted);
	put("w/a", "1");
	let_it_come();
	cr_assert_str_eq(seen.seen->str, "");
	dn_store_unwatch(watch);
	g_string_free(seen.seen, TRUE);
}

CONTRACT(the_last_that_a_transaction_says_of_a_key_counts)
{
	DnStoreTxn *txn = dn_store_txn_new(term);
	int code = 0;

	put_into(txn, "put", "1");
	put_into(txn, "removed", "1");
	dn_store_txn_delete(txn, "put");
	dn_store_txn_delete(txn, "removed");
	put_into(txn, "put", "2");
	commit(txn, &code);
	cr_assert(eq(int, code, 0));
	cr_assert(has("put", "2"));
	g_autoptr(DnStoreEntry) removed = get("removed");
	cr_assert(eq(ptr, removed, NULL));
}

/* Filled while a disk without space keeps the one before it waiting. */
Test(store_in_memory, a_transaction_of_many_keys_takes_time_in_proportion, .timeout = 20)
{
	enum { KEYS = 100000 };
	g_autoptr(DnStoreTxn) txn = dn_store_txn_new(1);

	for (unsigned i = 0; i < KEYS; i++) {
		g_autofree char *key = g_strdup_printf("event/%020u", i);

		put_into(txn, key, "value");
	}
}

/* ---- what only one of them can do ---- */

Test(store_in_sqlite, everything_is_there_again_after_it_was_opened_anew)
{
	begin(SQLITE);
	uint64_t revision = put("a", "1");
	uint64_t old = term;
	g_clear_pointer(&store, dn_store_close);
	open_store(SQLITE);
	term = campaign();
	cr_assert(eq(u64, term, old + 1));
	cr_assert(has("a", "1"));
	cr_assert(eq(u64, put("b", "1"), revision + 1));
	end();
}

Test(store_in_sqlite, compacting_keeps_every_present_value)
{
	begin(SQLITE);
	int code = 0;
	put("keep", "me");
	for (unsigned i = 0; i < 3 * DN_STORE_KEEP; i++)
		put("busy", "x");
	cr_assert(has("keep", "me"));
	cr_assert(has("busy", "x"));
	g_autoptr(GPtrArray) all = list("", 0, NULL, &code);
	cr_assert(eq(uint, all->len, 2));
	end();
}

Test(store_in_sqlite, the_past_goes_after_fewer_revisions_when_they_are_large)
{
	enum { EACH = 8 * 1024 * 1024, COUNT = 26 };

	begin(SQLITE);
	g_autofree char *text = g_strnfill(EACH, 'x');
	int code = 0;
	uint64_t first = put("keep", "me");

	for (unsigned i = 0; i < COUNT; i++)
		put("busy", text);
	g_autoptr(GPtrArray) gone = list("busy", first + 1, NULL, &code);
	cr_assert(eq(ptr, gone, NULL));
	cr_assert(eq(int, code, DN_ERROR_EXHAUSTED));
	/* The last 64 MiB are there, and the present is. */
	g_autoptr(GPtrArray) past = list("busy", first + COUNT - 7, NULL, &code);
	cr_assert(eq(uint, past->len, 1));
	cr_assert(has("keep", "me"));
	cr_assert(has("busy", text));
	end();
}

Test(store_in_memory, leadership_can_be_lost_at_any_time)
{
	begin(MEMORY);
	int code = 0;
	put("a", "1");
	dn_store_memory_lose_leadership(store);
	DnStoreTxn *late = dn_store_txn_new(term);
	put_into(late, "a", "2");
	commit(late, &code);
	cr_assert(eq(int, code, DN_ERROR_CONFLICT));
	cr_assert(has("a", "1"));
	end();
}

Test(store_in_memory, closing_waits_for_what_was_asked_before)
{
	begin(MEMORY);
	g_autoptr(GAsyncResult) result = NULL;
	DnStoreTxn *txn = dn_store_txn_new(term);
	bool applied = false;
	put_into(txn, "a", "1");
	dn_store_memory_delay(store, 20);
	dn_store_txn_async(store, txn, on_result, &result);
	g_clear_pointer(&store, dn_store_close);
	cr_assert(dn_store_txn_finish(NULL, wait_for(&result), &applied, NULL, NULL));
	cr_assert(applied);
	end();
}
