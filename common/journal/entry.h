/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One decision as a line of JSON: {"seq":7,"time":"…","kind":"manifest.accepted",…}.
 *
 * Text may come from anybody: it is escaped, made valid UTF-8 and cut at a limit, so that no
 * content can end its line or look like another member. Members are written in the order in which
 * they are added; names are literals of this program.
 */

#include <glib.h>
#include <stdint.h>

enum {
	DN_JOURNAL_TEXT_LIMIT = 1024, /* bytes of one text before it is escaped */
	DN_JOURNAL_LINE_LIMIT = 16 * 1024,
};

typedef struct DnJournalEntry DnJournalEntry;

/* @kind is a literal such as "order.sent"; @time_ns is CLOCK_REALTIME. */
DnJournalEntry *dn_journal_entry_new(const char *kind, uint64_t time_ns) G_GNUC_WARN_UNUSED_RESULT;
void dn_journal_entry_free(DnJournalEntry *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnJournalEntry, dn_journal_entry_free)

/* NULL adds nothing. What would make the line too long is left out, and the entry says so. */
void dn_journal_entry_text(DnJournalEntry *self, const char *name, const char *value);
void dn_journal_entry_number(DnJournalEntry *self, const char *name, uint64_t value);

/* At least as long as its line. */
size_t dn_journal_entry_size(const DnJournalEntry *self);

/* The line with its number and its line feed. */
void dn_journal_entry_print(const DnJournalEntry *self, uint64_t seq, GString *to);
