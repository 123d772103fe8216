/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* ELF files as small as they can be, with one row of their table of segments. */

#include <elf.h>
#include <glib.h>
#include <string.h>

/* @loader NULL: none is named. */
static inline GBytes *tiny_elf_of(const char *loader, uint32_t type, uint32_t flags)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr row;
	} start = {
		.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				       EV_CURRENT},
			   .e_type = GUINT16_TO_LE(ET_DYN),
			   .e_phoff = GUINT64_TO_LE(sizeof(Elf64_Ehdr)),
			   .e_phentsize = GUINT16_TO_LE(sizeof(Elf64_Phdr)),
			   .e_phnum = GUINT16_TO_LE(1)},
		.row = {.p_type = GUINT32_TO_LE(type),
			.p_flags = GUINT32_TO_LE(flags),
			.p_offset = GUINT64_TO_LE(sizeof(start)),
			.p_filesz = GUINT64_TO_LE(loader != NULL ? strlen(loader) + 1 : 0)},
	};
	GByteArray *bytes = g_byte_array_new();

	g_byte_array_append(bytes, (const guint8 *)&start, sizeof(start));
	if (loader != NULL)
		g_byte_array_append(bytes, (const guint8 *)loader, (guint)strlen(loader) + 1);
	return g_byte_array_free_to_bytes(bytes);
}

static inline GBytes *tiny_elf(const char *loader)
{
	return tiny_elf_of(loader, loader != NULL ? PT_INTERP : PT_LOAD, PF_R);
}
