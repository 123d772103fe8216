/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The people's API, /v1, over a local socket (docs/formats/api.md).
 *
 * Reading is answered from the core. Everything that changes something goes to the owner through
 * DnApiOps, which answers later through a DnApiReply: after the store has it, or the host has
 * answered. The kernel says who is calling; root, the daemon's own user and the socket's group
 * may call, and nobody else gets as far as a request.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/view.h"
#include "wire/json.h"

enum {
	DN_API_STREAMS_LIMIT = 64, /* followers of the event stream */
};

typedef struct DnApi DnApi;

/* A request that waits for its answer. Exactly one of the two calls frees it. */
typedef struct DnHttpReply DnApiReply;

/* Takes @document, an object without "schema", which is added. */
void dn_api_reply(DnApiReply *self, JsonObject *document);
void dn_api_reply_error(DnApiReply *self, const GError *error);

/* What the owner does. Every function with a reply answers it, at once or later. */
typedef struct {
	/* The members of "cluster" in GET /v1/cluster. */
	JsonObject *(*cluster)(void *data);
	/* Events after @since in order, the last @limit of them when @since is 0; of DnEvent. */
	GPtrArray *(*events)(uint64_t since, unsigned limit, void *data);

	void (*apply)(GBytes *manifest, GPtrArray *signatures, bool plan, DnApiReply *reply,
		      void *data);
	void (*token)(const char *host, DnApiReply *reply, void *data);
	void (*cordon)(const char *host, bool cordon, DnApiReply *reply, void *data);
	void (*fence)(const char *host, const char *reason, DnApiReply *reply, void *data);
	void (*quarantine)(const char *node, const char *reason, DnApiReply *reply, void *data);
	void (*drill)(const char *class, const char *service, DnApiReply *reply, void *data);
	void (*destroy)(const char *incident, GBytes *statement, GPtrArray *signatures,
			DnApiReply *reply, void *data);
	/* One that dn_fleet_core_is_past(). */
	void (*incident)(const char *id, DnApiReply *reply, void *data);
	void (*logs)(const char *node, uint32_t lines, uint64_t offset, DnApiReply *reply,
		     void *data);
	/* Of @node, or of @host when that is NULL. */
	void (*audit)(const char *node, const char *host, DnApiReply *reply, void *data);

	void (*images)(DnApiReply *reply, void *data);
	/* @objects: of char *, "CHECKSUM.TYPE", not looked at yet. */
	void (*images_missing)(GPtrArray *objects, DnApiReply *reply, void *data);
	/* @fd: a file without a name that holds the object, to be read from its start; borrowed. */
	void (*image_object)(const char *name, int fd, DnApiReply *reply, void *data);
	/* So many callers of @where were turned away or too slow in a minute; once a minute. Or
	 * NULL. */
	void (*crowded)(const char *where, unsigned count, void *data);
	void (*image_set)(const char *ref, const char *commit, GBytes *metadata, DnApiReply *reply,
			  void *data);
} DnApiOps;

typedef struct {
	const char *socket_path; /* made with mode 0660; a stale one is replaced */
	const char *spool_dir;   /* where objects on their way in are kept */
	DnFleetCore *core;       /* borrowed; only read */
} DnApiConfig;

DnApi *dn_api_new(const DnApiConfig *config, const DnApiOps *ops, void *data,
		  GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends every connection. Replies that are still out may be answered afterwards, to nobody. */
void dn_api_free(DnApi *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnApi, dn_api_free)

/* @event is stored: send it to those who follow. */
void dn_api_publish(DnApi *self, const DnEvent *event);
