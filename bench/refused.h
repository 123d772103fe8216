/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Three ways to learn of a call that seccomp refuses, tried on one process: not at all, by a
 * program on every return from a system call, by a notification that somebody else answers.
 */

#include <stdbool.h>
#include <stdint.h>

/* What is refused: a call of the sensor's classes, and one that is of none. */
enum { CALL_TOLD, CALL_UNTOLD, CALLS };
extern const int refused_calls[CALLS];

/* Refuse those calls with EPERM; false with errno. */
bool filter_errno(void);

/* Notify of them; the descriptor to answer at, or -1 with errno. */
int filter_notify(void);

/* Answer whatever comes at @fd with EPERM until nobody is left to ask; how many. @sync: let the
 * caller's processor change over to the answer at once, where the kernel can (6.6). */
uint64_t answer_notifications(int fd, bool sync);

/* Nanoseconds a call; -1 when it did not end as it has to. */
double time_ordinary(unsigned times);
double time_refused(int nr, unsigned times);
