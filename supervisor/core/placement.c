/* SPDX-License-Identifier: Apache-2.0 */
#include "core/placement.h"

static bool is_better(const DnSeat *a, const DnSeat *b, bool spread)
{
	if (spread && a->running != b->running)
		return a->running < b->running;
	if (spread && a->weight != b->weight)
		return a->weight < b->weight;
	return a->room > b->room;
}

uint32_t dn_placement_add(DnSeat *seats, guint n, uint32_t count, bool spread)
{
	uint32_t placed = 0;

	for (; placed < count; placed++) {
		DnSeat *best = NULL;

		for (guint i = 0; i < n; i++)
			if (seats[i].room > 0 &&
			    (best == NULL || is_better(&seats[i], best, spread)))
				best = &seats[i];
		if (best == NULL)
			break;
		best->running++;
		best->room--;
	}
	return placed;
}
