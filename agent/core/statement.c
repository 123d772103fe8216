/* SPDX-License-Identifier: Apache-2.0 */
#include "core/statement.h"

#include <string.h>

/* What a person who read it before signing saw whole, and in one line. */
static bool is_line(const char *text, size_t length)
{
	const char *end = text + length;

	if (!g_utf8_validate_len(text, length, NULL))
		return false;
	for (const char *at = text; at < end; at = g_utf8_next_char(at))
		if (g_unichar_iscntrl(g_utf8_get_char(at)))
			return false;
	return true;
}

bool dn_statement_is_about(GBytes *statement, const DnStatementSubject *subject)
{
	gsize size = 0;
	const char *text = g_bytes_get_data(statement, &size);
	g_autofree char *head = g_strdup_printf("dnode destroy v1\ncluster: %s\nhost: %s\n"
						"incident: %s\nevidence: none\nreason: ",
						subject->cluster, subject->host, subject->incident);
	size_t length = strlen(head);

	if (size <= length + 1 || memcmp(text, head, length) != 0 || text[size - 1] != '\n')
		return false;
	return is_line(text + length, size - length - 1);
}
