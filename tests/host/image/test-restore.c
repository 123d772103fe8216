/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/repair.h"
#include "intruder.h"
#include "support/suite.h"
#include "watcher.h"

/* Objects that this host's repository lost, while what runs is as it was signed. */

static const char *const nobody = "http://127.0.0.1:1/repo";
static Yard yard;
static DnImageGuard *guard;

static void setup(void)
{
	yard_open(&yard);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void teardown(void)
{
	dn_image_guard_free(guard);
	guard = NULL;
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(restore, .init = setup, .fini = teardown, .timeout = 120);

static ino_t inode_of(const char *path)
{
	g_autofree char *file = yard_in_checkout(&yard, path);
	struct stat info = {0};

	cr_assert(eq(int, lstat(file, &info), 0));
	return info.st_ino;
}

static guint placed(void)
{
	guint number = 0;

	cr_assert(dn_image_store_has(yard.store, yard.commit, &number));
	return number;
}

static bool restore_from(const char *url, GError **error)
{
	const DnImageOrigin origin = {.url = url, .ref = "apps/test", .commit = yard.commit};

	return dn_image_store_restore_now(yard.store, &origin, error);
}

static void expect_whole(void)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, &error), "%s",
		  error != NULL ? error->message : "no error");
	guard = watcher_begin(&yard, &watcher_swept);
	watcher_expect_nothing(guard, 2, 0);
	dn_image_guard_free(guard);
	guard = NULL;
}

Test(restore, files_are_put_back_from_the_checkout_and_it_stays_as_it_is)
{
	static const char *const paths[] = {"bin/app", "bin/sh", "usr/share/noise"};
	guint before = placed();
	g_autoptr(GError) error = NULL;

	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autofree char *object = yard_object_of(&yard, paths[i]);
		ino_t inode = inode_of(paths[i]);
		struct stat info = {0};

		cr_assert(eq(int, unlink(object), 0));
		/* It needs nobody. */
		cr_assert(restore_from(nobody, &error), "%s", error != NULL ? error->message : "");
		cr_assert(eq(int, lstat(object, &info), 0));
		cr_assert(eq(u64, info.st_ino, inode));
		cr_assert(eq(u64, inode_of(paths[i]), inode));
	}
	cr_assert(eq(u32, placed(), before));
	g_autoptr(GPtrArray) aside = yard_leftovers(&yard, "damaged");
	cr_assert(eq(int, (int)aside->len, 0));
	expect_whole();
}

Test(restore, an_object_with_other_content_gives_way)
{
	g_autofree char *object = yard_object_of(&yard, "bin/tool");
	g_autoptr(GError) error = NULL;
	struct stat info = {0};

	/* Another file of that name: the checkout's is as it was. */
	cr_assert(eq(int, unlink(object), 0));
	cr_assert(g_file_set_contents(object, "something else", -1, NULL));
	cr_assert(restore_from(nobody, &error), "%s", error != NULL ? error->message : "");
	cr_assert(eq(int, lstat(object, &info), 0));
	cr_assert(eq(u64, info.st_ino, inode_of("bin/tool")));
	expect_whole();
}

Test(restore, trees_and_the_commit_come_from_the_supervisor)
{
	static const char *const kinds[] = {".dirmeta", ".dirtree", ".commit"};
	g_autofree char *objects = g_build_filename(yard.instance.state_dir, "repo/objects", NULL);
	ino_t inode = inode_of("bin/app");
	guint before = placed();

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autoptr(GPtrArray) found = yard_find(objects, kinds[i]);
		g_autoptr(GError) refused = NULL;
		g_autoptr(GError) error = NULL;

		cr_assert(eq(int, unlink(found->pdata[0]), 0));
		cr_assert(not(restore_from(nobody, &refused)));
		cr_assert(g_error_matches(refused, DN_ERROR, DN_ERROR_UNAVAILABLE), "%s",
			  refused->message);
		cr_assert(restore_from(yard.url, &error), "%s",
			  error != NULL ? error->message : "");
		cr_assert(eq(int, access(found->pdata[0], F_OK), 0), "%s", kinds[i]);
	}
	cr_assert(eq(u32, placed(), before));
	cr_assert(eq(u64, inode_of("bin/app"), inode));
	expect_whole();
}

Test(restore, an_object_that_is_lost_again_is_told_again)
{
	g_autofree char *object = yard_object_of(&yard, "bin/app");
	const char *name = strstr(object, "objects/");
	g_autoptr(GError) error = NULL;

	guard = watcher_begin(&yard, &watcher_told);
	for (unsigned i = 0; i < 3; i++) {
		watcher_tamper(intruder_delete, object);
		watcher_expect(guard, name, DN_DAMAGE_OBJECT);
		cr_assert(restore_from(nobody, &error), "%s", error != NULL ? error->message : "");
		dn_image_guard_restored(guard, yard.commit);
	}
	watcher_expect_nothing(guard, 0, 0);
}
