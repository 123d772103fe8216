/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * As much of ELF as the sensor needs: is a file one, which dynamic loader does it name, and does it
 * want memory that a node never has.
 *
 *     file    = header … table …             the table at e_phoff, e_phnum rows of e_phentsize
 *     row     = p_type … p_offset … p_filesz …
 *     loader  = bytes at p_offset of the first row of type PT_INTERP, up to a NUL
 *
 * 32 and 64 bits, both byte orders: an image for another machine is still an image. The bytes come
 * from a stranger; each number is compared with what is there before it is used. The limits are the
 * kernel's own: what it would not load is not believed here either.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DN_ELF_HEADER = 64, /* bytes of a file that dn_elf_header() wants, fewer if it is shorter */
	DN_ELF_TABLE_LIMIT = 65536, /* bytes of the table of segments */
	DN_ELF_PATH = 4096,         /* bytes of a loader's path with its NUL; longer is none */
};

typedef struct {
	bool wide;             /* 64 bits */
	bool swapped;          /* of the other byte order than this machine */
	uint64_t table_offset; /* 0: no table that the kernel would take */
	uint32_t table_size;
	uint32_t row_size;
} DnElf;

/* Does a file that begins with @bytes have the four bytes of ELF? The kernel asks no more before
 * it reads on, and mapping needs not even that. */
bool dn_elf_is(const uint8_t *bytes, size_t size);

/* Where the table of segments is. False: no ELF file, or one of a kind that does not exist. */
bool dn_elf_header(const uint8_t *bytes, size_t size, DnElf *elf);

/* Where the path of the loader is, in @table as read from table_offset. False: it names none. */
bool dn_elf_loader(const DnElf *elf, const uint8_t *table, size_t size, uint64_t *offset,
		   size_t *length);

/*
 * Does @table ask for memory that is writable and executable at once: a stack of that kind
 * (PT_GNU_STACK), or a segment? The kernel's loader gives it without a system call.
 */
bool dn_elf_wants_writable_code(const DnElf *elf, const uint8_t *table, size_t size);

/* The same of the open file @fd; false also of what is no ELF file. Reads at most 65 KiB. */
bool dn_elf_reads_writable_code(int fd);

/* The loader that the open file @fd names; false: none. Reads at most 65 KiB. */
bool dn_elf_read_loader(int fd, char path[static DN_ELF_PATH]);
