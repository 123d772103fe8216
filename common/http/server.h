/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A local HTTP API: a table of routes on a unix socket, JSON in and out, errors as problems.
 *
 * The kernel says who is calling (SO_PEERCRED) before a byte is read: root, and where the owner
 * wants it the daemon's own user and the socket's group. Whoever else connects is hung up on. One
 * request a connection; bodies, connections and time are bounded. Everything runs on the thread's
 * main context.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/json.h"

enum {
	DN_HTTP_BODY_LIMIT = 1024 * 1024,
	DN_HTTP_OBJECT_LIMIT = 1024 * 1024 * 1024,
	DN_HTTP_BODIES_LIMIT = 16 * 1024 * 1024, /* of all requests with JSON that are arriving */
	DN_HTTP_OBJECTS_AT_ONCE = 8,             /* arriving, each on disk */
	DN_HTTP_CONNECTIONS = 192,
	DN_HTTP_CONNECTIONS_HERE = 96, /* of one process */
};

typedef struct DnHttpServer DnHttpServer;
typedef struct _SoupServerMessage SoupServerMessage; /* libsoup's */

/* A request that waits for its answer. Exactly one of the two calls frees it. */
typedef struct DnHttpReply DnHttpReply;

/* Takes @document, an object without "schema", which is added. */
void dn_http_reply(DnHttpReply *self, JsonObject *document);
void dn_http_reply_error(DnHttpReply *self, const GError *error);

/* One request, from its headers to its answer. */
typedef struct {
	void *owner; /* of the config */
	SoupServerMessage *message;
	GHashTable *query; /* char * → char *, or NULL */
	char *argument;    /* what '*' in the route's pattern stood for, or NULL */
	JsonObject *body;  /* of a request with JSON, or NULL */
	int spool_fd;      /* of a request with an object, or -1 */
} DnHttpRequest;

/* Answers now, or defers. */
typedef void (*DnHttpHandler)(DnHttpRequest *request);

typedef enum { DN_BODY_NONE, DN_BODY_JSON, DN_BODY_OBJECT } DnBodyKind;

typedef struct {
	const char *method;
	const char *pattern; /* segments; '*' is any one segment */
	DnBodyKind body;
	DnHttpHandler handler;
} DnHttpRoute;

typedef struct {
	const char *socket_path;   /* a stale one is replaced */
	unsigned mode;             /* of the socket */
	bool root_only;            /* else also the daemon's own user and the socket's group */
	const char *spool_dir;     /* for bodies that are objects; NULL: no route takes one */
	const DnHttpRoute *routes; /* borrowed; ended by a row without method */
	void *owner;               /* borrowed */
	/* Requests were turned away or ended for being slow; see http/guard.h. Or NULL. */
	void (*crowded)(unsigned count, void *owner);
} DnHttpServerConfig;

DnHttpServer *dn_http_server_new(const DnHttpServerConfig *config,
				 GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Ends every connection. Replies that are still out may be answered afterwards, to nobody. */
void dn_http_server_free(DnHttpServer *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnHttpServer, dn_http_server_free)

/* Answer later: the message waits until the reply is used. */
DnHttpReply *dn_http_defer(DnHttpRequest *request) G_GNUC_WARN_UNUSED_RESULT;
/* Answer now. Takes @document. */
void dn_http_answer(DnHttpRequest *request, JsonObject *document);
/* Answer now with a list or one object as member @noun. Takes it. */
void dn_http_answer_list(DnHttpRequest *request, const char *noun, JsonArray *list);
void dn_http_answer_one(DnHttpRequest *request, const char *noun, JsonObject *one);
/* Answer now with a problem. */
void dn_http_answer_error(DnHttpRequest *request, const GError *error);
/* 404, with code DN_ERROR_INVALID: nothing of this kind has @name. */
void dn_http_not_found(DnHttpRequest *request, const char *what, const char *name, const char *see);

/* The value of @name in the query, or NULL; numbers are checked. */
const char *dn_http_query(const DnHttpRequest *request, const char *name);
bool dn_http_query_u64(const DnHttpRequest *request, const char *name, uint64_t limit,
		       uint64_t *value, GError **error);
