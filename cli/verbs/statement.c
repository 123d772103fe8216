/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/statement.h"

#include <string.h>

#define PART_LIMIT 512

static bool is_line(const char *name, const char *text, GError **error)
{
	bool good = text != NULL && text[0] != '\0' && strlen(text) <= PART_LIMIT &&
		    g_utf8_validate(text, -1, NULL);

	for (const char *at = text; good && *at != '\0'; at = g_utf8_next_char(at))
		good = !g_unichar_iscntrl(g_utf8_get_char(at));
	if (!good)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "the %s must be one line of text, at most %d bytes", name, PART_LIMIT);
	return good;
}

GBytes *dn_statement_write(const DnStatement *self, GError **error)
{
	const char *evidence = self->evidence != NULL ? self->evidence : "none";

	if (!is_line("cluster", self->cluster, error) || !is_line("host", self->host, error) ||
	    !is_line("incident", self->incident, error) || !is_line("evidence", evidence, error) ||
	    !is_line("reason", self->reason, error))
		return NULL;
	char *text =
		g_strdup_printf("dnode destroy v1\n"
				"cluster: %s\n"
				"host: %s\n"
				"incident: %s\n"
				"evidence: %s\n"
				"reason: %s\n",
				self->cluster, self->host, self->incident, evidence, self->reason);
	return g_bytes_new_take(text, strlen(text));
}

char *dn_statement_comment(const char *incident)
{
	return g_strdup_printf("dnode destroy %s", incident);
}
