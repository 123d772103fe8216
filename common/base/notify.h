/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a service manager wants to hear of a daemon: datagrams to the socket that $NOTIFY_SOCKET
 * names, as sd_notify(3) documents them for those who do without its library. Under no service
 * manager, or one that does not ask, all of this does nothing.
 */

#include <glib.h>
#include <stdbool.h>

typedef struct DnNotify DnNotify;

/*
 * Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no child of
 * the daemon speaks in its name. Before the first thread.
 */
DnNotify *dn_notify_new(void);

/* READY=1; and from now on, when it is asked for, WATCHDOG=1 while the default context turns. */
void dn_notify_ready(DnNotify *self);

/* STOPPING=1; the watchdog is fed no more. */
void dn_notify_stopping(DnNotify *self);

void dn_notify_free(DnNotify *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnNotify, dn_notify_free)
