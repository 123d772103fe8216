/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "support/suite.h"
#include "uplink/spool.h"

enum { SMALL_LIMIT = 4 * DN_SPOOL_SEGMENT };

static char *directory;
static DnSpool *spool;

static void reopen(void)
{
	g_autoptr(GError) error = NULL;

	g_clear_pointer(&spool, dn_spool_close);
	spool = dn_spool_open(directory, SMALL_LIMIT, &error);
	cr_assert(spool != NULL, "%s", error == NULL ? "" : error->message);
}

static void setup(void)
{
	g_autofree char *made = g_dir_make_tmp("dnt-spool-XXXXXX", NULL);

	directory = g_build_filename(made, "spool", NULL);
	reopen();
}

static void teardown(void)
{
	g_autofree char *parent = g_path_get_dirname(directory);

	g_clear_pointer(&spool, dn_spool_close);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	cr_assert(dn_file_remove_tree(parent, NULL));
	g_clear_pointer(&directory, g_free);
	dn_suite_end();
}

TestSuite(spool, .init = setup, .fini = teardown);

static void append(const char *text)
{
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	g_autoptr(GError) error = NULL;
	bool done = dn_spool_append(spool, bytes, &error);

	cr_assert(done, "%s", error == NULL ? "" : error->message);
}

/* What may be sent now, joined by blanks; *@last is the number of the last. */
static char *take_all(uint64_t *last)
{
	GString *all = g_string_new(NULL);
	DnSpoolEntry entry = {0};
	uint64_t before = 0;

	while (dn_spool_take(spool, &entry)) {
		cr_assert(entry.number > before && entry.previous >= before);
		before = entry.number;
		g_string_append_printf(all, "%.*s ", (int)g_bytes_get_size(entry.payload),
				       (const char *)g_bytes_get_data(entry.payload, NULL));
		g_bytes_unref(entry.payload);
	}
	if (last != NULL)
		*last = before;
	return g_string_free(all, FALSE);
}

static void sends(const char *wanted, uint64_t *last)
{
	g_autofree char *all = take_all(last);

	cr_assert_str_eq(all, wanted);
}

/* The path of the first segment after that at @before, or NULL. */
static char *segment_after(const char *before)
{
	g_autoptr(GDir) open = g_dir_open(directory, 0, NULL);
	g_autofree char *found = NULL;
	const char *name = NULL;

	while ((name = g_dir_read_name(open)) != NULL) {
		g_autofree char *path = g_build_filename(directory, name, NULL);

		/* Their names are numbers of one width. */
		if (g_str_has_suffix(name, ".seg") && g_strcmp0(path, before) > 0 &&
		    (found == NULL || strcmp(path, found) < 0)) {
			g_free(found);
			found = g_steal_pointer(&path);
		}
	}
	return g_steal_pointer(&found);
}

/* The path of the first. */
static char *segment(void)
{
	return segment_after("");
}

Test(spool, facts_come_out_in_the_order_they_went_in_and_once)
{
	append("a");
	append("b");
	sends("a b ", NULL);
	append("c");
	sends("c ", NULL);
	sends("", NULL);
}

Test(spool, what_is_not_acknowledged_comes_again_also_in_the_next_life)
{
	uint64_t last = 0;

	append("a");
	append("b");
	sends("a b ", &last);
	dn_spool_rewind(spool);
	sends("a b ", &last);
	dn_spool_acknowledge(spool, last - 1);
	reopen();
	/* The first is in a file that still has the second: the supervisor knows its number. */
	dn_spool_acknowledge(spool, last - 1);
	sends("b ", NULL);
}

Test(spool, what_is_acknowledged_leaves_the_disk)
{
	uint64_t last = 0;

	append("a");
	sends("a ", &last);
	dn_spool_acknowledge(spool, last);
	cr_assert(eq(uint, dn_spool_length(spool), 0));
	cr_assert(zero(ptr, segment()));
	append("b");
	sends("b ", NULL);
}

Test(spool, a_number_is_never_used_for_a_second_fact_even_where_the_disk_has_forgotten_the_first)
{
	g_autofree char *name = g_strdup(dn_spool_name(spool));
	uint64_t first = 0, second = 0;

	append("lost");
	sends("lost ", &first);
	g_autofree char *path = segment();
	reopen();
	cr_assert(eq(int, g_unlink(path), 0));
	reopen();
	cr_assert_str_eq(dn_spool_name(spool), name);
	append("new");
	sends("new ", &second);
	cr_assert(second > first);
}

/* As on a host that has told so many facts: only the name of the file and its record count. */
static void append_as_number(uint64_t number)
{
	g_autofree char *path = g_build_filename(directory, "spool.json", NULL);
	g_autofree char *text = g_strdup_printf(
		"{\"name\": \"%s\", \"reserved\": %" G_GUINT64_FORMAT ", \"dropped\": 0}",
		dn_spool_name(spool), (guint64)number - 1);

	g_clear_pointer(&spool, dn_spool_close);
	cr_assert(g_file_set_contents(path, text, -1, NULL));
	reopen();
	append("old");
}

Test(spool, a_number_is_never_used_for_a_second_fact_also_after_the_numbers_were_lost)
{
	enum { MANY = 1000000 };
	g_autofree char *path = g_build_filename(directory, "spool.json", NULL);
	uint64_t old = 0, first = 0, second = 0;

	append_as_number(MANY);
	sends("old ", &old);
	cr_assert(eq(u64, old, MANY));
	g_clear_pointer(&spool, dn_spool_close);
	cr_assert(eq(int, g_unlink(path), 0));

	reopen();
	append("first");
	sends("old first ", &first);
	dn_spool_acknowledge(spool, first);
	reopen();
	append("second");
	sends("second ", &second);
	cr_assert(second > first);
	cr_assert(eq(u64, dn_spool_last(spool), second));
}

Test(spool, a_number_is_reserved_on_the_disk_before_it_is_used_also_above_a_lost_reservation)
{
	enum { MANY = 1000000 };
	g_autofree char *path = g_build_filename(directory, "spool.json", NULL);
	g_autofree char *text = NULL;

	append_as_number(MANY);
	g_clear_pointer(&spool, dn_spool_close);
	cr_assert(eq(int, g_unlink(path), 0));
	reopen();
	cr_assert(g_file_get_contents(path, &text, NULL, NULL));
	const char *reserved = strstr(text, "\"reserved\"");
	cr_assert(reserved != NULL);
	reserved += strcspn(reserved, "0123456789");
	cr_assert(g_ascii_strtoull(reserved, NULL, 10) > MANY, "%s", text);
}

Test(spool, a_record_that_a_crash_cut_short_is_left_out_and_the_others_stay)
{
	append("a");
	append("bbbbbbbb");
	g_autofree char *path = segment();
	g_clear_pointer(&spool, dn_spool_close);
	g_autofree char *text = NULL;
	gsize size = 0;
	cr_assert(g_file_get_contents(path, &text, &size, NULL));
	cr_assert(eq(int, truncate(path, (off_t)size - 3), 0));
	reopen();
	append("c");
	sends("a c ", NULL);
}

Test(spool, a_record_whose_bytes_were_changed_is_not_sent)
{
	append("aaaa");
	g_autofree char *path = segment();
	g_clear_pointer(&spool, dn_spool_close);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(eq(int, (int)pwrite(fd, "X", 1, 21), 1));
	close(fd);
	reopen();
	sends("", NULL);
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 1));
	append("b");
	sends("b ", NULL);
	reopen();
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 1));
}

Test(spool, a_damaged_record_is_counted_once_and_takes_no_other_along)
{
	enum { HEAD = 20, TEXT = 4 };

	append("aaaa");
	append("bbbb");
	append("cccc");
	g_autofree char *path = segment();
	g_clear_pointer(&spool, dn_spool_close);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(eq(int, (int)pwrite(fd, "X", 1, HEAD + TEXT + HEAD), 1));
	close(fd);
	reopen();
	reopen();
	sends("aaaa cccc ", NULL);
	cr_assert(eq(u64, dn_spool_dropped(spool, true), 1));
	cr_assert(eq(u64, dn_spool_dropped(spool, true), 0));
}

Test(spool, a_record_that_was_damaged_is_counted_also_when_its_segment_has_gone)
{
	uint64_t last = 0;

	append("a");
	append("b");
	g_autofree char *path = segment();
	g_clear_pointer(&spool, dn_spool_close);
	struct stat info;
	cr_assert(eq(int, stat(path, &info), 0));
	cr_assert(eq(int, truncate(path, info.st_size - 1), 0));
	reopen();
	sends("a ", &last);
	dn_spool_acknowledge(spool, last);
	reopen();
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 1));
}

/* ---- what is no segment ---- */

static void put_directory(const char *path)
{
	cr_assert(eq(int, mkdir(path, 0700), 0));
}

static void put_fifo(const char *path)
{
	cr_assert(eq(int, mkfifo(path, 0600), 0));
}

static void put_large_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(eq(int, ftruncate(fd, SMALL_LIMIT + 1), 0));
	close(fd);
}

static unsigned count_files(const char *suffix)
{
	g_autoptr(GDir) open = g_dir_open(directory, 0, NULL);
	const char *name = NULL;
	unsigned count = 0;

	while ((name = g_dir_read_name(open)) != NULL)
		count += g_str_has_suffix(name, suffix);
	return count;
}

Test(spool, what_cannot_be_read_is_set_aside_and_counted_and_the_others_are_sent)
{
	static void (*const put[])(const char *path) = {put_directory, put_fifo, put_large_file};

	for (unsigned i = 0; i < G_N_ELEMENTS(put); i++) {
		uint64_t last = 0;

		append("lost");
		g_autofree char *path = segment();
		reopen();
		append("kept");
		g_clear_pointer(&spool, dn_spool_close);
		cr_assert(eq(int, unlink(path), 0));
		put[i](path);

		reopen();
		cr_assert(eq(u64, dn_spool_dropped(spool, false), 1));
		cr_assert(eq(uint, count_files(".seg.bad"), i + 1));
		reopen();
		cr_assert(eq(u64, dn_spool_dropped(spool, true), 1));
		sends("kept ", &last);
		dn_spool_acknowledge(spool, last);
	}
}

Test(spool, no_more_is_set_aside_than_there_is_room_for)
{
	g_clear_pointer(&spool, dn_spool_close);
	for (unsigned i = 1; i <= DN_SPOOL_BAD + 3; i++) {
		g_autofree char *name = g_strdup_printf("%020u.seg", i);
		g_autofree char *path = g_build_filename(directory, name, NULL);

		put_directory(path);
	}
	reopen();
	cr_assert(eq(uint, count_files(".seg.bad"), DN_SPOOL_BAD));
	cr_assert(eq(uint, count_files(".seg"), 0));
	cr_assert(eq(u64, dn_spool_dropped(spool, false), DN_SPOOL_BAD + 3));
}

Test(spool, no_more_than_the_window_is_sent_ahead)
{
	uint64_t last = 0;

	for (unsigned i = 0; i < 2 * DN_SPOOL_WINDOW; i++)
		append("x");
	g_autofree char *first = take_all(&last);
	cr_assert(eq(uint, dn_spool_sent(spool), DN_SPOOL_WINDOW));
	dn_spool_acknowledge(spool, last);
	g_autofree char *second = take_all(&last);
	cr_assert(eq(sz, strlen(first) + strlen(second), (size_t)4 * DN_SPOOL_WINDOW));
}

Test(spool, a_segment_that_cannot_be_read_takes_its_own_facts_along_and_no_others)
{
	g_autofree char *half = g_strnfill(DN_SPOOL_RECORD, 'x');
	g_autofree char *first = NULL, *second = NULL;
	DnSpoolEntry entry = {0};
	uint64_t last = 0;

	/* One segment of two facts, one of four, and one that is written to. */
	append(half);
	first = segment();
	append(half);
	append("third");
	second = segment_after(first);
	append("fourth");
	append(half);
	append(half);
	append("last");
	for (unsigned i = 0; i < 3; i++) {
		bool took = dn_spool_take(spool, &entry);

		cr_assert(took);
		last = entry.number;
		g_bytes_unref(entry.payload);
	}
	cr_assert(eq(int, truncate(second, 0), 0));

	bool took = dn_spool_take(spool, &entry);
	cr_assert(not(took));
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 4));
	cr_assert(eq(uint, dn_spool_sent(spool), 2));
	cr_assert(eq(uint, dn_spool_length(spool), 3));
	sends("last ", NULL);
	dn_spool_acknowledge(spool, last);
	cr_assert(eq(uint, dn_spool_length(spool), 1));
	cr_assert(eq(uint, dn_spool_sent(spool), 1));
	reopen();
	sends("last ", NULL);
}

Test(spool, a_full_spool_drops_its_oldest_facts_and_counts_them_over_restarts)
{
	g_autofree char *large = g_strnfill(8000, 'x');
	unsigned appended = 0;
	DnSpoolEntry entry = {0};

	while (dn_spool_dropped(spool, false) == 0 && appended < 1000) {
		append(large);
		appended++;
	}
	append("newest");
	appended++;
	reopen();
	uint64_t dropped = dn_spool_dropped(spool, false);
	cr_assert(dropped > 0);
	cr_assert(eq(uint, dn_spool_length(spool) + (unsigned)dropped, appended));
	bool took = dn_spool_take(spool, &entry);
	cr_assert(took);
	cr_assert(eq(u64, entry.previous, 0));
	g_bytes_unref(entry.payload);
	cr_assert(eq(u64, dn_spool_dropped(spool, true), dropped));
	reopen();
	cr_assert(eq(u64, dn_spool_dropped(spool, false), 0));
}

Test(spool, a_full_disk_drops_the_oldest_and_never_stops_the_host)
{
	g_autofree char *large = g_strnfill(8000, 'x');
	g_autoptr(GBytes) bytes = g_bytes_new(large, strlen(large));

	if (geteuid() != 0)
		cr_skip("only root can make a small disk");
	g_clear_pointer(&spool, dn_spool_close);
	if (mount("dnt-spool", directory, "tmpfs", 0, "size=256k") < 0)
		cr_skip("no tmpfs can be mounted here");
	reopen();
	unsigned kept = 0;
	for (unsigned i = 0; i < 100; i++) {
		bool appended = dn_spool_append(spool, bytes, NULL);

		kept += appended;
		if (!appended)
			dn_spool_count_dropped(spool);
	}
	uint64_t dropped = dn_spool_dropped(spool, false);
	unsigned left = dn_spool_length(spool);
	reopen();
	unsigned again = dn_spool_length(spool);
	g_clear_pointer(&spool, dn_spool_close);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	(void)umount2(directory, MNT_DETACH);
	cr_assert(kept > 0 && dropped > 0 && left > 0, "%u kept, %u left", kept, left);
	cr_assert(eq(uint, left + (unsigned)dropped, 100));
	cr_assert(eq(uint, again, left));
}
