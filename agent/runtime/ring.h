/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A log ring on disk: segment files in one directory, each named by the position of its first
 * byte in everything ever logged, so that a reader can go on where it stopped. The newest two
 * are kept. Plain C without GLib: dnode-log, which runs once a node, links this and libc only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DN_RING_SUFFIX ".log"
enum { DN_RING_DIGITS = 16, DN_RING_SEGMENTS = 2, DN_RING_NAME_BYTES = 24 };

typedef struct {
	int directory_fd; /* borrowed */
	int segment_fd;   /* owned */
	uint64_t start;   /* of the segment being written */
	uint64_t size;    /* of it, so far */
	uint64_t before;  /* start of the older segment, UINT64_MAX: none */
	uint64_t limit;   /* bytes a segment */
} DnRing;

/* Go on after the newest segment, or begin at 0. False: errno says why. */
bool dn_ring_open(DnRing *self, int directory_fd, uint64_t limit);
void dn_ring_close(DnRing *self);

/* Append a record of at most the limit whole, in a new segment when it does not fit. */
bool dn_ring_append(DnRing *self, const char *record, size_t length);

/* The start that a segment's file name says; false for every other name. */
bool dn_ring_parse_name(const char *name, uint64_t *start);
void dn_ring_format_name(uint64_t start, char name[DN_RING_NAME_BYTES]);
