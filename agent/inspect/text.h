/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The text and words of /proc/PID, line by line. Lines are without their line feed, may hold any
 * byte and need not end in NUL; a line that was cut parses as far as its fixed fields go. Nothing
 * here allocates, but a digest.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DN_MAPPING_NAME = 4096 };

typedef struct {
	uint64_t start, end; /* [start, end), start < end */
	uint64_t offset;     /* in the file, bytes */
	uint64_t dev, ino;   /* as DnInspectClassOf has them; 0, 0 for no file */
	bool writable, executable, shared;
	char name[DN_MAPPING_NAME]; /* cut; untrusted, any byte but NUL */
} DnMapping;

/* "START-END PERM OFFSET MAJOR:MINOR INODE     NAME", numbers hexadecimal but the inode's. */
bool dn_mapping_parse(const char *line, size_t length, DnMapping *mapping);

/* Is it the line of one that is not executable? Of a great many, this is enough to know. */
bool dn_mapping_is_data(const char *line, size_t length);

/* "[vdso]", "[vsyscall]", "[uprobes]": code that the kernel itself puts into a process. */
bool dn_mapping_is_kernel(const DnMapping *mapping);

/* The lines of a status that matter; @seen says which have been there. */
typedef struct {
	uint32_t seen;
	char state;
	uint32_t threads, tracer;
	uint32_t uid[4], gid[4];
	uint64_t capabilities[5]; /* inheritable, permitted, effective, bounding, ambient */
	uint32_t no_new_privs, seccomp;
	char name[64]; /* escaped by the kernel */
} DnStatus;

/* Take in one line. False when it is one of those and does not parse, or is there twice. */
bool dn_status_take(DnStatus *status, const char *line, size_t length);
bool dn_status_is_whole(const DnStatus *status);

/*
 * Feed what cannot change by itself of a line of mountinfo: all but the propagation groups, which
 * peers outside share, the options of the file system, which its other mounts share, and the mark
 * of a root that was unlinked outside; of the mount at "/", which cannot be exchanged, also not
 * where its directory is: the checkout below a node that runs may be set aside. A line that is not
 * understood counts byte by byte.
 */
void dn_mount_line_digest(GChecksum *digest, const char *line, size_t length);

/* "0::PATH": is it the cgroup @path, or below it? False for the line of any other hierarchy. */
bool dn_cgroup_line_is_below(const char *line, size_t length, const char *path);

/* "mnt:[4026531841]". */
bool dn_namespace_parse(const char *link, size_t length, const char *kind, uint64_t *ino);

/*
 * A word of pagemap: the page is the process's own, present or swapped out, and no page of a file.
 * A guard, which looks swapped out and holds nothing, is none.
 */
bool dn_page_is_copied(uint64_t word);
bool dn_page_is_of_file(uint64_t word);
