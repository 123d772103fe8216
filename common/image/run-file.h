/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * /.dnode/run: the defaults for running an image, one key file inside the signed tree.
 *
 * There is exactly one text for one set of values: the reader writes again what it read and
 * refuses a text that differs (comments, other order, unknown or repeated keys).
 */

#include <glib.h>
#include <stdbool.h>

#include "model/manifest.h"

#define DN_RUN_FILE_DIR ".dnode"
#define DN_RUN_FILE_NAME "run"
enum { DN_RUN_FILE_LIMIT = 64 * 1024 };

/* The text of @run (args, env, cwd, uid) and @ports (of uint16_t). */
GBytes *dn_run_file_write(const DnRun *run, const GArray *ports,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The reverse. *@run is initialised here (the caller clears it); *@ports is of uint16_t. */
bool dn_run_file_read(GBytes *bytes, DnRun *run, GArray **ports,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
