/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest/faults.h"

#include <string.h>

#include "base/text.h"

enum { QUOTE_LIMIT = 60 };

struct DnFaults {
	char *file;    /* owned, printable */
	GArray *shown; /* owned, of DnFault, sorted by place */
	unsigned count;
};

static void clear_fault(gpointer fault)
{
	g_free(((DnFault *)fault)->text);
}

DnFaults *dn_faults_new(const char *file)
{
	DnFaults *self = g_new0(DnFaults, 1);

	self->file = dn_text_printable(file, strlen(file));
	self->shown = g_array_new(FALSE, FALSE, sizeof(DnFault));
	g_array_set_clear_func(self->shown, clear_fault);
	return self;
}

void dn_faults_free(DnFaults *self)
{
	if (self == NULL)
		return;
	g_free(self->file);
	g_array_unref(self->shown);
	g_free(self);
}

static bool is_before(DnMark a, DnMark b)
{
	return a.line != b.line ? a.line < b.line : a.column < b.column;
}

void dn_faults_add(DnFaults *self, DnMark at, const char *format, ...)
{
	unsigned place = self->shown->len;
	va_list arguments;

	self->count++;
	if (self->shown->len >= DN_FAULTS_SHOWN)
		return;
	va_start(arguments, format);
	DnFault fault = {at, g_strdup_vprintf(format, arguments)};
	va_end(arguments);
	while (place > 0 && is_before(at, g_array_index(self->shown, DnFault, place - 1).at))
		place--;
	g_array_insert_val(self->shown, place, fault);
}

unsigned dn_faults_count(const DnFaults *self)
{
	return self->count;
}

const DnFault *dn_faults_get(const DnFaults *self, unsigned index)
{
	return index < self->shown->len ? &g_array_index(self->shown, DnFault, index) : NULL;
}

bool dn_faults_raise(DnFaults *self, GError **error)
{
	g_autoptr(GString) lines = g_string_new(NULL);

	if (self->count == 0)
		return true;
	for (guint i = 0; i < self->shown->len; i++) {
		const DnFault *fault = dn_faults_get(self, i);

		g_string_append_printf(lines, "%s%s:%u:%u: %s", i > 0 ? "\n" : "", self->file,
				       fault->at.line, fault->at.column, fault->text);
	}
	if (self->count > self->shown->len)
		g_string_append_printf(lines, "\n%s: %u more errors are not shown", self->file,
				       self->count - self->shown->len);
	g_set_error_literal(error, DN_ERROR, DN_ERROR_INVALID, lines->str);
	return false;
}

char *dn_faults_quote(const char *text)
{
	g_autofree char *shown = dn_text_printable(text, strlen(text));

	if (g_utf8_strlen(shown, -1) <= QUOTE_LIMIT)
		return g_strdup_printf("\"%s\"", shown);
	g_autofree char *head = g_utf8_substring(shown, 0, QUOTE_LIMIT);
	return g_strdup_printf("\"%s…\"", head);
}
