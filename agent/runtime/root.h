/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A node's root: an idmapped, read-only, nosuid, nodev clone of the image's checkout. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A user namespace that maps 0…65535 to @uid_base…+65535 and that nobody lives in, for
 * dn_root_mount_now(); or -1. Costs a process, so it may be made ahead of need.
 */
int dn_root_owner_now(uint32_t uid_base, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Mount @checkout at @target (made if missing) so that the ids of the image are those of @owner_fd
 * (mount_setattr(2), MOUNT_ATTR_IDMAP).
 */
bool dn_root_mount_now(const char *checkout, const char *target, int owner_fd,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Unmount (lazily) and remove the mount point. One that is not there is no error. */
bool dn_root_unmount_now(const char *target, GError **error) G_GNUC_WARN_UNUSED_RESULT;
