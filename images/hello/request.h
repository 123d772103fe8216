/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The head of a request, read strictly: what two readers could take differently is refused. */

#include <stdbool.h>
#include <stddef.h>

enum { REQUEST_BODY_LIMIT = 1 << 20 };

typedef struct {
	const char *path;  /* inside the head that was read */
	const char *query; /* likewise; NULL when there is no '?' */
	bool is_known;     /* GET or HEAD */
	bool head_only;    /* HEAD */
	bool close_after;  /* the client wants it, or its version does */
	size_t body;       /* bytes that follow the head */
} Request;

/*
 * Read @head, NUL-terminated and without its empty line; it is cut up. NULL, or the status that
 * refuses it; then nobody knows where the next request begins.
 */
const char *request_read(Request *request, char *head);
