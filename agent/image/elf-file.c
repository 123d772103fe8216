/* SPDX-License-Identifier: Apache-2.0 */
#include "image/elf-file.h"

#include <elf.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(DN_ELF_HEADER >= sizeof(Elf64_Ehdr), "the longer header");

/* Where the fields are that this file reads, for both widths. */
typedef struct {
	size_t header, table_offset, row_size, rows; /* of the file's header */
	size_t row, flags, place, length;            /* of a row */
	size_t word;                                 /* bytes of an offset */
} Layout;

static const Layout narrow = {
	.header = sizeof(Elf32_Ehdr),
	.table_offset = offsetof(Elf32_Ehdr, e_phoff),
	.row_size = offsetof(Elf32_Ehdr, e_phentsize),
	.rows = offsetof(Elf32_Ehdr, e_phnum),
	.row = sizeof(Elf32_Phdr),
	.flags = offsetof(Elf32_Phdr, p_flags),
	.place = offsetof(Elf32_Phdr, p_offset),
	.length = offsetof(Elf32_Phdr, p_filesz),
	.word = 4,
};

static const Layout wide = {
	.header = sizeof(Elf64_Ehdr),
	.table_offset = offsetof(Elf64_Ehdr, e_phoff),
	.row_size = offsetof(Elf64_Ehdr, e_phentsize),
	.rows = offsetof(Elf64_Ehdr, e_phnum),
	.row = sizeof(Elf64_Phdr),
	.flags = offsetof(Elf64_Phdr, p_flags),
	.place = offsetof(Elf64_Phdr, p_offset),
	.length = offsetof(Elf64_Phdr, p_filesz),
	.word = 8,
};

static const Layout *layout_of(const DnElf *elf)
{
	return elf->wide ? &wide : &narrow;
}

/* A number of @size bytes, 2, 4 or 8, wherever it stands. */
static uint64_t number(const DnElf *elf, const uint8_t *at, size_t size)
{
	uint64_t value = 0;
	bool little = (G_BYTE_ORDER == G_LITTLE_ENDIAN) != elf->swapped;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | at[little ? size - 1 - i : i];
	return value;
}

bool dn_elf_is(const uint8_t *bytes, size_t size)
{
	return size >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

bool dn_elf_header(const uint8_t *bytes, size_t size, DnElf *elf)
{
	static const uint8_t native = G_BYTE_ORDER == G_LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;

	if (!dn_elf_is(bytes, size) || size < EI_NIDENT ||
	    (bytes[EI_CLASS] != ELFCLASS32 && bytes[EI_CLASS] != ELFCLASS64) ||
	    (bytes[EI_DATA] != ELFDATA2LSB && bytes[EI_DATA] != ELFDATA2MSB))
		return false;
	*elf = (DnElf){.wide = bytes[EI_CLASS] == ELFCLASS64, .swapped = bytes[EI_DATA] != native};
	const Layout *layout = layout_of(elf);
	if (size < layout->header)
		return false;
	uint64_t offset = number(elf, bytes + layout->table_offset, layout->word);
	uint64_t row = number(elf, bytes + layout->row_size, 2);
	uint64_t rows = number(elf, bytes + layout->rows, 2);
	/* Longer rows are not loaded by Linux, so a longer one hides nothing. */
	if (row != layout->row || rows == 0 || row * rows > DN_ELF_TABLE_LIMIT ||
	    offset > INT64_MAX - DN_ELF_TABLE_LIMIT)
		return true;
	elf->table_offset = offset;
	elf->row_size = (uint32_t)row;
	elf->table_size = (uint32_t)(row * rows);
	return true;
}

bool dn_elf_loader(const DnElf *elf, const uint8_t *table, size_t size, uint64_t *offset,
		   size_t *length)
{
	const Layout *layout = layout_of(elf);

	if (elf->row_size != layout->row)
		return false;
	for (size_t at = 0; size - at >= layout->row; at += layout->row) {
		const uint8_t *row = table + at;

		if (number(elf, row, 4) != PT_INTERP)
			continue;
		uint64_t place = number(elf, row + layout->place, layout->word);
		uint64_t bytes = number(elf, row + layout->length, layout->word);
		if (bytes < 2 || bytes > DN_ELF_PATH || place > INT64_MAX - DN_ELF_PATH)
			return false;
		*offset = place;
		*length = (size_t)bytes;
		return true;
	}
	return false;
}

bool dn_elf_wants_writable_code(const DnElf *elf, const uint8_t *table, size_t size)
{
	const Layout *layout = layout_of(elf);

	if (elf->row_size != layout->row)
		return false;
	for (size_t at = 0; size - at >= layout->row; at += layout->row) {
		const uint8_t *row = table + at;
		uint64_t type = number(elf, row, 4);
		uint64_t flags = number(elf, row + layout->flags, 4);

		if ((type == PT_GNU_STACK && (flags & PF_X) != 0) ||
		    (type == PT_LOAD && (flags & PF_W) != 0 && (flags & PF_X) != 0))
			return true;
	}
	return false;
}

static bool read_all(int fd, void *into, size_t size, uint64_t offset)
{
	size_t got = 0;

	while (got < size) {
		ssize_t n = pread(fd, (uint8_t *)into + got, size - got, (off_t)(offset + got));

		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* The table of segments of the open file @fd, to be freed; NULL: it has none. */
static uint8_t *read_table(int fd, DnElf *elf)
{
	uint8_t head[DN_ELF_HEADER];
	ssize_t got = pread(fd, head, sizeof(head), 0);

	if (got < 0 || !dn_elf_header(head, (size_t)got, elf) || elf->table_size == 0)
		return NULL;
	g_autofree uint8_t *table = g_malloc(elf->table_size);
	return read_all(fd, table, elf->table_size, elf->table_offset) ? g_steal_pointer(&table)
								       : NULL;
}

bool dn_elf_reads_writable_code(int fd)
{
	DnElf elf = {0};
	g_autofree uint8_t *table = read_table(fd, &elf);

	return table != NULL && dn_elf_wants_writable_code(&elf, table, elf.table_size);
}

bool dn_elf_read_loader(int fd, char path[static DN_ELF_PATH])
{
	DnElf elf = {0};
	g_autofree uint8_t *table = read_table(fd, &elf);
	uint64_t offset = 0;
	size_t length = 0;

	if (table == NULL || !dn_elf_loader(&elf, table, elf.table_size, &offset, &length) ||
	    !read_all(fd, path, length, offset))
		return false;
	/* The kernel refuses one that does not end in NUL. */
	return path[length - 1] == '\0' && path[0] == '/';
}
