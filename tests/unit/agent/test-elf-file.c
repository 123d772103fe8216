/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "image/elf-file.h"
#include "image/program.h"
#include "support/suite.h"
#include "support/tiny-elf.h"

TestSuite(elf_file, .fini = dn_suite_end);

/* The loader of a file that holds @bytes; NULL: none. Free it. */
static char *loader_in(const void *bytes, size_t size)
{
	char name[] = "/tmp/dn-elf-XXXXXX";
	dn_autofd int fd = mkstemp(name);
	char path[DN_ELF_PATH];

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, unlink(name), 0));
	cr_assert(eq(int, (int)write(fd, bytes, size), (int)size));
	return dn_elf_read_loader(fd, path) ? g_strdup(path) : NULL;
}

static guint8 *copy_of(GBytes *bytes, gsize *size)
{
	const guint8 *data = g_bytes_get_data(bytes, size);

	return g_memdup2(data, *size);
}

static void expect_none(const void *bytes, size_t size)
{
	g_autofree char *found = loader_in(bytes, size);

	cr_assert(eq(ptr, found, NULL), "%s", found);
}

Test(elf_file, the_loader_that_a_file_names_is_found)
{
	g_autoptr(GBytes) bytes = tiny_elf("/lib64/ld-linux-x86-64.so.2");
	gsize size = 0;
	const void *data = g_bytes_get_data(bytes, &size);
	g_autofree char *found = loader_in(data, size);

	cr_assert(eq(str, found, (char *)"/lib64/ld-linux-x86-64.so.2"));
}

Test(elf_file, the_loader_of_a_real_program_is_found)
{
	dn_autofd int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char path[DN_ELF_PATH] = "";

	cr_assert(dn_elf_read_loader(fd, path));
	cr_assert(eq(int, access(path, X_OK), 0), "%s", path);
}

Test(elf_file, a_file_without_one_has_none)
{
	g_autoptr(GBytes) bytes = tiny_elf(NULL);
	gsize size = 0;
	const void *data = g_bytes_get_data(bytes, &size);

	cr_assert(dn_elf_is(data, size));
	expect_none(data, size);
	expect_none("#!/bin/sh\n", 10);
	expect_none("", 0);
}

Test(elf_file, a_loader_beyond_the_end_of_the_file_is_none)
{
	g_autoptr(GBytes) bytes = tiny_elf("/lib/ld.so");
	gsize size = 0;
	g_autofree guint8 *data = copy_of(bytes, &size);

	for (gsize shorter = 0; shorter < size; shorter++)
		expect_none(data, shorter);
}

Test(elf_file, a_loader_without_its_end_or_a_root_is_none)
{
	g_autoptr(GBytes) relative = tiny_elf("lib/ld.so");
	g_autoptr(GBytes) bytes = tiny_elf("/lib/ld.so");
	gsize size = 0;
	g_autofree guint8 *data = copy_of(bytes, &size);

	data[size - 1] = 'x';
	expect_none(data, size);
	expect_none(g_bytes_get_data(relative, NULL), g_bytes_get_size(relative));
}

Test(elf_file, offsets_and_sizes_that_do_not_exist_are_refused)
{
	static const size_t fields[] = {
		offsetof(Elf64_Ehdr, e_phoff),
		sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_offset),
		sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz),
	};
	g_autoptr(GBytes) bytes = tiny_elf("/lib/ld.so");

	for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
		gsize size = 0;
		g_autofree guint8 *data = copy_of(bytes, &size);

		memset(data + fields[i], 0xff, 8);
		expect_none(data, size);
	}
}

Test(elf_file, a_table_of_more_rows_than_the_kernel_takes_is_not_read)
{
	g_autoptr(GBytes) bytes = tiny_elf("/lib/ld.so");
	gsize size = 0;
	g_autofree guint8 *data = copy_of(bytes, &size);
	DnElf elf = {0};

	memset(data + offsetof(Elf64_Ehdr, e_phnum), 0xff, 2);
	cr_assert(dn_elf_header(data, size, &elf));
	cr_assert(eq(u32, elf.table_size, 0));
	expect_none(data, size);
}

Test(elf_file, files_of_machines_with_the_other_byte_order_are_understood)
{
	/* A 32-bit header and one row, most significant byte first. */
	guint8 data[sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr) + 8] = {
		ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32, ELFDATA2MSB, EV_CURRENT};
	guint8 *row = data + sizeof(Elf32_Ehdr);

	data[offsetof(Elf32_Ehdr, e_phoff) + 3] = sizeof(Elf32_Ehdr);
	data[offsetof(Elf32_Ehdr, e_phentsize) + 1] = sizeof(Elf32_Phdr);
	data[offsetof(Elf32_Ehdr, e_phnum) + 1] = 1;
	row[offsetof(Elf32_Phdr, p_type) + 3] = PT_INTERP;
	row[offsetof(Elf32_Phdr, p_offset) + 3] = sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr);
	row[offsetof(Elf32_Phdr, p_filesz) + 3] = 8;
	memcpy(row + sizeof(Elf32_Phdr), "/ld.so1", 8);
	g_autofree char *found = loader_in(data, sizeof(data));
	cr_assert(eq(str, found, (char *)"/ld.so1"));
}

Test(elf_file, the_interpreter_of_a_script_is_the_first_word_of_its_first_line)
{
	static const struct {
		const char *text, *path;
	} scripts[] = {
		{"#!/bin/sh\necho", "/bin/sh"},
		{"#! \t/bin/sh -e\n", "/bin/sh"},
		{"#!/usr/bin/env python3", "/usr/bin/env"},
		{"#!", NULL},
		{"#!\n/bin/sh", NULL},
		{"# !/bin/sh", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < G_N_ELEMENTS(scripts); i++) {
		char path[256] = "";
		bool found = dn_image_program_interpreter((const uint8_t *)scripts[i].text,
							  strlen(scripts[i].text), path);

		cr_assert(eq(int, found, scripts[i].path != NULL), "%s", scripts[i].text);
		if (found)
			cr_assert(eq(str, path, (char *)scripts[i].path));
	}
}

static bool wants_writable_code(uint32_t type, uint32_t flags)
{
	g_autoptr(GBytes) bytes = tiny_elf_of(NULL, type, flags);
	char name[] = "/tmp/dnode-elf-XXXXXX";
	dn_autofd int fd = mkstemp(name);
	gsize size = 0;
	const void *data = g_bytes_get_data(bytes, &size);

	cr_assert(ge(int, fd, 0));
	cr_assert(eq(int, unlink(name), 0));
	cr_assert(eq(int, (int)write(fd, data, size), (int)size));
	return dn_elf_reads_writable_code(fd);
}

Test(elf_file, a_stack_or_a_segment_that_can_be_written_and_executed_is_told)
{
	cr_assert(wants_writable_code(PT_GNU_STACK, PF_R | PF_W | PF_X));
	cr_assert(not(wants_writable_code(PT_GNU_STACK, PF_R | PF_W)));
	cr_assert(wants_writable_code(PT_LOAD, PF_R | PF_W | PF_X));
	cr_assert(not(wants_writable_code(PT_LOAD, PF_R | PF_X)));
	cr_assert(not(wants_writable_code(PT_LOAD, PF_R | PF_W)));
	cr_assert(not(wants_writable_code(PT_NOTE, PF_R | PF_W | PF_X)));
}

Test(elf_file, an_ordinary_program_wants_neither)
{
	dn_autofd int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	cr_assert(not(dn_elf_reads_writable_code(fd)));
}
