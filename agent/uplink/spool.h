/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Facts that must reach the supervisor, in the order they happened, each effectively once.
 *
 * A fact is appended to the last segment file, sent when a link is up, and kept until the
 * supervisor says that it is in its store. Numbers only grow, also over restarts and losses of
 * power; together with the spool's random name they let the supervisor drop what it had before.
 * Appending does not wait for the disk: a loss of power (not of a process) may take what was
 * appended in the last moments, and nothing older.
 *
 *   DIRECTORY/spool.json       numbers.h
 *   DIRECTORY/NUMBER.seg       records: segment.h
 *   DIRECTORY/NUMBER.seg.bad   what could not be read, set aside
 *
 * Bounded: past DN_SPOOL_LIMIT bytes, or on a full disk, the oldest segment goes and its facts
 * are counted. So are those that the disk has damaged, as far as that can be known.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
	DN_SPOOL_SEGMENT = 128 * 1024,
	DN_SPOOL_LIMIT = 8 * 1024 * 1024,
	DN_SPOOL_RECORD = 64 * 1024, /* largest payload */
	DN_SPOOL_WINDOW = 64,        /* facts that are sent ahead of their acknowledgement */
	DN_SPOOL_BAD = 8,            /* segments that are set aside; later ones are removed */
};

typedef struct DnSpool DnSpool;

typedef struct {
	uint64_t number;
	uint64_t previous; /* number of the fact before it, 0: nothing before it is left here */
	GBytes *payload;   /* owned */
} DnSpoolEntry;

/*
 * @limit: DN_SPOOL_LIMIT. What is damaged is left out and counted; fails only where the directory
 * cannot be made or read.
 */
DnSpool *dn_spool_open(const char *directory, size_t limit,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* What was appended is on disk when it returns. */
void dn_spool_close(DnSpool *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnSpool, dn_spool_close)

/* 16 hexadecimal digits, drawn when the directory was made. */
const char *dn_spool_name(const DnSpool *self);

/*
 * False: the disk has no room even without older facts, and the fact is the caller's still, to be
 * sent at once or counted with dn_spool_count_dropped().
 */
bool dn_spool_append(DnSpool *self, GBytes *payload, GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A fact that was not appended was not sent either. */
void dn_spool_count_dropped(DnSpool *self);

/*
 * The next fact to send, if the window allows one. A record that the disk has changed is dropped,
 * as is the whole segment where that cannot be read.
 */
bool dn_spool_take(DnSpool *self, DnSpoolEntry *entry) G_GNUC_WARN_UNUSED_RESULT;
/* What was taken last cannot be sent: it is dropped, or everything after it would wait for it. */
void dn_spool_give_up(DnSpool *self);
/* Begin again with the oldest: a new link, or one on which nothing is acknowledged. */
void dn_spool_rewind(DnSpool *self);
/* Everything up to @number has been stored elsewhere. */
void dn_spool_acknowledge(DnSpool *self, uint64_t number);

/* The last number that was used. */
uint64_t dn_spool_last(const DnSpool *self);

/* How many wait; how many are sent and not acknowledged; the oldest's number or 0. */
unsigned dn_spool_length(const DnSpool *self);
unsigned dn_spool_sent(const DnSpool *self);

/* How many facts, at least, were dropped since the last call with @forget. */
uint64_t dn_spool_dropped(DnSpool *self, bool forget);

/* Wait until everything appended is on disk. */
bool dn_spool_flush_now(DnSpool *self, GError **error) G_GNUC_WARN_UNUSED_RESULT;
