/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "disk.h"
#include "image/repair.h"
#include "support/suite.h"
#include "watcher.h"

static Yard yard;
static Disk disk;

static void setup(void)
{
	yard_open(&yard);
	disk_put_under(&disk, &yard);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void setup_memory(void)
{
	yard_open(&yard);
	disk_put_memory_under(&disk, &yard);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void teardown(void)
{
	disk_take_away(&disk, &yard);
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(pages, .init = setup, .fini = teardown, .timeout = 120);
TestSuite(memory, .init = setup_memory, .fini = teardown, .timeout = 120);

static const DnImageGuardRates passing = {
	.sweep_ms = 3600 * 1000,
	.sweep_files_per_s = 1000000,
	.pass_bytes_per_s = 1 << 30,
	.pass_ms = 10,
	.marks_limit = DN_IMAGE_MARKS_LIMIT,
};

static char *in(const char *path)
{
	return yard_in_checkout(&yard, path);
}

static GPtrArray *check(const char *root, const char *const *paths)
{
	const DnImageCheck what = {.commit = yard.commit, .root = root, .paths = paths};
	GPtrArray *damages = dn_damages_new();
	g_autoptr(GError) error = NULL;

	cr_assert(dn_image_store_verify_files_now(yard.store, &what, damages, NULL, &error), "%s",
		  error != NULL ? error->message : "no error");
	return damages;
}

/* What would be executed now differs in @path alone, so. */
static void expect(const char *root, const char *path, DnDamageKind kind)
{
	g_autoptr(GPtrArray) damages = check(root, NULL);

	cr_assert(eq(int, (int)damages->len, 1));
	const DnDamage *damage = damages->pdata[0];
	cr_assert(eq(str, damage->path, (char *)path));
	cr_assert(eq(int, damage->kind, kind), "%s", dn_damage_name(damage->kind));
}

static void expect_nothing(const char *root)
{
	g_autoptr(GPtrArray) damages = check(root, NULL);

	cr_assert(eq(int, (int)damages->len, 0));
}

static ino_t inode_of(const char *path)
{
	g_autofree char *file = in(path);
	struct stat info = {0};

	cr_assert(eq(int, lstat(file, &info), 0));
	return info.st_ino;
}

static void private_copy(DnImageCopyReport *report)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = NULL;
	g_autofree char *wanted = dn_image_store_checkout(yard.store, yard.commit);

	cr_assert(dn_image_store_private_copy_now(yard.store, yard.commit, &path, report, &error),
		  "%s", error != NULL ? error->message : "no error");
	cr_assert(eq(str, path, wanted));
	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, &error), "%s",
		  error != NULL ? error->message : "no error");
}

Test(pages, a_changed_page_over_an_intact_disk_is_told_as_such)
{
	g_autofree char *path = in("bin/app");

	expect_nothing(NULL);
	disk_change_cache(&disk, path);
	expect(NULL, "bin/app", DN_DAMAGE_CONTENT_CACHE);
}

Test(pages, a_changed_disk_under_an_intact_page_is_found_by_the_full_pass)
{
	g_autofree char *path = in("bin/app");
	const DnImageOrigin origin = {.url = yard.url, .ref = "apps/test", .commit = yard.commit};
	g_autoptr(GPtrArray) damages = dn_damages_new();
	g_autoptr(DnImageGuard) guard = watcher_begin(&yard, &passing);

	disk_change(&disk, path);
	/* What runs is right as long as the page stays. */
	expect_nothing(NULL);
	watcher_expect(guard, "bin/app", DN_DAMAGE_CONTENT_DISK);
	dn_damages_add(damages, yard.commit, "bin/app", DN_DAMAGE_CONTENT_DISK);
	cr_assert(dn_image_store_repair_now(yard.store, &origin, damages, NULL));
	watcher_expect_nothing(guard, 0, 3);
}

Test(pages, a_page_changed_by_a_write_is_a_changed_disk)
{
	g_autofree char *path = in("bin/app");

	yard_flip(path, 0);
	expect(NULL, "bin/app", DN_DAMAGE_CONTENT_DISK);
}

Test(pages, a_changed_page_is_found_by_the_full_pass)
{
	g_autofree char *path = in("usr/share/noise");
	g_autoptr(DnImageGuard) guard = watcher_begin(&yard, &passing);

	disk_change_cache(&disk, path);
	cr_assert(eq(int, watcher_expect(guard, "usr/share/noise", DN_DAMAGE_CONTENT_CACHE), 0));
	DnImageCopyReport report;
	private_copy(&report);
	watcher_expect_nothing(guard, 0, 3);
}

/* A look needs one for the checkout and one for the file. */
static void leave_descriptors(rlim_t count, struct rlimit *before)
{
	int lowest = dup(STDERR_FILENO);

	cr_assert(ge(int, lowest, 0));
	cr_assert(eq(int, close(lowest), 0));
	cr_assert(eq(int, getrlimit(RLIMIT_NOFILE, before), 0));
	const struct rlimit few = {
		.rlim_cur = (rlim_t)lowest + count,
		.rlim_max = before->rlim_max,
	};
	cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &few), 0));
}

static bool make_it_suspect(const char *path)
{
	return utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

Test(pages, a_lack_of_descriptors_is_no_damage_and_hides_none_for_long)
{
	g_autofree char *path = in("usr/share/noise");
	g_autoptr(DnImageGuard) guard = watcher_begin(&yard, &passing);
	struct rlimit before;

	for (rlim_t count = 0; count < 2; count++) {
		watcher_tamper(make_it_suspect, path);
		leave_descriptors(count, &before);
		/* Without any there is no pass that could end. */
		watcher_expect_nothing(guard, 0, count == 0 ? 0 : 2);
		cr_assert(eq(int, setrlimit(RLIMIT_NOFILE, &before), 0));
	}
	watcher_expect_nothing(guard, 0, 2);
	disk_change_cache(&disk, path);
	watcher_expect(guard, "usr/share/noise", DN_DAMAGE_CONTENT_CACHE);
}

Test(pages, a_private_copy_runs_from_new_pages_and_its_identities_are_the_new_ones)
{
	g_autofree char *path = in("bin/app");
	ino_t old = inode_of("bin/app"), old_link = inode_of("bin/sh");
	DnImageCopyReport report;
	const DnProgramRules rules = {0};

	disk_change_cache(&disk, path);
	private_copy(&report);
	expect_nothing(NULL);
	cr_assert(ne(u64, inode_of("bin/app"), old));
	cr_assert(ne(u64, inode_of("bin/sh"), old_link));
	cr_assert(gt(u64, report.bytes, 0));
	cr_assert(eq(u64, report.disk_bytes, report.bytes));
	g_autoptr(GArray) files =
		dn_image_store_program_files_now(yard.store, yard.commit, NULL, &rules, NULL);
	bool found = false;
	for (guint i = 0; i < files->len; i++) {
		cr_assert(ne(u64, g_array_index(files, DnProgramFile, i).ino, old));
		found |= g_array_index(files, DnProgramFile, i).ino == inode_of("bin/app");
	}
	cr_assert(found);
	/* Nothing had it mapped. */
	cr_assert(eq(int, (int)report.tainted, 0));
}

Test(pages, what_a_node_on_a_checkout_that_was_set_aside_may_execute_is_told_by_its_own_root)
{
	ino_t old = inode_of("bin/app");
	g_autofree char *checkout = dn_image_store_checkout(yard.store, yard.commit);
	g_autofree char *root = workshop_path(&yard.shop, "root-of-a-node");
	DnImageCopyReport report;
	const DnProgramRules rules = {0};
	bool found = false;

	cr_assert(eq(int, mkdir(root, 0700), 0));
	cr_assert(eq(int, mount(checkout, root, NULL, MS_BIND, NULL), 0));
	private_copy(&report);
	g_autoptr(GArray) files =
		dn_image_store_program_files_now(yard.store, yard.commit, root, &rules, NULL);
	cr_assert(ne(ptr, files, NULL));
	for (guint i = 0; i < files->len; i++) {
		cr_assert(ne(u64, g_array_index(files, DnProgramFile, i).ino, inode_of("bin/app")));
		found |= g_array_index(files, DnProgramFile, i).ino == old;
	}
	cr_assert(found);
	cr_assert(eq(int, umount2(root, MNT_DETACH), 0));
}

Test(pages, pages_that_are_mapped_stay_and_that_is_said)
{
	g_autofree char *path = in("bin/app");
	DnImageCopyReport report;

	disk_change_cache(&disk, path);
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	volatile const char *at = mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	cr_assert(ne(ptr, (void *)(uintptr_t)at, MAP_FAILED));
	char byte = at[0];
	private_copy(&report);
	cr_assert(eq(int, (int)report.tainted, 1));
	cr_assert(gt(u64, report.pages_kept, 0));
	cr_assert(eq(int, at[0], byte));
	expect_nothing(NULL);
	cr_assert(eq(int, munmap((void *)(uintptr_t)at, 1), 0));
}

Test(pages, a_later_checkout_of_another_commit_does_not_link_the_old_pages)
{
	g_autofree char *path = in("bin/app");
	ino_t old = inode_of("bin/app");
	DnImageCopyReport report;

	disk_change_cache(&disk, path);
	/* Kept in memory, whatever the kernel is asked. */
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *at = mmap(NULL, 1, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
	private_copy(&report);
	cr_assert(gt(int, (int)report.tainted, 0));
	workshop_write(&yard.shop, "root/usr/share/new", "new", 0644);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	cr_assert(ne(u64, inode_of("bin/app"), old));
	expect_nothing(NULL);
	cr_assert(eq(int, munmap(at, 1), 0));
}

Test(pages, a_private_copy_has_owner_mode_xattrs_and_links)
{
	g_autofree char *moved = in("etc/app.conf");
	struct stat before = {0}, after = {0};
	DnImageCopyReport report;

	cr_assert(eq(int, stat(moved, &before), 0));
	private_copy(&report);
	cr_assert(eq(int, stat(moved, &after), 0));
	cr_assert(eq(u32, after.st_mode, before.st_mode));
	cr_assert(eq(i64, after.st_mtime, before.st_mtime));
	cr_assert(ne(u64, after.st_ino, before.st_ino));
	/* The repository's object is the new file. */
	cr_assert(ge(u64, after.st_nlink, 2));
}

Test(pages, a_private_copy_of_a_disk_that_is_changed_too_is_refused_and_the_repair_helps)
{
	g_autofree char *path = in("bin/app");
	const DnImageOrigin origin = {.url = yard.url, .ref = "apps/test", .commit = yard.commit};
	g_autoptr(GPtrArray) damages = dn_damages_new();
	g_autoptr(GError) error = NULL;
	DnImageCopyReport report;

	disk_change(&disk, path);
	cr_assert(not(
		dn_image_store_private_copy_now(yard.store, yard.commit, NULL, &report, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s", error->message);
	cr_assert(ne(ptr, strstr(error->message, "/bin/app"), NULL), "%s", error->message);
	g_autoptr(GPtrArray) staged = yard_leftovers(&yard, "staging");
	cr_assert(eq(int, (int)staged->len, 0));
	dn_damages_add(damages, yard.commit, "bin/app", DN_DAMAGE_CONTENT_DISK);
	cr_assert(dn_image_store_repair_now(yard.store, &origin, damages, NULL));
	private_copy(&report);
}

Test(pages, a_private_copy_that_the_disk_has_no_room_for_leaves_everything_as_it_was)
{
	g_autofree char *filler = g_build_filename(yard.instance.state_dir, "filler", NULL);
	g_autofree char *page = g_malloc0(4096);
	ino_t before = inode_of("bin/app");
	g_autoptr(GError) error = NULL;
	DnImageCopyReport report;

	dn_autofd int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(fd, page, 4096) > 0)
		;
	cr_assert(eq(int, errno, ENOSPC));
	/* Room for a beginning. */
	cr_assert(eq(int, ftruncate(fd, lseek(fd, 0, SEEK_END) - 6 * 4096), 0));
	cr_assert(eq(int, fsync(fd), 0));
	dn_fd_clear(&fd);
	cr_assert(not(
		dn_image_store_private_copy_now(yard.store, yard.commit, NULL, &report, &error)));
	cr_assert(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE), "%s", error->message);
	g_autoptr(GPtrArray) staged = yard_leftovers(&yard, "staging");
	cr_assert(eq(int, (int)staged->len, 0));
	cr_assert(eq(u64, inode_of("bin/app"), before));
	expect_nothing(NULL);
	cr_assert(eq(int, unlink(filler), 0));
	private_copy(&report);
}

Test(pages, an_agent_that_starts_over_changed_pages_finds_them)
{
	g_autofree char *path = in("bin/tool");
	g_autoptr(GError) error = NULL;

	disk_change_cache(&disk, path);
	dn_image_store_free(yard.store);
	yard.store = dn_image_store_new(&yard.instance, yard.trust, &error);
	cr_assert(ne(ptr, yard.store, NULL));
	g_autoptr(DnImageGuard) guard = dn_image_guard_new(yard.store, &dn_image_guard_rates, NULL);
	cr_assert(dn_image_guard_add_now(guard, yard.commit, &error), "%s",
		  error != NULL ? error->message : "no error");
	watcher_expect(guard, "bin/tool", DN_DAMAGE_CONTENT_CACHE);
}

Test(pages, what_a_nodes_root_shows_is_compared_by_content)
{
	g_autofree char *checkout = dn_image_store_checkout(yard.store, yard.commit);
	g_autofree char *path = in("bin/app");

	/* Its mount shows other owners. */
	cr_assert(eq(int, chown(path, 100000, 100000), 0));
	expect_nothing(checkout);
	disk_change_cache(&disk, path);
	expect(checkout, "bin/app", DN_DAMAGE_CONTENT_CACHE);
}

Test(pages, something_mounted_over_a_file_or_a_directory_is_found)
{
	static const char *const paths[] = {"bin/app", "usr/share"};

	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autofree char *path = in(paths[i]);
		g_autofree char *other = in(i == 0 ? "bin/tool" : "usr");
		g_autoptr(DnImageGuard) guard = watcher_begin(&yard, &watcher_swept);

		cr_assert(eq(int, mount(other, path, NULL, MS_BIND, NULL), 0));
		watcher_expect(guard, paths[i], DN_DAMAGE_KIND);
		cr_assert(eq(int, umount2(path, MNT_DETACH), 0));
	}
}

Test(pages, single_files_can_be_asked_for)
{
	static const char *const paths[] = {"usr/share/noise", "bin/none", "bin", NULL};
	g_autofree char *path = in("usr/share/noise");
	g_autofree char *extra = in("bin/extra");

	disk_change_cache(&disk, path);
	cr_assert(eq(int, link(path, extra), 0));
	g_autoptr(GPtrArray) damages = check(NULL, paths);
	cr_assert(eq(int, (int)damages->len, 2));
	const DnDamage *first = damages->pdata[0], *second = damages->pdata[1];
	cr_assert(eq(int, first->kind, DN_DAMAGE_CONTENT_CACHE));
	cr_assert(eq(int, second->kind, DN_DAMAGE_EXTRA));
	cr_assert(eq(str, second->path, (char *)"bin/extra"));
}

Test(memory, where_nothing_is_read_past_the_cache_the_place_stays_unknown)
{
	g_autofree char *path = in("bin/app");

	yard_flip(path, 0);
	expect(NULL, "bin/app", DN_DAMAGE_CONTENT);
}

Test(memory, a_private_copy_is_made_from_the_cache_where_that_is_right)
{
	DnImageCopyReport report;

	private_copy(&report);
	cr_assert(eq(u64, report.disk_bytes, 0));
	cr_assert(gt(u64, report.bytes, 0));
}
