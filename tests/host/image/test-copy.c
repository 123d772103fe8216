/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/copy.h"
#include "support/suite.h"
#include "workshop.h"

static Workshop shop;
static DnImageListing *listing;
static int from_fd = -1;

/* A tree by hand: what dnode builds has neither xattrs nor owners, what others build may. */
static void enter(const char *path)
{
	g_autoptr(DnDigest) digest = dn_digest_new();
	dn_autofd int fd = dn_image_open_inside(from_fd, path, O_RDONLY | O_DIRECTORY);
	DnImageFacts facts = {0};
	g_autofree char *checksum =
		fd >= 0 ? dn_image_directory_identity(fd, path, &facts, NULL)
			: dn_image_identity(from_fd, path, &(DnImageReader){.digest = digest},
					    &facts, NULL);

	cr_assert(ne(ptr, checksum, NULL), "%s", path);
	cr_assert(dn_image_listing_add(listing, path, checksum, &facts));
	dn_image_facts_clear(&facts);
}

static void setup(void)
{
	static const char *const paths[] = {"",       "bin",   "bin/app",   "bin/same",
					    "bin/sh", "share", "share/text"};

	workshop_open(&shop);
	workshop_write(&shop, "root/bin/app", "#! the program", 0755);
	workshop_write(&shop, "root/bin/same", "#! the program", 0755);
	workshop_write(&shop, "root/share/text", "text", 0640);
	g_autofree char *root = workshop_path(&shop, "root");
	from_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(ge(int, from_fd, 0));
	cr_assert(eq(int, symlinkat("app", from_fd, "bin/sh"), 0));
	cr_assert(eq(int, fchownat(from_fd, "bin/sh", 5, 6, AT_SYMLINK_NOFOLLOW), 0));
	cr_assert(eq(int, fchownat(from_fd, "share", 7, 8, 0), 0));
	cr_assert(eq(int, fchownat(from_fd, "share/text", 7, 8, 0), 0));
	cr_assert(eq(int, fchmodat(from_fd, "share", 0750, 0), 0));
	g_autofree char *text = workshop_path(&shop, "root/share/text");
	g_autofree char *bin = workshop_path(&shop, "root/bin");
	g_autofree char *link = workshop_path(&shop, "root/bin/sh");
	cr_assert(eq(int, setxattr(text, "user.b", "two", 3, 0), 0));
	cr_assert(eq(int, setxattr(text, "user.a", "", 0, 0), 0));
	cr_assert(eq(int, setxattr(bin, "trusted.note", "x", 1, 0), 0));
	cr_assert(eq(int, lsetxattr(link, "trusted.note", "y", 1, 0), 0));
	listing = dn_image_listing_new(
		"0000000000000000000000000000000000000000000000000000000000000000");
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
		enter(paths[i]);
	dn_image_listing_seal(listing);
}

static void teardown(void)
{
	dn_image_listing_unref(listing);
	dn_fd_clear(&from_fd);
	workshop_close(&shop);
	dn_suite_end();
}

TestSuite(copy, .init = setup, .fini = teardown);

static void copy(const char *to, DnImageCopyReport *report)
{
	g_autofree char *from = workshop_path(&shop, "root");
	g_autoptr(GError) error = NULL;

	*report = (DnImageCopyReport){0};
	cr_assert(dn_image_copy_now(listing, from, to, report, &error), "%s",
		  error != NULL ? error->message : "no error");
}

static void expect_whole(const char *root, guint damages_wanted)
{
	dn_autofd int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const DnImageProbe probe = {.listing = listing, .root_fd = root_fd};
	g_autoptr(DnImageScan) scan = dn_image_scan_new();
	g_autoptr(GPtrArray) damages = dn_damages_new();

	for (guint i = 0; i < dn_image_listing_length(listing); i++)
		cr_assert(dn_image_probe_path(&probe, scan, dn_image_listing_at(listing, i)->path,
					      damages, NULL));
	cr_assert(eq(u32, damages->len, damages_wanted));
}

Test(copy, content_owners_modes_xattrs_and_links_are_those_of_the_listing)
{
	g_autofree char *to = workshop_path(&shop, "copy");
	DnImageCopyReport report;

	copy(to, &report);
	expect_whole(to, 0);
	/* Two names of one object, copied once. */
	cr_assert(eq(u32, report.files, 2));
}

Test(copy, it_shares_no_file_with_what_it_comes_from)
{
	static const char *const paths[] = {"bin/app", "bin/sh", "share/text"};
	g_autofree char *to = workshop_path(&shop, "copy");
	DnImageCopyReport report;

	copy(to, &report);
	dn_autofd int to_fd = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		struct stat before = {0}, after = {0};

		cr_assert(eq(int, fstatat(from_fd, paths[i], &before, AT_SYMLINK_NOFOLLOW), 0));
		cr_assert(eq(int, fstatat(to_fd, paths[i], &after, AT_SYMLINK_NOFOLLOW), 0));
		cr_assert(ne(u64, after.st_ino, before.st_ino), "%s", paths[i]);
	}
}

Test(copy, attributes_come_from_the_listing_not_from_the_tampered_tree)
{
	g_autofree char *to = workshop_path(&shop, "copy");
	g_autofree char *root = workshop_path(&shop, "root");
	g_autofree char *text = workshop_path(&shop, "root/share/text");
	DnImageCopyReport report;

	cr_assert(eq(int, chmod(text, 0666), 0));
	cr_assert(eq(int, removexattr(text, "user.a"), 0));
	expect_whole(root, 2);
	copy(to, &report);
	expect_whole(to, 0);
}

Test(copy, content_that_is_not_the_listings_is_refused_by_name)
{
	g_autofree char *to = workshop_path(&shop, "copy");
	g_autofree char *from = workshop_path(&shop, "root");
	DnImageCopyReport report = {0};
	g_autoptr(GError) error = NULL;

	workshop_write(&shop, "root/share/text", "tex", 0640);
	cr_assert(not(dn_image_copy_now(listing, from, to, &report, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED));
	cr_assert(ne(ptr, strstr(error->message, "/share/text"), NULL), "%s", error->message);
}
