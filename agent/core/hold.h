/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * When a node is frozen to be looked at as a whole. A look at its processes takes a bounded time,
 * and the next goes on behind it. Whoever has many processes with a great many mappings each end
 * and come anew all the time keeps the looks busy with them, and what is to be hidden is always
 * behind: it is not even in the list for as long as a look takes to get there. And what is handed
 * on from process to process, each of which ends at once, is in no list long enough to be looked
 * at. Frozen, nothing ends and nothing comes.
 *
 * A look costs an ordinary process less than a millisecond. So what has not been seen to the end
 * after a second of looks, and a millisecond more for each process, is no ordinary node. Even so it
 * is frozen for half a second at most, and for a twentieth of the time; only one that half a second
 * is not enough for is held longer the next time. One whose newest processes have escaped each of
 * eight looks is held, too: for some milliseconds, since a look has its end there.
 */

#include <stdbool.h>
#include <stdint.h>

/* Begin with zeros. */
typedef struct {
	uint64_t limit_ns;      /* of the next hold; 0: the least */
	uint64_t not_before_ns; /* CLOCK_MONOTONIC, as all times here */
} DnHold;

/*
 * Is the node to be frozen for the next look, after @n_looks that did not come to its end, though
 * each has spent its budget, when it has about @n_processes? Or after @n_fled whose newcomers were
 * gone again?
 */
bool dn_hold_is_due(const DnHold *self, uint32_t n_looks, uint32_t n_fled, uint32_t n_processes,
		    uint64_t now_ns);

/* For how long at most. */
uint64_t dn_hold_limit_ns(const DnHold *self);

/* It was, from @begin_ns to @end_ns; @whole: and was looked at to its end. */
void dn_hold_ended(DnHold *self, bool whole, uint64_t begin_ns, uint64_t end_ns);
