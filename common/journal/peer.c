/* SPDX-License-Identifier: Apache-2.0 */
#include "journal/peer.h"

#include <string.h>

#include "base/clock.h"
#include "seal/digest.h"

static bool is_same(const DnJournalHead *a, const DnJournalHead *b)
{
	return a->seq == b->seq && g_str_equal(a->hash, b->hash);
}

static void keep(DnJournalPeer *self, DnJournal *journal, uint64_t now_ns)
{
	DnJournalEntry *entry = dn_journal_entry_new("journal.head", dn_clock_realtime_ns());
	g_autofree char *key = dn_digest_text(self->key);

	dn_journal_entry_text(entry, "of", self->identity);
	dn_journal_entry_text(entry, "of_key", key);
	dn_journal_entry_number(entry, "of_seq", self->seen.seq);
	dn_journal_entry_text(entry, "of_hash", self->seen.hash);
	dn_journal_add_head(journal, entry);
	self->kept = self->seen;
	self->kept_ns = now_ns;
}

void dn_journal_peer_have_key(DnJournalPeer *self, DnJournal *journal,
			      const uint8_t key[DN_PUBLIC_KEY_BYTES], uint64_t now_ns)
{
	if (memcmp(self->key, key, sizeof(self->key)) == 0)
		return;
	dn_journal_peer_settle(self, journal, now_ns);
	self->seen = self->kept = (DnJournalHead){0};
	self->kept_ns = 0;
	memcpy(self->key, key, sizeof(self->key));
}

DnJournalPeerVerdict dn_journal_peer_seen(DnJournalPeer *self, DnJournal *journal,
					  const DnJournalHead *head, uint64_t now_ns)
{
	bool known = self->seen.hash[0] != '\0';
	bool shortened = false;

	if (head->hash[0] == '\0' || (known && is_same(head, &self->seen)))
		return DN_JOURNAL_PEER_FINE;
	shortened = known && head->seq <= self->seen.seq;
	/* Both ends of the gap are kept, whatever the time. */
	if (shortened)
		dn_journal_peer_settle(self, journal, now_ns);
	self->seen = *head;
	if (journal != NULL && (shortened || self->kept_ns == 0 ||
				now_ns - self->kept_ns >= DN_JOURNAL_PEER_EVERY_S * DN_NS_PER_S))
		keep(self, journal, now_ns);
	return shortened ? DN_JOURNAL_PEER_SHORTENED : DN_JOURNAL_PEER_FINE;
}

void dn_journal_peer_settle(DnJournalPeer *self, DnJournal *journal, uint64_t now_ns)
{
	if (journal != NULL && self->seen.hash[0] != '\0' && !is_same(&self->seen, &self->kept))
		keep(self, journal, now_ns);
}
