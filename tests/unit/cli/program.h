/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The program itself, run as a script would run it, with a directory that goes with the test. */

extern char *program_home;

/* What it gets as $DNODE_HOME, NULL: nothing, and as $DNODE_SUPERVISOR: nobody unless said. */
extern const char *program_home_named, *program_supervisor;

void program_init(void);
void program_clear(void); /* ends in dn_suite_end() */

/* Run `dnode LINE`, HOME in it being the directory; its exit code, and all that it said. */
int program_run(const char *line, char **said);

/* Files of the directory. */
void program_write(const char *name, const char *text);
char *program_read(const char *name);
void program_remove(const char *name);
