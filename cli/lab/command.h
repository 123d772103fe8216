/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Running a program and waiting for it, in this network namespace or in another. */

#include <gio/gio.h>
#include <stdbool.h>

#include "base/error.h"

/*
 * Run @argv with @input (or NULL) on its standard input, in the namespace @netns (NULL: ours).
 * Only the network namespace is changed, nothing is remounted. *@output, which may be NULL, is
 * what it printed. DN_ERROR_UNSUPPORTED with what it said last when it does not end with 0.
 */
bool dn_command_run(const char *netns, const char *const *argv, const char *input, char **output,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* DN_ERROR_UNSUPPORTED unless we are root. */
bool dn_command_need_root(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A descriptor of the named namespace, or -1. */
int dn_command_open_netns(const char *netns, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Make every child of @launcher enter the namespace; it must outlive the launcher. */
void dn_command_enter(GSubprocessLauncher *launcher, const int *netns_fd);
