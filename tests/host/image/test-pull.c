/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "image/build.h"
#include "image/sign.h"
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

TestSuite(pull, .init = setup, .fini = teardown);

static struct stat stat_of(const char *path)
{
	g_autofree char *full = yard_in_checkout(&yard, path);
	struct stat info = {0};

	cr_assert(eq(int, lstat(full, &info), 0), "%s", full);
	return info;
}

Test(pull, a_signed_image_arrives_whole_with_its_owner_modes_and_links)
{
	yard_image(&yard, yard.release);
	yard_ensure(&yard);

	cr_assert(eq(u32, stat_of("bin/app").st_mode, S_IFREG | 0755));
	cr_assert(eq(u32, stat_of("etc/app.conf").st_mode, S_IFREG | 0640));
	cr_assert(eq(u32, stat_of("etc/app.conf").st_uid, 0));
	cr_assert(eq(u32, stat_of("bin/sh").st_mode, S_IFLNK | 0777));
	cr_assert(eq(u32, stat_of("proc").st_mode, S_IFDIR | 0755));
	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, NULL));
}

Test(pull, a_second_time_needs_no_server)
{
	g_autoptr(GError) error = NULL;

	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	cr_assert(dn_image_store_ensure_now(yard.store, "http://127.0.0.1:1/repo", "apps/test",
					    yard.commit, NULL, &error),
		  "%s", error->message);
}

Test(pull, nobody_but_the_agent_can_reach_what_it_stores)
{
	static const char *const folders[] = {"repo", "checkouts", "staging", "damaged"};

	for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
		g_autofree char *path = g_build_filename(yard.instance.state_dir, folders[i], NULL);
		struct stat info = {0};

		cr_assert(eq(int, stat(path, &info), 0));
		cr_assert(eq(u32, info.st_mode & 07777, 0700), "%s", folders[i]);
	}
}

/* Leave the commit and its signatures on the server, nothing else. */
static void withhold_content(void)
{
	static const char *const kinds[] = {".dirtree", ".dirmeta", ".filez"};
	g_autofree char *objects = yard_on_server(&yard, "objects");

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autoptr(GPtrArray) files = yard_find(objects, kinds[i]);

		cr_assert(gt(int, (int)files->len, 0));
		for (guint n = 0; n < files->len; n++)
			cr_assert(eq(int, unlink(files->pdata[n]), 0));
	}
}

/* Content is not there to be asked for: a refusal for another reason came before it. */
static void refuse_before_content(const char *why)
{
	withhold_content();
	yard_refuse(&yard, DN_ERROR_UNTRUSTED, why);
	yard_expect_nothing(&yard);
}

Test(pull, an_unsigned_image_is_refused_before_its_content)
{
	yard_image(&yard, NULL);
	refuse_before_content("apps/test");
}

Test(pull, an_image_signed_by_a_key_that_nobody_trusts_is_refused_before_its_content)
{
	yard_image(&yard, yard.other);
	refuse_before_content("apps/test");
}

Test(pull, a_forged_signature_is_refused_before_content)
{
	g_autofree char *objects = yard_on_server(&yard, "objects");

	yard_image(&yard, yard.release);
	g_autoptr(GPtrArray) metadata = yard_find(objects, ".commitmeta");
	cr_assert(eq(int, (int)metadata->len, 1));
	/* Past the dictionary's key, inside the 64 bytes. */
	yard_flip(metadata->pdata[0], 60);
	refuse_before_content("");
}

Test(pull, a_key_that_may_sign_other_refs_is_refused_for_this_one)
{
	DnTrustRule *rule = yard.trust->images->pdata[0];

	g_free(rule->pattern);
	rule->pattern = g_strdup("tools/*");
	yard_image(&yard, yard.release);
	refuse_before_content("apps/test");
}

Test(pull, a_deploy_key_signs_no_images)
{
	DnTrustedKey *key = yard.trust->keys->pdata[0];

	key->role = DN_KEY_DEPLOY;
	yard_image(&yard, yard.release);
	refuse_before_content("apps/test");
}

Test(pull, an_image_built_for_another_ref_is_refused_though_it_is_well_signed)
{
	g_free(yard.shop.recipe->ref);
	yard.shop.recipe->ref = g_strdup("apps/other");
	yard_image(&yard, yard.release);
	refuse_before_content("was built as apps/other");
}

Test(pull, a_missing_object_fails_the_pull_and_leaves_nothing)
{
	g_autofree char *objects = yard_on_server(&yard, "objects");

	yard_image(&yard, yard.release);
	g_autoptr(GPtrArray) files = yard_find(objects, ".filez");
	g_autofree char *aside = g_strconcat(yard.shop.directory, "/aside", NULL);
	cr_assert(eq(int, rename(files->pdata[0], aside), 0));
	yard_refuse(&yard, DN_ERROR_UNAVAILABLE, "pull from http://127.0.0.1:");
	yard_expect_nothing(&yard);
	cr_assert(eq(int, rename(aside, files->pdata[0]), 0));
	yard_ensure(&yard);
}

/* No checksum is wrong until the end, which never comes: the file grows faster than it is read. */
Test(pull, a_file_without_end_is_given_up_at_the_limit_and_leaves_nothing, .timeout = 60)
{
	const off_t endless = (off_t)1 << 40;
	g_autofree char *objects = yard_on_server(&yard, "objects");

	yard_image(&yard, yard.release);
	g_autoptr(GPtrArray) files = yard_find(objects, ".filez");
	for (guint i = 0; i < files->len; i++)
		cr_assert(eq(int, truncate(files->pdata[i], endless), 0));
	dn_image_store_set_limit(yard.store, 32 * 1024 * 1024);
	yard_refuse(&yard, DN_ERROR_EXHAUSTED, "sends more than 33554432 bytes");
	yard_expect_nothing(&yard);
}

Test(pull, a_server_that_is_away_is_no_verdict_on_the_image)
{
	g_autoptr(GError) error = NULL;

	yard_image(&yard, yard.release);
	cr_assert(not(dn_image_store_ensure_now(yard.store, "http://127.0.0.1:1/repo", "apps/test",
						yard.commit, NULL, &error)));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE), "%s", error->message);
	yard_expect_nothing(&yard);
}

/*
 * One byte of one object, at several places of it. A change that the checksum does not cover (how
 * the content was compressed, unused header bytes) may pass, but then what arrives is the image.
 */
static void try_flipped(const char *path, off_t at, unsigned *refused)
{
	g_autoptr(GError) error = NULL;

	yard_flip(path, at);
	bool here = dn_image_store_ensure_now(yard.store, yard.url, "apps/test", yard.commit, NULL,
					      &error);
	yard_flip(path, at);
	if (here) {
		cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, NULL));
		cr_assert(dn_image_store_forget_now(yard.store, yard.commit, NULL));
	} else {
		*refused += 1;
		cr_assert(eq(ptr, strchr(error->message, '\n'), NULL), "%s", error->message);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNTRUSTED), "%s: %s", path,
			  error->message);
	}
	yard_expect_nothing(&yard);
}

/* Flip in every object of @kind that has such a byte; how many tries were refused of @tried. */
static unsigned flip_each(const char *kind, off_t at, unsigned *tried)
{
	g_autofree char *objects = yard_on_server(&yard, "objects");
	g_autoptr(GPtrArray) files = yard_find(objects, kind);
	unsigned refused = 0;

	*tried = 0;
	for (guint i = 0; i < files->len; i++) {
		struct stat info = {0};

		cr_assert(eq(int, stat(files->pdata[i], &info), 0));
		/* The tree of an empty directory is two bytes of framing. */
		if (at >= info.st_size || info.st_size <= 2)
			continue;
		try_flipped(files->pdata[i], at, &refused);
		*tried += 1;
	}
	cr_assert(gt(u32, *tried, 0));
	return refused;
}

Test(pull, one_flipped_byte_in_any_object_is_refused, .timeout = 120)
{
	/* Of these kinds the first bytes always mean something: metadata, a name, an owner. */
	static const struct {
		const char *kind;
		off_t at;
	} flips[] = {{".commit", 0},   {".commit", 10}, {".commit", -1},
		     {".dirtree", 0},  {".dirmeta", 0}, {".dirmeta", 3},
		     {".dirmeta", 11}, {".filez", 27},  {".filez", 19}};

	yard_image(&yard, yard.release);
	for (size_t i = 0; i < G_N_ELEMENTS(flips); i++) {
		unsigned tried = 0, refused = flip_each(flips[i].kind, flips[i].at, &tried);

		cr_assert(eq(u32, refused, tried), "%s at %d: %u of %u", flips[i].kind,
			  (int)flips[i].at, refused, tried);
	}
	yard_ensure(&yard);
}

Test(pull, a_flipped_byte_of_framing_is_refused_or_changes_nothing, .timeout = 120)
{
	unsigned tried = 0;

	yard_image(&yard, yard.release);
	(void)flip_each(".dirtree", -1, &tried);
	(void)flip_each(".filez", -1, &tried);
	(void)flip_each(".filez", 3, &tried);
	(void)flip_each(".filez", 5, &tried);
	(void)flip_each(".filez", 12, &tried);
	yard_ensure(&yard);
}

Test(pull, a_flipped_byte_anywhere_in_a_files_content_is_refused, .timeout = 120)
{
	g_autofree char *objects = yard_on_server(&yard, "objects");
	unsigned refused = 0, tried = 0;

	yard_image(&yard, yard.release);
	g_autoptr(GPtrArray) files = yard_find(objects, ".filez");
	for (guint i = 0; i < files->len; i++) {
		struct stat info = {0};

		cr_assert(eq(int, stat(files->pdata[i], &info), 0));
		for (off_t at = 100; info.st_size > 2000 && at < info.st_size - 8; at += 331) {
			try_flipped(files->pdata[i], at, &refused);
			tried++;
		}
	}
	cr_assert(gt(u32, tried, 5));
	cr_assert(eq(u32, refused, tried));
}

Test(pull, what_was_forgotten_is_gone_and_other_images_keep_what_they_share)
{
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	g_autofree char *first = g_strdup(yard.commit);
	yard.shop.recipe->run.uid = 5;
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	cr_assert_str_neq(first, yard.commit);

	cr_assert(dn_image_store_forget_now(yard.store, first, NULL));
	g_autofree char *gone = dn_image_store_checkout(yard.store, first);
	cr_assert(ne(int, access(gone, F_OK), 0));
	cr_assert(dn_image_store_verify_now(yard.store, "apps/test", yard.commit, NULL));
	cr_assert(dn_image_store_forget_now(yard.store, yard.commit, NULL));
	yard_expect_nothing(&yard);
}

Test(pull, files_that_can_be_executed_are_found_and_may_exec_limits_them)
{
	char *shell[] = {(char *)"/bin/sh", NULL};
	char *wrong[] = {(char *)"/etc/app.conf", NULL};
	const DnProgramRules any = {0}, named = {.may_exec = shell}, bad = {.may_exec = wrong};
	g_autoptr(GError) error = NULL;

	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	g_autoptr(GArray) all =
		dn_image_store_program_files_now(yard.store, yard.commit, NULL, &any, NULL);
	g_autoptr(GArray) one =
		dn_image_store_program_files_now(yard.store, yard.commit, NULL, &named, NULL);
	cr_assert(eq(int, (int)all->len, 2));
	/* /bin/sh is a link to /bin/app */
	cr_assert(eq(int, (int)one->len, 1));
	cr_assert(eq(u64, g_array_index(one, DnProgramFile, 0).ino, stat_of("bin/app").st_ino));
	cr_assert(eq(ptr,
		     dn_image_store_program_files_now(yard.store, yard.commit, NULL, &bad, &error),
		     NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
}

Test(pull, defaults_come_from_the_signed_tree)
{
	DnRun defaults = {0};

	yard.shop.recipe->run.uid = 1000;
	yard.shop.recipe->run.cwd = g_strdup("/srv");
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
	cr_assert(dn_image_store_defaults_now(yard.store, yard.commit, &defaults, NULL));
	cr_assert(eq(i64, defaults.uid, 1000));
	cr_assert_str_eq(defaults.cwd, "/srv");
	cr_assert(eq(ptr, defaults.args, NULL));
	dn_run_clear(&defaults);
}
