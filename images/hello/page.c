/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void begin(Page *page)
{
	page->status = "200 OK";
	page->type = "text/plain";
	page->wait_ms = 0;
}

static void set_text(Page *page, const char *text)
{
	(void)snprintf(page->body, sizeof(page->body), "%.200s\n", text);
}

static void refuse(Page *page, const char *status, const char *text)
{
	page->status = status;
	set_text(page, text);
}

static const char *from_environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

/* Append @text to JSON as a string, safe whatever the environment holds. */
static size_t quote(char *out, size_t size, size_t at, const char *text)
{
	out[at++] = '"';
	for (; *text != '\0' && at + 8 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			out[at++] = '\\';
		if (c >= 0x20 && c < 0x7f)
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(out + at, size - at, "\\u%04x", c);
	}
	out[at++] = '"';
	return at;
}

static void set_whoami(Page *page)
{
	static const char *const members[][2] = {
		{"node", "DNODE_NODE"},   {"service", "DNODE_SERVICE"}, {"image", "DNODE_IMAGE"},
		{"epoch", "DNODE_EPOCH"}, {"version", "VERSION"},
	};
	const size_t size = sizeof(page->body), n = sizeof(members) / sizeof(members[0]);
	char *body = page->body;
	size_t at = 0;

	page->type = "application/json";
	for (size_t i = 0; i < n; i++) {
		size_t part = (i + 1) * (size - 8) / n; /* a fair share each */

		at += (size_t)snprintf(body + at, size - at, "%c\"%s\": ", i == 0 ? '{' : ',',
				       members[i][0]);
		at = quote(body, part, at, from_environment(members[i][1]));
	}
	(void)snprintf(body + at, size - at, "}\n");
}

void page_make_late(Page *page)
{
	begin(page);
	set_text(page, "slow");
}

/* Milliseconds of "ms=N" in @query; -1 when it says nothing usable. */
static long slow_ms(const char *query)
{
	char *end = NULL;

	if (query == NULL || strncmp(query, "ms=", 3) != 0 || query[3] < '0' || query[3] > '9')
		return -1;
	errno = 0;
	long ms = strtol(query + 3, &end, 10);
	return errno == 0 && *end == '\0' && ms <= PAGE_WAIT_LIMIT_MS ? ms : -1;
}

static void set_slow(Page *page, const char *query)
{
	long ms = slow_ms(query);

	if (ms < 0) {
		refuse(page, "400 Bad Request", "say /slow?ms=0 to 60000");
		return;
	}
	page_make_late(page);
	page->wait_ms = (unsigned)ms;
}

void page_make(Page *page, const char *path, const char *query)
{
	begin(page);
	if (strcmp(path, "/") == 0)
		set_text(page, "hello");
	else if (strcmp(path, "/healthz") == 0)
		set_text(page, "ok");
	else if (strcmp(path, "/whoami") == 0)
		set_whoami(page);
	else if (strcmp(path, "/version") == 0)
		set_text(page, from_environment("VERSION"));
	else if (strcmp(path, "/slow") == 0)
		set_slow(page, query);
	else
		refuse(page, "404 Not Found", "no such page");
}
