/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "runtime/logs.h"
#include "support/suite.h"

enum { WAIT_S = 10, LINES = 4000 };

static char *directory;

static void setup(void)
{
	directory = g_dir_make_tmp("dnt-full-XXXXXX", NULL);
	cr_assert(eq(int, mount("none", directory, "tmpfs", 0, "size=64k"), 0));
}

static void teardown(void)
{
	cr_expect(eq(int, umount2(directory, MNT_DETACH), 0));
	cr_expect(dn_file_remove_tree(directory, NULL));
	g_free(directory);
	dn_suite_end();
}

TestSuite(full_disk, .init = setup, .fini = teardown, .timeout = 60);

static bool log_has(const char *text)
{
	g_autofree char *said = dn_logs_read_now(directory, 100000, NULL, NULL);

	return said != NULL && strstr(said, text) != NULL;
}

static bool is_full(void)
{
	struct statvfs info;

	cr_assert(eq(int, statvfs(directory, &info), 0));
	return info.f_bfree == 0;
}

static bool comes_true(bool (*question)(void))
{
	uint64_t deadline_ns = dn_clock_monotonic_ns() + WAIT_S * DN_NS_PER_S;

	while (!question() && dn_clock_monotonic_ns() < deadline_ns)
		g_usleep(1000);
	return question();
}

static bool tells_of_the_loss(void)
{
	return log_has("lines could not be written]\n") && log_has(" o room again\n");
}

Test(full_disk, a_full_disk_holds_up_no_node_and_the_lost_lines_are_counted)
{
	dn_autofd int out = -1;
	dn_autofd int err = -1;
	g_autoptr(GError) error = NULL;

	cr_assert(dn_logs_open_now(TEST_LIBEXEC_DIR, directory, &out, &err, &error), "%s",
		  error != NULL ? error->message : "");
	/* More than disk and pipe hold together: it ends only when somebody goes on reading. */
	for (int i = 0; i < LINES; i++)
		cr_assert(eq(int, dprintf(out, "a line of some forty characters, number %04d\n", i),
			     45));
	cr_assert(comes_true(is_full));
	cr_expect(log_has("number 0000\n"));
	cr_expect(not(log_has("number 3999\n")));

	cr_assert(eq(int, mount("none", directory, "tmpfs", MS_REMOUNT, "size=4m"), 0));
	dprintf(out, "room again\n");
	cr_expect(comes_true(tells_of_the_loss));
}
