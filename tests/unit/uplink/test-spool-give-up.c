/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "support/suite.h"
#include "uplink/spool.h"

static char *directory;
static DnSpool *spool;

static void setup(void)
{
	g_autoptr(GError) error = NULL;

	directory = g_dir_make_tmp("dnt-spool-XXXXXX", NULL);
	spool = dn_spool_open(directory, DN_SPOOL_LIMIT, &error);
	cr_assert(spool != NULL, "%s", error == NULL ? "" : error->message);
}

static void teardown(void)
{
	g_clear_pointer(&spool, dn_spool_close);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_clear_pointer(&directory, g_free);
	dn_suite_end();
}

TestSuite(spool_give_up, .init = setup, .fini = teardown);

static void append(const char *text)
{
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	g_autoptr(GError) error = NULL;
	bool done = dn_spool_append(spool, bytes, &error);

	cr_assert(done, "%s", error == NULL ? "" : error->message);
}

/* Of a new spool: its name is the number of its first fact. */
static char *first_segment(void)
{
	return g_build_filename(directory, "00000000000000000001.seg", NULL);
}

static uint64_t take_one(const char *wanted, uint64_t previous)
{
	DnSpoolEntry entry = {0};
	bool took = dn_spool_take(spool, &entry);

	cr_assert(took);
	cr_assert(eq(u64, entry.previous, previous));
	cr_assert(eq(sz, g_bytes_get_size(entry.payload), strlen(wanted)));
	cr_assert(zero(int, memcmp(g_bytes_get_data(entry.payload, NULL), wanted, strlen(wanted))));
	g_bytes_unref(entry.payload);
	return entry.number;
}

Test(spool_give_up, a_record_that_changes_while_it_waits_is_dropped_alone_and_the_next_follows_on)
{
	enum { HEAD = 20, TEXT = 4 };

	append("aaaa");
	append("bbbb");
	append("cccc");
	g_autofree char *path = first_segment();
	uint64_t first = take_one("aaaa", 0);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(eq(int, (int)pwrite(fd, "X", 1, HEAD + TEXT + HEAD), 1));
	close(fd);

	uint64_t third = take_one("cccc", first);
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 1));
	cr_assert(eq(uint, dn_spool_sent(spool), 2));
	dn_spool_acknowledge(spool, third);
	cr_assert(eq(uint, dn_spool_length(spool), 0));
	cr_assert(eq(u64, dn_spool_dropped(spool, true), 1));
}

Test(spool_give_up, what_is_no_fact_is_given_up_alone_and_the_next_follows_on)
{
	append("fact");
	append("none");
	append("last");
	uint64_t first = take_one("fact", 0);
	(void)take_one("none", first);
	dn_spool_give_up(spool);

	(void)take_one("last", first);
	cr_assert(eq(uint, dn_spool_sent(spool), 2));
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 1));
	dn_spool_rewind(spool);
	(void)take_one("fact", 0);
	(void)take_one("last", first);
}

Test(spool_give_up, what_is_given_up_as_the_only_one_takes_its_segment_along_and_is_counted)
{
	append("none");
	(void)take_one("none", 0);
	dn_spool_give_up(spool);

	g_autofree char *path = first_segment();
	cr_assert(eq(int, access(path, F_OK), -1));
	cr_assert(eq(u64, dn_spool_dropped(spool, true), 1));
	append("next");
	(void)take_one("next", 0);
}

Test(spool_give_up, a_fact_that_was_not_appended_is_not_counted_by_the_spool_since_it_may_be_sent)
{
	g_autofree char *text = g_strnfill(DN_SPOOL_RECORD + 1, 'x');
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	bool appended = dn_spool_append(spool, bytes, NULL);

	cr_assert(not(appended));
	cr_assert(zero(u64, dn_spool_dropped(spool, false)));
	dn_spool_count_dropped(spool);
	cr_assert(eq(u64, dn_spool_dropped(spool, true), 1));
}
