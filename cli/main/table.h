/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The table of verbs: finding the row a person means, and telling what there is.
 *
 * Nouns are known in singular and plural; a noun alone means its `ls`, or the verb without a
 * second word ("roll SERVICE"). A word that is near to a known one is suggested. What is hidden is
 * found, and never suggested.
 */

#include "verbs/verb.h"

/* The rows, ended by NULL. */
extern const DnVerb *const dn_verb_table[];

/*
 * The verb that @words (NULL-terminated) begin with; *@used is how many words named it.
 * DN_ERROR_INVALID with a suggestion when there is none.
 */
const DnVerb *dn_verb_find(const char *const *words, unsigned *used,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether @word is @noun or its plural. */
bool dn_verb_is_noun(const char *word, const char *noun);

/* The help: of everything, of one noun, of one verb. */
char *dn_help_all(void) G_GNUC_WARN_UNUSED_RESULT;
char *dn_help_noun(const char *word) G_GNUC_WARN_UNUSED_RESULT; /* NULL: no such noun */
char *dn_help_verb(const DnVerb *verb) G_GNUC_WARN_UNUSED_RESULT;
