/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The monitor's pid file: whoever holds its lock is the monitor, whatever number it says. */

#include <sys/types.h>

#include "base/error.h"

/* Take the lock and write our pid; -1 with DN_ERROR_CONFLICT when somebody has it. */
int dn_monitor_file_lock(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The pid of whoever holds the lock, 0 when nobody does. */
pid_t dn_monitor_file_owner(const char *path);
