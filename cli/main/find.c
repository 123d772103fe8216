/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/text.h"
#include "main/table.h"

bool dn_verb_is_noun(const char *word, const char *noun)
{
	size_t length = strlen(noun);

	if (strncmp(word, noun, length) != 0)
		return false;
	return word[length] == '\0' || strcmp(word + length, "s") == 0;
}

/* The row of @noun that runs when no second word names one. */
static bool is_default(const DnVerb *verb)
{
	return verb->verb == NULL || strcmp(verb->verb, "ls") == 0;
}

static bool is_listed(GPtrArray *list, const char *word)
{
	for (unsigned i = 0; i < list->len; i++)
		if (strcmp(list->pdata[i], word) == 0)
			return true;
	return false;
}

static void refuse_noun(const char *word, GError **error)
{
	g_autoptr(GPtrArray) nouns = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const char *noun = dn_verb_table[i]->noun;
		if (dn_verb_table[i]->hidden || is_listed(nouns, noun))
			continue;
		g_ptr_array_add(nouns, g_strdup(noun));
		if (!g_str_has_suffix(noun, "s"))
			g_ptr_array_add(nouns, g_strconcat(noun, "s", NULL));
	}
	g_ptr_array_add(nouns, NULL);
	const char *near = dn_text_suggest(word, (const char *const *)nouns->pdata);
	if (near != NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unknown command '%s', did you mean '%s'?", word, near);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unknown command '%s'; see 'dnode --help'", word);
}

/* The second words of @noun, ended by NULL. */
static GPtrArray *verbs_of(const char *noun)
{
	GPtrArray *verbs = g_ptr_array_new();

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++)
		if (dn_verb_is_noun(noun, dn_verb_table[i]->noun) &&
		    dn_verb_table[i]->verb != NULL && !dn_verb_table[i]->hidden)
			g_ptr_array_add(verbs, (gpointer)dn_verb_table[i]->verb);
	g_ptr_array_add(verbs, NULL);
	return verbs;
}

static void refuse_verb(const char *noun, const char *word, GError **error)
{
	g_autoptr(GPtrArray) verbs = verbs_of(noun);
	g_autofree char *all = g_strjoinv(", ", (char **)verbs->pdata);
	const char *near =
		word != NULL ? dn_text_suggest(word, (const char *const *)verbs->pdata) : NULL;
	if (word == NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "%s needs a verb: one of %s", noun,
			    all);
	else if (near != NULL)
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "unknown verb '%s' of %s, did you mean '%s'?", word, noun, near);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "unknown verb '%s' of %s: one of %s",
			    word, noun, all);
}

/*
 * A second word that the default verb could not take as an operand is a misspelt verb, and so is
 * one near to a verb where more words follow than the default verb takes.
 */
static bool is_misspelt(const DnVerb *otherwise, const char *const *words)
{
	g_autoptr(GPtrArray) verbs = verbs_of(words[0]);

	if (words[1] == NULL || otherwise->most == 0)
		return words[1] != NULL;
	return g_strv_length((char **)words) - 1 > otherwise->most &&
	       dn_text_suggest(words[1], (const char *const *)verbs->pdata) != NULL;
}

const DnVerb *dn_verb_find(const char *const *words, unsigned *used, GError **error)
{
	const DnVerb *otherwise = NULL;
	bool known = false;

	for (unsigned i = 0; dn_verb_table[i] != NULL; i++) {
		const DnVerb *verb = dn_verb_table[i];
		if (!dn_verb_is_noun(words[0], verb->noun))
			continue;
		known = true;
		if (verb->verb != NULL && words[1] != NULL && strcmp(words[1], verb->verb) == 0) {
			*used = 2;
			return verb;
		}
		if (is_default(verb))
			otherwise = verb;
	}
	if (!known) {
		refuse_noun(words[0], error);
		return NULL;
	}
	if (otherwise == NULL || is_misspelt(otherwise, words)) {
		refuse_verb(words[0], words[1], error);
		return NULL;
	}
	*used = 1;
	return otherwise;
}
