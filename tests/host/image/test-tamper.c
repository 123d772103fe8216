/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.h"
#include "support/suite.h"
#include "yard.h"

static Yard yard;

static void setup(void)
{
	yard_open(&yard);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void teardown(void)
{
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(tamper, .init = setup, .fini = teardown);

/* verify_now() notices and names @path; ensure_now() repairs it. */
static void expect_noticed(const char *path, DnErrorCode code)
{
	g_autoptr(GError) error = NULL;

	cr_assert(not(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, &error)),
		  "%s was not noticed", path);
	cr_assert(g_error_matches(error, DN_ERROR, (int)code), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, path), NULL), "%s", error->message);
	yard_ensure(&yard);
	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, NULL));
}

static char *in(const char *path)
{
	return yard_in_checkout(&yard, path);
}

Test(tamper, other_content_is_noticed_and_repaired)
{
	g_autofree char *path = in("bin/app");

	yard_flip(path, 0);
	expect_noticed("/bin/app", DN_ERROR_UNTRUSTED);
}

Test(tamper, another_mode_is_noticed_and_repaired)
{
	g_autofree char *file = in("etc/app.conf");
	g_autofree char *directory = in("usr/share");

	cr_assert(eq(int, chmod(file, 0644), 0));
	expect_noticed("/etc/app.conf", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, chmod(directory, 0777), 0));
	expect_noticed("/usr/share", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, chmod(file, 04755), 0));
	expect_noticed("/etc/app.conf is set-id", DN_ERROR_INVALID);
}

Test(tamper, another_owner_is_noticed_and_repaired)
{
	g_autofree char *file = in("bin/tool");
	g_autofree char *link = in("bin/sh");
	g_autofree char *directory = in("usr");

	cr_assert(eq(int, chown(file, 1, 0), 0));
	expect_noticed("/bin/tool", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, lchown(link, 0, 7), 0));
	expect_noticed("/bin/sh", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, chown(directory, 9, 9), 0));
	expect_noticed("/usr", DN_ERROR_UNTRUSTED);
}

Test(tamper, another_xattr_is_noticed_and_repaired)
{
	/* VFS_CAP_REVISION_2, cap_net_raw permitted */
	static const uint8_t capability[20] = {1, 0, 0, 2, 0, 32};
	g_autofree char *file = in("usr/share/empty");
	g_autofree char *directory = in("bin");
	g_autofree char *link = in("bin/sh");

	cr_assert(eq(int, setxattr(file, "user.note", "x", 1, 0), 0));
	expect_noticed("/usr/share/empty", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, setxattr(directory, "user.note", "x", 1, 0), 0));
	expect_noticed("/bin", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, lsetxattr(link, "trusted.note", "x", 1, 0), 0));
	expect_noticed("/bin/sh", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, setxattr(file, "security.capability", capability, sizeof(capability), 0),
		     0));
	expect_noticed("/usr/share/empty has file capabilities", DN_ERROR_INVALID);
}

Test(tamper, something_extra_is_noticed_and_gone_after_repair)
{
	g_autofree char *file = in("bin/extra");
	g_autofree char *directory = in("usr/more");
	g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);

	cr_assert(dn_file_replace(file, nothing, 0644, NULL));
	expect_noticed("/bin/extra", DN_ERROR_UNTRUSTED);
	cr_assert(ne(int, access(file, F_OK), 0));
	cr_assert(eq(int, g_mkdir(directory, 0755), 0));
	expect_noticed("/usr/more", DN_ERROR_UNTRUSTED);
	cr_assert(ne(int, access(directory, F_OK), 0));
}

Test(tamper, something_missing_is_noticed_and_repaired)
{
	g_autofree char *file = in("bin/tool");
	g_autofree char *directory = in("run");
	g_autofree char *tree = in("usr");

	cr_assert(eq(int, unlink(file), 0));
	expect_noticed("/bin/tool", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, g_rmdir(directory), 0));
	expect_noticed("/run", DN_ERROR_UNTRUSTED);
	cr_assert(dn_file_remove_tree(tree, NULL));
	expect_noticed("/usr", DN_ERROR_UNTRUSTED);
}

Test(tamper, another_kind_of_file_is_noticed_and_repaired)
{
	g_autofree char *file = in("bin/tool");
	g_autofree char *link = in("bin/sh");

	cr_assert(eq(int, unlink(file), 0));
	cr_assert(eq(int, symlink("app", file), 0));
	expect_noticed("/bin/tool", DN_ERROR_UNTRUSTED);
	cr_assert(eq(int, unlink(link), 0));
	cr_assert(eq(int, mkfifo(link, 0644), 0));
	expect_noticed("/bin/sh is a fifo", DN_ERROR_INVALID);
}

static void damage_objects(const char *kind)
{
	g_autofree char *objects = g_build_filename(yard.instance.state_dir, "repo/objects", NULL);
	g_autoptr(GPtrArray) files = yard_find(objects, kind);

	cr_assert(gt(int, (int)files->len, 0));
	for (guint i = 0; i < files->len; i++) {
		struct stat info = {0};

		cr_assert(eq(int, lstat(files->pdata[i], &info), 0));
		if (S_ISREG(info.st_mode) && info.st_size > 0)
			yard_flip(files->pdata[i], info.st_size / 2);
	}
}

Test(tamper, damaged_objects_of_the_host_are_noticed_and_fetched_again)
{
	damage_objects(".file");
	expect_noticed("", DN_ERROR_UNTRUSTED);
	damage_objects(".dirtree");
	expect_noticed("dirtree", DN_ERROR_UNTRUSTED);
	damage_objects(".commit");
	expect_noticed("commit", DN_ERROR_UNTRUSTED);
}

Test(tamper, lost_objects_of_the_host_are_fetched_again)
{
	static const char *const kinds[] = {".file", ".dirmeta", ".dirtree", ".commit"};
	g_autofree char *objects = g_build_filename(yard.instance.state_dir, "repo/objects", NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autoptr(GPtrArray) files = yard_find(objects, kinds[i]);
		g_autofree char *checkout = dn_image_store_checkout(yard.store, yard.commit);

		cr_assert(gt(int, (int)files->len, 0));
		for (guint n = 0; n < files->len; n++)
			cr_assert(eq(int, unlink(files->pdata[n]), 0));
		cr_assert(dn_file_remove_tree(checkout, NULL));
		yard_ensure(&yard);
		cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, NULL));
	}
}

Test(tamper, a_damaged_checkout_is_kept_for_those_who_run_on_it_until_it_is_forgotten)
{
	g_autofree char *path = in("bin/app");

	yard_flip(path, 0);
	expect_noticed("/bin/app", DN_ERROR_UNTRUSTED);
	g_autoptr(GPtrArray) kept = yard_leftovers(&yard, "damaged");
	cr_assert(gt(int, (int)kept->len, 0));
	cr_assert(dn_image_store_forget_now(yard.store, yard.commit, NULL));
	yard_expect_nothing(&yard);
}

Test(tamper, damage_without_end_is_refused_in_the_end, .timeout = 60)
{
	g_autofree char *path = in("bin/extra");
	g_autoptr(GBytes) nothing = g_bytes_new_static("", 0);

	for (int i = 0; i < 8; i++) {
		cr_assert(dn_file_replace(path, nothing, 0644, NULL));
		yard_ensure(&yard);
	}
	cr_assert(dn_file_replace(path, nothing, 0644, NULL));
	yard_refuse(&yard, DN_ERROR_EXHAUSTED, "damaged checkouts are kept");
}
