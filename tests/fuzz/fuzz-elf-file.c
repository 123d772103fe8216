/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "image/elf-file.h"
#include "image/program.h"

/* The file is the input: what it says of itself must lead nowhere outside of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	DnElf elf = {0};
	uint64_t offset = 0;
	size_t length = 0;
	char path[256];

	if (dn_image_program_interpreter(data, size, path))
		g_assert(strlen(path) > 0);
	if (!dn_elf_header(data, MIN(size, DN_ELF_HEADER), &elf))
		return 0;
	g_assert(dn_elf_is(data, size));
	g_assert(elf.table_size <= DN_ELF_TABLE_LIMIT);
	if (elf.table_size == 0 || elf.table_offset > size ||
	    size - elf.table_offset < elf.table_size)
		return 0;
	/* A copy of its own size, so that one byte beyond it is found. */
	g_autofree uint8_t *table = g_memdup2(data + elf.table_offset, elf.table_size);
	(void)dn_elf_wants_writable_code(&elf, table, elf.table_size);
	if (dn_elf_loader(&elf, table, elf.table_size, &offset, &length)) {
		g_assert(length >= 2 && length <= DN_ELF_PATH);
		g_assert(offset <= INT64_MAX - length);
	}
	return 0;
}
