/* SPDX-License-Identifier: Apache-2.0 */
#include "health/probe.h"

#include "base/clock.h"

bool dn_health_count(DnHealth *self, const DnHealthPolicy *policy, bool answered, uint64_t now_ns)
{
	bool was = self->healthy;

	if (answered) {
		self->good = MIN(self->good, UINT32_MAX - 1) + 1;
		self->bad = 0;
		if (self->good >= policy->rise)
			self->healthy = true;
	} else {
		self->bad = MIN(self->bad, UINT32_MAX - 1) + 1;
		self->good = 0;
		if (self->bad >= policy->fall)
			self->healthy = false;
	}
	if (self->healthy)
		self->unhealthy_since_ns = 0;
	else if (self->unhealthy_since_ns == 0)
		self->unhealthy_since_ns = now_ns;
	return was != self->healthy;
}

bool dn_health_is_hopeless(const DnHealth *self, const DnHealthPolicy *policy, uint64_t now_ns)
{
	return self->unhealthy_since_ns != 0 && now_ns >= self->unhealthy_since_ns &&
	       now_ns - self->unhealthy_since_ns >= policy->replace_after_ms * DN_NS_PER_MS;
}
