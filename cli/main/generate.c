/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs while dnode is built and is not installed:
 *
 *     dnode-generate man DATE DIR NOUN...   DIR/dnode.1 and DIR/dnode-NOUN.1
 *     dnode-generate completion SHELL       on standard output
 *
 * It fails, and with it the build, when a noun has no page or no example, or when an example is
 * not something that dnode would take.
 */

#include <stdio.h>
#include <string.h>

#include "main/arguments.h"
#include "main/manual.h"

static bool write_page(const char *dir, const char *name, const char *page, GError **error)
{
	g_autofree char *file = g_strconcat(name, ".1", NULL);
	g_autofree char *path = g_build_filename(dir, file, NULL);

	return g_file_set_contents(path, page, -1, error);
}

static bool has_example(const char *noun)
{
	for (const DnExample *row = dn_examples; row->noun != NULL; row++)
		if (strcmp(row->noun, noun) == 0)
			return true;
	return false;
}

static bool check_examples(GError **error)
{
	for (const DnExample *row = dn_examples; row->noun != NULL; row++) {
		g_auto(GStrv) words = g_strsplit(row->line, " ", -1);
		g_autoptr(DnArguments) parsed =
			dn_arguments_parse((const char *const *)words, error);
		if (parsed == NULL) {
			g_prefix_error(error, "cli/main/examples.c: \"%s\": ", row->line);
			return false;
		}
	}
	return true;
}

static bool check_nouns(GPtrArray *nouns, char **listed, GError **error)
{
	for (unsigned i = 0; i < nouns->len; i++) {
		const char *noun = nouns->pdata[i];
		const char *lacks = !has_example(noun) ? "example in cli/main/examples.c"
				    : !g_strv_contains((const char *const *)listed, noun)
					    ? "place in docs/man/meson.build"
					    : NULL;
		if (lacks != NULL) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "'%s' has no %s", noun,
				    lacks);
			return false;
		}
	}
	return true;
}

static bool write_pages(const char *date, const char *dir, char **listed, GError **error)
{
	g_autoptr(GPtrArray) nouns = dn_nouns();
	g_autofree char *all = dn_manual_all(date);

	if (!check_nouns(nouns, listed, error) || !check_examples(error) ||
	    !write_page(dir, "dnode", all, error))
		return false;
	for (unsigned i = 0; listed[i] != NULL; i++) {
		g_autofree char *name = g_strconcat("dnode-", listed[i], NULL);
		g_autofree char *page = dn_manual_noun(listed[i], date);
		if (page == NULL) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "docs/man/meson.build lists '%s', which dnode does not know",
				    listed[i]);
			return false;
		}
		if (!write_page(dir, name, page, error))
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;

	if (argc > 4 && strcmp(argv[1], "man") == 0) {
		if (write_pages(argv[2], argv[3], argv + 4, &error))
			return 0;
		fprintf(stderr, "dnode-generate: %s\n", error->message);
		return 1;
	}
	g_autofree char *script =
		argc == 3 && strcmp(argv[1], "completion") == 0 ? dn_completion(argv[2]) : NULL;
	if (script == NULL) {
		fprintf(stderr, "usage: dnode-generate man DATE DIR NOUN... | completion SHELL\n");
		return 2;
	}
	return fputs(script, stdout) < 0;
}
