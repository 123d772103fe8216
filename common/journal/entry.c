/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/entry.h"

#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

enum {
	ROOM_FOR_THE_REST = 256
}; /* of a line: its number, the mark of what was left out, the end */

struct DnJournalEntry {
	GString *body; /* all members but "seq", from the first quote on */
	bool shortened;
};

static void append_escaped(GString *to, const char *text, size_t length)
{
	g_autofree char *valid = g_utf8_make_valid(text, (gssize)length);

	for (const char *at = valid; *at != '\0'; at++) {
		if (*at == '"' || *at == '\\')
			g_string_append_printf(to, "\\%c", *at);
		else if ((unsigned char)*at < 0x20 || *at == 0x7f)
			g_string_append_printf(to, "\\u%04x", (unsigned)*at);
		else
			g_string_append_c(to, *at);
	}
}

DnJournalEntry *dn_journal_entry_new(const char *kind, uint64_t time_ns)
{
	DnJournalEntry *self = g_new0(DnJournalEntry, 1);
	g_autofree char *time = dn_clock_format(time_ns);

	self->body = g_string_new(NULL);
	g_string_printf(self->body, "\"time\":\"%s\",\"kind\":\"%s\"", time, kind);
	return self;
}

void dn_journal_entry_free(DnJournalEntry *self)
{
	if (self == NULL)
		return;
	g_string_free(self->body, TRUE);
	g_free(self);
}

static void add(DnJournalEntry *self, const GString *member)
{
	if (self->body->len + member->len > DN_JOURNAL_LINE_LIMIT - ROOM_FOR_THE_REST)
		self->shortened = true;
	else
		g_string_append_len(self->body, member->str, (gssize)member->len);
}

void dn_journal_entry_text(DnJournalEntry *self, const char *name, const char *value)
{
	if (value == NULL)
		return;
	g_autoptr(GString) member = g_string_new(NULL);
	g_string_printf(member, ",\"%s\":\"", name);
	append_escaped(member, value, strnlen(value, DN_JOURNAL_TEXT_LIMIT));
	g_string_append_c(member, '"');
	add(self, member);
}

void dn_journal_entry_number(DnJournalEntry *self, const char *name, uint64_t value)
{
	g_autoptr(GString) member = g_string_new(NULL);

	g_string_printf(member, ",\"%s\":%" G_GUINT64_FORMAT, name, value);
	add(self, member);
}

void dn_journal_entry_print(const DnJournalEntry *self, uint64_t seq, GString *to)
{
	g_string_append_printf(to, "{\"seq\":%" G_GUINT64_FORMAT ",%s%s}\n", seq, self->body->str,
			       self->shortened ? ",\"shortened\":true" : "");
}

size_t dn_journal_entry_size(const DnJournalEntry *self)
{
	return self->body->len + ROOM_FOR_THE_REST;
}
