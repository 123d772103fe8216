/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How long a manifest's nodes are left alone after they exited or could not be made. By manifest: a
 * new epoch owes nothing for the crashes of the one that it is to replace. Pure; times are
 * CLOCK_MONOTONIC.
 */

#include <glib.h>
#include <stdint.h>

#include "model/fleet.h"

typedef struct DnBackoffs DnBackoffs;

DnBackoffs *dn_backoffs_new(void);
void dn_backoffs_free(DnBackoffs *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnBackoffs, dn_backoffs_free)

/*
 * One more of @digest in a row. What could not even be made (@unmade) waits from the first time on,
 * what ran and exited from the second.
 */
void dn_backoffs_failed(DnBackoffs *self, const char *digest, bool unmade, uint64_t now_ns);

/* One has run for long enough: the next failure is a first one. What waits goes on waiting. */
void dn_backoffs_settled(DnBackoffs *self, const char *digest);

/* No node of @digest is made before this; 0: at once. NULL is none. */
uint64_t dn_backoffs_until_ns(const DnBackoffs *self, const char *digest);

/* The first of those after @now_ns, or 0. */
uint64_t dn_backoffs_next_ns(const DnBackoffs *self, uint64_t now_ns);

/* Forget what @assign does not name. */
void dn_backoffs_keep(DnBackoffs *self, const DnAssign *assign);

/* Before the next start after @exits in a row: 0, 1, 2, 4 … 60 s. */
uint64_t dn_backoff_ns(uint32_t exits);
