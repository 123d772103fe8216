/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the runtime and the kernel have of a node. */

#include "runtime/container.h"

/* RUNTIME_ROOT/NODE/FILE */
char *dn_state_path(const DnInstance *instance, const char *node, const char *file);

/* The node's v2 cgroup, or a file in it. */
char *dn_state_cgroup(const DnInstance *instance, const char *node, const char *file);

/* Field 22 of /proc/PID/stat; false when the process is gone or a zombie. */
bool dn_state_start_time(pid_t pid, uint64_t *start_time);

/* Start time and cgroup of @pid, which is a node's pid 1. */
bool dn_state_identify(const DnInstance *instance, const char *node, pid_t pid,
		       DnContainer *container, GError **error) G_GNUC_WARN_UNUSED_RESULT;
