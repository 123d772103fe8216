/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Code of the image as a process has it, against the file.
 *
 * A page of a private mapping is the file's own page until somebody writes; then it is a copy, and
 * the page tables say so (bit 61 of pagemap). Nothing a program does with its code makes one: it
 * may not map code writable, so what is left are debuggers and /proc/PID/mem. The bytes are
 * compared only then, for the report; and for the verdict where a copy proves nothing: with jit,
 * whose programs may write and then execute, and on file systems (DAX) whose pages never look like
 * a file's, which is known by the pages beside it.
 */

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

enum { LARGE_BYTES = 64 << 20 };

/* How a copied page differs from what it was copied from. */
typedef struct {
	uint32_t pages;  /* compared */
	uint32_t bytes;  /* that differ */
	uint64_t offset; /* of the first of them, in the file */
	bool unknown;    /* the file could not be read */
	bool is_alone;   /* no page of the mapping looks like a file's */
} Difference;

/* All of @size, but for what is behind the end of the file, which is zeros. */
static bool read_at(int fd, unsigned char *bytes, size_t size, uint64_t offset)
{
	size_t there = 0;

	while (there < size) {
		ssize_t length = pread(fd, bytes + there, size - there, (off_t)(offset + there));

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return false;
		if (length == 0)
			break;
		there += (size_t)length;
	}
	memset(bytes + there, 0, size - there);
	return true;
}

/* A regular file of the image with the inode of @mapping, or -1. */
static int take_file(const DnProcess *process, const DnMapping *mapping, int path_fd)
{
	const DnInspectBaseline *node = process->judge->node;
	struct statx info;
	char name[48];

	if (path_fd < 0 || statx(path_fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
				 STATX_TYPE | STATX_INO, &info) < 0)
		return -1;
	uint64_t dev = (uint64_t)info.stx_dev_major << 20 | info.stx_dev_minor;
	if (!S_ISREG(info.stx_mode) || info.stx_ino != mapping->ino ||
	    !dn_node_may(node, dev, info.stx_ino, false))
		return -1;
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", path_fd);
	return open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* By the mapping itself; by its name where the first thread has ended, which had the mappings. */
static int open_file(const DnProcess *process, const DnMapping *mapping)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS,
	};
	char name[64];

	(void)snprintf(name, sizeof(name),
		       "map_files/%" G_GINT64_MODIFIER "x-%" G_GINT64_MODIFIER "x", mapping->start,
		       mapping->end);
	dn_autofd int mapped_fd = openat(process->dir_fd, name, O_PATH | O_CLOEXEC);
	if (mapped_fd >= 0)
		return take_file(process, mapping, mapped_fd);
	dn_autofd int root_fd = openat(process->memory_fd, "root", O_PATH | O_CLOEXEC);
	dn_autofd int named_fd =
		root_fd >= 0 && mapping->name[0] == '/'
			? (int)syscall(SYS_openat2, root_fd, mapping->name, &how, sizeof(how))
			: -1;
	return take_file(process, mapping, named_fd);
}

static void compare(const unsigned char *have, const unsigned char *want, size_t size,
		    uint64_t offset, Difference *difference)
{
	difference->pages++;
	for (size_t i = 0; i < size; i++) {
		if (have[i] == want[i])
			continue;
		if (difference->bytes++ == 0)
			difference->offset = offset + i;
	}
}

/* This process's own vDSO, which is everyone's: NULL when it is not @size long. */
static const unsigned char *own_vdso(size_t size)
{
	const unsigned char *vdso = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	ElfW(Ehdr) head;

	if (vdso == NULL)
		return NULL;
	memcpy(&head, vdso, sizeof(head));
	size_t length = head.e_shoff + (size_t)head.e_shnum * head.e_shentsize;
	return (length + page - 1) / page * page == size ? vdso : NULL;
}

/* Compare @copies of @mapping with the file, or with the vDSO; false when the process is gone. */
static bool compare_copies(const DnProcess *process, const DnMapping *mapping,
			   const DnCopies *copies, Difference *difference)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	g_autofree unsigned char *have = g_malloc(size), *want = g_malloc(size);
	const unsigned char *vdso =
		mapping->ino == 0 ? own_vdso(mapping->end - mapping->start) : NULL;
	dn_autofd int file_fd = mapping->ino != 0 ? open_file(process, mapping) : -1;
	dn_autofd int mem_fd = openat(process->memory_fd, "mem", O_RDONLY | O_CLOEXEC);

	*difference = (Difference){0};
	if (mem_fd < 0)
		return false;
	for (uint32_t i = 0; i < copies->n; i++) {
		uint64_t inside = copies->page[i] - mapping->start;

		if (!read_at(mem_fd, have, size, copies->page[i]))
			return false;
		if (vdso != NULL) {
			compare(have, vdso + inside, size, inside, difference);
		} else if (file_fd >= 0 && read_at(file_fd, want, size, mapping->offset + inside)) {
			compare(have, want, size, mapping->offset + inside, difference);
		} else {
			difference->unknown = true;
		}
	}
	return true;
}

/* Is @after still what @before was, as far as the address of @page goes? */
static bool is_same(const DnMapping *before, const DnMapping *after, uint64_t page)
{
	return after->start <= page && page < after->end && after->dev == before->dev &&
	       after->ino == before->ino && !after->shared &&
	       after->offset - after->start == before->offset - before->start;
}

/* A mapping longer than its file has nothing behind it; the page tables need not be asked. */
static bool find_end(const DnProcess *process, const DnMapping *mapping, uint64_t *end)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct stat info;

	*end = mapping->end;
	if (mapping->end - mapping->start <= LARGE_BYTES)
		return true;
	dn_autofd int fd = open_file(process, mapping);
	if (fd < 0 || fstat(fd, &info) < 0)
		return false;
	uint64_t size = ((uint64_t)info.st_size + page - 1) / page * page;
	uint64_t length = size > mapping->offset ? size - mapping->offset : 0;
	*end = MIN(mapping->end, mapping->start + length);
	return true;
}

static DnSight look_beside(DnMemory *memory, const DnMapping *mapping, Difference *difference)
{
	uint64_t end = MIN(mapping->end, mapping->start + LARGE_BYTES);
	bool has = false;
	DnSight sight = dn_memory_has_file_page(memory, mapping->start, end, &has);

	difference->is_alone = !has;
	return sight;
}

/*
 * All again with fresh descriptors, which belong to the process as it is now, and the mapping both
 * before and after: a program executed in between has other mappings. SEEN with no copies when it
 * was nothing.
 */
static DnSight confirm(DnProcess *process, uint64_t end, DnMapping *mapping, DnCopies *copies,
		       Difference *difference)
{
	uint64_t page = copies->page[0];
	g_autofree DnMapping *after = g_new(DnMapping, 1);
	DnMemory memory;
	DnSight sight =
		dn_memory_open(process->memory_fd, !process->judge->look->without_queries, &memory);

	if (sight != DN_SIGHT_SEEN)
		return sight;
	sight = dn_memory_next(&memory, page, after);
	bool same = sight == DN_SIGHT_SEEN && after->end != 0 && is_same(mapping, after, page);
	if (same) {
		*mapping = *after;
		dn_memory_name(&memory, mapping);
		sight = dn_memory_copies(&memory, page, MIN(end, mapping->end), copies);
		if (sight == DN_SIGHT_SEEN && !compare_copies(process, mapping, copies, difference))
			sight = DN_SIGHT_GONE;
		if (sight == DN_SIGHT_SEEN && difference->bytes == 0)
			sight = look_beside(&memory, mapping, difference);
	}
	dn_memory_close(&memory);
	if (!same || sight != DN_SIGHT_SEEN)
		return sight == DN_SIGHT_SEEN ? DN_SIGHT_GONE : sight;

	sight = dn_memory_open(process->memory_fd, !process->judge->look->without_queries, &memory);
	if (sight != DN_SIGHT_SEEN)
		return sight;
	sight = dn_memory_next(&memory, page, after);
	if (sight != DN_SIGHT_SEEN || after->end == 0 || !is_same(mapping, after, page))
		copies->n = 0;
	dn_memory_close(&memory);
	return sight;
}

static bool is_proof(const DnProcess *process, const DnMapping *mapping,
		     const Difference *difference)
{
	if (difference->bytes > 0)
		return true;
	return !difference->is_alone && !process->judge->node->jit && mapping->ino != 0;
}

static void tell(DnProcess *process, const DnMapping *mapping, const DnCopies *copies,
		 const Difference *difference)
{
	char pages[64];

	(void)snprintf(pages, sizeof(pages), "%u%s copied %s at %#" G_GINT64_MODIFIER "x",
		       copies->n, copies->n == DN_COPIES ? " or more" : "",
		       copies->n == 1 ? "page" : "pages", copies->page[0]);
	if (difference->bytes > 0)
		dn_process_tell(process, DN_DRIFT_TEXT, mapping->name,
				"%s: %u %s, first at offset %#" G_GINT64_MODIFIER "x", pages,
				difference->bytes,
				difference->bytes == 1 ? "byte differs" : "bytes differ",
				difference->offset);
	else
		dn_process_tell(process, DN_DRIFT_TEXT, mapping->name, "%s: %s", pages,
				difference->unknown ? "the file cannot be compared"
						    : "written, and equal to the file again");
}

/* The copies of [from, end) in portions; *@next is where the rest of it begins, or @end. */
static DnSight judge_portion(DnProcess *process, DnMemory *memory, DnMapping *mapping, uint64_t end,
			     uint64_t *next)
{
	Difference difference = {0};
	DnCopies copies;
	DnSight sight = dn_memory_copies(memory, *next, end, &copies);
	uint32_t found = copies.n;

	*next = sight == DN_SIGHT_SEEN && found == DN_COPIES
			? copies.page[found - 1] + (uint64_t)sysconf(_SC_PAGESIZE)
			: end;
	if (sight != DN_SIGHT_SEEN || found == 0)
		return sight;
	sight = confirm(process, *next, mapping, &copies, &difference);
	if (sight == DN_SIGHT_SEEN && copies.n > 0 && is_proof(process, mapping, &difference)) {
		tell(process, mapping, &copies, &difference);
		*next = end;
	}
	/* A mapping that changes under the look is looked at again the next time. */
	return sight == DN_SIGHT_GONE ? DN_SIGHT_SEEN : sight;
}

DnSight dn_process_judge_text(DnProcess *process, DnMemory *memory, DnMapping *mapping,
			      uint64_t from)
{
	DnInspectLook *look = process->judge->look;
	uint64_t next = MAX(from, mapping->start), end = 0;

	if (mapping->end - mapping->start > LARGE_BYTES)
		dn_memory_name(memory, mapping);
	if (!find_end(process, mapping, &end)) {
		errno = EFBIG;
		return DN_SIGHT_UNREAD;
	}
	while (next < end) {
		DnSight sight = judge_portion(process, memory, mapping, end, &next);

		if (sight != DN_SIGHT_SEEN)
			return sight;
		if (next < end && dn_judge_is_spent(process->judge)) {
			look->cursor = (DnInspectPlace){process->pid, next};
			return DN_SIGHT_SPENT;
		}
	}
	return DN_SIGHT_SEEN;
}
