/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { NAME_LIMIT = 40, WORD_LIMIT = 64 };

/* Levenshtein distance of two words of at most WORD_LIMIT bytes. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[WORD_LIMIT + 1];
	size_t n = strlen(b);

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned above = row[j];
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);

			row[j] = MIN(MIN(row[j - 1] + 1, above + 1), change);
			diagonal = above;
		}
	}
	return row[n];
}

const char *dn_text_suggest(const char *word, const char *const *candidates)
{
	size_t length = strlen(word);
	unsigned best = (unsigned)MAX(length / 3, 1) + 1;
	const char *nearest = NULL;

	if (length > WORD_LIMIT)
		return NULL;
	for (; *candidates != NULL; candidates++) {
		if (strlen(*candidates) > WORD_LIMIT)
			continue;
		unsigned steps = distance(word, *candidates);
		if (steps < best) {
			best = steps;
			nearest = *candidates;
		}
	}
	return nearest;
}

bool dn_text_is_name(const char *word)
{
	size_t length = strlen(word);

	if (length == 0 || length > NAME_LIMIT || !g_ascii_islower(word[0]) ||
	    word[length - 1] == '-')
		return false;
	for (const char *c = word; *c != '\0'; c++)
		if (!g_ascii_islower(*c) && !g_ascii_isdigit(*c) && *c != '-')
			return false;
	return true;
}

bool dn_text_is_hex(const char *word, size_t length)
{
	return strlen(word) == length && strspn(word, "0123456789abcdef") == length;
}

bool dn_text_parse_u64(const char *word, uint64_t limit, uint64_t *value)
{
	guint64 parsed = 0;

	if (!g_ascii_string_to_unsigned(word, 10, 0, limit, &parsed, NULL))
		return false;
	*value = parsed;
	return true;
}

/* Neither moves a terminal's cursor nor changes the order of what is read. */
static bool is_plain(gunichar c)
{
	GUnicodeType type = g_unichar_type(c);

	return c == '\t' ||
	       (type != G_UNICODE_CONTROL && type != G_UNICODE_FORMAT &&
		type != G_UNICODE_LINE_SEPARATOR && type != G_UNICODE_PARAGRAPH_SEPARATOR);
}

char *dn_text_printable(const char *bytes, size_t length)
{
	GString *text = g_string_sized_new(length);
	const char *end = bytes + length;

	while (bytes < end) {
		gunichar c = g_utf8_get_char_validated(bytes, end - bytes);
		bool good = c != (gunichar)-1 && c != (gunichar)-2;

		if (good && is_plain(c)) {
			g_string_append_unichar(text, c);
			bytes = g_utf8_next_char(bytes);
		} else {
			g_string_append_printf(text, "\\x%02x", (unsigned char)*bytes);
			bytes++;
		}
	}
	return g_string_free(text, FALSE);
}

char *dn_text_line(const char *bytes, size_t length)
{
	g_autofree char *shown = dn_text_printable(bytes, MIN(length, DN_TEXT_LINE));

	return g_strconcat(shown, length > DN_TEXT_LINE ? "..." : "", NULL);
}

void dn_text_complain(const char *program, const char *message)
{
	g_auto(GStrv) lines = g_strsplit(message, "\n", -1);

	for (unsigned i = 0; lines[i] != NULL; i++) {
		g_autofree char *line = dn_text_line(lines[i], strlen(lines[i]));

		if (line[0] != '\0')
			fprintf(stderr, "%s: %s\n", program, line);
	}
}
