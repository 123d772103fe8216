/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "folder.h"
#include "support/suite.h"

/* A journal in memory: one segment of three batches with two entries each. */
static DnSecretKey *key;
static GString *segment;
static size_t ends[3];
static DnJournalHead heads[3];

enum { BATCHES = 3, ENTRIES = 2 };

static void setup(void)
{
	uint8_t public[DN_PUBLIC_KEY_BYTES];
	DnJournalHead head = dn_journal_beginning;
	uint64_t seq = 0;

	key = dn_secret_key_generate();
	dn_secret_key_public(key, public);
	segment = g_string_new(NULL);
	for (unsigned b = 0; b < BATCHES; b++) {
		g_autoptr(GString) batch = g_string_new(NULL);

		if (b == 0)
			dn_journal_print_opening(batch, IDENTITY, public, 1, &head);
		for (unsigned e = 0; e < ENTRIES; e++) {
			g_autoptr(DnJournalEntry) entry = dn_journal_entry_new("order.sent", 1);

			dn_journal_entry_text(entry, "host", "h2");
			dn_journal_entry_print(entry, ++seq, batch);
		}
		dn_journal_seal(batch, IDENTITY, key, seq, &head);
		g_string_append_len(segment, batch->str, (gssize)batch->len);
		ends[b] = segment->len;
		heads[b] = head;
	}
}

static void teardown(void)
{
	dn_secret_key_free(key);
	g_string_free(segment, TRUE);
	dn_suite_end();
}

TestSuite(journal_chain, .init = setup, .fini = teardown);

static DnJournalVerdict walk_bytes(const char *data, size_t size, DnJournalWalk *walk)
{
	g_autofree char *why = NULL;
	/* Its own allocation, so that a sanitizer sees a read past the end. */
	g_autofree char *copy = g_memdup2(data, size);

	*walk = (DnJournalWalk){0};
	DnJournalVerdict verdict = dn_journal_walk(walk, copy, size, NULL, NULL, &why);
	cr_assert(eq(int, verdict == DN_JOURNAL_WHOLE, why == NULL));
	return verdict;
}

Test(journal_chain, what_was_written_is_whole_and_ends_at_its_head)
{
	DnJournalWalk walk;

	cr_assert(eq(int, walk_bytes(segment->str, segment->len, &walk), DN_JOURNAL_WHOLE));
	cr_assert(eq(u64, walk.head.seq, BATCHES * ENTRIES));
	cr_assert_str_eq(walk.head.hash, heads[BATCHES - 1].hash);
	cr_assert_str_eq(walk.identity, IDENTITY);
	cr_assert(eq(u64, walk.batches, BATCHES));
	cr_assert(eq(u64, walk.first, 1));
}

Test(journal_chain, every_flipped_bit_is_found)
{
	for (size_t i = 0; i < segment->len * 8; i++) {
		DnJournalWalk walk;

		segment->str[i / 8] ^= (char)(1 << i % 8);
		DnJournalVerdict verdict = walk_bytes(segment->str, segment->len, &walk);
		segment->str[i / 8] ^= (char)(1 << i % 8);
		cr_assert(verdict != DN_JOURNAL_WHOLE, "bit %zu of byte %zu", i % 8, i / 8);
		/* Nothing behind the change is believed. */
		cr_assert(walk.good <= i / 8, "byte %zu: good up to %zu", i / 8, walk.good);
	}
}

Test(journal_chain, a_cut_journal_is_a_shorter_one_or_torn)
{
	for (size_t size = 0; size < segment->len; size++) {
		DnJournalWalk walk;
		DnJournalVerdict verdict = walk_bytes(segment->str, size, &walk);
		unsigned whole = 0;

		while (whole < BATCHES && ends[whole] <= size)
			whole++;
		bool at_end = whole > 0 && ends[whole - 1] == size;
		cr_assert(eq(int, verdict, at_end ? DN_JOURNAL_WHOLE : DN_JOURNAL_TORN), "%zu",
			  size);
		cr_assert(eq(sz, walk.good, whole > 0 ? ends[whole - 1] : 0));
		if (whole > 0) {
			/* The loss shows against a head that somebody else has kept. */
			cr_assert_str_eq(walk.head.hash, heads[whole - 1].hash);
			cr_assert(walk.head.seq < heads[BATCHES - 1].seq);
		}
	}
}

Test(journal_chain, a_change_before_the_last_batch_is_no_torn_end)
{
	DnJournalWalk walk;

	segment->str[ends[0] + 30] ^= 1;
	cr_assert(eq(int, walk_bytes(segment->str, segment->len, &walk), DN_JOURNAL_BROKEN));
}

Test(journal_chain, a_batch_that_was_taken_out_or_moved_is_found)
{
	g_autoptr(GString) without = g_string_new_len(segment->str, (gssize)ends[0]);
	g_autoptr(GString) moved = g_string_new_len(segment->str, (gssize)ends[0]);
	DnJournalWalk walk;

	g_string_append(without, segment->str + ends[1]);
	cr_assert(walk_bytes(without->str, without->len, &walk) != DN_JOURNAL_WHOLE);
	g_string_append(moved, segment->str + ends[1]);
	g_string_append_len(moved, segment->str + ends[0], (gssize)(ends[1] - ends[0]));
	cr_assert(eq(int, walk_bytes(moved->str, moved->len, &walk), DN_JOURNAL_BROKEN));
}

Test(journal_chain, the_whole_written_anew_by_another_key_is_found)
{
	g_autoptr(DnSecretKey) other = dn_secret_key_generate();
	uint8_t public[DN_PUBLIC_KEY_BYTES];
	DnJournalHead head = dn_journal_beginning;
	g_autoptr(GString) batch = g_string_new(NULL);
	g_autoptr(DnJournalEntry) entry = dn_journal_entry_new("order.sent", 1);
	DnJournalWalk walk;

	/* The opening line names the key that is expected; another one has signed. */
	dn_secret_key_public(key, public);
	dn_journal_print_opening(batch, IDENTITY, public, 1, &head);
	dn_journal_entry_print(entry, 1, batch);
	dn_journal_seal(batch, IDENTITY, other, 1, &head);
	cr_assert(walk_bytes(batch->str, batch->len, &walk) != DN_JOURNAL_WHOLE);
}

Test(journal_chain, no_text_can_end_its_line_or_its_member)
{
	g_autoptr(DnJournalEntry) entry = dn_journal_entry_new("order.refused", 1);
	g_autoptr(GString) line = g_string_new(NULL);

	dn_journal_entry_text(entry, "reason", "a\"b\\c\nd\x7f\xff");
	dn_journal_entry_text(entry, "node", NULL);
	dn_journal_entry_print(entry, 7, line);
	cr_assert_str_eq(line->str,
			 "{\"seq\":7,\"time\":\"1970-01-01T00:00:00.000000001Z\",\"kind\":"
			 "\"order.refused\",\"reason\":\"a\\\"b\\\\c\\u000ad\\u007f\uFFFD\"}\n");
}

Test(journal_chain, an_entry_that_is_too_long_says_so_and_keeps_its_limit)
{
	g_autoptr(DnJournalEntry) entry = dn_journal_entry_new("order.refused", 1);
	g_autofree char *longest = g_strnfill(5000, '\n');
	g_autoptr(GString) line = g_string_new(NULL);

	for (unsigned i = 0; i < 10; i++)
		dn_journal_entry_text(entry, "reason", longest);
	dn_journal_entry_print(entry, UINT32_MAX, line);
	cr_assert(line->len <= DN_JOURNAL_LINE_LIMIT);
	cr_assert(g_str_has_suffix(line->str, ",\"shortened\":true}\n"));
}

Test(journal_chain, bytes_of_any_kind_are_judged_without_reading_past_them)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);

	for (unsigned round = 0; round < 2000; round++) {
		g_autoptr(GString) mixed = g_string_new_len(segment->str, (gssize)segment->len);
		DnJournalWalk walk;

		for (unsigned change = 0; change < 8; change++) {
			gsize at = (gsize)g_rand_int_range(rand, 0, (gint32)mixed->len);
			gssize length = g_rand_int_range(rand, 0, 64);

			g_string_insert_c(mixed, (gssize)at, (char)g_rand_int_range(rand, 0, 256));
			at = (gsize)g_rand_int_range(rand, 0, (gint32)mixed->len);
			g_string_erase(mixed, (gssize)at, MIN(length, (gssize)(mixed->len - at)));
		}
		cr_assert(walk_bytes(mixed->str, mixed->len, &walk) != DN_JOURNAL_WHOLE);
	}
}
