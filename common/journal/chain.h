/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The form of a journal without its files: writing it into memory and judging bytes that anybody
 * may have changed. docs/formats/journal.md is the same in words.
 *
 *   segment: opening line, then batches      opening: {"journal":"dnode/v1","identity":…}
 *   batch:   entry lines, then a batch line  batch:   {"batch":SEQ,"hash":…,"signature":…}
 *
 *   hash      = SHA-256 of the hash before, a line feed, and every line since the last batch line
 *   signature = Ed25519 over "dnode journal v1\nIDENTITY SEQ HASH\n"
 *
 * The opening line belongs to the first batch of its segment, so it is signed as well. Lines of
 * our own form are compared with what would be written: there is one way to write each.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "journal/entry.h"
#include "model/journal-head.h"
#include "seal/keys.h"

enum {
	DN_JOURNAL_IDENTITY_LIMIT = 128,
	DN_JOURNAL_BATCH_LIMIT = 1024 * 1024,       /* bytes of one batch */
	DN_JOURNAL_SEGMENT_LIMIT = 8 * 1024 * 1024, /* bytes of one segment, whoever wrote it */
};

/* Whose journal: "CLUSTER/supervisor" or "CLUSTER/host/NAME"; a-z, 0-9, '-' and '/'. */
bool dn_journal_is_identity(const char *word);

/* The hash before the first entry: 64 zeros. */
extern const DnJournalHead dn_journal_beginning;

/* Append the opening line of a segment that goes on after @before. */
void dn_journal_print_opening(GString *to, const char *identity,
			      const uint8_t key[static DN_PUBLIC_KEY_BYTES], uint64_t segment,
			      const DnJournalHead *before);

/*
 * Append to @lines, which hold whole entries up to @seq, the batch line that seals them. *@head,
 * the head before, becomes the head after.
 */
void dn_journal_seal(GString *lines, const char *identity, const DnSecretKey *key, uint64_t seq,
		     DnJournalHead *head);

/* ---- judging ---- */

typedef enum {
	DN_JOURNAL_WHOLE,
	/* Whole up to @good; what follows is at most one batch that was not finished. */
	DN_JOURNAL_TORN,
	DN_JOURNAL_BROKEN,
} DnJournalVerdict;

/* Where a walk stands; begin with {0} and walk the segments in their order. */
typedef struct {
	char identity[DN_JOURNAL_IDENTITY_LIMIT + 1];
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	uint64_t segment;   /* number of the last one walked; 0: none */
	uint64_t first;     /* number of the first entry there is */
	DnJournalHead head; /* after the last whole batch */
	uint64_t batches;
	size_t good; /* bytes of the last segment up to there; 0: not even one batch */
} DnJournalWalk;

/*
 * What is found, each only after the signature over it was checked: an entry's line without its
 * line feed (not terminated by a NUL), and the head after each batch. Either may be NULL.
 */
typedef struct {
	void (*entry)(uint64_t seq, const char *line, size_t length, void *data);
	void (*batch)(const DnJournalHead *head, void *data);
} DnJournalVisitor;

/*
 * Walk one whole segment. Unless it is whole *@why is one line of text to be freed; it says what
 * is wrong and where, and names no file. A segment may only be torn if it is the last.
 */
DnJournalVerdict dn_journal_walk(DnJournalWalk *walk, const char *data, size_t size,
				 const DnJournalVisitor *visitor, void *user,
				 char **why) G_GNUC_WARN_UNUSED_RESULT;
