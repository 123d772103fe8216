/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The files that a person names: what is wrong with a name is DN_ERROR_INVALID, said before
 * anything is begun.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"

/*
 * When @error says that a name leads to no file, make it DN_ERROR_INVALID and say what to do in
 * @advice. Every other error stays as it is.
 */
void dn_named_blame(GError **error, const char *advice, ...) G_GNUC_PRINTF(2, 3);

/* dn_file_read() of what was named. */
GBytes *dn_named_read(const char *path, size_t limit, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Whether dn_file_replace() may put a file at @path: nothing is there, or a regular file that is
 * not @input (NULL: there is none), and its directory takes new files. A device or a link would be
 * gone, with a file in its place. @option is how another one is named.
 */
bool dn_named_is_replaceable(const char *path, const char *input, const char *option,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;
