/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bucket.h"

#include <glib.h>

#include "base/clock.h"

static void fill(DnBucket *self, const DnBucketRate *rate, uint64_t now_ns)
{
	if (self->filled_ns == 0) {
		self->tokens = rate->burst;
		self->filled_ns = now_ns;
	}
	if (now_ns <= self->filled_ns)
		return;
	double seconds = (double)(now_ns - self->filled_ns) / (double)DN_NS_PER_S;

	self->tokens = MIN(rate->burst, self->tokens + seconds * rate->per_s);
	self->filled_ns = now_ns;
}

bool dn_bucket_has(DnBucket *self, const DnBucketRate *rate, uint64_t now_ns)
{
	fill(self, rate, now_ns);
	return self->tokens >= 1;
}

void dn_bucket_spend(DnBucket *self, const DnBucketRate *rate, double cost, uint64_t now_ns)
{
	fill(self, rate, now_ns);
	self->tokens -= cost;
}

bool dn_bucket_take(DnBucket *self, const DnBucketRate *rate, uint64_t now_ns)
{
	if (!dn_bucket_has(self, rate, now_ns))
		return false;
	self->tokens -= 1;
	return true;
}
