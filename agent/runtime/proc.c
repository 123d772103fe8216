/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/proc.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { TCP_ESTABLISHED = 1, LINE_HEAD_BYTES = 160 };

bool dn_proc_start_time(const char *stat, uint64_t *start_time)
{
	enum { STATE_FIELD = 0, START_FIELD = 19 }; /* counted from behind the name */
	/* The name may hold blanks and brackets: the last bracket ends it. */
	const char *fields = strrchr(stat, ')');

	if (fields == NULL || fields[1] != ' ')
		return false;
	g_auto(GStrv) words = g_strsplit(fields + 2, " ", START_FIELD + 2);
	if (g_strv_length(words) <= START_FIELD || strchr("ZX", words[STATE_FIELD][0]) != NULL)
		return false;
	return dn_text_parse_u64(words[START_FIELD], G_MAXUINT64, start_time);
}

/* "sl: LOCAL:PORT REMOTE:PORT ST …", hexadecimal. */
static bool is_on_port(const char *line, const GArray *ports)
{
	/* sscanf(3) measures all of its text first: with the whole table that would be quadratic.
	 */
	char head[LINE_HEAD_BYTES];
	unsigned state = 0;
	unsigned port = 0;

	size_t length = strcspn(line, "\n");

	length = MIN(length, sizeof(head) - 1);
	memcpy(head, line, length);
	head[length] = '\0';
	if (sscanf(head, " %*d: %*32[0-9A-Fa-f]:%4x %*s %2x", &port, &state) != 2 ||
	    state != TCP_ESTABLISHED)
		return false;
	for (guint i = 0; i < ports->len; i++)
		if (g_array_index(ports, uint16_t, i) == port)
			return true;
	return false;
}

bool dn_proc_has_connection(const char *table, const GArray *ports)
{
	/* The first line is the heading. */
	for (const char *line = strchr(table, '\n'); line != NULL; line = strchr(line + 1, '\n'))
		if (is_on_port(line + 1, ports))
			return true;
	return false;
}
