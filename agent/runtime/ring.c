/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/ring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

bool dn_ring_parse_name(const char *name, uint64_t *start)
{
	uint64_t value = 0;

	if (strlen(name) != DN_RING_DIGITS + strlen(DN_RING_SUFFIX) ||
	    strcmp(name + DN_RING_DIGITS, DN_RING_SUFFIX) != 0)
		return false;
	for (int i = 0; i < DN_RING_DIGITS; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = strchr(digits, name[i]);

		if (digit == NULL)
			return false;
		value = value << 4 | (uint64_t)(digit - digits);
	}
	*start = value;
	return true;
}

void dn_ring_format_name(uint64_t start, char name[DN_RING_NAME_BYTES])
{
	(void)snprintf(name, DN_RING_NAME_BYTES, "%016llx" DN_RING_SUFFIX,
		       (unsigned long long)start);
}

static bool open_segment(DnRing *self, int flags)
{
	char name[DN_RING_NAME_BYTES];
	struct stat info;

	dn_ring_format_name(self->start, name);
	int fd = openat(self->directory_fd, name,
			O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (fd < 0)
		return false;
	if (fstat(fd, &info) < 0) {
		dn_fd_clear(&fd);
		return false;
	}
	dn_fd_clear(&self->segment_fd);
	self->segment_fd = fd;
	self->size = (uint64_t)info.st_size;
	return true;
}

static void remove_segment(const DnRing *self, uint64_t start)
{
	char name[DN_RING_NAME_BYTES];

	dn_ring_format_name(start, name);
	(void)unlinkat(self->directory_fd, name, 0);
}

/* Find the newest two segments; older ones, left by a crash between two steps, go. */
static bool scan(DnRing *self, bool *found)
{
	int fd = openat(self->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (directory == NULL) {
		dn_fd_clear(&fd);
		return false;
	}
	*found = false;
	while ((entry = readdir(directory)) != NULL) {
		uint64_t start;
		uint64_t old = UINT64_MAX;

		if (!dn_ring_parse_name(entry->d_name, &start))
			continue;
		if (!*found || start > self->start) {
			old = self->before;
			self->before = *found ? self->start : UINT64_MAX;
			self->start = start;
			*found = true;
		} else if (self->before == UINT64_MAX || start > self->before) {
			old = self->before;
			self->before = start;
		} else {
			old = start;
		}
		if (old != UINT64_MAX)
			remove_segment(self, old);
	}
	(void)closedir(directory);
	return true;
}

bool dn_ring_open(DnRing *self, int directory_fd, uint64_t limit)
{
	bool found;

	*self = (DnRing){
		.directory_fd = directory_fd,
		.segment_fd = -1,
		.before = UINT64_MAX,
		.limit = limit,
	};
	return scan(self, &found) && open_segment(self, found ? 0 : O_CREAT | O_EXCL);
}

void dn_ring_close(DnRing *self)
{
	dn_fd_clear(&self->segment_fd);
}

static bool rotate(DnRing *self)
{
	DnRing next = *self;

	next.segment_fd = -1;
	next.start = self->start + self->size;
	if (!open_segment(&next, O_CREAT | O_EXCL))
		return false;
	if (self->before != UINT64_MAX)
		remove_segment(self, self->before);
	next.before = self->start;
	dn_fd_clear(&self->segment_fd);
	*self = next;
	return true;
}

bool dn_ring_append(DnRing *self, const char *record, size_t length)
{
	if (length > self->limit) {
		errno = EFBIG;
		return false;
	}
	if (self->size > 0 && self->size + length > self->limit && !rotate(self))
		return false;
	ssize_t done = write(self->segment_fd, record, length);
	if (done == (ssize_t)length) {
		self->size += length;
		return true;
	}
	/* Half a record would be read as part of the next one. */
	int saved = done < 0 ? errno : ENOSPC;
	if (done > 0)
		(void)!ftruncate(self->segment_fd, (off_t)self->size);
	errno = saved;
	return false;
}
