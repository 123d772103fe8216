/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What stat(2) said of a file when it was verified, to be compared with what it says now.
 *
 * The kernel moves ctime at every write, change of attributes and change of the number of links,
 * through whatever name or descriptor, and nobody can set it. What it does not show: pages of the
 * cache that no write made (probe.h), a write below the file system, and a host whose clock was put
 * back. Those are for the full pass.
 *
 * A ctime is only as fine as a tick of the kernel: a write in the tick of the stamp leaves none. So
 * a stamp is not believed until the file's last change is older than DN_STAMP_SETTLE_NS.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define DN_STAMP_SETTLE_NS INT64_C(50000000)

typedef struct {
	uint64_t dev, ino;
	int64_t size;
	int64_t mtime_ns, ctime_ns;
	uint32_t mode, uid, gid, links;
} DnStamp;

DnStamp dn_stamp_of(const struct stat *info);

/* Is anything of it different? */
bool dn_stamp_differs(const DnStamp *a, const DnStamp *b);

/* May the file have been written in the tick it was stamped at? @now_ns is CLOCK_REALTIME. */
bool dn_stamp_is_fresh(const DnStamp *self, int64_t now_ns);
