/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What hello has to say: one page a path. */

enum {
	PAGE_BODY_LIMIT = 1536,
	PAGE_WAIT_LIMIT_MS = 60000,
};

typedef struct {
	const char *status; /* what follows "HTTP/1.1 " */
	const char *type;
	unsigned wait_ms; /* when not 0: answer with page_make_late() after that time instead */
	char body[PAGE_BODY_LIMIT];
} Page;

/* @path without its query; @query is what followed the '?', or NULL. */
void page_make(Page *page, const char *path, const char *query);

/* What is said after a wait. */
void page_make_late(Page *page);
