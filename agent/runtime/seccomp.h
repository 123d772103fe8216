/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The system calls of a node, as the "seccomp" member of an OCI configuration: everything that
 * is not named is refused with EPERM, another architecture's entry kills the thread.
 */

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Every condition is "(argument & mask) == value". Only bits that the kernel looks at may be in
 * the mask: the upper half of a register that holds an int is whatever the caller left there.
 */
typedef struct {
	unsigned index;
	uint64_t mask, value;
} DnSeccompArg;

enum { DN_SECCOMP_ARGS = 3 };

typedef struct {
	const char *names[3]; /* NULL-terminated when fewer */
	int errnum;           /* 0: allow */
	size_t n_args;        /* 0: whatever the arguments */
	DnSeccompArg args[DN_SECCOMP_ARGS];
} DnSeccompRule;

/* The tables, seccomp-tables.c. */
extern const char *const dn_seccomp_plain[]; /* allowed whatever the arguments, NULL-terminated */
extern const DnSeccompRule dn_seccomp_rules[];
extern const size_t dn_seccomp_n_rules;
extern const DnSeccompRule dn_seccomp_wx[]; /* write xor execute: all but jit services */
extern const size_t dn_seccomp_n_wx;
extern const uint32_t dn_seccomp_ioctls[]; /* requests, 0-terminated */

/*
 * @jit: memory may become executable. @memfd: the pid namespace makes memfds non-executable. Only
 * both together allow memfd_create: what is written to a memfd can be mapped executable through a
 * second mapping, and no filter sees which file a mapping is of.
 */
JsonObject *dn_seccomp_profile(bool jit, bool memfd) G_GNUC_WARN_UNUSED_RESULT;
