/* SPDX-License-Identifier: Apache-2.0 */
#include "inspect/lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void dn_lines_begin(DnLines *lines, int fd)
{
	lines->fd = fd;
	lines->begin = lines->end = 0;
	lines->is_tail = lines->has_ended = false;
}

/* Read more behind what is there; false with errno. */
static bool fill(DnLines *lines)
{
	ssize_t length = 0;

	memmove(lines->bytes, lines->bytes + lines->begin, lines->end - lines->begin);
	lines->end -= lines->begin;
	lines->begin = 0;
	do
		length = read(lines->fd, lines->bytes + lines->end,
			      sizeof(lines->bytes) - lines->end);
	while (length < 0 && errno == EINTR);
	if (length < 0)
		return false;
	lines->has_ended = length == 0;
	lines->end += (size_t)length;
	return true;
}

/* Give away [begin, begin + length) and the @feed that ends it, unless it is a line's tail. */
static bool give(DnLines *lines, size_t length, bool feed, const char **line, size_t *given)
{
	bool is_tail = lines->is_tail;

	*line = lines->bytes + lines->begin;
	*given = length;
	lines->begin += length + (feed ? 1 : 0);
	lines->is_tail = !feed;
	return !is_tail;
}

int dn_lines_next(DnLines *lines, const char **line, size_t *length)
{
	for (;;) {
		size_t there = lines->end - lines->begin;
		const char *feed = memchr(lines->bytes + lines->begin, '\n', there);

		if (feed != NULL) {
			size_t until = (size_t)(feed - (lines->bytes + lines->begin));

			if (give(lines, until, true, line, length))
				return 1;
		} else if (there == sizeof(lines->bytes) || (lines->has_ended && there > 0)) {
			if (give(lines, there, false, line, length))
				return 1;
		} else if (lines->has_ended) {
			return 0;
		} else if (!fill(lines)) {
			return -1;
		}
	}
}
