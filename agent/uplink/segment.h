/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One file of a spool: records, appended one after the other and never changed.
 *
 *   u32 length, u8[8] of SHA-256 over number and payload, u64 number, payload
 *
 * Numbers grow. A crash cuts the last record short; a record that the disk has changed is left out,
 * and what follows it counts.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { DN_SEGMENT_HEAD = 20 }; /* bytes before each payload */

/* Open for as long as a fact of it waits. */
typedef struct {
	char *path; /* owned */
	int fd;     /* owned */
	size_t size;
	unsigned waiting; /* the spool counts them */
	unsigned lost;    /* at least so many records are not whole, and nobody was told */
	bool torn;        /* it ends in what is no record: nothing may be appended any more */
} DnSegment;

typedef struct {
	uint64_t number;
	off_t offset; /* of the payload */
	uint32_t length;
} DnSegmentRecord;

/* A file that is there, of @limit bytes at most, to be read. @records get its DnSegmentRecord. */
DnSegment *dn_segment_open(const char *path, size_t limit, GArray *records,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* A new one, to be appended to. */
DnSegment *dn_segment_make(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_segment_free(DnSegment *self);

/* On failure nothing was appended, or the segment is torn. */
bool dn_segment_append(DnSegment *self, uint64_t number, GBytes *payload, DnSegmentRecord *record,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The payload. DN_ERROR_UNTRUSTED: the disk has changed this record, which says nothing of others.
 */
GBytes *dn_segment_read(const DnSegment *self, const DnSegmentRecord *record,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
