/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What root may ask an agent itself, without a supervisor: a part of the people's API
 * (docs/formats/api.md) on a socket of mode 0600, where the kernel's word that the caller is root
 * is checked as well. Nothing here can lift a quarantine, accept a manifest or start a node.
 *
 *   GET  /v1/hosts                  this one; its state is "linked" or "alone"
 *   GET  /v1/hosts/HOST/audit       GET /v1/nodes/NODE/audit
 *   GET  /v1/nodes[?service=]       GET /v1/nodes/NODE/logs[?lines=&offset=]
 *   POST /v1/nodes/NODE/quarantine  {reason}
 *   GET  /v1/incidents[?service=&node=]   GET /v1/incidents/ID
 *   GET  /v1/events[?since=&limit=] the last DN_EVENTS_KEPT since the agent was
 *                                   started; no stream
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/fleet.h"

typedef struct DnLocal DnLocal;

/* A request that waits: dn_http_reply() or dn_http_reply_error() of http/server.h answers it. */
typedef struct DnHttpReply DnLocalReply;

/* What the owner knows and does. Everything returned is the caller's to free. */
typedef struct {
	DnHostReport *(*report)(void *data);
	bool (*is_linked)(void *data);
	const char *(*cidr)(void *data); /* borrowed, or NULL before the first welcome */
	/* Of DnEvent, whose ids count up from 1: after @since, or the last ones when it is 0. */
	GPtrArray *(*events)(uint64_t since, unsigned limit, void *data);
	/* @reply is answered once it is on disk, record and journal entry. */
	void (*quarantine)(const char *node, const char *reason, DnLocalReply *reply, void *data);
	/* @offset: where to begin, 0 for the last @lines; where to go on. */
	char *(*logs)(const char *node, uint32_t lines, uint64_t *offset, void *data,
		      GError **error);
	/* Of @node, or of this host when that is NULL; @reply is answered now or later. */
	void (*audit)(const char *node, DnLocalReply *reply, void *data);
} DnLocalOps;

/* Serves on the caller's main context. DN_ERROR_INVALID: the path is too long for a socket. */
DnLocal *dn_local_new(const char *socket_path, const DnLocalOps *ops, void *data,
		      GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_local_free(DnLocal *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLocal, dn_local_free)
