/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Is a database what was written into it? SQLite sees a torn tree and not a changed value, so every
 * row carries a sum of what it says. A row without one was written before there were sums.
 */

#include <sqlite3.h>

#include "store/backend.h"

/* What a row of `entry`, or with @value NULL its removal, is summed to. */
int64_t dn_sqlite_sum(const char *key, uint64_t revision, const void *value, size_t size);
/* The same for a row of `counter`. */
int64_t dn_sqlite_sum_counter(const char *name, uint64_t value);

/*
 * Before anything is opened: is there a file at all where there was one? SQLite would begin an
 * empty database in place of a missing or empty file, and remove the log that belonged to it.
 */
bool dn_sqlite_is_there(const char *path, const DnStoreFloor *floor,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Reads everything. DN_ERROR_UNTRUSTED: damaged; the line says what and what to do. */
bool dn_sqlite_is_sound(sqlite3 *db, const DnStoreFloor *floor,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Sets the error of a database that is not sound, returns false. */
bool dn_sqlite_damaged(GError **error, const char *what, ...) G_GNUC_PRINTF(2, 3);
