/* SPDX-License-Identifier: Apache-2.0 */
#include "output/table.h"

#include <string.h>

#include "base/text.h"

#define COLUMN_GAP 2

struct DnTable {
	const char *const *titles; /* borrowed from the caller */
	unsigned columns;
	GPtrArray *cells; /* of char *: printable, row by row */
};

DnTable *dn_table_new(const char *const *titles)
{
	DnTable *self = g_new0(DnTable, 1);

	self->titles = titles;
	self->columns = g_strv_length((char **)titles);
	self->cells = g_ptr_array_new_with_free_func(g_free);
	return self;
}

void dn_table_free(DnTable *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->cells);
	g_free(self);
}

void dn_table_add(DnTable *self, const char *cell)
{
	if (cell == NULL || cell[0] == '\0')
		cell = "-";
	g_ptr_array_add(self->cells, dn_text_printable(cell, strlen(cell)));
}

void dn_table_add_format(DnTable *self, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *cell = g_strdup_vprintf(format, args);
	va_end(args);
	dn_table_add(self, cell);
}

static unsigned *measure(const DnTable *table)
{
	unsigned *widths = g_new0(unsigned, table->columns);

	for (unsigned c = 0; c < table->columns; c++)
		widths[c] = (unsigned)strlen(table->titles[c]);
	for (unsigned i = 0; i < table->cells->len; i++) {
		unsigned width = (unsigned)g_utf8_strlen(table->cells->pdata[i], -1);
		unsigned *widest = &widths[i % table->columns];
		*widest = MAX(*widest, width);
	}
	return widths;
}

/* The last column is not padded: nothing follows it, and lines should not end in blanks. */
static void append_cell(GString *line, const char *cell, unsigned width, bool last)
{
	g_string_append(line, cell);
	if (last)
		return;
	for (unsigned used = (unsigned)g_utf8_strlen(cell, -1); used < width + COLUMN_GAP; used++)
		g_string_append_c(line, ' ');
}

void dn_output_table(DnOutput *output, const DnTable *table, const char *what)
{
	g_autofree unsigned *widths = measure(table);
	g_autoptr(GString) text = g_string_new(NULL);

	g_return_if_fail(table->cells->len % table->columns == 0);
	if (table->cells->len == 0) {
		dn_output_line(output, "no %s", what);
		return;
	}
	for (unsigned c = 0; c < table->columns; c++)
		append_cell(text, table->titles[c], widths[c], c + 1 == table->columns);
	g_string_append_c(text, '\n');
	for (unsigned i = 0; i < table->cells->len; i++) {
		unsigned c = i % table->columns;
		bool last = c + 1 == table->columns;
		append_cell(text, table->cells->pdata[i], widths[c], last);
		if (last)
			g_string_append_c(text, '\n');
	}
	dn_output_verbatim(output, text->str);
}
