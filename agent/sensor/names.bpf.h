/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#pragma once

/* What a program of many names is asked to be. */

#include "sensor/text.bpf.h"

enum { NAMES = 8 }; /* times that a program of many names may be told to be itself */

/* What an argument tells a program of many names to be. */
enum asked {
	ASKED_OTHER,  /* something, or nothing it knows */
	ASKED_SHELL,  /* sh, ash, bash, dash, ksh, mksh, zsh, fish, csh, tcsh, rbash, hush */
	ASKED_ITSELF, /* the next argument says */
	ASKED_LONG,   /* by a name that nothing honest has */
	ASKED_UNREAD, /* it is not in memory */
};

/* Up to five letters that end in "sh". */
static __always_inline int is_shell(__u64 letters)
{
	const __u64 sh = LETTERS('s', 'h', 0, 0, 0, 0, 0);

	return letters == sh || letters >> 8 == sh || letters >> 16 == sh || letters >> 24 == sh;
}

static __always_inline enum asked look_at_name(__u64 at, __u64 name)
{
	if (name == NAME_UNREAD)
		return ASKED_UNREAD;
	if (name & NAME_LONG)
		return ASKED_LONG;
	__u64 letters = letters_at(at + NAME_OFFSET(name));
	if ((letters & 0xff) == '-') /* what a login shell is called by */
		letters = letters_at(at + NAME_OFFSET(name) + 1);
	if (is_shell(letters))
		return ASKED_SHELL;
	/* And whatever else begins like that. */
	return letters == LETTERS('b', 'u', 's', 'y', 'b', 'o', 'x') ||
			       (letters & 0xffffffffffff) ==
				       LETTERS('t', 'o', 'y', 'b', 'o', 'x', 0)
		       ? ASKED_ITSELF
		       : ASKED_OTHER;
}

/*
 * A program of many names asks its argument 0 which one it is, or, called by its own name, the next
 * one, again and again. They are in the new memory already, where the kernel has copied them.
 */
static __always_inline int acts_as_shell(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u64 at = BPF_CORE_READ(task, mm, arg_start), end = BPF_CORE_READ(task, mm, arg_end);

	for (int i = 0; i < NAMES; i++) {
		if (at >= end)
			return 0;
		__u64 name = last_name(at);
		enum asked asked = look_at_name(at, name);
		if (asked == ASKED_SHELL || asked == ASKED_LONG)
			return 1;
		if (asked != ASKED_ITSELF)
			return 0;
		at += NAME_LENGTH(name);
	}
	return 1;
}

/* DN_DRIFT_NONE when the file may be executed as it is. */
static __always_inline __u32 class_of_exec(__u32 flags)
{
	__u32 class = class_of_program(flags);

	if (class == DN_DRIFT_NONE && flags & DN_FILE_MULTI && !(flags & DN_FILE_SHELL) &&
	    acts_as_shell())
		return DN_DRIFT_SHELL;
	return class;
}
