/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where a path leads that a process named, found from outside as the process would have found it.
 *
 * It is walked one component at a time: an absolute link goes on from the root of the process, and
 * so does ".." there. The links of its /proc, which lead to files and not to names (cwd, root, exe,
 * fd/N), are followed as the kernel would for the process; "self" is the process. Everything is
 * opened with O_PATH, so nothing is read, run or waited for. Private to the sensor.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct {
	int root_fd;  /* borrowed */
	int start_fd; /* where a relative path begins; borrowed; -1: not known */
	uint32_t pid; /* of the process, as this one counts; 0: it has gone, nobody is "self" */
	bool follow;  /* the last component too, when it is a link */
} DnResolve;

/* A descriptor, the caller's; -1 and errno. A path that is no honest one's (ELOOP) gives none. */
int dn_resolve_now(const DnResolve *self, const char *path);
