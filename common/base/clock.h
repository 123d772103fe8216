/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The only reader of time. Durations use the monotonic clock, people read the real one. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define DN_NS_PER_S UINT64_C(1000000000)
#define DN_NS_PER_MS UINT64_C(1000000)
#define DN_NS_PER_US UINT64_C(1000)

/* Nanoseconds of CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns(). */
uint64_t dn_clock_monotonic_ns(void);

/*
 * Nanoseconds of CPU that the calling thread has used: bounds work that must be done whole however
 * busy the machine is.
 */
uint64_t dn_clock_thread_ns(void);

/* Nanoseconds since 1970 of CLOCK_REALTIME. */
uint64_t dn_clock_realtime_ns(void);

/*
 * Names this boot of the machine: CLOCK_MONOTONIC of another one means nothing. "unknown" where the
 * kernel does not tell. Static.
 */
const char *dn_clock_boot_id(void);

/* RFC 3339 in UTC with nine digits of a second: 2026-01-02T03:04:05.000000006Z. */
char *dn_clock_format(uint64_t realtime_ns) G_GNUC_WARN_UNUSED_RESULT;

/* Parse RFC 3339 (Z or an offset; years 1970 to 2500). False when @text is not a time. */
bool dn_clock_parse(const char *text, uint64_t *realtime_ns) G_GNUC_WARN_UNUSED_RESULT;
