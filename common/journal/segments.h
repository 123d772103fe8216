/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The files of a journal, for journal.c alone. Used by one thread at a time: the one that opens,
 * then the writer.
 */

#include "journal/journal.h"

typedef struct {
	char *dir, *identity;
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	size_t segment_bytes;
	unsigned segments;
	DnJournalDisk disk;

	int dir_fd;
	int fd;           /* of the last segment; -1: none */
	uint64_t segment; /* its number; 0: none */
	size_t size;      /* of its whole batches */
	DnJournalHead head;

	/* What was cut off at the start: how much, and its digest; 0: nothing. */
	size_t torn_bytes;
	char *torn_digest;
} DnSegments;

/* The file name of segment @number: ten digits and ".jsonl". */
char *dn_segment_name(uint64_t number) G_GNUC_WARN_UNUSED_RESULT;

bool dn_segments_open(DnSegments *self, const DnJournalConfig *config,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_segments_clear(DnSegments *self);

/* Must the next batch begin a segment? It then begins with an opening line. */
bool dn_segments_is_full(const DnSegments *self);

/* What became of a batch. */
typedef enum {
	DN_SEGMENTS_DURABLE,
	DN_SEGMENTS_NO_SPACE, /* nothing of it is left; try again later */
	DN_SEGMENTS_FAILED,   /* unknown; do not write before it was opened again */
} DnSegmentsOutcome;

/* Write one sealed batch whose chain ends at @head. Sets @error unless it is durable. */
DnSegmentsOutcome dn_segments_write(DnSegments *self, const GString *batch,
				    const DnJournalHead *head, GError **error);
