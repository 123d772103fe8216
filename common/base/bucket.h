/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A bucket of tokens: something may be done at a steady rate, and in a burst after a rest. Plain
 * values; zeroed memory is a full bucket. Who may spend more than there is goes into debt, and
 * waits until it is paid.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct {
	double burst; /* the most it holds */
	double per_s;
} DnBucketRate;

typedef struct {
	double tokens;
	uint64_t filled_ns; /* CLOCK_MONOTONIC; 0: never, full */
} DnBucket;

/* Is there a whole token now? Takes nothing. */
bool dn_bucket_has(DnBucket *self, const DnBucketRate *rate, uint64_t now_ns);

/* Take @cost, whatever is there. */
void dn_bucket_spend(DnBucket *self, const DnBucketRate *rate, double cost, uint64_t now_ns);

/* Take one if there is one. */
bool dn_bucket_take(DnBucket *self, const DnBucketRate *rate, uint64_t now_ns);
