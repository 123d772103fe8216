/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The words of a command line against the table:
 *
 *     dnode NOUN [VERB] { OPERAND | -x | --name [VALUE] | --name=VALUE } [ -- { OPERAND } ]
 *
 * Options stand anywhere, also before the noun. Each option may be given once, but for
 * the one that the verb's row says may be given again.
 */

#include "main/table.h"

typedef struct {
	bool help;    /* --help, or nothing at all */
	bool version; /* --version */
	char *about;  /* the first word, or NULL */
	bool full;    /* the words name a verb completely, not only a noun that lists */
	DnCall *call; /* NULL when only help or version was asked for */
	const DnVerb *verb;
} DnArguments;

/* @words is argv without the program's name, NULL-terminated. */
DnArguments *dn_arguments_parse(const char *const *words, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_arguments_free(DnArguments *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnArguments, dn_arguments_free)

/* The options that every verb takes; *@n is how many. */
const DnOption *dn_options_everywhere(unsigned *n);
