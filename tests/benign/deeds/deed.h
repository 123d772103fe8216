/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What ordinary services do, one deed a function: it does it, looks whether it worked as it does
 * outside of a node, and is true. server.c does one when it is asked for it over HTTP, in a thread
 * of its own, perhaps while others are at work, so no deed leaves anything behind.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WHY = 256 };

typedef struct {
	const char *name; /* as it is asked for; NULL ends a list */
	bool (*work)(char why[WHY]);
} Deed;

extern const Deed deeds_of_files[], deeds_of_memory[], deeds_of_network[], deeds_of_processes[],
	deeds_of_signals[];

/* End the deed with what did not hold, and errno. */
#define NEED(what_)                                                                                \
	do {                                                                                       \
		if (!(what_)) {                                                                    \
			(void)snprintf(why, WHY, "line %d: %s: %s", __LINE__, #what_,              \
				       strerror(errno));                                           \
			return false;                                                              \
		}                                                                                  \
	} while (0)

/* Run @argv by posix_spawn() and wait for it: its exit status, or -1. */
int run_program(const char *path, char *const argv[], char *const env[]);
