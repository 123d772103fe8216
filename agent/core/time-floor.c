/* SPDX-License-Identifier: Apache-2.0 */
#include "core/time-floor.h"

#include "base/clock.h"

#define LAG_NS (60 * DN_NS_PER_S)
#define DAY_NS (24 * 3600 * DN_NS_PER_S)

uint64_t dn_time_floor_judge(const DnTimeFloor *self, uint64_t clock_ns)
{
	return MAX(self->seen_ns, clock_ns);
}

bool dn_time_floor_raise(DnTimeFloor *self, uint64_t time_ns)
{
	self->seen_ns = MAX(self->seen_ns, time_ns);
	return self->seen_ns - self->kept_ns >= LAG_NS;
}

bool dn_expiry_is_due(uint64_t *told_ns, uint64_t monotonic_ns)
{
	if (*told_ns != 0 && monotonic_ns - *told_ns < DAY_NS)
		return false;
	*told_ns = monotonic_ns;
	return true;
}
