/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"
#include "journal/chain.h"

#include <string.h>

typedef struct {
	uint64_t last, batches;
} Seen;

/* Told only of what a signature covers: in order, and a line is one line. */
static void on_entry(uint64_t seq, const char *line, size_t length, void *data)
{
	Seen *seen = data;

	g_assert(seen->last == 0 || seq == seen->last + 1);
	g_assert(memchr(line, '\n', length) == NULL);
	seen->last = seq;
}

static void on_batch(const DnJournalHead *head, void *data)
{
	Seen *seen = data;

	g_assert(head->seq == seen->last);
	seen->batches++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const DnJournalVisitor visitor = {.entry = on_entry, .batch = on_batch};
	DnJournalWalk walk = {0}, again = {0};
	g_autofree char *why = NULL, *none = NULL;
	Seen seen = {0};

	DnJournalVerdict verdict =
		dn_journal_walk(&walk, (const char *)data, size, &visitor, &seen, &why);
	g_assert((verdict == DN_JOURNAL_WHOLE) == (why == NULL));
	g_assert(walk.good <= size && walk.batches == seen.batches);
	if (why != NULL)
		fuzz_judge_text(why);
	if (verdict != DN_JOURNAL_TORN || walk.good == 0)
		return 0;
	/* What is left of a torn one when its end is cut off is whole. */
	g_assert(dn_journal_walk(&again, (const char *)data, walk.good, NULL, NULL, &none) ==
		 DN_JOURNAL_WHOLE);
	g_assert(again.head.seq == walk.head.seq && strcmp(again.head.hash, walk.head.hash) == 0);
	return 0;
}
