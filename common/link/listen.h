/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Listening sockets and the addresses of those who call. */

#include <glib.h>
#include <stdint.h>

#include "base/error.h"

/* A non-blocking socket listening on ADDRESS:PORT or [ADDRESS]:PORT, or -1. */
int dn_link_listen(const char *address, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A non-blocking connection and its ADDRESS:PORT, or -1 and errno. */
int dn_link_accept(int listen_fd, char **address) G_GNUC_WARN_UNUSED_RESULT;

uint16_t dn_link_port(int listen_fd);
