/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Known holes of OCI runtimes, by the version that closed them: through which of them could a node
 * have left its container. A distribution that repairs an old version keeps its number, so this
 * says what to look up, not what is broken.
 */

#include <glib.h>
#include <stdbool.h>

typedef struct {
	const char *runtime; /* crun, runc */
	const char *cve;
	const char *since; /* the first version that has it; "0": all */
	const char *fixed; /* the version of its series that has closed it: "1.27" */
	const char *what;
} DnHole;

/*
 * The holes of @version, the first line that the runtime prints ("crun version 1.8.1"), as
 * pointers to static rows. NULL when it is a runtime or a version that cannot be told.
 */
GPtrArray *dn_runtime_holes(const char *version) G_GNUC_WARN_UNUSED_RESULT;

/* Below zero, zero or above it: "1.8.1" against "1.27", number by number; 1.0-rc7 is below 1.0. */
int dn_runtime_compare(const char *one, const char *other);
