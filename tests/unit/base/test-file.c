/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "support/suite.h"

static char *directory;

static void setup(void)
{
	directory = g_dir_make_tmp("dnode-file-XXXXXX", NULL);
}

static void teardown(void)
{
	cr_assert(dn_file_remove_tree(directory, NULL));
	g_free(directory);
	dn_suite_end();
}

TestSuite(file, .init = setup, .fini = teardown);

Test(file, a_replaced_file_has_the_new_bytes_and_the_named_mode)
{
	g_autofree char *path = g_build_filename(directory, "key", NULL);
	g_autoptr(GBytes) bytes = g_bytes_new_static("new", 3);
	struct stat info;

	cr_assert(dn_file_replace(path, bytes, 0600, NULL));
	cr_assert(dn_file_replace(path, bytes, 0600, NULL));
	g_autoptr(GBytes) read = dn_file_read(path, 100, NULL);
	cr_assert(g_bytes_equal(read, bytes));
	cr_assert(eq(int, stat(path, &info), 0));
	cr_assert(eq(int, (int)(info.st_mode & 07777), 0600));
}

Test(file, what_is_written_over_keeps_its_inode_and_nothing_of_a_longer_end)
{
	g_autofree char *path = g_build_filename(directory, "hosts", NULL);
	g_autoptr(GBytes) longer = g_bytes_new_static("longer", 6);
	g_autoptr(GBytes) new = g_bytes_new_static("new", 3);
	struct stat before, after;

	cr_assert(not(dn_file_overwrite(path, new, NULL)));
	cr_assert(dn_file_replace_volatile(path, longer, 0644, NULL));
	cr_assert(eq(int, stat(path, &before), 0));
	cr_assert(dn_file_overwrite(path, new, NULL));
	cr_assert(eq(int, stat(path, &after), 0));
	cr_assert(eq(u64, before.st_ino, after.st_ino));
	g_autoptr(GBytes) read = dn_file_read(path, 100, NULL);
	cr_assert(g_bytes_equal(read, new));
}

static void make(const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);

	cr_assert(g_file_set_contents(path, "x", 1, NULL));
}

static bool is_there(const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);

	return g_file_test(path, G_FILE_TEST_EXISTS);
}

Test(file, what_a_killed_replacement_left_is_swept_and_nothing_else)
{
	static const char *const kept[] = {"web.json", "web.json.0123456789a.tmp", "notes.tmp",
					   "web.json.0123456789AB.tmp", ".0123456789ab.tmp"};

	make("web.json.0123456789ab.tmp");
	for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
		make(kept[i]);
	dn_file_sweep(directory);
	cr_assert_not(is_there("web.json.0123456789ab.tmp"));
	for (size_t i = 0; i < G_N_ELEMENTS(kept); i++)
		cr_assert(is_there(kept[i]), "%s", kept[i]);
}

Test(file, a_file_over_the_limit_is_refused_whole)
{
	g_autofree char *path = g_build_filename(directory, "big", NULL);
	g_autoptr(GBytes) bytes = g_bytes_new_static("12345", 5);
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_replace(path, bytes, 0644, NULL));
	cr_assert(eq(ptr, dn_file_read(path, 4, &error), NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_EXHAUSTED));
}

Test(file, new_directories_get_the_named_mode_whatever_the_umask)
{
	g_autofree char *parent = g_build_filename(directory, "a", NULL);
	g_autofree char *path = g_build_filename(parent, "b", NULL);
	g_autofree char *file = g_build_filename(path, "file", NULL);
	g_autofree char *below = g_build_filename(file, "c", NULL);
	mode_t before = umask(077);
	struct stat info;

	bool made = dn_file_make_directory(path, 0711, NULL);
	umask(before);
	cr_assert(made);
	cr_assert(eq(int, stat(parent, &info), 0));
	cr_assert(eq(int, (int)(info.st_mode & 07777), 0711));
	cr_assert(eq(int, stat(path, &info), 0));
	cr_assert(eq(int, (int)(info.st_mode & 07777), 0711));

	cr_assert(dn_file_make_directory(path, 0700, NULL), "one that is there is no error");
	cr_assert(g_file_set_contents(file, "", -1, NULL));
	cr_assert(not(dn_file_make_directory(file, 0700, NULL)));
	cr_assert(not(dn_file_make_directory(below, 0700, NULL)));
}

Test(file, only_directories_are_removed_and_a_file_below_keeps_them)
{
	g_autofree char *top = g_build_filename(directory, "tree", NULL);
	g_autofree char *path = g_build_filename(top, "a/b", NULL);
	g_autofree char *file = g_build_filename(top, "a/file", NULL);

	cr_assert(dn_file_make_directory(path, 0700, NULL));
	cr_assert(g_file_set_contents(file, "", -1, NULL));
	cr_assert(not(dn_file_remove_directories(top, NULL)));
	cr_assert(g_file_test(file, G_FILE_TEST_EXISTS));
	cr_assert(eq(int, g_unlink(file), 0));
	cr_assert(dn_file_remove_directories(top, NULL));
	cr_assert(not(g_file_test(top, G_FILE_TEST_EXISTS)));
	cr_assert(dn_file_remove_directories(top, NULL), "nothing there is no error");
}

Test(file, a_fifo_in_place_of_a_file_neither_blocks_nor_passes)
{
	g_autofree char *path = g_build_filename(directory, "fifo", NULL);
	g_autoptr(GError) error = NULL;

	cr_assert(eq(int, mkfifo(path, 0600), 0));
	cr_assert(eq(ptr, dn_file_read(path, 4, &error), NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
}
