/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What time it is at least (DESIGN 3.7). The real clock may be set, by a person, a battery or an
 * attacker; a manifest that has expired must not become valid again by it. A host remembers the
 * largest time it has written into a record, and judges by whichever is later.
 *
 * A clock that was wrong forwards leaves the floor too high. Nothing that was accepted stops by
 * that; only new manifests need a valid_until behind it, until the floor's file is removed.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	uint64_t seen_ns; /* CLOCK_REALTIME: the largest; 0: none */
	uint64_t kept_ns; /* what is on disk */
} DnTimeFloor;

/* The time to judge by when the clock says @clock_ns. */
uint64_t dn_time_floor_judge(const DnTimeFloor *self, uint64_t clock_ns);

/* @time_ns was written into a record. Whether the file is due: it lags by a minute or more. */
bool dn_time_floor_raise(DnTimeFloor *self, uint64_t time_ns);

/*
 * Whether people are to be told now, once a day by CLOCK_MONOTONIC, that what has expired runs on.
 * *@told_ns is when they were told last, 0: never; set to @monotonic_ns when they are due.
 */
bool dn_expiry_is_due(uint64_t *told_ns, uint64_t monotonic_ns);
