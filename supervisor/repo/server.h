/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The repository over plain HTTP, read only, for hosts: GET and HEAD of /repo/config,
 * /repo/summary, /repo/refs/heads/REF and /repo/objects/XX/…; everything else is 404. No listing,
 * no links followed, nothing outside of the repository. Runs in the main context of its maker;
 * a file is mapped and sent piece by piece, so a large one holds nobody up. Who reads too slowly,
 * or holds more connections than its share, is cut off.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

typedef struct DnRepoServer DnRepoServer;

enum {
	DN_REPO_CONNECTIONS = 512,
	DN_REPO_CONNECTIONS_HERE = 64, /* of one address: a host pulls with eight */
};

typedef struct {
	const char *path;   /* of the repository */
	const char *listen; /* "IP:PORT" ("[IP]:PORT"); port 0 takes any */
	/* Requests were turned away or ended for being slow; see http/guard.h. Or NULL. */
	void (*crowded)(const char *where, unsigned count, void *data);
	void *data;
} DnRepoServerConfig;

/* Serves when it returns. @config is only used during the call. */
DnRepoServer *dn_repo_server_new(const DnRepoServerConfig *config,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_repo_server_free(DnRepoServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnRepoServer, dn_repo_server_free)

/* The port it listens on. */
uint16_t dn_repo_server_port(const DnRepoServer *self);

/* Is @path (of an URL, decoded, without "/repo/") one of the files that are served? */
bool dn_repo_server_is_served(const char *path);
