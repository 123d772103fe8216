/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The journal of one identity on disk: what it has decided, in order, signed.
 *
 * A thread of its own writes. Entries that come while it writes share the next batch: one write,
 * one fsync, one signature. Callbacks come on the main context that was the default of the thread
 * that opened it, and every function but the open is called from there.
 *
 * What can go wrong with the disk:
 *
 *   no space    the reserve is given up and the batch tried again; if that does not help the
 *               batch is dropped and counted, its callbacks fail with DN_ERROR_UNAVAILABLE. The
 *               next batch is tried anew and says first how many entries are missing. A patient
 *               journal drops no batch: it tries the same one again until there is space. A file
 *               system that has become read-only is no space.
 *   too slow    more than DN_JOURNAL_QUEUE_LIMIT entries wait, also behind a patient one: further
 *               ones are dropped and counted, and only their own callbacks fail.
 *   fsync, I/O  what the kernel holds may be lost and no later fsync would tell: everything from
 *               that batch on is dropped and counted in the same way until it is opened again.
 *
 * Adding never waits and never fails: whoever protects goes on. Whoever promises waits for the
 * callback and promises nothing when it brings an error.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "journal/chain.h"

enum {
	DN_JOURNAL_SEGMENT_BYTES = 1024 * 1024, /* a segment that is larger is the last one's */
	DN_JOURNAL_SEGMENTS = 64,               /* that are kept; older ones are removed */
	DN_JOURNAL_RESERVE_BYTES = 256 * 1024,  /* given up when the disk is full */
	DN_JOURNAL_QUEUE_LIMIT = 8192,          /* entries not written yet; more are dropped */
	DN_JOURNAL_RETRY_MS = 250,              /* a patient journal without space */
};

typedef struct DnJournal DnJournal;

/* @error is NULL once the entries are durable; borrowed for the call. */
typedef void (*DnJournalDone)(void *data, const GError *error);

/* The two calls that a test lets fail. */
typedef struct {
	ssize_t (*write)(int fd, const void *data, size_t size);
	int (*sync)(int fd);
} DnJournalDisk;

typedef struct {
	const char *dir;        /* made when it is not there, mode 0700 */
	const char *identity;   /* see dn_journal_is_identity() */
	const DnSecretKey *key; /* borrowed until dn_journal_close() */
	/* Called once when entries begin to be dropped, or to wait. May be NULL. */
	void (*trouble)(void *data, const GError *error);
	void *data;
	/* No space: its owner waits rather than go on without an entry. */
	bool patient;
	/* Entries that an earlier one had to drop: the first batch says how many are missing. */
	uint64_t missing;
	/* Told every entry of the last segment while that is opened. May be NULL. */
	const DnJournalVisitor *visitor;
	void *visitor_data;
	/* 0 and NULL: as above, and the real ones. */
	size_t segment_bytes;
	unsigned segments;
	const DnJournalDisk *disk;
} DnJournalConfig;

/*
 * Verifies the last segment first. A last batch that was not finished is cut off, kept in the
 * file `torn`, and the next batch says so. Fails with DN_ERROR_UNTRUSTED when the chain is broken
 * or of another key, and G_IO_ERROR; the line says what to do.
 */
DnJournal *dn_journal_open(const DnJournalConfig *config, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Writes what is waiting and calls every callback first; what has no space then is dropped. NULL is
 * nothing.
 */
void dn_journal_close(DnJournal *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnJournal, dn_journal_close)

/* Take @entry. @done may be NULL; otherwise it is called exactly once, later. */
void dn_journal_add(DnJournal *self, DnJournalEntry *entry, DnJournalDone done, void *data);

/*
 * Take @entry, which tells how far another journal has come. It is no news (dn_journal_news()), or
 * two journals that tell each other of their heads would never come to rest.
 */
void dn_journal_add_head(DnJournal *self, DnJournalEntry *entry);

/* Call @done once everything added so far is durable; with the error that stops writing, if any. */
void dn_journal_after(DnJournal *self, DnJournalDone done, void *data);

/* Wait until everything added so far is durable or dropped, then call what waits for it. */
void dn_journal_flush(DnJournal *self);

/* The last durable batch. */
DnJournalHead dn_journal_head(DnJournal *self);

/* How many entries but those of dn_journal_add_head() have become durable since it was opened. */
uint64_t dn_journal_news(DnJournal *self);

/* What an acknowledgement would fail with now, or NULL. The caller frees it. */
GError *dn_journal_trouble(DnJournal *self) G_GNUC_WARN_UNUSED_RESULT;

/* Whether it writes nothing more until it is closed and opened again. */
bool dn_journal_has_failed(DnJournal *self);

/* Entries that were dropped and that no batch has told of yet. */
uint64_t dn_journal_gap(DnJournal *self);

typedef struct {
	uint64_t entries, batches; /* written since it was opened */
	uint64_t heads;            /* of these entries: of dn_journal_add_head() */
	uint64_t dropped;          /* entries that are in no batch */
} DnJournalCounts;

DnJournalCounts dn_journal_counts(DnJournal *self);
