/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The repository over plain HTTP, read only, for hosts: GET and HEAD of /repo/config,
 * /repo/summary, /repo/refs/heads/REF and /repo/objects/XX/…; everything else is 404. No listing,
 * no links followed, nothing outside of the repository. Runs in the main context of its maker;
 * a file is mapped and sent piece by piece, so a large one holds nobody up.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct DnRepoServer DnRepoServer;

/* Serve the repository at @repo_path on @address, "IP:PORT" ("[IP]:PORT"); port 0 takes any. */
DnRepoServer *dn_repo_server_new(const char *repo_path, const char *address,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_repo_server_free(DnRepoServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnRepoServer, dn_repo_server_free)

/* The port it listens on. */
uint16_t dn_repo_server_port(const DnRepoServer *self);

/* Is @path (of an URL, decoded, without "/repo/") one of the files that are served? */
bool dn_repo_server_is_served(const char *path);
