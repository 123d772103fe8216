/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "main/arguments.h"
#include "main/table.h"

#define USAGE_COLUMN 44

static const char intro[] =
	"dnode runs a fleet of disposable nodes: signed images and manifests in, load-balanced\n"
	"nodes out; a node that drifts is cut off, frozen, replaced and kept as evidence.\n"
	"\n"
	"usage: dnode COMMAND [OPERANDS] [OPTIONS]\n"
	"\n";

static const char codes[] =
	"\n"
	"exit codes: 0 done, 2 bad usage or input, 3 not trusted, 4 conflict, 5 unavailable (try\n"
	"again), 6 limit reached, 7 not supported here, 1 anything else\n";

static void append_usage(GString *text, const DnVerb *verb)
{
	g_string_append(text, verb->noun);
	if (verb->verb != NULL)
		g_string_append_printf(text, " %s", verb->verb);
	if (verb->operands != NULL)
		g_string_append_printf(text, " %s", verb->operands);
}

static void append_row(GString *text, const DnVerb *verb)
{
	size_t begin = text->len;

	if (verb->hidden)
		return;
	g_string_append(text, "  ");
	append_usage(text, verb);
	do
		g_string_append_c(text, ' ');
	while (text->len - begin < USAGE_COLUMN);
	g_string_append_printf(text, "%s\n", verb->help);
}

static void append_option(GString *text, const DnOption *option)
{
	size_t begin = text->len;

	g_string_append_printf(text, "  %s%s%s%s", strlen(option->name) == 1 ? "-" : "--",
			       option->name, option->value != NULL ? " " : "",
			       option->value != NULL ? option->value : "");
	do
		g_string_append_c(text, ' ');
	while (text->len - begin < 23);
	g_string_append_printf(text, "%s\n", option->help);
}

static void append_everywhere(GString *text)
{
	unsigned n = 0;
	const DnOption *options = dn_options_everywhere(&n);

	g_string_append(text, "\neverywhere:\n");
	for (unsigned i = 0; i < n; i++)
		append_option(text, &options[i]);
}

char *dn_help_all(void)
{
	GString *text = g_string_new(intro);

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		append_row(text, dn_verb_table[i]);
	append_everywhere(text);
	g_string_append(text, codes);
	return g_string_free(text, FALSE);
}

char *dn_help_noun(const char *word)
{
	GString *text = g_string_new("usage:\n");
	size_t empty = text->len;

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		if (dn_verb_is_noun(word, dn_verb_table[i]->noun))
			append_row(text, dn_verb_table[i]);
	bool known = text->len > empty;
	return g_string_free(text, !known);
}

/* With "roll SERVICE" the commands that have a second word. */
static void append_others(GString *text, const DnVerb *verb)
{
	const size_t before = text->len;

	if (verb->verb != NULL)
		return;
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		if (dn_verb_table[i] != verb && strcmp(dn_verb_table[i]->noun, verb->noun) == 0)
			append_row(text, dn_verb_table[i]);
	if (text->len > before)
		g_string_insert(text, (gssize)before, "\nsee also:\n");
}

char *dn_help_verb(const DnVerb *verb)
{
	GString *text = g_string_new("usage: dnode ");

	append_usage(text, verb);
	if (verb->options[0].name != NULL)
		g_string_append(text, " [OPTIONS]");
	g_string_append_printf(text, "\n\n%s\n", verb->help);
	if (verb->more != NULL)
		g_string_append_printf(text, "\n%s\n", verb->more);
	if (verb->options[0].name != NULL)
		g_string_append(text, "\noptions:\n");
	for (unsigned i = 0; i < DN_OPTIONS_LIMIT && verb->options[i].name != NULL; i++)
		append_option(text, &verb->options[i]);
	append_others(text, verb);
	append_everywhere(text);
	return g_string_free(text, FALSE);
}
