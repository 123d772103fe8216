/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The processes of a control group (the kernel's admin-guide/cgroup-v2.rst). */

/*
 * For each process that @procs, a cgroup.procs, lists and that still is in the v2 group @group
 * ("/dnode/web-1"): @visit with a descriptor of its /proc/PID. That stays the process's whatever
 * becomes of the number, and is good for openat(2) and pidfd_send_signal(2); it is borrowed.
 * Who has ended meanwhile, or moved, is passed over. Blocks, some 10 us a process.
 */
void dn_members_visit(const char *procs, const char *group, void (*visit)(int proc_fd, void *data),
		      void *data);

/* SIGKILL to each of them. It ends also a process whose first thread has left; cgroup.kill does
 * not. */
void dn_members_kill(const char *procs, const char *group);
