/* SPDX-License-Identifier: Apache-2.0 */
#include "core/hold.h"

#include <glib.h>

#include "base/clock.h"

enum {
	LOOKS = 50,            /* of 20 ms each */
	PROCESSES_A_LOOK = 20, /* ordinary ones */
	FLED = 8,
	LEAST_MS = 500,
	MOST_MS = 4000,
	REST = 20, /* times as long as it was frozen it is left alone */
};

bool dn_hold_is_due(const DnHold *self, uint32_t n_looks, uint32_t n_fled, uint32_t n_processes,
		    uint64_t now_ns)
{
	bool has_no_end = n_looks >= LOOKS + n_processes / PROCESSES_A_LOOK;

	return (has_no_end || n_fled >= FLED) && now_ns >= self->not_before_ns;
}

uint64_t dn_hold_limit_ns(const DnHold *self)
{
	return MAX(self->limit_ns, LEAST_MS * DN_NS_PER_MS);
}

void dn_hold_ended(DnHold *self, bool whole, uint64_t begin_ns, uint64_t end_ns)
{
	self->limit_ns = whole ? 0 : MIN(2 * dn_hold_limit_ns(self), MOST_MS * DN_NS_PER_MS);
	self->not_before_ns = end_ns + REST * (end_ns - begin_ns);
}
