/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The lab's init: it starts the daemons that are written down, each in its network namespace,
 * and starts again what died, 100 ms later. Their output goes to one file each in the log
 * directory. SIGHUP makes it read the list again, SIGTERM ends the daemons and then itself.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "lab/layout.h"

/* Be the monitor of @lab; returns when told to end. DN_ERROR_CONFLICT when there is one. */
bool dn_lab_monitor_run(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Start @program as the monitor, detached from this terminal, and wait until it is there. */
bool dn_lab_monitor_start(const DnLab *lab, const char *program,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The monitor's process id, or 0 when none runs. */
pid_t dn_lab_monitor_pid(const DnLab *lab);

/* Let it read the list of daemons again. */
bool dn_lab_monitor_reload(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* End it and all daemons; one that does not end within 20 s is killed. */
bool dn_lab_monitor_stop(const DnLab *lab, GError **error) G_GNUC_WARN_UNUSED_RESULT;
