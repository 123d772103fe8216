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

enum {
	DN_LOG_SEGMENT_BYTES = 512 * 1024,
	DN_LOG_LINE_BYTES = 8192,
	DN_LOG_TEXT_BYTES = 256 * 1024, /* of one answer, whatever the node wrote: it has to fit
					   into a frame of the link, escaped as JSON */
};

/* Start dnode-log for @log_dir; the two descriptors are the node's stdout and stderr, owned by the
 * caller. */
bool dn_logs_open_now(const char *libexec_dir, const char *log_dir, int *stdout_fd, int *stderr_fd,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The same in three steps, so that something else can go on meanwhile: the pipes, whose writing
 * ends are the node's stdout and stderr at once; the reader, which takes the reading ends; and
 * dn_program_end_now(), which says whether it reads. NULL: nothing was started.
 */
typedef struct {
	int out[2], err[2]; /* as pipe2(2) gives them; owned, -1: none */
} DnLogPipes;

bool dn_logs_make_pipes(DnLogPipes *pipes, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_logs_close_pipes(DnLogPipes *pipes);
DnProgramRun *dn_logs_begin(const char *libexec_dir, const char *log_dir, int nice,
			    DnLogPipes *pipes, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * One text to g_free(), each line "RFC3339 o|e TEXT\n" with TEXT printable, oldest first, and at
 * most DN_LOG_TEXT_BYTES. @offset NULL or *@offset 0: the last @lines lines, or as many of them as
 * fit. Otherwise *@offset is where an earlier call stopped, and it is the first @lines lines behind
 * it that fit; where the ring has lost some of them a first line in parentheses says how much.
 * *@offset then is where the next call goes on: whoever goes on until nothing comes has read all.
 */
char *dn_logs_read_now(const char *log_dir, unsigned lines, uint64_t *offset,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;
