/* SPDX-License-Identifier: Apache-2.0 */
#include "main/manual.h"

#include <string.h>

#include <dnode/version.h>

#include "main/arguments.h"

static const struct {
	int code;
	const char *meaning;
} exit_codes[] = {
	{0, "done"},
	{1, "anything that has no code of its own"},
	{2, "bad usage or input; correct it"},
	{3, "not trusted: a signature or digest did not match"},
	{4, "conflict: read again, then decide again"},
	{5, "unavailable; try again later"},
	{6, "a limit or a deadline was reached"},
	{7, "not supported by this host or version"},
};

static const struct {
	const char *path, *what;
} files[] = {
	{"/etc/dnode/cluster.yaml", "how the supervisor runs, see dnode-cluster.yaml(5)"},
	{"/etc/dnode/trust.yaml", "which keys may sign what, see dnode-trust(5)"},
	{"/etc/dnode/keys/NAME.key", "secret keys, readable by their owner only"},
	{"/etc/dnode/repo", "images built here"},
	{"/run/dnode/supervisor/supervisor.sock", "the local supervisor"},
};

GPtrArray *dn_nouns(void)
{
	GPtrArray *nouns = g_ptr_array_new();

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const char *noun = dn_verb_table[i]->noun;
		if (!dn_verb_table[i]->hidden &&
		    !g_ptr_array_find_with_equal_func(nouns, noun, g_str_equal, NULL))
			g_ptr_array_add(nouns, (gpointer)noun);
	}
	return nouns;
}

/* Running text: what roff would take for a request or an escape is made harmless. */
static void append_text(GString *page, const char *text)
{
	bool begins = true;

	for (const char *c = text; *c != '\0'; c++) {
		if (begins && (*c == '.' || *c == '\''))
			g_string_append(page, "\\&");
		begins = *c == '\n';
		if (*c == '\\')
			g_string_append(page, "\\e");
		else if (*c == '-' && (c[1] == '-' || (c > text && c[-1] == '-')))
			g_string_append(page, "\\-");
		else if (*c == ' ' && c > text && c[-1] == '.' && g_ascii_isupper(c[1])) {
			g_string_append_c(page, '\n'); /* a sentence begins on its own line */
			begins = true;
		} else
			g_string_append_c(page, *c);
	}
	if (!g_str_has_suffix(text, "\n"))
		g_string_append_c(page, '\n');
}

static void append_sentence(GString *page, const char *text)
{
	g_autofree char *upper = g_strdup(text);

	/* "unix:PATH" is typed as it stands. */
	if (upper[strcspn(upper, " :")] != ':')
		upper[0] = g_ascii_toupper(upper[0]);
	g_autofree char *whole = g_strconcat(upper, g_str_has_suffix(upper, ".") ? "" : ".", NULL);
	append_text(page, whole);
}

/* "[SERVICE]" and "FILE..." in mdoc's words. */
static void append_operands(GString *page, const char *operands)
{
	g_auto(GStrv) words = g_strsplit(operands, " ", -1);

	for (unsigned i = 0; words[i] != NULL; i++) {
		char *word = words[i];
		size_t length = strlen(word);
		bool optional = word[0] == '[';

		if (optional && word[length - 1] == ']')
			word[length - 1] = '\0';
		word += optional;
		bool many = g_str_has_suffix(word, "...");
		if (many)
			word[strlen(word) - 3] = '\0';
		g_string_append_printf(page, ".%sAr %s%s\n", optional ? "Op " : "", word,
				       many ? " ..." : "");
	}
}

static void append_flag(GString *page, const char *before, const DnOption *option)
{
	g_string_append_printf(page, "%s Fl %s%s", before, strlen(option->name) > 1 ? "-" : "",
			       option->name);
	if (option->value != NULL && option->value[0] == '[')
		g_string_append_printf(page, " Op Ar %.*s", (int)strlen(option->value) - 2,
				       option->value + 1);
	else if (option->value != NULL)
		g_string_append_printf(page, " Ar %s", option->value);
	g_string_append_c(page, '\n');
}

static void append_command(GString *page, const DnVerb *verb)
{
	g_string_append_printf(page, ".Nm dnode\n.Cm %s", verb->noun);
	g_string_append_printf(page, "%s%s\n", verb->verb != NULL ? " " : "",
			       verb->verb != NULL ? verb->verb : "");
	if (verb->operands != NULL)
		append_operands(page, verb->operands);
	for (unsigned i = 0; i < DN_OPTIONS_LIMIT && verb->options[i].name != NULL; i++)
		append_flag(page, ".Op", &verb->options[i]);
}

static void append_options(GString *page, const DnOption *options, unsigned n)
{
	g_string_append(page, ".Bl -tag -width Ds\n");
	for (unsigned i = 0; i < n && options[i].name != NULL; i++) {
		append_flag(page, ".It", &options[i]);
		append_sentence(page, options[i].help);
	}
	g_string_append(page, ".El\n");
}

static void append_verb(GString *page, const DnVerb *verb)
{
	g_string_append_printf(page, ".Ss dnode %s%s%s\n", verb->noun,
			       verb->verb != NULL ? " " : "", verb->verb != NULL ? verb->verb : "");
	append_sentence(page, verb->help);
	if (verb->more != NULL) {
		g_string_append(page, ".Pp\n");
		append_text(page, verb->more);
	}
	if (verb->verb != NULL && strcmp(verb->verb, "ls") == 0)
		g_string_append_printf(page, ".Pp\nThis is what\n.Ic dnode %s\nalone does.\n",
				       verb->noun);
	if (verb->options[0].name != NULL)
		append_options(page, verb->options, DN_OPTIONS_LIMIT);
}

static void append_examples(GString *page, const char *noun)
{
	g_string_append(page, ".Sh EXAMPLES\n");
	for (const DnExample *row = dn_examples; row->noun != NULL; row++) {
		if (noun != NULL && strcmp(noun, row->noun) != 0)
			continue;
		append_text(page, row->says);
		g_string_append(page, ".Pp\n.Dl ");
		g_autofree char *line = g_strconcat("dnode ", row->line, NULL);
		append_text(page, line);
		g_string_append(page, ".Pp\n");
	}
	/* .Pp before a section is superfluous, and mandoc says so. */
	g_string_truncate(page, page->len - strlen(".Pp\n"));
}

static void append_end(GString *page, const char *noun)
{
	unsigned n = 0;
	const DnOption *options = dn_options_everywhere(&n);

	g_string_append(page, ".Ss Options of every command\n");
	append_options(page, options, n);
	g_string_append(page, ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
			      ".It Ev DNODE_SUPERVISOR\nAs\n.Fl -supervisor .\n"
			      ".It Ev DNODE_HOME\nAs\n.Fl -home .\n.El\n"
			      ".Sh FILES\n.Bl -tag -width Ds\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_string_append_printf(page, ".It Pa %s\n", files[i].path);
		append_sentence(page, files[i].what);
	}
	g_string_append(page, ".El\n.Sh EXIT STATUS\n.Bl -tag -width Ds\n");
	for (unsigned i = 0; i < G_N_ELEMENTS(exit_codes); i++) {
		g_string_append_printf(page, ".It %d\n", exit_codes[i].code);
		append_sentence(page, exit_codes[i].meaning);
	}
	g_string_append(page, ".El\n");
	append_examples(page, noun);
}

static GString *begin(const char *title, const char *date)
{
	GString *page = g_string_new(NULL);
	g_autofree char *upper = g_ascii_strup(title, -1);

	g_string_append_printf(page, ".Dd %s\n.Dt %s 1\n.Os dnode %s\n.Sh NAME\n.Nm %s\n", date,
			       upper, DN_VERSION, title);
	return page;
}

char *dn_manual_noun(const char *noun, const char *date)
{
	g_autofree char *title = g_strconcat("dnode-", noun, NULL);
	GString *page = begin(title, date);
	GString *synopsis = g_string_new(".Sh SYNOPSIS\n");
	GString *verbs = g_string_new(".Sh DESCRIPTION\n");
	const DnVerb *first = NULL;

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		if (verb->hidden || strcmp(verb->noun, noun) != 0)
			continue;
		if (first == NULL)
			first = verb;
		append_command(synopsis, verb);
		append_verb(verbs, verb);
	}
	g_string_append(page, ".Nd ");
	append_text(page, first != NULL ? first->help : "");
	g_string_append_len(page, synopsis->str, (gssize)synopsis->len);
	g_string_append_len(page, verbs->str, (gssize)verbs->len);
	append_end(page, noun);
	g_string_append(page, ".Sh SEE ALSO\n.Xr dnode 1 ,\n.Xr dnode-manifest 5 ,\n"
			      ".Xr dnode-agent 8 ,\n.Xr dnode-supervisor 8\n");
	(void)g_string_free(synopsis, TRUE);
	(void)g_string_free(verbs, TRUE);
	return g_string_free(page, first == NULL);
}

static gint by_name(gconstpointer one, gconstpointer other)
{
	return strcmp(*(const char *const *)one, *(const char *const *)other);
}

char *dn_manual_all(const char *date)
{
	GString *page = begin("dnode", date);
	g_autoptr(GPtrArray) nouns = dn_nouns();

	g_string_append(page,
			".Nd run a fleet of disposable nodes\n.Sh SYNOPSIS\n.Nm dnode\n"
			".Ar COMMAND\n.Op Ar operands\n.Op Ar options\n.Sh DESCRIPTION\n"
			"Signed images and manifests in, load-balanced nodes out; a node that "
			"drifts is cut off,\nfrozen, replaced and kept as evidence.\n"
			"Nouns work in singular and plural, options stand anywhere.\n"
			".Bl -tag -width Ds\n");
	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		if (verb->hidden)
			continue;
		g_string_append_printf(page, ".It Ic dnode %s%s%s\n", verb->noun,
				       verb->verb != NULL ? " " : "",
				       verb->verb != NULL ? verb->verb : "");
		append_sentence(page, verb->help);
	}
	g_string_append(page, ".El\n");
	append_end(page, NULL);
	g_string_append(page, ".Sh SEE ALSO\n");
	g_ptr_array_sort(nouns, by_name);
	for (unsigned i = 0; i < nouns->len; i++)
		g_string_append_printf(page, ".Xr dnode-%s 1 ,\n", (char *)nouns->pdata[i]);
	g_string_append(page,
			".Xr dnode-agent.yaml 5 ,\n.Xr dnode-cluster.yaml 5 ,\n"
			".Xr dnode-image.yaml 5 ,\n.Xr dnode-manifest 5 ,\n.Xr dnode-trust 5 ,\n"
			".Xr dnode-agent 8 ,\n.Xr dnode-supervisor 8\n");
	return g_string_free(page, FALSE);
}
