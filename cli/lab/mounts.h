/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The mounts a lab may have to make on the machine, and their undoing:
 *
 *     /sys/fs/cgroup/hugetlb  where v1 and v2 controllers are mixed, crun refuses to work while
 *                             one of them (hugetlb) sits on v2
 *     /sys/fs/bpf             where the agents pin their programs
 *     /run/netns              ip(8) mounts it over itself
 *
 * What was there before is left alone. The caller writes the plan down before it is made, so that
 * an `up` that is killed in between leaves nothing that `down` would not know.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"

/* Add the paths that are missing here to @plan (of char *). */
bool dn_lab_mounts_plan(GPtrArray *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Mount what of @plan is not mounted yet. */
bool dn_lab_mounts_make(const GPtrArray *plan, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Undo exactly @plan, made or not. A mount that somebody else has begun to use since is left to
 * them, and named in *@kept (of char *, may stay empty).
 */
bool dn_lab_mounts_undo(const GPtrArray *plan, GPtrArray *kept,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Detach every mount at or below @path: what a killed agent may have left. */
bool dn_lab_mounts_detach_below(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;
