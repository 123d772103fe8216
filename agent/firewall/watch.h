/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Has somebody else changed our table? The kernel tells every transaction of nf_tables to the group
 * NFNLGRP_NFTABLES: what was changed, and at its end (NFT_MSG_NEWGEN, linux/netfilter/nf_tables.h)
 * which thread has done it.
 */

#include <glib.h>
#include <stdbool.h>

/* A descriptor to poll, of the caller's network namespace. -1 with error. */
int dn_firewall_watch_open(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Read what has come. Whether something of our table was changed by a process that is not this one,
 * or may have been because the kernel had no room to tell. *@who is then that program's name, owned
 * by the caller and untrusted, or NULL.
 */
bool dn_firewall_watch_read(int fd, char **who);
