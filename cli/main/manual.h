/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The table of verbs as files to install: manual pages in mdoc(7) and completions for shells.
 * They are made when dnode is built (cli/main/generate.c), so that they cannot say anything else
 * than the command does.
 */

#include "main/table.h"

/* A line that a person may type, and what it is good for. Each is parsed before it is printed. */
typedef struct {
	const char *noun;
	const char *line; /* without the leading "dnode"; words are separated by one blank */
	const char *says;
} DnExample;

/* Ended by a row without a noun. */
extern const DnExample dn_examples[];

/* dnode.1 and dnode-NOUN.1; @date is as mdoc's .Dd wants it. NULL: there is no such noun. */
char *dn_manual_all(const char *date) G_GNUC_WARN_UNUSED_RESULT;
char *dn_manual_noun(const char *noun, const char *date) G_GNUC_WARN_UNUSED_RESULT;

/* @shell is bash, zsh or fish; NULL for another one. */
char *dn_completion(const char *shell) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Every noun that is not hidden, once, in the order of the table; the list is the caller's, the
 * words are the table's.
 */
GPtrArray *dn_nouns(void) G_GNUC_WARN_UNUSED_RESULT;
