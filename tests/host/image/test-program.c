/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <dnode/sensor-abi-user.h>

#include "base/file.h"
#include "support/suite.h"
#include "support/tiny-elf.h"
#include "yard.h"

static Yard yard;

/* Takes @taken. */
static void write_bytes(const char *name, GBytes *taken, mode_t mode)
{
	g_autofree char *path = workshop_path(&yard.shop, name);
	g_autoptr(GBytes) bytes = taken;

	/* Makes the directories. */
	workshop_write(&yard.shop, name, "", (uint32_t)mode);
	cr_assert(dn_file_replace(path, bytes, mode, NULL));
}

static void write_elf(const char *name, const char *loader, mode_t mode)
{
	write_bytes(name, tiny_elf(loader), mode);
}

static void make_link(const char *name, const char *target)
{
	g_autofree char *path = workshop_path(&yard.shop, name);

	cr_assert(eq(int, symlink(target, path), 0));
}

/* Contents differ by their loader, so that no two are one object by chance. */
static void setup(void)
{
	yard_open(&yard);
	write_elf("root/usr/bin/python3", "/usr/lib/strange-loader", 0755);
	write_elf("root/usr/lib/strange-loader", NULL, 0755);
	write_elf("root/usr/lib/libx.so", "/nowhere/1", 0644);
	write_elf("root/usr/lib/libc.so", "/nowhere/2", 0755);
	make_link("root/usr/lib/ld-musl-x86_64.so.1", "libc.so");
	write_elf("root/usr/bin/dash", "/nowhere/3", 0755);
	make_link("root/usr/bin/rbash", "/usr/bin/dash");
	write_elf("root/usr/bin/box", "/nowhere/4", 0755);
	make_link("root/usr/bin/ls", "box");
	make_link("root/usr/bin/ash", "../bin/ls");
	write_elf("root/usr/bin/busybox", "/nowhere/5", 0755);
	write_bytes("root/usr/bin/loose", tiny_elf_of("/nowhere/6", PT_GNU_STACK, PF_W | PF_X),
		    0755);
	workshop_write(&yard.shop, "root/usr/bin/start", "#!/usr/bin/dash\n", 0755);
	workshop_write(&yard.shop, "root/usr/bin/data", "#!/usr/bin/dash\ndata", 0644);
	yard_image(&yard, yard.release);
	yard_ensure(&yard);
}

static void teardown(void)
{
	yard_close(&yard);
	dn_suite_end();
}

TestSuite(program, .init = setup, .fini = teardown, .timeout = 60);

static GArray *files_of(const DnProgramRules *rules)
{
	g_autoptr(GError) error = NULL;
	GArray *files =
		dn_image_store_program_files_now(yard.store, yard.commit, NULL, rules, &error);

	cr_assert(ne(ptr, files, NULL), "%s", error != NULL ? error->message : "no error");
	return files;
}

static GArray *files_by(char *const *may_exec, const char *program)
{
	return files_of(&(DnProgramRules){.may_exec = may_exec, .program = program});
}

static GArray *files_with(const char *program, const char *argument)
{
	return files_of(&(DnProgramRules){.program = program, .argument = argument});
}

static uint32_t flags_of(const GArray *files, const char *path)
{
	g_autofree char *file = yard_in_checkout(&yard, path);
	struct stat info = {0};

	cr_assert(eq(int, lstat(file, &info), 0), "%s", path);
	for (guint i = 0; i < files->len; i++) {
		const DnProgramFile *found = &g_array_index(files, DnProgramFile, i);

		if (found->ino == info.st_ino &&
		    found->dev == ((uint64_t)major(info.st_dev) << 20 | minor(info.st_dev)))
			return found->flags;
	}
	return 0;
}

static void expect(const GArray *files, const char *path, uint32_t flags)
{
	cr_assert(eq(u32, flags_of(files, path), flags), "%s", path);
}

Test(program, every_file_has_the_flags_of_what_it_is)
{
	g_autoptr(GArray) files = files_by(NULL, NULL);

	expect(files, "usr/bin/python3", DN_FILE_EXEC | DN_FILE_MAP);
	expect(files, "usr/lib/strange-loader", DN_FILE_MAP | DN_FILE_LOADER);
	expect(files, "usr/lib/libx.so", DN_FILE_MAP);
	expect(files, "usr/lib/libc.so", DN_FILE_MAP | DN_FILE_LOADER);
	expect(files, "usr/bin/dash", DN_FILE_MAP | DN_FILE_SHELL);
	expect(files, "usr/bin/box", DN_FILE_MAP | DN_FILE_SHELL | DN_FILE_MULTI);
	expect(files, "usr/bin/busybox", DN_FILE_MAP | DN_FILE_SHELL | DN_FILE_MULTI);
	expect(files, "usr/bin/start", DN_FILE_EXEC);
	expect(files, "usr/bin/data", 0);
	expect(files, "usr/share/noise", 0);
	/* bin/sh of every yard's image leads to it. */
	expect(files, "bin/app", DN_FILE_SHELL | DN_FILE_MULTI);
	expect(files, "bin/tool", DN_FILE_EXEC);
}

Test(program, what_may_exec_names_may_be_executed_and_nothing_else)
{
	char *names[] = {(char *)"/usr/bin/rbash", (char *)"/usr/lib/strange-loader",
			 (char *)"/usr/bin/ls", NULL};
	g_autoptr(GArray) files = files_by(names, NULL);

	expect(files, "usr/bin/dash", DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_SHELL);
	expect(files, "usr/lib/strange-loader", DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_LOADER);
	/* Named as ls: it is no shell by that. */
	expect(files, "usr/bin/box", DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_MULTI);
	expect(files, "usr/bin/python3", DN_FILE_MAP);
	expect(files, "usr/bin/start", 0);
}

Test(program, the_services_own_program_needs_no_mention_in_may_exec)
{
	char *names[] = {(char *)"/usr/bin/ls", NULL};
	g_autoptr(GArray) direct = files_by(names, "/usr/bin/python3");
	g_autoptr(GArray) script = files_by(names, "/usr/bin/start");

	expect(direct, "usr/bin/python3", DN_FILE_EXEC | DN_FILE_MAP);
	expect(direct, "usr/bin/start", 0);
	expect(script, "usr/bin/start", DN_FILE_EXEC);
	expect(script, "usr/bin/dash", DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_SHELL);
	expect(script, "usr/bin/python3", DN_FILE_MAP);
}

Test(program, the_services_own_shell_may_be_executed)
{
	g_autoptr(GArray) direct = files_by(NULL, "/usr/bin/rbash");
	g_autoptr(GArray) script = files_by(NULL, "/usr/bin/start");

	expect(direct, "usr/bin/dash", DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_SHELL);
	expect(direct, "usr/bin/box", DN_FILE_MAP | DN_FILE_SHELL | DN_FILE_MULTI);
	expect(script, "usr/bin/dash", DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_SHELL);
	expect(script, "usr/bin/start", DN_FILE_EXEC);
}

Test(program, a_program_of_many_names_is_a_shell_only_where_it_was_asked_for_as_one)
{
	uint32_t runs = DN_FILE_EXEC | DN_FILE_MAP | DN_FILE_MULTI;
	g_autoptr(GArray) server = files_with("/usr/bin/busybox", "httpd");
	g_autoptr(GArray) shell = files_with("/usr/bin/busybox", "sh");

	expect(server, "usr/bin/busybox", runs);
	expect(shell, "usr/bin/busybox", runs | DN_FILE_SHELL);
}

Test(program, a_name_that_is_no_executable_file_is_refused_by_name)
{
	char *names[] = {(char *)"/usr/bin/data", NULL};
	const DnProgramRules rules = {.may_exec = names};
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) files =
		dn_image_store_program_files_now(yard.store, yard.commit, NULL, &rules, &error);

	cr_assert(eq(ptr, files, NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	cr_assert(ne(ptr, strstr(error->message, "/usr/bin/data"), NULL), "%s", error->message);
}

/* The kernel's loader would give it, and each node would be cut for having it. */
Test(program, a_program_that_wants_writable_code_is_refused_by_name_unless_it_may_make_code)
{
	DnProgramRules rules = {.program = "/usr/bin/loose"};
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) refused =
		dn_image_store_program_files_now(yard.store, yard.commit, NULL, &rules, &error);

	cr_assert(eq(ptr, refused, NULL));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	cr_assert(strstr(error->message, "/usr/bin/loose") != NULL, "%s", error->message);
	rules.jit = true;
	g_autoptr(GArray) files = files_of(&rules);
	expect(files, "usr/bin/loose", DN_FILE_EXEC | DN_FILE_MAP);
}
