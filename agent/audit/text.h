/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Reading the kernel's texts: pure, and safe with whatever a node put into them. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The value behind "NAME:" of a line of /proc/PID/status, without blanks around it, or NULL. */
char *dn_status_value(const char *status, const char *name);

/* One line of mountinfo. */
typedef struct {
	uint64_t id;
	char *root;    /* within its file system */
	char *point;   /* as the node sees it; octal escapes are undone */
	char *options; /* of the mount: "ro,nosuid,nodev" */
	char *shared;  /* the optional fields: "shared:3 master:1", or "" */
	char *type;
	char *super; /* of the file system: "rw,size=8192k,nr_inodes=64" */
} DnMount;

/* Of DnMount, in the order of mounting; lines that are none are left out. */
GPtrArray *dn_mounts_parse(const char *mountinfo);

/* True when @options ("a,b=c") has @option, whole; "size" is found as "size=8k" with @value. */
bool dn_mount_has(const char *options, const char *option);
char *dn_mount_value(const char *options, const char *option); /* or NULL */

/* "8192k" in bytes; 0 when it is none. */
uint64_t dn_mount_size(const char *value);

/* The hard limit in a row of /proc/PID/limits; UINT64_MAX when unlimited, false when not there. */
bool dn_limit_of(const char *limits, const char *row, uint64_t *value);

/* A bound socket of /proc/PID/net/tcp or udp that nobody is connected to. */
typedef struct {
	uint16_t port;
	bool loopback;
} DnBound;

/* Of DnBound: listening ones of a TCP table, unconnected ones of a UDP table. */
GArray *dn_bound_sockets(const char *table, bool tcp);

/* The lines of a table below its title. */
unsigned dn_table_rows(const char *table);
