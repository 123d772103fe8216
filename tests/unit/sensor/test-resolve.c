/* SPDX-License-Identifier: Apache-2.0 */

/* Paths that another process named, found as it would have found them. */

#include "sensor/resolve.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "support/suite.h"

static char *directory; /* the root of what is resolved, in most tests */
static pid_t other;     /* works in directory/tmp, and has directory/tmp/evil open as 5 */

static void make(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void make(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *name = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *path = g_build_filename(directory, name, NULL);
	if (g_str_has_suffix(name, "/"))
		cr_assert(g_mkdir(path, 0755) == 0, "%s", path);
	else
		cr_assert(g_file_set_contents(path, "x", 1, NULL), "%s", path);
}

static void link_to(const char *target, const char *name)
{
	g_autofree char *path = g_build_filename(directory, name, NULL);

	cr_assert(symlink(target, path) == 0);
}

static void be_other(int ready_fd)
{
	g_autofree char *tmp = g_build_filename(directory, "tmp", NULL);

	if (chdir(tmp) < 0 || dup2(open("evil", O_RDONLY), 5) != 5 || write(ready_fd, "r", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void setup(void)
{
	int ends[2];
	char byte;

	directory = g_dir_make_tmp("dnode-resolve-XXXXXX", NULL);
	cr_assert(directory != NULL && pipe2(ends, O_CLOEXEC) == 0);
	make("bin/");
	make("tmp/");
	make("tmp/evil");
	make("bin/tool");
	other = fork();
	if (other == 0)
		be_other(ends[1]);
	cr_assert(other > 0 && read(ends[0], &byte, 1) == 1);
	close(ends[0]);
	close(ends[1]);
}

static void teardown(void)
{
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	(void)!dn_file_remove_tree(directory, NULL);
	g_clear_pointer(&directory, g_free);
	dn_suite_end();
}

TestSuite(resolve, .init = setup, .fini = teardown);

/* Does @path lead to the file that is @name below the directory? NULL: it leads nowhere. */
static void expect_from(const char *root, uint32_t pid, const char *path, const char *name)
{
	g_autofree char *start = g_build_filename(directory, "bin", NULL);
	dn_autofd int root_fd = open(root, O_PATH | O_CLOEXEC);
	dn_autofd int start_fd = open(start, O_PATH | O_CLOEXEC);
	DnResolve who = {.root_fd = root_fd, .start_fd = start_fd, .pid = pid, .follow = true};
	dn_autofd int fd = dn_resolve_now(&who, path);
	struct stat found = {0}, wanted = {0};

	cr_assert(eq(int, fd >= 0, name != NULL), "%s: %s", path, g_strerror(errno));
	if (name == NULL)
		return;
	g_autofree char *file = g_build_filename(directory, name, NULL);
	cr_assert(fstat(fd, &found) == 0 && stat(file, &wanted) == 0);
	cr_assert(eq(u64, found.st_ino, wanted.st_ino), "%s is not %s", path, name);
}

static void expect(const char *path, const char *name)
{
	expect_from(directory, (uint32_t)other, path, name);
}

Test(resolve, names_and_links_stay_below_the_root)
{
	link_to("/tmp/evil", "bin/absolute");
	link_to("../tmp/evil", "bin/relative");
	link_to("../../../../../../tmp/evil", "bin/climbing");
	link_to("/bin", "tmp/up");
	expect("/tmp/evil", "tmp/evil");
	expect("//tmp/./evil", "tmp/evil");
	expect("/../../tmp/../tmp/evil", "tmp/evil");
	expect("/bin/absolute", "tmp/evil");
	expect("/bin/relative", "tmp/evil");
	expect("/bin/climbing", "tmp/evil");
	expect("/tmp/up/tool", "bin/tool");
	expect("/", "");
	expect("/bin/nothing", NULL);
	expect("/bin/tool/x", NULL);
}

Test(resolve, a_relative_path_begins_where_it_is_said_to)
{
	expect("tool", "bin/tool");
	expect("../tmp/evil", "tmp/evil");
	expect("../../../tmp", "tmp");
	cr_assert(eq(int, dn_resolve_now(&(DnResolve){.start_fd = -1, .follow = true}, "x"), -1));
}

Test(resolve, the_last_link_is_found_itself_where_it_is_not_to_be_followed)
{
	dn_autofd int root_fd = open(directory, O_PATH | O_CLOEXEC);
	DnResolve who = {.root_fd = root_fd, .start_fd = -1};
	struct stat info;

	link_to("tool", "bin/link");
	dn_autofd int fd = dn_resolve_now(&who, "/bin/link");
	cr_assert(fstat(fd, &info) == 0 && S_ISLNK(info.st_mode));
}

Test(resolve, links_of_proc_are_those_of_the_process)
{
	const uint32_t pid = (uint32_t)other;
	g_autofree char *by_number = g_strdup_printf("/proc/%d/fd/5", other);
	g_autofree char *by_directory = g_strdup_printf("/proc/self/cwd/../tmp/evil");
	g_autofree char *by_root = g_strdup_printf("/proc/self/root%s/bin/tool", directory);
	g_autofree char *by_task = g_strdup_printf("/proc/self/task/%d/cwd/evil", other);

	expect_from("/", pid, "/proc/self/cwd/evil", "tmp/evil");
	expect_from("/", pid, "/proc/thread-self/fd/5", "tmp/evil");
	expect_from("/", pid, by_number, "tmp/evil");
	expect_from("/", pid, by_directory, "tmp/evil");
	expect_from("/", pid, by_root, "bin/tool");
	expect_from("/", pid, by_task, "tmp/evil");
	expect_from("/", pid, "/proc/self/fd/77", NULL);
	expect_from("/", 0, "/proc/self/cwd/evil", NULL);
}

Test(resolve, a_link_to_a_link_of_proc_is_followed_too)
{
	g_autofree char *path = g_strdup_printf("%s/tmp/there", directory);

	link_to("/proc/self/cwd", "tmp/here");
	link_to("here/evil", "tmp/there");
	expect_from("/", (uint32_t)other, path, "tmp/evil");
}

Test(resolve, what_has_no_end_is_given_up)
{
	g_autofree char *dots = g_strnfill(3000, '.');
	g_autofree char *name = g_strnfill(300, 'n');

	for (size_t i = 1; i < strlen(dots); i += 2)
		dots[i] = '/';
	link_to("loop", "bin/loop");
	link_to(dots, "bin/long");
	expect("/bin/loop", NULL);
	expect("/bin/long", NULL);
	expect(name, NULL);
}
