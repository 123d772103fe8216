/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Run a program to its end. It gets a new session, default signals, a small environment and no
 * descriptor that is not named here. Safe in a program with many threads; the caller's
 * process must not reap children it does not know (waitpid(-1, …)).
 */

#include <glib.h>
#include <stdbool.h>

enum { DN_PROGRAM_OUTPUT_BYTES = 4096, DN_PROGRAM_EXTRA = 2 };

typedef struct {
	const char *const *argv;         /* argv[0] is searched in PATH when it has no slash */
	int stdin_fd;                    /* -1: /dev/null */
	int stdout_fd;                   /* -1: captured */
	int stderr_fd;                   /* -1: captured */
	int extra_fds[DN_PROGRAM_EXTRA]; /* become 3, 4…; -1: none */
	unsigned timeout_ms;             /* past it the program is killed: DN_ERROR_EXHAUSTED */
	int nice;                        /* setpriority(2), also of its session's autogroup */
} DnProgram;

/* Everything captured, no extra descriptor. */
#define DN_PROGRAM(argv_, timeout_ms_)                                                             \
	{                                                                                          \
		.argv = (argv_), .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1,                 \
		.extra_fds = {-1, -1}, .timeout_ms = (timeout_ms_)                                 \
	}

/*
 * True when the program exited with 0. *@output, when wanted, is the first
 * DN_PROGRAM_OUTPUT_BYTES of what was captured, untouched but for blanks at its end. After a
 * failure it is part of @error instead, made printable.
 */
bool dn_program_run_now(const DnProgram *program, char **output,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* In two halves, to do something else meanwhile. NULL: nothing was started. */
typedef struct DnProgramRun DnProgramRun;
DnProgramRun *dn_program_begin(const DnProgram *program, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Waits for what is left of the time, and frees @run, which may be NULL (false, no error). */
bool dn_program_end_now(DnProgramRun *run, char **output, GError **error) G_GNUC_WARN_UNUSED_RESULT;
