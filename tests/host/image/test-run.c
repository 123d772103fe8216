/* SPDX-License-Identifier: Apache-2.0 */

/* A checkout as the root of something that runs. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <linux/mount.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "support/suite.h"
#include "yard.h"

static Yard yard;

static void setup(void)
{
	yard_open(&yard);
}

static void teardown(void)
{
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(run, .init = setup, .fini = teardown);

static void copy_in(const char *from)
{
	g_autofree char *name = g_build_filename("root", from, NULL);
	g_autofree char *to = workshop_path(&yard.shop, name);
	g_autofree char *parent = g_path_get_dirname(to);
	g_autoptr(GFile) source = g_file_new_for_path(from);
	g_autoptr(GFile) target = g_file_new_for_path(to);
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_make_directory(parent, 0755, NULL));
	cr_assert(g_file_copy(source, target, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, &error),
		  "%s", error->message);
	cr_assert(eq(int, chmod(to, 0755), 0));
}

/* The program and what ldd says it needs, as the README tells a newcomer. */
static void copy_with_libraries(const char *program)
{
	g_autofree char *output = NULL;
	const char *argv[] = {"ldd", program, NULL};

	cr_assert(g_spawn_sync(NULL, (char **)(uintptr_t)argv, NULL, G_SPAWN_SEARCH_PATH, NULL,
			       NULL, &output, NULL, NULL, NULL));
	g_auto(GStrv) words = g_strsplit_set(output, " \t\n", -1);
	unsigned found = 0;
	for (size_t i = 0; words[i] != NULL; i++)
		if (words[i][0] == '/') {
			copy_in(words[i]);
			found++;
		}
	cr_assert(ge(u32, found, 2), "%s", output);
	copy_in(program);
}

static int finish(pid_t child)
{
	int status = 0;

	cr_assert(eq(int, waitpid(child, &status, 0), child));
	return status;
}

Test(run, a_dynamically_linked_program_runs_from_a_root_tree)
{
	copy_with_libraries("/usr/bin/sha256sum");
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	g_autofree char *root = dn_image_store_checkout(yard.store, yard.commit);

	pid_t child = fork();
	if (child == 0) {
		char *argv[] = {(char *)"sha256sum", (char *)"/etc/app.conf", NULL};
		char *env[] = {NULL};
		int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (dup2(null_fd, 1) < 0 || chroot(root) < 0 || chdir("/") < 0)
			_exit(100);
		execve("/usr/bin/sha256sum", argv, env);
		_exit(101);
	}
	cr_assert(eq(int, finish(child), 0));
}

/* What the agent does for a node, without the id mapping: a clone of the checkout elsewhere. */
static int read_through_clone(const char *checkout, const char *target)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 100;
	int tree = (int)syscall(SYS_open_tree, AT_FDCWD, checkout,
				OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0 ||
	    syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return 101;
	g_autofree char *direct = g_build_filename(checkout, "bin/app", NULL);
	g_autofree char *cloned = g_build_filename(target, "bin/app", NULL);
	if (setresgid(12345, 12345, 12345) < 0 || setresuid(12345, 12345, 12345) < 0)
		return 102;
	if (open(direct, O_RDONLY | O_CLOEXEC) >= 0)
		return 103;
	return open(cloned, O_RDONLY | O_CLOEXEC) >= 0 ? 0 : 104;
}

Test(run, a_strangers_uid_reads_the_clone_of_a_checkout_but_not_the_checkout)
{
	g_autofree char *target = g_build_filename(yard.shop.directory, "node", NULL);

	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	g_autofree char *checkout = dn_image_store_checkout(yard.store, yard.commit);
	cr_assert(eq(int, g_mkdir(target, 0755), 0));
	cr_assert(eq(int, chmod(yard.shop.directory, 0711), 0));
	cr_assert(eq(int, chmod(yard.instance.state_dir, 0711), 0));
	pid_t child = fork();
	if (child == 0)
		_exit(read_through_clone(checkout, target));
	int status = finish(child);
	cr_assert(eq(int, status, 0), "exit %d", WEXITSTATUS(status));
}
