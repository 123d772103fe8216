/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Failpoints: named places where a program can be made to fail (docs/failpoints.md).
 *
 *     if (!dn_failpoint("agent.term.save.before", error))   where a GError can be returned, or NULL
 *             return false;
 *     dn_failpoint_pass("agent.node.promote.before");       where nothing can be returned
 *
 * An armed point is taken once and then disarmed, unless it is armed for always:
 *
 *     crash     SIGKILL to the program itself: nothing is flushed, no exit handler runs
 *     error     dn_failpoint() is false: DN_ERROR_UNAVAILABLE with the point's name and errno EIO;
 *               with `error:ENOSPC` (EIO EROFS EDQUOT ENOMEM EMFILE EPERM) what that errno stands
 * for delay:MS  it sleeps there, then goes on off       disarmed
 *
 * Every point puts itself into a section of the program, so that all are known without being
 * hit; a name stands in one place. Without DN_FAILPOINTS (meson option `failpoints`) all of this is
 * nothing, and a program has neither names nor section.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The environment variable, and the file of a daemon's run directory that is taken at its start. */
#define DN_FAILPOINTS_VARIABLE "DNODE_FAILPOINTS"
#define DN_FAILPOINTS_FILE "failpoints"

typedef enum { DN_FAIL_OFF, DN_FAIL_CRASH, DN_FAIL_ERROR, DN_FAIL_DELAY } DnFailAction;

/* One place. Everything but the name and can_fail belongs to the lock in failpoint.c. */
typedef struct {
	const char *name;
	bool can_fail; /* `error` has somewhere to go */
	DnFailAction action;
	bool always;
	unsigned delay_ms;
	int errsv;      /* of `error`; 0: DN_ERROR_UNAVAILABLE */
	uint64_t skip;  /* hits that still pass before it is taken */
	uint64_t hits;  /* while anything was armed or counted */
	uint64_t taken; /* how often it crashed, failed or slept */
} DnFailpoint;

#ifdef DN_FAILPOINTS

/* Not zero while a point is armed or hits are counted: all that a pass costs otherwise. */
extern int dn_failpoints_active;

#define DN_FAILPOINT_HERE_(name_, can_fail_)                                                       \
	static DnFailpoint failpoint_ = {.name = (name_), .can_fail = (can_fail_)};                \
	/* A pointer, whose alignment leaves no gaps in the section whatever the compiler likes.   \
	 */                                                                                        \
	static DnFailpoint *failpoint_entry_ __attribute__((section("dn_failpoints"), used)) =     \
		&failpoint_

#define dn_failpoint(name_, error_)                                                                \
	(__extension__({                                                                           \
		DN_FAILPOINT_HERE_(name_, true);                                                   \
		__atomic_load_n(&dn_failpoints_active, __ATOMIC_RELAXED) == 0 ||                   \
			dn_failpoint_hit(&failpoint_, (error_));                                   \
	}))

#define dn_failpoint_pass(name_)                                                                   \
	do {                                                                                       \
		DN_FAILPOINT_HERE_(name_, false);                                                  \
		if (__atomic_load_n(&dn_failpoints_active, __ATOMIC_RELAXED) != 0)                 \
			(void)dn_failpoint_hit(&failpoint_, NULL);                                 \
	} while (0)

bool dn_failpoint_hit(DnFailpoint *self, GError **error);

/*
 * Carry out @spec: NAME=ACTION, parted by commas, where ACTION may end in @N (the Nth hit from now,
 * once) or * (every hit); `count` counts the hits of every point, `off` ends all that. Nothing is
 * changed when any of it is wrong. DN_ERROR_INVALID names the nearest point there is.
 */
bool dn_failpoints_arm(const char *spec, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* As they stand now, by name; of DnFailpoint, copies. */
GPtrArray *dn_failpoints_list(void);

/*
 * At a program's start: what the environment arms, and what @run_dir/failpoints says (or NULL),
 * which is removed, so that it holds for one start. A point of another program is only warned of.
 */
void dn_failpoints_begin(const char *run_dir);

#else

#define dn_failpoint(name_, error_) ((void)(error_), true)
#define dn_failpoint_pass(name_) ((void)0)

static inline void dn_failpoints_begin(const char *run_dir)
{
}

#endif
