/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "folder.h"
#include "support/suite.h"

static Folder folder;

static void setup(void)
{
	folder_init(&folder);
}

static void teardown(void)
{
	folder_clear(&folder);
	dn_suite_end();
}

TestSuite(journal, .init = setup, .fini = teardown, .timeout = 60);

static void count_done(void *data, const GError *error)
{
	cr_assert(error == NULL);
	++*(unsigned *)data;
}

Test(journal, what_was_acknowledged_is_there_after_it_is_opened_again)
{
	g_autoptr(GString) entries = g_string_new(NULL);
	DnJournalWalk walk;
	unsigned done = 0;

	for (unsigned round = 0; round < 3; round++) {
		g_autoptr(DnJournal) journal = folder_open(&folder, NULL);

		dn_journal_add(journal, dn_journal_entry_new("agent.started", 1), count_done,
			       &done);
		while (done == round)
			g_main_context_iteration(NULL, TRUE);
		cr_assert(eq(u64, dn_journal_head(journal).seq, round + 1));
	}
	cr_assert(eq(int, folder_walk(&folder, &walk, entries), DN_JOURNAL_WHOLE));
	cr_assert(eq(u64, walk.head.seq, 3));
	cr_assert(strstr(entries->str, "{\"seq\":3,") != NULL);
}

Test(journal, entries_that_wait_together_share_a_batch)
{
	g_autoptr(DnJournal) journal = folder_open(&folder, NULL);
	unsigned done = 0;
	enum { COUNT = 5000 };

	for (unsigned i = 0; i < COUNT; i++)
		dn_journal_add(journal, dn_journal_entry_new("order.sent", 1), count_done, &done);
	dn_journal_flush(journal);
	DnJournalCounts counts = dn_journal_counts(journal);
	cr_assert(eq(u32, done, COUNT));
	cr_assert(eq(u64, counts.entries, COUNT));
	cr_assert(eq(u64, counts.dropped, 0));
	cr_assert(counts.batches < COUNT / 50, "%" G_GUINT64_FORMAT " batches", counts.batches);
}

Test(journal, that_another_journal_has_grown_is_no_news)
{
	g_autoptr(DnJournal) journal = folder_open(&folder, NULL);

	dn_journal_add(journal, dn_journal_entry_new("order.sent", 1), NULL, NULL);
	dn_journal_add_head(journal, dn_journal_entry_new("journal.head", 1));
	dn_journal_add_head(journal, dn_journal_entry_new("journal.head", 1));
	dn_journal_flush(journal);
	cr_assert(eq(u64, dn_journal_head(journal).seq, 3));
	cr_assert(eq(u64, dn_journal_news(journal), 1));
}

Test(journal, who_waits_is_called_after_everything_before_it)
{
	g_autoptr(DnJournal) journal = folder_open(&folder, NULL);
	unsigned added = 0, after = 0;

	for (unsigned i = 0; i < 10; i++)
		dn_journal_add(journal, dn_journal_entry_new("order.sent", 1), count_done, &added);
	dn_journal_after(journal, count_done, &after);
	while (after == 0)
		g_main_context_iteration(NULL, TRUE);
	cr_assert(eq(u32, added, 10));
	cr_assert(eq(u64, dn_journal_head(journal).seq, 10));
}

Test(journal, segments_go_on_where_the_one_before_ended_and_the_oldest_go)
{
	DnJournalConfig config = {.segment_bytes = 4096, .segments = 3};
	DnJournalWalk walk;

	for (unsigned round = 0; round < 20; round++) {
		g_autoptr(DnJournal) journal = folder_open(&folder, &config);

		for (unsigned batch = 0; batch < 5; batch++)
			folder_add(journal, "order.sent", 3);
	}
	g_autoptr(GBytes) first = folder_segment(&folder, 1);
	cr_assert(first == NULL);
	cr_assert(eq(int, folder_walk(&folder, &walk, NULL), DN_JOURNAL_WHOLE));
	cr_assert(eq(u64, walk.head.seq, 300));
	cr_assert(walk.first > 1);
	g_autoptr(GBytes) oldest = folder_segment(&folder, (unsigned)walk.segment - 2);
	g_autoptr(GBytes) older = folder_segment(&folder, (unsigned)walk.segment - 3);
	cr_assert(oldest != NULL);
	cr_assert(older == NULL);
}

Test(journal, a_torn_end_is_cut_off_kept_and_journalled)
{
	for (size_t cut = 1; cut < 400; cut += 7) {
		g_autoptr(GString) entries = g_string_new(NULL);
		DnJournalWalk walk;

		cr_assert(dn_file_remove_tree(folder.dir, NULL));
		DnJournal *journal = folder_open(&folder, NULL);
		folder_add(journal, "order.sent", 1);
		folder_add(journal, "manifest.accepted", 1);
		dn_journal_close(journal);
		g_autoptr(GBytes) bytes = folder_segment(&folder, 1);
		size_t size = 0;
		const char *data = g_bytes_get_data(bytes, &size);
		folder_set_segment(&folder, 1, data, size - MIN(cut, size));

		journal = folder_open(&folder, NULL);
		folder_add(journal, "agent.started", 1);
		dn_journal_close(journal);
		cr_assert(eq(int, folder_walk(&folder, &walk, entries), DN_JOURNAL_WHOLE));
		g_autofree char *torn = g_build_filename(folder.dir, "torn", NULL);
		cr_assert(eq(int, g_file_test(torn, G_FILE_TEST_EXISTS),
			     strstr(entries->str, "\"journal.torn\"") != NULL));
		cr_assert(strstr(entries->str, "\"agent.started\"") != NULL);
		cr_assert(strstr(entries->str, "\"manifest.accepted\"") == NULL);
	}
}

Test(journal, a_segment_that_was_only_begun_is_no_obstacle)
{
	DnJournalConfig config = {.segment_bytes = 1};
	DnJournal *journal = folder_open(&folder, &config);
	DnJournalWalk walk;

	folder_add(journal, "order.sent", 1);
	dn_journal_close(journal);
	folder_set_segment(&folder, 2, "", 0);
	journal = folder_open(&folder, &config);
	folder_add(journal, "order.sent", 1);
	dn_journal_close(journal);
	cr_assert(eq(int, folder_walk(&folder, &walk, NULL), DN_JOURNAL_WHOLE));
	cr_assert(eq(u64, walk.head.seq, 2));
	cr_assert(eq(u64, walk.segment, 2));
}

Test(journal, a_broken_chain_is_refused_with_what_to_do)
{
	DnJournal *journal = folder_open(&folder, NULL);

	folder_add(journal, "order.sent", 1);
	folder_add(journal, "order.sent", 1);
	folder_add(journal, "order.sent", 1);
	dn_journal_close(journal);
	g_autoptr(GBytes) bytes = folder_segment(&folder, 1);
	size_t size = 0;
	g_autofree char *data = g_memdup2(g_bytes_get_data(bytes, &size), g_bytes_get_size(bytes));
	*strstr(data, "order.sent") = 'O';
	folder_set_segment(&folder, 1, data, size);

	g_autofree char *refusal = folder_refusal(&folder);
	cr_assert(strstr(refusal, "0000000001.jsonl") != NULL, "%s", refusal);
	cr_assert(strstr(refusal, "the hash does not fit entries 1 to 1") != NULL, "%s", refusal);
	cr_assert(strstr(refusal, "move its directory away") != NULL, "%s", refusal);
	cr_assert(strchr(refusal, '\n') == NULL);
}

Test(journal, the_journal_of_another_key_is_refused)
{
	DnJournal *journal = folder_open(&folder, NULL);

	folder_add(journal, "order.sent", 1);
	dn_journal_close(journal);
	dn_secret_key_free(folder.key);
	folder.key = dn_secret_key_generate();
	g_autofree char *refusal = folder_refusal(&folder);
	cr_assert(strstr(refusal, "of another identity or key") != NULL, "%s", refusal);
}

/* docs/formats/journal.md says the same to people: only tools that every machine has. */
static const char stranger[] =
	"hash=$(sed -n 's/^{\"journal\":.*\"previous\":\"\\([0-9a-f]*\\)\".*/\\1/p' \"$0\")\n"
	"lines=\n"
	"while IFS= read -r line; do\n"
	"  case $line in\n"
	"  '{\"batch\":'*)\n"
	"    hash=$(printf '%s\\n%s' \"$hash\" \"$lines\" | sha256sum | cut -c1-64)\n"
	"    lines= ;;\n"
	"  *) lines=\"$lines$line\n\" ;;\n"
	"  esac\n"
	"done <\"$0\"\n"
	"printf %s \"$hash\"";

Test(journal, a_stranger_verifies_the_hash_with_sha256sum)
{
	const char *argv[] = {"/bin/sh", "-euc", stranger, "0000000001.jsonl", NULL};
	g_autoptr(GError) error = NULL;
	g_autofree char *output = NULL;
	int status = 0;
	DnJournal *journal = folder_open(&folder, NULL);

	folder_add(journal, "order.sent", 3);
	folder_add(journal, "order.sent", 2);
	DnJournalHead head = dn_journal_head(journal);
	dn_journal_close(journal);
	cr_assert(g_spawn_sync(folder.dir, (char **)argv, NULL, 0, NULL, NULL, &output, NULL,
			       &status, &error));
	cr_assert(g_spawn_check_wait_status(status, &error), "%s", error->message);
	cr_assert_str_eq(output, head.hash);
}
