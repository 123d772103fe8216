/* SPDX-License-Identifier: Apache-2.0 */
#include "output/output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

struct DnOutput {
	FILE *out, *err; /* borrowed from the caller */
	bool terminal;
	bool mid_line; /* a progress line stands on the terminal */
};

static const int exit_codes[] = {
	[DN_ERROR_INVALID] = 2,     [DN_ERROR_UNTRUSTED] = 3, [DN_ERROR_CONFLICT] = 4,
	[DN_ERROR_UNAVAILABLE] = 5, [DN_ERROR_EXHAUSTED] = 6, [DN_ERROR_UNSUPPORTED] = 7,
};

int dn_exit_code(const GError *error)
{
	if (error->domain != DN_ERROR || error->code < DN_ERROR_INVALID ||
	    error->code > DN_ERROR_UNSUPPORTED)
		return 1;
	return exit_codes[error->code];
}

DnOutput *dn_output_new(FILE *out, FILE *err)
{
	DnOutput *self = g_new0(DnOutput, 1);
	int fd = fileno(err);

	self->out = out;
	self->err = err;
	self->terminal = fd >= 0 && isatty(fd) != 0;
	return self;
}

/*
 * Take the progress line away before anything else is written, and let results and remarks
 * appear in the order they were made.
 */
static void clear_line(DnOutput *self)
{
	(void)fflush(self->out);
	if (self->mid_line)
		(void)fputs("\r\033[K", self->err);
	self->mid_line = false;
}

void dn_output_free(DnOutput *self)
{
	if (self == NULL)
		return;
	clear_line(self);
	g_free(self);
}

static void print_printable(FILE *file, const char *prefix, const char *text, size_t length)
{
	g_autofree char *printable = dn_text_printable(text, length);

	(void)fprintf(file, "%s%s\n", prefix, printable);
}

void dn_output_line(DnOutput *self, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *line = g_strdup_vprintf(format, args);
	va_end(args);
	clear_line(self);
	print_printable(self->out, "", line, strlen(line));
}

void dn_output_text(DnOutput *self, const char *text, size_t length)
{
	const char *end = text + length;

	clear_line(self);
	while (text < end) {
		const char *feed = memchr(text, '\n', (size_t)(end - text));
		const char *stop = feed != NULL ? feed : end;
		print_printable(self->out, "", text, (size_t)(stop - text));
		text = stop + 1;
	}
}

void dn_output_verbatim(DnOutput *self, const char *text)
{
	clear_line(self);
	(void)fputs(text, self->out);
}

/* What the API answered, in its order, but always with the schema. */
static JsonObject *with_schema(JsonObject *document)
{
	if (json_object_has_member(document, "schema"))
		return json_object_ref(document);

	JsonObject *whole = dn_json_document();
	g_autoptr(GList) names = json_object_get_members(document);
	for (GList *name = names; name != NULL; name = name->next)
		json_object_set_member(whole, name->data,
				       json_object_dup_member(document, name->data));
	return whole;
}

void dn_output_json(DnOutput *self, JsonObject *document)
{
	g_autofree char *text = dn_json_print_pretty(with_schema(document));

	clear_line(self);
	(void)fprintf(self->out, "%s\n", text);
}

void dn_output_json_line(DnOutput *self, JsonObject *document)
{
	g_autoptr(GBytes) text = dn_json_print(with_schema(document));
	size_t length = 0;
	const char *bytes = g_bytes_get_data(text, &length);

	clear_line(self);
	(void)fprintf(self->out, "%.*s\n", (int)length, bytes);
	(void)fflush(self->out);
}

void dn_output_progress(DnOutput *self, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *line = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *printable = dn_text_printable(line, strlen(line));
	clear_line(self);
	(void)fprintf(self->err, self->terminal ? "%s" : "%s\n", printable);
	(void)fflush(self->err);
	self->mid_line = self->terminal;
}

void dn_output_note(DnOutput *self, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *line = g_strdup_vprintf(format, args);
	va_end(args);
	clear_line(self);
	print_printable(self->err, "dnode: ", line, strlen(line));
}

void dn_output_finding(DnOutput *self, const char *line)
{
	g_autofree char *shown = dn_text_line(line, strlen(line));

	clear_line(self);
	(void)fprintf(self->err, "%s\n", shown);
}

/* An error about a file has one line for each fault of it. */
void dn_output_error(DnOutput *self, const GError *error)
{
	g_auto(GStrv) lines = g_strsplit(error->message, "\n", -1);

	clear_line(self);
	for (unsigned i = 0; lines[i] != NULL; i++)
		if (lines[i][0] != '\0') {
			g_autofree char *line = dn_text_line(lines[i], strlen(lines[i]));

			fprintf(self->err, "dnode: %s\n", line);
		}
}

bool dn_output_finish(DnOutput *self, GError **error)
{
	clear_line(self);
	if (fflush(self->out) == 0 && ferror(self->out) == 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "cannot write the result to standard output: %s", g_strerror(errno));
	return false;
}
