/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * RUN_DIR/bundles/NODE: what a runtime is given to make a container from, and what it says.
 *
 *     config.json   the configuration, 0600
 *     runtime.log   the runtime's own complaints; its stderr is the node's
 *     pid           number of the node's pid 1
 *     etc/hosts     only for images without /etc/hosts, a link to the host's file for the node
 */

#include "runtime/container.h"

/* Node names are parts of paths, cgroups and host names: [a-z0-9][a-z0-9-]*, at most 63. */
bool dn_bundle_check_name(const char *node, GError **error) G_GNUC_WARN_UNUSED_RESULT;

char *dn_bundle_path(const DnInstance *instance, const char *node, const char *file);

/*
 * Check that the image has what will be mounted upon, and write the bundle. DN_ERROR_INVALID names
 * the directory that the image lacks, since the runtime would only say "read-only file system".
 */
bool dn_bundle_write(const DnInstance *instance, const DnContainerSpec *spec,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* True when new pid namespaces of this kernel can make memfds non-executable (Linux 6.3). */
bool dn_memfd_can_be_sealed(void);

/*
 * Set vm.memfd_noexec to 2 in the pid namespace of @pid, whose first process has not run yet; the
 * caller's stays as it is. *@level is what the namespace has now, read back there: later nobody
 * can ask without entering a running node, and nobody in it can lower it.
 */
bool dn_memfd_seal_now(pid_t pid, int *level, GError **error) G_GNUC_WARN_UNUSED_RESULT;
