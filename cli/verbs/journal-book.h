/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Journals read from disk, without a supervisor: each judged by itself, then each against what
 * the others have kept of it (docs/formats/journal.md).
 */

#include "journal/chain.h"
#include "wire/json.h"

/* One directory. */
typedef struct {
	char *dir;
	DnJournalVerdict verdict;
	char *why; /* unless it is whole */
	DnJournalWalk walk;
	unsigned segments;
	GArray *heads;     /* of DnJournalHead: after each batch */
	GPtrArray *claims; /* of DnJournalClaim: what it has kept of others */
} DnJournalBook;

/* A head of another journal, as it was told and journalled. */
typedef struct {
	char *of, *of_key;
	DnJournalHead head;
} DnJournalClaim;

typedef struct {
	/* Each entry in order; may be NULL. @entry is borrowed. */
	void (*entry)(JsonObject *entry, void *data);
	void *data;
} DnJournalReader;

/*
 * Read @dir, or its `journal`, or one segment file. Only what cannot be read at all is an error;
 * what is wrong with its content stands in the verdict.
 */
DnJournalBook *dn_journal_book_read(const char *dir, const DnJournalReader *reader,
				    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_journal_book_free(DnJournalBook *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnJournalBook, dn_journal_book_free)

/*
 * Does @book hold every head that @keeper has kept of it? Appends a line (char *) for each kind of
 * disagreement to @findings and returns how many heads were compared. To compare journals that
 * are still written, read @keeper first.
 */
unsigned dn_journal_book_compare(const DnJournalBook *book, const DnJournalBook *keeper,
				 GPtrArray *findings);
