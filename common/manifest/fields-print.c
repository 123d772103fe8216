/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/clock.h"
#include "manifest/fields.h"
#include "manifest/grammar.h"

static const void *member(const DnField *field, const void *from)
{
	return (const char *)from + field->offset;
}

static uint64_t load(const DnField *field, const void *from)
{
	const void *where = member(field, from);

	switch (field->width) {
	case sizeof(uint8_t):
		return *(const uint8_t *)where;
	case sizeof(uint16_t):
		return *(const uint16_t *)where;
	case sizeof(uint32_t):
		return *(const uint32_t *)where;
	default:
		g_assert(field->width == sizeof(uint64_t));
		return *(const uint64_t *)where;
	}
}

/* @make is one of the printers of grammar.h, or NULL for a plain number. */
static char *describe_range(const DnField *field, const char *noun, char *(*make)(uint64_t),
			    const char *example)
{
	GString *text = g_string_new(noun);

	if (field->max != 0) {
		g_autofree char *min = make(field->min);
		g_autofree char *max = make(field->max);
		g_string_append_printf(text, " from %s to %s", min, max);
	}
	if (example != NULL)
		g_string_append_printf(text, ", such as %s", example);
	return g_string_free(text, FALSE);
}

static char *print_number(uint64_t value)
{
	return g_strdup_printf("%" G_GUINT64_FORMAT, value);
}

static char *describe_words(const char *const *words)
{
	GString *text = g_string_new(words[0]);

	for (size_t i = 1; words[i] != NULL; i++)
		g_string_append_printf(text, "%s%s", words[i + 1] == NULL ? " or " : ", ",
				       words[i]);
	return g_string_free(text, FALSE);
}

char *dn_field_describe(const DnField *field)
{
	static const char *const fixed[DN_FIELD_N_KINDS] = {
		[DN_FIELD_NAME] = "a name of a-z, 0-9 and -, beginning with a letter, at most 40",
		[DN_FIELD_PATH] = "an absolute path without . or .. or a slash at its end",
		[DN_FIELD_RELATIVE] = "a relative path without . or .. that stays in its directory",
		[DN_FIELD_REF] = "the name of an image such as apps/hello",
		[DN_FIELD_CIDR] =
			("a network such as 192.0.2.0/24 or 2001:db8::/32, zero behind the "
			 "prefix"),
		[DN_FIELD_CIDR4] = "an IPv4 network such as 10.77.0.0/16, zero behind the prefix",
		[DN_FIELD_ADDRESS] = "ADDRESS:PORT, IPv6 in brackets",
		[DN_FIELD_ENDPOINT] = "HOST:PORT or ADDRESS:PORT",
		[DN_FIELD_URL_PATH] = "the path of a URL such as /healthz",
		[DN_FIELD_BOOL] = "true or false",
		[DN_FIELD_TIME] = "a time such as 2027-06-01T00:00:00Z",
		[DN_FIELD_SIGNAL] = "a signal: TERM, INT, QUIT, HUP, USR1, USR2, WINCH or KILL",
		[DN_FIELD_TEXTS] = "a list",
		[DN_FIELD_ENV] = "a map of variables",
		[DN_FIELD_MAP] = "a map",
		[DN_FIELD_LIST] = "a list of maps",
	};

	switch ((int)field->kind) {
	case DN_FIELD_TEXT:
		return g_strdup_printf("%stext of at most %u bytes", field->min > 0 ? "some " : "",
				       field->max != 0 ? (unsigned)field->max : 4096);
	case DN_FIELD_HEX:
		return g_strdup_printf("%u lower-case hexadecimal digits", (unsigned)field->max);
	case DN_FIELD_UINT:
		return describe_range(field, "a whole number", print_number, NULL);
	case DN_FIELD_DURATION:
		return describe_range(field, "a duration", dn_grammar_print_duration,
				      "500ms, 10s, 10m or 24h");
	case DN_FIELD_SIZE:
		return describe_range(field, "a size", dn_grammar_print_size, "64KiB or 64MiB");
	case DN_FIELD_CPU:
		return describe_range(field, "a number of CPUs", dn_grammar_print_cpu, "0.5");
	case DN_FIELD_WORD:
		return describe_words(field->words);
	default:
		return g_strdup(fixed[field->kind]);
	}
}

static char *print_texts(const DnField *field, const void *from)
{
	char *const *texts = *(char *const *const *)member(field, from);
	GString *list = NULL;

	if (texts == NULL)
		return NULL;
	list = g_string_new("[");
	for (size_t i = 0; texts[i] != NULL; i++) {
		g_autofree char *text = dn_grammar_print_text(texts[i]);

		g_string_append_printf(list, "%s%s", i > 0 ? ", " : "", text);
	}
	g_string_append_c(list, ']');
	return g_string_free(list, FALSE);
}

static char *print_env(const DnField *field, const void *from)
{
	char *const *env = *(char *const *const *)member(field, from);
	GString *map = NULL;

	if (env == NULL)
		return NULL;
	map = g_string_new("{");
	for (size_t i = 0; env[i] != NULL; i++) {
		g_auto(GStrv) parts = g_strsplit(env[i], "=", 2);
		g_autofree char *value = dn_grammar_print_text(parts[1] != NULL ? parts[1] : "");

		g_string_append_printf(map, "%s%s: %s", i > 0 ? ", " : "", parts[0], value);
	}
	g_string_append_c(map, '}');
	return g_string_free(map, FALSE);
}

/* What says no more than its default is left out, so that an item fits on a line. */
static void print_members(GString *map, const DnField *table, const void *from)
{
	const char *separator = "";

	for (; table->key != NULL; table++) {
		g_autofree char *value = dn_field_print(table, from);

		if (value == NULL || g_strcmp0(value, table->fallback) == 0)
			continue;
		g_string_append_printf(map, "%s%s: %s", separator, table->key, value);
		separator = ", ";
	}
}

static char *print_list(const DnField *field, const void *from)
{
	const GArray *items = *(GArray *const *)member(field, from);
	GString *list = g_string_new("[");

	for (guint i = 0; i < items->len; i++) {
		g_string_append(list, i > 0 ? ", {" : "{");
		print_members(list, field->fields, items->data + (size_t)i * field->size);
		g_string_append_c(list, '}');
	}
	g_string_append_c(list, ']');
	return g_string_free(list, FALSE);
}

static char *print_time(uint64_t value)
{
	g_autofree char *text = dn_clock_format(value);
	char *zeros = strstr(text, ".000000000Z");

	if (zeros != NULL)
		strcpy(zeros, "Z");
	return g_steal_pointer(&text);
}

static char *print_value(const DnField *field, uint64_t value)
{
	switch ((int)field->kind) {
	case DN_FIELD_BOOL:
		return g_strdup(value != 0 ? "true" : "false");
	case DN_FIELD_WORD:
		return g_strdup(field->words[value]);
	case DN_FIELD_DURATION:
		return dn_grammar_print_duration(value);
	case DN_FIELD_SIZE:
		return dn_grammar_print_size(value);
	case DN_FIELD_CPU:
		return dn_grammar_print_cpu(value);
	case DN_FIELD_TIME:
		return print_time(value);
	case DN_FIELD_SIGNAL:
		return g_strdup(dn_grammar_print_signal((int)value));
	default:
		return print_number(value);
	}
}

char *dn_field_print(const DnField *field, const void *from)
{
	if ((field->flags & DN_FIELD_RESERVED) != 0 || field->width == 0 ||
	    field->kind == DN_FIELD_MAP || (field->shown != NULL && !field->shown(from)))
		return NULL;
	if (field->kind == DN_FIELD_TEXTS)
		return print_texts(field, from);
	if (field->kind == DN_FIELD_ENV)
		return print_env(field, from);
	if (field->kind == DN_FIELD_LIST)
		return print_list(field, from);
	if (field->kind <= DN_FIELD_URL_PATH) {
		const char *text = *(char *const *)member(field, from);

		return text != NULL ? dn_grammar_print_text(text) : NULL;
	}
	uint64_t value = load(field, from);
	if (value == 0 && (field->flags & DN_FIELD_OPEN) != 0)
		return NULL;
	return print_value(field, value);
}
