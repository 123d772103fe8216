/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A host to try an agent on: a network namespace with a veth pair as uplink, a folder for its
 * state, and the real program.
 *
 * yard_run() forks: the test runs in the child, and the parent takes away what is left, however
 * the child ended.
 */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define YARD_HOST "alpha"
#define YARD_SUPERVISOR "127.0.0.1:7443"

typedef struct {
	char *folder; /* everything the agent writes, and its configuration */
	char *state;
	char *config;
	char *log;   /* standard error of every run of the agent */
	pid_t agent; /* 0: none runs */
} Yard;

/* Returns the exit status for main(). */
int yard_run(void (*test)(Yard *yard));

/* Print one line of TAP. @detail is shown when it failed. */
bool yard_check(bool holds, const char *sentence, const char *detail);

/* Run the main loop until @is_so(@data), at most @seconds. */
bool yard_wait(bool (*is_so)(void *data), void *data, unsigned seconds);

/* `dnode-agent enrol TOKEN` to its end: its exit status, and what it said on standard error. */
int yard_enrol(Yard *yard, const char *token, char **said);
bool yard_is_enrolled(const Yard *yard);

/* Failpoints for the agent's next start (docs/failpoints.md); none in a build without them. */
void yard_arm_next(const Yard *yard, const char *spec);

/* The agent itself; it dies with the test. */
void yard_start(Yard *yard);
void yard_kill(Yard *yard);

/* How often the agent's log holds @text. */
unsigned yard_count_log(const Yard *yard, const char *text);

/* Does any route of this host have a gateway? */
bool yard_has_route(void);
