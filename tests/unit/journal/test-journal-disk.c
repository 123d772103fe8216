/* SPDX-License-Identifier: Apache-2.0 */

/* What the journal does when the disk does not: a disk that fails as it is told. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "support/suite.h"

static Folder folder;

/* Set before the writer is given work, read by it. */
static gint write_errno, sync_errno;
static gint room = -1;    /* bytes until ENOSPC; -1: no end */
static gint longest = -1; /* of one write; -1: no limit */
static gint syncs;

static ssize_t faulty_write(int fd, const void *data, size_t size)
{
	if (write_errno != 0) {
		errno = write_errno;
		return -1;
	}
	if (longest >= 0)
		size = MIN(size, (size_t)longest);
	if (room == 0) {
		errno = ENOSPC;
		return -1;
	}
	if (room > 0)
		size = MIN(size, (size_t)room);
	ssize_t written = write(fd, data, size);
	if (room > 0)
		room -= (gint)written;
	return written;
}

static int faulty_sync(int fd)
{
	syncs++;
	if (sync_errno == 0)
		return fdatasync(fd);
	errno = sync_errno;
	return -1;
}

static const DnJournalDisk faulty = {faulty_write, faulty_sync};

static void setup(void)
{
	folder_init(&folder);
}

static void teardown(void)
{
	folder_clear(&folder);
	dn_suite_end();
}

TestSuite(journal_disk, .init = setup, .fini = teardown, .timeout = 60);

static unsigned troubles;

static void on_trouble(void *data, const GError *error)
{
	troubles++;
}

static DnJournal *open_faulty(void)
{
	DnJournalConfig config = {.disk = &faulty, .trouble = on_trouble};

	return folder_open(&folder, &config);
}

static void take_outcome(void *data, const GError *error)
{
	*(GError **)data = error != NULL ? g_error_copy(error) : NULL;
}

/* Add one entry; NULL when it was acknowledged. */
static GError *add(DnJournal *journal)
{
	GError *outcome = NULL;

	dn_journal_add(journal, dn_journal_entry_new("order.sent", 1), take_outcome, &outcome);
	dn_journal_flush(journal);
	return outcome;
}

static void expect_refused(DnJournal *journal, const char *why)
{
	g_autoptr(GError) error = add(journal);

	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	cr_assert(strstr(error->message, why) != NULL, "%s", error->message);
}

static void expect_acknowledged(DnJournal *journal)
{
	g_autoptr(GError) error = add(journal);

	cr_assert(error == NULL, "%s", error->message);
}

static void expect_whole(uint64_t seq)
{
	DnJournalWalk walk;

	cr_assert(eq(int, folder_walk(&folder, &walk, NULL), DN_JOURNAL_WHOLE));
	cr_assert(eq(u64, walk.head.seq, seq));
}

Test(journal_disk, short_writes_are_continued)
{
	g_autoptr(DnJournal) journal = open_faulty();

	longest = 13;
	expect_acknowledged(journal);
	expect_acknowledged(journal);
	expect_whole(2);
}

Test(journal_disk, one_batch_is_one_fsync)
{
	g_autoptr(DnJournal) journal = open_faulty();

	expect_acknowledged(journal); /* its fsync and the new directory entry's */
	syncs = 0;
	folder_add(journal, "order.sent", 2000);
	DnJournalCounts counts = dn_journal_counts(journal);
	cr_assert(eq(u64, counts.entries, 2001));
	cr_assert(eq(u64, (uint64_t)syncs, counts.batches - 1));
	cr_assert(syncs < 100, "%d fsyncs for 2000 entries", syncs);
}

Test(journal_disk, after_a_failed_fsync_nothing_is_acknowledged_until_it_is_opened_again)
{
	DnJournal *journal = open_faulty();

	expect_acknowledged(journal);
	sync_errno = EIO;
	expect_refused(journal, "fsync");
	sync_errno = 0; /* the kernel has forgotten: a later fsync would say nothing */
	expect_refused(journal, "fsync");
	g_autoptr(GError) trouble = dn_journal_trouble(journal);
	cr_assert(trouble != NULL);
	cr_assert(eq(u64, dn_journal_counts(journal).dropped, 2));
	cr_assert(eq(u32, troubles, 1));
	cr_assert(eq(u64, dn_journal_head(journal).seq, 1));
	dn_journal_close(journal);

	journal = open_faulty();
	cr_assert(eq(u64, dn_journal_head(journal).seq, 1));
	expect_acknowledged(journal);
	dn_journal_close(journal);
	expect_whole(2);
}

Test(journal_disk, an_error_while_writing_stops_it_like_a_failed_fsync)
{
	g_autoptr(DnJournal) journal = open_faulty();

	expect_acknowledged(journal);
	write_errno = EIO;
	expect_refused(journal, "write to a segment");
	write_errno = 0;
	expect_refused(journal, "write to a segment");
	cr_assert(eq(u64, dn_journal_head(journal).seq, 1));
}

Test(journal_disk, a_full_disk_costs_the_reserve_first)
{
	g_autofree char *reserve = g_build_filename(folder.dir, "reserve", NULL);
	g_autoptr(DnJournal) journal = open_faulty();

	expect_acknowledged(journal);
	cr_assert(g_file_test(reserve, G_FILE_TEST_EXISTS));
	room = 10;
	expect_refused(journal, "No space left");
	bool kept = g_file_test(reserve, G_FILE_TEST_EXISTS);
	cr_assert(not(kept));
	expect_whole(1);
}

Test(journal_disk, what_a_full_disk_has_dropped_is_counted_and_said_when_there_is_room)
{
	g_autoptr(DnJournal) journal = open_faulty();
	g_autoptr(GString) entries = g_string_new(NULL);
	DnJournalWalk walk;

	expect_acknowledged(journal);
	room = 10;
	for (unsigned i = 0; i < 3; i++)
		expect_refused(journal, "No space left");
	cr_assert(eq(u32, troubles, 1));
	room = -1;
	expect_acknowledged(journal);
	g_autoptr(GError) trouble = dn_journal_trouble(journal);
	cr_assert(trouble == NULL);
	cr_assert(eq(int, folder_walk(&folder, &walk, entries), DN_JOURNAL_WHOLE));
	cr_assert(strstr(entries->str, "\"kind\":\"journal.gap\",\"missing\":3}") != NULL, "%s",
		  entries->str);
	room = 10;
	expect_refused(journal, "No space left");
	cr_assert(eq(u32, troubles, 2));
}

Test(journal_disk, a_disk_that_is_full_from_the_start_leaves_nothing_half_begun)
{
	DnJournal *journal = open_faulty();

	room = 100;
	expect_refused(journal, "No space left");
	g_autoptr(GBytes) begun = folder_segment(&folder, 1);
	cr_assert(begun == NULL);
	room = -1;
	expect_acknowledged(journal);
	dn_journal_close(journal);
	expect_whole(2); /* the gap, then the entry */
}

Test(journal_disk, one_that_is_opened_anew_says_what_an_earlier_one_has_dropped)
{
	DnJournal *broken = open_faulty();
	g_autoptr(GString) entries = g_string_new(NULL);
	DnJournalConfig config = {0};
	DnJournalWalk walk;

	expect_acknowledged(broken);
	cr_assert(not(dn_journal_has_failed(broken)));
	sync_errno = EIO;
	expect_refused(broken, "fsync");
	sync_errno = 0;
	expect_refused(broken, "fsync");
	cr_assert(dn_journal_has_failed(broken));
	config.missing = dn_journal_gap(broken);
	cr_assert(eq(u64, config.missing, 2));
	dn_journal_close(broken);
	g_autoptr(DnJournal) anew = folder_open(&folder, &config);
	expect_acknowledged(anew);
	cr_assert(eq(u64, dn_journal_gap(anew), 0));
	cr_assert(eq(int, folder_walk(&folder, &walk, entries), DN_JOURNAL_WHOLE));
	cr_assert(strstr(entries->str, "\"kind\":\"journal.gap\",\"missing\":2}") != NULL, "%s",
		  entries->str);
}
