/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Named network namespaces, as ip-netns(8) makes and lists them.
 *
 * A namespace belongs to a thread. The agent's threads must never find themselves in another
 * one, so whatever enters a namespace runs on a thread of its own that ends afterwards.
 */

#include <glib.h>
#include <stdbool.h>

#include "base/error.h"

/* Run @work on a thread that starts in the caller's namespace, and wait for it. */
typedef bool (*DnNetnsWork)(void *data, GError **error);
bool dn_netns_run(DnNetnsWork work, void *data, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Only within dn_netns_run(): make a namespace, bind it to @path below /run/netns, and stay in it.
 * Fails with DN_ERROR_CONFLICT when the name is taken. Returns a descriptor of it, or -1.
 */
int dn_netns_create(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Open the namespace bound to @path; DN_ERROR_UNAVAILABLE when there is none. */
int dn_netns_open(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The calling thread's namespace. */
int dn_netns_open_current(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Only within dn_netns_run(). */
bool dn_netns_enter(int fd, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Give the namespace of @fd the name @path; DN_ERROR_CONFLICT: it is taken. A namespace without a
 * name goes with its last descriptor, process or link.
 */
bool dn_netns_bind(int fd, const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Unbind and remove the name. The namespace goes with its last process and link. */
bool dn_netns_remove(const char *path, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Write below /proc/sys/net of the calling thread's namespace. */
bool dn_netns_sysctl(const char *name, const char *value, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* The same for one that older kernels lack: those are left as they are. */
bool dn_netns_sysctl_if_known(const char *name, const char *value,
			      GError **error) G_GNUC_WARN_UNUSED_RESULT;
