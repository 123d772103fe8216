/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "image/build.h"
#include "image/catalog.h"
#include "image/objects.h"
#include "image/sign.h"
#include "support/suite.h"
#include "workshop.h"

static Workshop shop;

static void setup(void)
{
	workshop_open(&shop);
}

static void teardown(void)
{
	workshop_close(&shop);
	dn_suite_end();
}

TestSuite(build, .init = setup, .fini = teardown);

/* A small root tree; @later makes the files in another order and with other times. */
static void make_root(const char *name, bool later, mode_t mask)
{
	static const char *const files[] = {"bin/app", "etc/app.conf", "www/index.html", "www/b"};
	mode_t before = umask(mask);

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		const char *file = files[later ? G_N_ELEMENTS(files) - 1 - i : i];
		g_autofree char *below = g_build_filename(name, file, NULL);
		g_autofree char *path = workshop_path(&shop, below);
		g_autofree char *parent = g_path_get_dirname(path);
		mode_t mode = g_str_has_prefix(file, "bin") ? 0777 : 0666;

		cr_assert(eq(int, g_mkdir_with_parents(parent, 0777), 0));
		dn_autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
		cr_assert(eq(sz, (size_t)write(fd, file, strlen(file)), strlen(file)));
		struct timespec times[2] = {{later ? 1000 : 5, 0}, {later ? 2000 : 7, 0}};
		cr_assert(eq(int, futimens(fd, times), 0));
		if (later)
			cr_assert(eq(int, fchown(fd, 1234, 4321), 0));
	}
	umask(before);
}

static void use_root(const char *name)
{
	g_free(shop.recipe->root);
	shop.recipe->root = g_strdup(name);
}

Test(build, the_same_tree_gives_the_same_commit_whoever_made_it_when_and_with_which_umask)
{
	make_root("one", false, 022);
	make_root("two", true, 002);
	use_root("one");
	g_autofree char *first = workshop_build(&shop);
	use_root("two");
	mode_t before = umask(077);
	g_free(shop.repo_path);
	shop.repo_path = g_build_filename(shop.directory, "other", NULL);
	g_autofree char *second = workshop_build(&shop);
	umask(before);

	cr_assert_str_eq(first, second);
}

Test(build, another_byte_another_mode_or_another_default_is_another_commit)
{
	workshop_write(&shop, "app", "one", 0755);
	workshop_add(&shop, "app", "/bin/app", 0755);
	g_autofree char *first = workshop_build(&shop);
	DnRecipeFile *file = shop.recipe->files->pdata[0];

	file->mode = 0555;
	g_autofree char *mode = workshop_build(&shop);
	cr_assert_str_neq(first, mode);
	shop.recipe->run.uid = 7;
	g_autofree char *user = workshop_build(&shop);
	cr_assert_str_neq(mode, user);
	workshop_write(&shop, "app", "two", 0755);
	g_autofree char *byte = workshop_build(&shop);
	cr_assert_str_neq(user, byte);
}

Test(build, the_commit_is_bound_to_its_ref_and_listed_with_its_size)
{
	workshop_write(&shop, "app", "12345", 0755);
	workshop_add(&shop, "app", "/bin/app", 0755);
	g_autofree char *commit = workshop_build(&shop);
	g_autoptr(DnImageRepo) repo = workshop_repo(&shop);
	g_autoptr(GBytes) bytes = dn_image_commit_bytes_now(repo, commit, NULL);
	g_auto(GStrv) refs = dn_image_bindings(bytes, NULL);
	g_autoptr(GPtrArray) images = dn_image_list_now(repo, NULL);

	cr_assert_str_eq(refs[0], "apps/test");
	cr_assert(eq(ptr, refs[1], NULL));
	cr_assert(eq(int, (int)images->len, 1));
	const DnImageInfo *info = images->pdata[0];
	cr_assert_str_eq(info->ref, "apps/test");
	cr_assert_str_eq(info->commit, commit);
	/* app, /etc/hosts, /etc/resolv.conf, /.dnode/run */
	cr_assert(eq(u64, info->files, 4));
	cr_assert(ge(u64, info->size_bytes, 5));
	cr_assert(gt(u64, info->created_ns, 0));
}

Test(build, defaults_of_the_recipe_come_back_out_of_the_commit)
{
	char *args[] = {(char *)"/bin/app", (char *)"-x;y", (char *)" z\n", NULL};
	char *env[] = {(char *)"B=2", (char *)"A=1", NULL};
	uint16_t port = 8080;
	DnRun run = {0};
	g_autoptr(GArray) ports = NULL;

	shop.recipe->run.args = g_strdupv(args);
	shop.recipe->run.env = g_strdupv(env);
	shop.recipe->run.cwd = g_strdup("/srv");
	shop.recipe->run.uid = 1000;
	g_array_append_val(shop.recipe->ports, port);
	g_autofree char *commit = workshop_build(&shop);
	g_autoptr(DnImageRepo) repo = workshop_repo(&shop);
	cr_assert(dn_image_read_defaults_now(repo, commit, &run, &ports, NULL));

	cr_assert(g_strv_equal((const char *const *)run.args, (const char *const *)args));
	cr_assert_str_eq(run.env[0], "A=1");
	cr_assert_str_eq(run.env[1], "B=2");
	cr_assert_str_eq(run.cwd, "/srv");
	cr_assert(eq(i64, run.uid, 1000));
	cr_assert(eq(int, g_array_index(ports, uint16_t, 0), 8080));
	dn_run_clear(&run);
}

/* Everything an image may not hold, each made under root/bad. */
static void make_bad(const char *kind)
{
	g_autofree char *path = workshop_path(&shop, "root/bad");
	/* VFS_CAP_REVISION_2, cap_net_raw permitted */
	static const uint8_t capability[20] = {1, 0, 0, 2, 0, 32};
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	workshop_write(&shop, "root/good", "good", 0644);
	if (strcmp(kind, "fifo") == 0) {
		cr_assert(eq(int, mkfifo(path, 0644), 0));
	} else if (strcmp(kind, "socket") == 0) {
		dn_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		g_strlcpy(name.sun_path, path, sizeof(name.sun_path));
		cr_assert(eq(int, bind(fd, (struct sockaddr *)&name, sizeof(name)), 0));
	} else if (strcmp(kind, "device") == 0) {
		cr_assert(eq(int, mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0));
	} else {
		workshop_write(&shop, "root/bad", "bad", 0755);
		if (strcmp(kind, "set-id") == 0)
			cr_assert(eq(int, chmod(path, 04755), 0));
		else
			cr_assert(eq(int,
				     setxattr(path, "security.capability", capability,
					      sizeof(capability), 0),
				     0));
	}
}

Test(build, what_gives_privilege_or_is_no_file_is_refused_by_name)
{
	static const char *const kinds[][2] = {
		{"fifo", "/bad is a fifo or a socket"},
		{"socket", "/bad is a fifo or a socket"},
		{"device", "/bad is a device node"},
		{"set-id", "/bad is set-id"},
		{"capability", "/bad has file capabilities"},
	};

	use_root("root");
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autofree char *path = workshop_path(&shop, "root/bad");

		make_bad(kinds[i][0]);
		g_autofree char *refusal = workshop_refusal(&shop, DN_ERROR_INVALID);
		cr_assert(g_str_has_prefix(refusal, kinds[i][1]), "%s", refusal);
		cr_assert(eq(int, unlink(path), 0));
	}
	g_free(workshop_build(&shop));
}

Test(build, all_faults_are_told_at_once)
{
	make_bad("fifo");
	g_autofree char *link = workshop_path(&shop, "root/etc");
	cr_assert(eq(int, symlink("/usr/etc", link), 0));
	use_root("root");
	workshop_add(&shop, "nothing", "/bin/nothing", 0755);
	g_autofree char *refusal = workshop_refusal(&shop, DN_ERROR_INVALID);
	g_auto(GStrv) lines = g_strsplit(refusal, "\n", -1);

	cr_assert(eq(int, (int)g_strv_length(lines), 3), "%s", refusal);
}

Test(build, mount_points_must_be_directories)
{
	static const char *const names[] = {"dev", "proc", "sys", "etc", "tmp", "run"};

	use_root("root");
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *name = g_build_filename("root", names[i], NULL);
		g_autofree char *path = workshop_path(&shop, name);
		g_autofree char *expected = g_strdup_printf("/%s is a file or a link", names[i]);

		workshop_write(&shop, name, "", 0644);
		g_autofree char *file = workshop_refusal(&shop, DN_ERROR_INVALID);
		cr_assert(g_str_has_prefix(file, expected), "%s", file);
		cr_assert(eq(int, unlink(path), 0));
		cr_assert(eq(int, symlink("/good", path), 0));
		g_autofree char *link = workshop_refusal(&shop, DN_ERROR_INVALID);
		cr_assert(g_str_has_prefix(link, expected), "%s", link);
		cr_assert(eq(int, unlink(path), 0));
	}
}

Test(build, a_source_outside_of_the_recipes_directory_is_refused)
{
	g_autofree char *outside = g_build_filename(shop.directory, "secret", NULL);
	g_autofree char *link = workshop_path(&shop, "link");
	g_autoptr(GBytes) bytes = g_bytes_new_static("secret", 6);
	static const char *const sources[] = {"../secret", "link", "/etc/passwd"};

	cr_assert(dn_file_replace(outside, bytes, 0644, NULL));
	cr_assert(eq(int, symlink("../secret", link), 0));
	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
		g_ptr_array_set_size(shop.recipe->files, 0);
		workshop_add(&shop, sources[i], "/x", 0644);
		g_autofree char *refusal = workshop_refusal(&shop, DN_ERROR_INVALID);
		cr_assert(ne(ptr, strstr(refusal, "leads out of"), NULL), "%s", refusal);
	}
}

Test(build, a_file_is_never_placed_through_a_link_of_the_root_tree)
{
	g_autofree char *link = workshop_path(&shop, "root/lib");

	workshop_write(&shop, "root/good", "good", 0644);
	cr_assert(eq(int, symlink("/etc", link), 0));
	use_root("root");
	workshop_add(&shop, "root/good", "/lib/x", 0644);
	g_autofree char *refusal = workshop_refusal(&shop, DN_ERROR_INVALID);
	cr_assert(g_str_has_prefix(refusal, "/lib is a file or a link"), "%s", refusal);
}

Test(build, a_path_that_is_not_plain_or_belongs_to_the_build_is_refused)
{
	static const char *const paths[] = {"bin/app", "/",   "/a/../b",    "/a//b",
					    "/a/./b",  "/a/", "/.dnode/run"};

	workshop_write(&shop, "app", "app", 0755);
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_ptr_array_set_size(shop.recipe->files, 0);
		workshop_add(&shop, "app", paths[i], 0755);
		g_autofree char *refusal = workshop_refusal(&shop, DN_ERROR_INVALID);
		cr_assert(ne(ptr, strstr(refusal, "not a plain path"), NULL), "%s", refusal);
	}
	g_ptr_array_set_size(shop.recipe->files, 0);
	workshop_add(&shop, "app", "/app", 04755);
	g_autofree char *refusal = workshop_refusal(&shop, DN_ERROR_INVALID);
	cr_assert(ne(ptr, strstr(refusal, "more than permission bits"), NULL), "%s", refusal);
}

Test(build, a_file_of_the_recipe_lies_over_the_root_tree)
{
	workshop_write(&shop, "root/etc/app.conf", "old", 0644);
	workshop_write(&shop, "new", "newer", 0644);
	use_root("root");
	g_autofree char *before = workshop_build(&shop);
	workshop_add(&shop, "new", "/etc/app.conf", 0644);
	g_autofree char *after = workshop_build(&shop);
	cr_assert_str_neq(before, after);
	workshop_write(&shop, "root/etc/app.conf", "newer", 0644);
	g_ptr_array_set_size(shop.recipe->files, 0);
	g_autofree char *same = workshop_build(&shop);
	cr_assert_str_eq(after, same);
}
