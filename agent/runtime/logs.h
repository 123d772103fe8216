/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The log ring of a node. stdout and stderr of the node are pipes to dnode-log, one small
 * process a node that outlives the agent and ends with the node's last writer. It keeps two
 * segment files in the node's log directory, each of at most DN_LOG_SEGMENT_BYTES.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/program.h"

enum { DN_LOG_SEGMENT_BYTES = 512 * 1024, DN_LOG_LINE_BYTES = 8192 };

/* Start dnode-log for @log_dir; the two descriptors are the node's stdout and stderr, owned by the
 * caller. */
bool dn_logs_open_now(const char *libexec_dir, const char *log_dir, int *stdout_fd, int *stderr_fd,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same in two halves: the descriptors can be used at once, and dn_program_end_now() says
 * whether somebody reads them. NULL: nothing was started.
 */
DnProgramRun *dn_logs_begin(const char *libexec_dir, const char *log_dir, int nice, int *stdout_fd,
			    int *stderr_fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The last @lines lines at or after *@offset, oldest first: one text to g_free(), each line
 * "RFC3339 o|e TEXT\n" with TEXT printable. @offset, when not NULL, is in: where an earlier call
 * stopped (0: nothing seen yet), out: where the next call goes on; it makes following possible.
 */
char *dn_logs_read_now(const char *log_dir, unsigned lines, uint64_t *offset,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
