/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mount.h>
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

/* The path of the only segment. */
static char *segment(void)
{
	g_autoptr(GDir) open = g_dir_open(directory, 0, NULL);
	const char *name = NULL;

	while ((name = g_dir_read_name(open)) != NULL)
		if (g_str_has_suffix(name, ".seg"))
			return g_build_filename(directory, name, NULL);
	return NULL;
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
	append("b");
	sends("b ", NULL);
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
	for (unsigned i = 0; i < 100; i++)
		kept += dn_spool_append(spool, bytes, NULL);
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
