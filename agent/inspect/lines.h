/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A file of /proc line by line, in memory of a fixed size however long its lines are. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

enum { DN_LINES_BYTES = 8192 };

typedef struct {
	int fd; /* borrowed */
	size_t begin, end;
	bool is_tail; /* what comes next belongs to a line that was given already */
	bool has_ended;
	char bytes[DN_LINES_BYTES];
} DnLines;

void dn_lines_begin(DnLines *lines, int fd);

/*
 * 1: @line has the next line, without its line feed, until the next call; the first DN_LINES_BYTES
 * of one that is longer. 0: no more. -1: errno.
 */
int dn_lines_next(DnLines *lines, const char **line, size_t *length);
