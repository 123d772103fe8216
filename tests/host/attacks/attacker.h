/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the attacker share: how an attempt is told, and the groups of attempts. */

enum { PAGE = 4096 };

/* NAME=ok or NAME=EPERM…, by errno. */
void tell(const char *name, long result);

/* Try it in a process of its own: NAME=alive or NAME=SIGKILL… */
void try_in_child(const char *name, void (*enter)(void));

/* kernel.c */
void attack_sockets(void);
void attack_calls(void);
void attack_namespaces(void);
void attack_entries(void);
