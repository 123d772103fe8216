/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How far a journal goes: the number of its last entry and the hash of the chain up to there.
 * Whoever knows a head knows that the journal once held exactly that (docs/formats/journal.md).
 */

#include <stdint.h>

#define DN_JOURNAL_HASH_DIGITS 64

typedef struct {
	uint64_t seq; /* 0: nothing yet */
	char hash[DN_JOURNAL_HASH_DIGITS +
		  1]; /* lower-case hexadecimal digits; "" when not known */
} DnJournalHead;
