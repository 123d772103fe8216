/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a spool remembers beside its facts: DIRECTORY/spool.json, {name, reserved, dropped}.
 *
 * Numbers are used before their fact is on disk, so a loss of power could take a fact that the
 * supervisor has. Those of a durable reservation are never given out again.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct {
	char *path;        /* owned */
	char *name;        /* owned: 16 hexadecimal digits */
	uint64_t reserved; /* the last that may be used before more are reserved */
	uint64_t dropped;  /* facts that nobody was told of, beside those that segments have lost */
} DnNumbers;

/*
 * Fill in @self, which is cleared with dn_numbers_clear(). Returns the last number that may have
 * been used. What cannot be read begins anew under another name; a disk that is full now must not
 * keep a host from starting: then nothing is reserved.
 */
uint64_t dn_numbers_init(DnNumbers *self, const char *directory);
void dn_numbers_clear(DnNumbers *self);

/* So that what comes after @last, which was used, may be. On failure nothing more is reserved. */
bool dn_numbers_reserve(DnNumbers *self, uint64_t last, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A fact with the number @last is left. After a loss of spool.json it is far above the reserved. */
void dn_numbers_found(DnNumbers *self, uint64_t last);

/* Set how many were dropped. On a full disk that is remembered by this process alone. */
void dn_numbers_set_dropped(DnNumbers *self, uint64_t dropped);
