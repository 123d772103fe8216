/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "folder.h"
#include "journal/peer.h"
#include "support/suite.h"

static const uint8_t key[DN_PUBLIC_KEY_BYTES] = {1}, other_key[DN_PUBLIC_KEY_BYTES] = {2};
static Folder folder;
static DnJournal *journal;
static DnJournalPeer peer;

static void setup(void)
{
	folder_init(&folder);
	journal = folder_open(&folder, NULL);
	peer = (DnJournalPeer){.identity = IDENTITY};
	dn_journal_peer_have_key(&peer, journal, key, 1);
}

static void teardown(void)
{
	g_clear_pointer(&journal, dn_journal_close);
	folder_clear(&folder);
	dn_suite_end();
}

TestSuite(journal_peer, .init = setup, .fini = teardown, .timeout = 60);

static DnJournalPeerVerdict see(uint64_t seq, char digit)
{
	DnJournalHead head = {.seq = seq};

	memset(head.hash, digit, sizeof(head.hash) - 1);
	return dn_journal_peer_seen(&peer, journal, &head, 1);
}

Test(journal_peer, whose_journal_is_shorter_than_it_was_has_lost_its_end)
{
	cr_assert(eq(int, see(9, 'a'), DN_JOURNAL_PEER_FINE));
	dn_journal_peer_have_key(&peer, journal, key, 1);
	cr_assert(eq(int, see(2, 'b'), DN_JOURNAL_PEER_SHORTENED));
}

Test(journal_peer, of_another_key_has_lost_nothing_by_beginning_anew)
{
	cr_assert(eq(int, see(9, 'a'), DN_JOURNAL_PEER_FINE));
	dn_journal_peer_have_key(&peer, journal, other_key, 1);
	cr_assert(eq(int, see(2, 'b'), DN_JOURNAL_PEER_FINE));
	cr_assert(eq(int, see(1, 'c'), DN_JOURNAL_PEER_SHORTENED));
}

Test(journal_peer, of_another_key_leaves_what_was_told_last_under_the_key_that_told_it)
{
	see(8, 'a');
	see(9, 'b');
	dn_journal_peer_have_key(&peer, journal, other_key, 1);
	dn_journal_flush(journal);
	/* The first, at once; the last, when the key has changed. */
	cr_assert(eq(u64, dn_journal_head(journal).seq, 2));
}
