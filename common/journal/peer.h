/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The other side of a link, as this journal keeps its head: when a link begins, then at most once
 * a minute and only when it has changed, and when the link ends.
 */

#include "journal/journal.h"

enum { DN_JOURNAL_PEER_EVERY_S = 60 };

typedef struct {
	char identity[DN_JOURNAL_IDENTITY_LIMIT + 1];
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	DnJournalHead seen, kept; /* last told; last journalled */
	uint64_t kept_ns;         /* CLOCK_MONOTONIC; 0: never */
} DnJournalPeer;

/*
 * It is known by @key. Another key than before is another machine, whose journal has nothing to do
 * with what was told until now.
 */
void dn_journal_peer_have_key(DnJournalPeer *self, DnJournal *journal,
			      const uint8_t key[DN_PUBLIC_KEY_BYTES], uint64_t now_ns);

/* The head that an authenticated peer has just told; may be called for every message. */
typedef enum {
	DN_JOURNAL_PEER_FINE,
	/* It ends before what was told earlier, or is another one there: its end is lost. */
	DN_JOURNAL_PEER_SHORTENED,
} DnJournalPeerVerdict;

/* @journal may be NULL. A peer that told no head (hash "") is passed over. */
DnJournalPeerVerdict dn_journal_peer_seen(DnJournalPeer *self, DnJournal *journal,
					  const DnJournalHead *head, uint64_t now_ns);

/* The link has ended, or we end: keep what was told last. */
void dn_journal_peer_settle(DnJournalPeer *self, DnJournal *journal, uint64_t now_ns);
