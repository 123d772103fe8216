/* SPDX-License-Identifier: Apache-2.0 */

/* What is executable in a process, and whether the image's code is still the image's. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "support/suite.h"

static Host host;
static Node node;

static void setup(void)
{
	host_set_up(&host);
}

static void teardown(void)
{
	node_clear(&node);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(memory, .init = setup, .fini = teardown, .timeout = 120);

/* Every promise holds with what each kernel has, and with what only newer ones have. */
static const DnInspectFinding *found(enum dn_drift_class drift, pid_t pid)
{
	static DnInspectLook look;

	look = (DnInspectLook){0};
	node_look(&node, true, &look);
	(void)only_finding(&look, drift, pid);
	look = (DnInspectLook){0};
	node_look(&node, false, &look);
	return only_finding(&look, drift, pid);
}

static void found_nothing(void)
{
	DnInspectLook look = {0};

	node_look(&node, true, &look);
	assert_clean(&look);
	node_look(&node, false, &look);
	assert_clean(&look);
}

Test(memory, writable_and_executable_memory_is_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "writable-code", NULL);
	cr_assert(found(DN_DRIFT_EXEC_MEMORY, pid)->path[0] == '\0');
}

Test(memory, data_that_was_turned_into_code_is_found)
{
	node_start(&node, &host, "n0", 0, "data-into-code", NULL);
	(void)found(DN_DRIFT_EXEC_MEMORY, (pid_t)node.pid1);
}

Test(memory, code_made_at_run_time_is_no_drift_where_jit_was_declared)
{
	node_start(&node, &host, "n0", WITH_JIT, "writable-code", NULL);
	node_add(&node, NULL, 0, "data-into-code", NULL);
	found_nothing();
}

Test(memory, memory_mapped_twice_once_to_write_and_once_to_execute_is_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "memory-file", NULL);
	cr_assert_str_eq(found(DN_DRIFT_EXEC_MEMORY, pid)->path, "/memfd:cache (deleted)");
}

Test(memory, memory_mapped_twice_is_no_drift_where_jit_was_declared)
{
	node_start(&node, &host, "n0", WITH_JIT, "memory-file", NULL);
	found_nothing();
}

static char *write_foreign(const char *name)
{
	char *path = g_build_filename(host.directory, name, NULL);

	cr_assert(g_file_set_contents(path, name, -1, NULL));
	return path;
}

Test(memory, an_executable_mapping_of_a_file_that_is_not_the_images_is_found)
{
	g_autofree char *path = write_foreign("libevil.so");

	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "map-as-code", path);
	cr_assert_str_eq(found(DN_DRIFT_LIBRARY, pid)->path, path);
	g_autofree char *comm = g_strdup_printf("/proc/%d/comm", pid), *name = NULL;
	cr_assert(g_file_get_contents(comm, &name, NULL, NULL));
	cr_assert_str_eq(found(DN_DRIFT_LIBRARY, pid)->comm, g_strchomp(name));
}

Test(memory, a_foreign_library_is_found_also_where_jit_was_declared)
{
	g_autofree char *path = write_foreign("libevil.so");

	node_start(&node, &host, "n0", WITH_JIT, "map-as-code", path);
	(void)found(DN_DRIFT_LIBRARY, (pid_t)node.pid1);
}

Test(memory, a_name_like_that_of_the_kernels_own_code_does_not_help_a_file)
{
	g_autofree char *path = write_foreign("[vdso]");

	node_start(&node, &host, "n0", 0, "map-as-code", path);
	(void)found(DN_DRIFT_LIBRARY, (pid_t)node.pid1);
}

Test(memory, the_name_of_a_file_is_printable_in_the_finding)
{
	g_autofree char *path = write_foreign("a\033[2Jb\nc");

	node_start(&node, &host, "n0", 0, "map-as-code", path);
	const char *shown = found(DN_DRIFT_LIBRARY, (pid_t)node.pid1)->path;
	cr_assert(strstr(shown, "a\\x1b[2Jb") != NULL, "%s", shown);
	cr_assert(strpbrk(shown, "\033\n") == NULL);
}

Test(memory, one_changed_byte_of_a_programs_code_is_found_where_it_is)
{
	uint64_t offset = 0;

	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, IS_STATIC, "rest", NULL);
	patch(pid, address_of(pid, "inspect-actor-static", 0x1234, &offset));
	const DnInspectFinding *finding = found(DN_DRIFT_TEXT, pid);
	g_autofree char *wanted =
		g_strdup_printf("1 byte differs, first at offset %#lx", (unsigned long)offset);
	cr_assert(strstr(finding->detail, wanted) != NULL, "%s", finding->detail);
	cr_assert(g_str_has_suffix(finding->path, "inspect-actor-static"));
}

static void a_byte_of_the_c_library(bool jit)
{
	uint64_t offset = 0;

	node_start(&node, &host, "n0", jit ? WITH_JIT : 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "rest", NULL);
	patch(pid, address_of(pid, "libc.so.6", 0x54321, &offset));
	const DnInspectFinding *finding = found(DN_DRIFT_TEXT, pid);
	g_autofree char *wanted =
		g_strdup_printf("1 byte differs, first at offset %#lx", (unsigned long)offset);
	cr_assert(strstr(finding->detail, wanted) != NULL, "%s", finding->detail);
	cr_assert(g_str_has_suffix(finding->path, "/libc.so.6"));
}

Test(memory, one_changed_byte_of_the_c_library_is_found)
{
	a_byte_of_the_c_library(false);
}

Test(memory, one_changed_byte_is_found_also_where_jit_was_declared)
{
	a_byte_of_the_c_library(true);
}

Test(memory, a_process_that_changes_its_own_code_is_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "change-own-code", NULL);
	(void)found(DN_DRIFT_TEXT, pid);
}

Test(memory, code_that_was_changed_and_put_back_is_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "rest", NULL);
	uint64_t address = address_of(pid, "libc.so.6", 0x54321, NULL);
	patch(pid, address);
	patch(pid, address);
	const char *detail = found(DN_DRIFT_TEXT, pid)->detail;
	cr_assert(strstr(detail, "equal to the file again") != NULL, "%s", detail);
}

Test(memory, a_changed_vdso_is_found)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, 0, "rest", NULL);
	patch(pid, address_of(pid, "[vdso]", 0x40, NULL));
	cr_assert_str_eq(found(DN_DRIFT_TEXT, pid)->path, "[vdso]");
}

Test(memory, data_that_was_written_is_not_code)
{
	node_start(&node, &host, "n0", 0, "write-read-only-data", NULL);
	found_nothing();
}

Test(memory, private_writing_to_a_mapped_file_is_no_drift)
{
	node_start(&node, &host, "n0", 0, "write-private-copy", NULL);
	found_nothing();
}

static bool has_memory(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/exe", pid);
	struct stat info;

	return stat(path, &info) == 0;
}

static bool has_guards(void)
{
	const int install_guard = 102;
	dn_autofd int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	bool has = madvise(page, 4096, install_guard) == 0;

	(void)munmap(page, 4096);
	return has;
}

Test(memory, pages_of_code_that_were_given_up_for_guards_are_no_drift)
{
	if (!has_guards())
		cr_skip("this kernel has no guards in mapped files");
	node_start(&node, &host, "n0", IS_STATIC, "guard-code", NULL);
	found_nothing();
}

Test(memory, guards_do_not_hide_the_page_behind_them)
{
	if (!has_guards())
		cr_skip("this kernel has no guards in mapped files");
	node_start(&node, &host, "n0", 0, "rest", NULL);
	pid_t pid = node_add(&node, NULL, IS_STATIC, "guard-code", "changed");
	(void)found(DN_DRIFT_TEXT, pid);
}

Test(memory, code_written_with_what_it_held_is_no_drift_where_jit_was_declared)
{
	node_start(&node, &host, "n0", WITH_JIT | IS_STATIC, "rewrite-code", NULL);
	found_nothing();
}

Test(memory, code_written_with_what_it_held_does_not_hide_the_page_behind_it)
{
	node_start(&node, &host, "n0", WITH_JIT, "rest", NULL);
	pid_t pid = node_add(&node, NULL, IS_STATIC, "rewrite-code", "changed");
	const char *detail = found(DN_DRIFT_TEXT, pid)->detail;
	cr_assert(strstr(detail, "1 byte differs, first at offset 0x14000") != NULL, "%s", detail);
}

/* A process that shows neither program nor memory, but through a thread. */
static pid_t without_first_thread(const char *changes)
{
	pid_t pid = node_add(&node, NULL, 0, "leave-the-first-thread", changes);

	for (int tries = 0; has_memory(pid) && tries < 10000; tries++)
		g_usleep(1000);
	cr_assert(not(has_memory(pid)));
	return pid;
}

Test(memory, a_process_whose_first_thread_has_ended_hides_no_memory)
{
	node_start(&node, &host, "n0", 0, "rest", NULL);
	(void)found(DN_DRIFT_EXEC_MEMORY, without_first_thread(NULL));
}

Test(memory, a_process_whose_first_thread_has_ended_hides_no_changed_byte)
{
	node_start(&node, &host, "n0", WITH_JIT, "rest", NULL);
	const char *detail = found(DN_DRIFT_TEXT, without_first_thread("changed"))->detail;
	cr_assert(strstr(detail, "1 byte differs") != NULL, "%s", detail);
}
