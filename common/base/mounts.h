/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <glib.h>

#include "base/error.h"

/*
 * Where file systems of @type are mounted in the caller's mount namespace, in mount order:
 * "cgroup" lists the v1 hierarchies, "cgroup2" the v2 one. Empty when there is none.
 */
char **dn_mounts_of_type(const char *type, GError **error) G_GNUC_WARN_UNUSED_RESULT;
