/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The mappings of an address space and what its page tables hold. PROCMAP_QUERY tells executable
 * mappings alone, and PAGEMAP_SCAN a range's copied pages in one call; where this kernel has not
 * got them, the same is read from the text of maps and the words of pagemap.
 */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

/* include/uapi/linux/fs.h of Linux 6.11, which the headers this is built with may lack. */
struct map_query {
	uint64_t size, query_flags, query_addr;
	uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};
_Static_assert(sizeof(struct map_query) == 104, "the kernel's layout");
#define MAP_QUERY _IOWR('f', 17, struct map_query)
#define MAP_WRITABLE UINT64_C(0x02)
#define MAP_EXECUTABLE UINT64_C(0x04)
#define MAP_SHARED_PAGES UINT64_C(0x08)
#define MAP_OR_NEXT UINT64_C(0x10)

/* The same of Linux 6.7. */
struct page_region {
	uint64_t start, end, categories;
};
struct scan_argument {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
_Static_assert(sizeof(struct scan_argument) == 96, "the kernel's layout");
#define PAGES_SCAN _IOWR('f', 16, struct scan_argument)
#define IS_FILE UINT64_C(0x04)
#define IS_PRESENT UINT64_C(0x08)
#define IS_SWAPPED UINT64_C(0x10)

DnSight dn_memory_open(int dir_fd, bool queries, DnMemory *memory)
{
	memory->pagemap_fd = -1;
	memory->maps_fd = openat(dir_fd, "maps", O_RDONLY | O_CLOEXEC);
	if (memory->maps_fd < 0)
		return dn_sight_of_errno();
	memory->pagemap_fd = openat(dir_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	if (memory->pagemap_fd < 0) {
		DnSight sight = dn_sight_of_errno();

		dn_memory_close(memory);
		return sight;
	}
	memory->queries = memory->has_query = queries;
	dn_lines_begin(&memory->lines, memory->maps_fd);
	return DN_SIGHT_SEEN;
}

void dn_memory_close(DnMemory *memory)
{
	dn_fd_clear(&memory->maps_fd);
	dn_fd_clear(&memory->pagemap_fd);
}

static int ask(const DnMemory *memory, struct map_query *query, uint64_t address, uint64_t flags)
{
	*query = (struct map_query){
		.size = sizeof(*query),
		.query_flags = MAP_EXECUTABLE | flags,
		.query_addr = address,
		.vma_name_addr = query->vma_name_addr,
		.vma_name_size = query->vma_name_size,
	};
	return ioctl(memory->maps_fd, MAP_QUERY, query);
}

static void take_answer(const struct map_query *query, DnMapping *mapping)
{
	mapping->start = query->vma_start;
	mapping->end = query->vma_end;
	mapping->offset = query->vma_offset;
	mapping->dev = (uint64_t)query->dev_major << 20 | query->dev_minor;
	mapping->ino = query->inode;
	mapping->writable = query->vma_flags & MAP_WRITABLE;
	mapping->executable = query->vma_flags & MAP_EXECUTABLE;
	mapping->shared = query->vma_flags & MAP_SHARED_PAGES;
}

/* SEEN, or UNREAD with ENOTTY where the kernel does not know the question. */
static DnSight query(const DnMemory *memory, uint64_t address, uint64_t flags, bool with_name,
		     DnMapping *mapping)
{
	struct map_query question = {0};

	if (with_name) {
		question.vma_name_addr = (uint64_t)(uintptr_t)mapping->name;
		question.vma_name_size = sizeof(mapping->name);
	}
	mapping->name[0] = '\0';
	if (ask(memory, &question, address, flags) < 0) {
		/* Only files have names that long, and theirs is told, not judged. */
		if (with_name && errno == ENAMETOOLONG)
			return query(memory, address, flags, false, mapping);
		mapping->end = 0;
		return errno == ENOENT ? DN_SIGHT_SEEN : dn_sight_of_errno();
	}
	take_answer(&question, mapping);
	mapping->name[sizeof(mapping->name) - 1] = '\0';
	return DN_SIGHT_SEEN;
}

void dn_memory_name(const DnMemory *memory, DnMapping *mapping)
{
	DnMapping *named = NULL;

	if (!memory->has_query)
		return;
	named = g_new(DnMapping, 1);
	if (query(memory, mapping->start, 0, true, named) == DN_SIGHT_SEEN && named->end != 0)
		g_strlcpy(mapping->name, named->name, sizeof(mapping->name));
	g_free(named);
}

/* What has no file is judged by its name; one that is asked for costs more. */
static DnSight query_next(const DnMemory *memory, uint64_t address, DnMapping *mapping)
{
	DnSight sight = query(memory, address, MAP_OR_NEXT, false, mapping);

	if (sight == DN_SIGHT_SEEN && mapping->end != 0 && mapping->ino == 0)
		sight = query(memory, address, MAP_OR_NEXT, true, mapping);
	return sight;
}

static DnSight read_next(DnMemory *memory, uint64_t address, DnMapping *mapping)
{
	const char *line = NULL;
	size_t length = 0;
	int more = 0;

	while ((more = dn_lines_next(&memory->lines, &line, &length)) > 0) {
		if (dn_mapping_is_data(line, length))
			continue;
		if (!dn_mapping_parse(line, length, mapping)) {
			errno = EBADMSG;
			return DN_SIGHT_UNREAD;
		}
		if (mapping->executable && mapping->end > address)
			return DN_SIGHT_SEEN;
	}
	mapping->end = 0;
	return more == 0 ? DN_SIGHT_SEEN : dn_sight_of_errno();
}

DnSight dn_memory_next(DnMemory *memory, uint64_t address, DnMapping *mapping)
{
	if (memory->has_query) {
		DnSight sight = query_next(memory, address, mapping);

		if (sight != DN_SIGHT_UNREAD || errno != ENOTTY)
			return sight;
		memory->has_query = false;
	}
	return read_next(memory, address, mapping);
}

static DnSight scan(const DnMemory *memory, uint64_t start, uint64_t end, DnCopies *copies)
{
	struct page_region regions[DN_COPIES];
	struct scan_argument argument = {
		.size = sizeof(argument),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)regions,
		.vec_len = G_N_ELEMENTS(regions),
		.max_pages = DN_COPIES,
		.category_inverted = IS_FILE,
		.category_mask = IS_FILE,
		.category_anyof_mask = IS_PRESENT | IS_SWAPPED,
		.return_mask = IS_PRESENT | IS_SWAPPED,
	};
	uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);

	int n = ioctl(memory->pagemap_fd, PAGES_SCAN, &argument);
	if (n < 0)
		return dn_sight_of_errno();
	for (int i = 0; i < n; i++)
		for (uint64_t page = regions[i].start;
		     page < regions[i].end && copies->n < DN_COPIES; page += page_size)
			copies->page[copies->n++] = page;
	return DN_SIGHT_SEEN;
}

/* Called for each word; false ends the reading. */
typedef bool (*TakeWord)(uint64_t page, uint64_t word, void *data);

static DnSight read_words(const DnMemory *memory, uint64_t start, uint64_t end, TakeWord take,
			  void *data)
{
	uint64_t words[512], page_size = (uint64_t)sysconf(_SC_PAGESIZE);

	for (uint64_t page = start; page < end;) {
		size_t wanted = MIN((end - page) / page_size, G_N_ELEMENTS(words));
		ssize_t length = pread(memory->pagemap_fd, words, wanted * sizeof(words[0]),
				       (off_t)(page / page_size * sizeof(words[0])));

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return dn_sight_of_errno();
		if (length < (ssize_t)sizeof(words[0]))
			return DN_SIGHT_GONE; /* the address space has ended */
		for (size_t i = 0; i < (size_t)length / sizeof(words[0]); i++, page += page_size)
			if (!take(page, words[i], data))
				return DN_SIGHT_SEEN;
	}
	return DN_SIGHT_SEEN;
}

static bool take_copy(uint64_t page, uint64_t word, void *data)
{
	DnCopies *copies = data;

	if (dn_page_is_copied(word))
		copies->page[copies->n++] = page;
	return copies->n < DN_COPIES;
}

/*
 * Guards look swapped out to a scan, which can be asked to leave them out only on kernels that know
 * them: the words tell.
 */
static DnSight leave_guards_out(const DnMemory *memory, uint64_t end, uint64_t page_size,
				DnCopies *copies)
{
	DnCopies scanned = *copies;

	copies->n = 0;
	for (uint32_t i = 0; i < scanned.n; i++) {
		/* Where guards took all the room, the rest of the range has not been seen. */
		uint64_t until = i + 1 == DN_COPIES ? end : scanned.page[i] + page_size;
		DnSight sight = read_words(memory, scanned.page[i], until, take_copy, copies);

		if (sight != DN_SIGHT_SEEN || copies->n == DN_COPIES)
			return sight;
	}
	return DN_SIGHT_SEEN;
}

DnSight dn_memory_copies(DnMemory *memory, uint64_t start, uint64_t end, DnCopies *copies)
{
	copies->n = 0;
	if (memory->queries) {
		DnSight sight = scan(memory, start, end, copies);

		if (sight == DN_SIGHT_SEEN)
			return leave_guards_out(memory, end, (uint64_t)sysconf(_SC_PAGESIZE),
						copies);
		if (sight != DN_SIGHT_UNREAD || (errno != ENOTTY && errno != EINVAL))
			return sight;
		memory->queries = false;
	}
	return read_words(memory, start, end, take_copy, copies);
}

static bool take_file_page(uint64_t page, uint64_t word, void *data)
{
	bool *has = data;

	*has = *has || dn_page_is_of_file(word);
	return !*has;
}

DnSight dn_memory_has_file_page(DnMemory *memory, uint64_t start, uint64_t end, bool *has)
{
	*has = false;
	return read_words(memory, start, end, take_file_page, has);
}
