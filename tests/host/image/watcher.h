/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A guard over a yard's image, and other processes that tamper with it: the guard believes its own.
 */

#include <glib.h>
#include <stdbool.h>

#include "image/guard.h"
#include "yard.h"

/* No full pass unless a test asks for it, and sweeps far apart: what is found, the kernel told. */
extern const DnImageGuardRates watcher_told;
/* Sweeps only. */
extern const DnImageGuardRates watcher_swept;

/* Guard the yard's image; returns once the first look at everything is over and found nothing. */
DnImageGuard *watcher_begin(const Yard *yard, const DnImageGuardRates *rates);

/* Run @tamper with @path in a process of its own. */
typedef bool (*WatcherAct)(const char *path);
void watcher_tamper(WatcherAct tamper, const char *path);

/* Step until @path is found to be damaged so, and still is; fails the test after 20 s. Returns its
 * writer. */
pid_t watcher_expect(DnImageGuard *guard, const char *path, DnDamageKind kind);

/* Step until the rounds asked for are over; nothing may be found. */
void watcher_expect_nothing(DnImageGuard *guard, unsigned sweeps, unsigned passes);
