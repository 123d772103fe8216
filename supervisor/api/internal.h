/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the API share. */

#include <libsoup/soup.h>

#include "api/api.h"

struct DnApi {
	char *socket_path, *spool_dir;
	DnFleetCore *core; /* borrowed */
	DnApiOps ops;
	void *data;
	SoupServer *server;
	GSocketService *service;
	gid_t group;        /* of the socket */
	GPtrArray *streams; /* of DnEventStream */
};

/* One request, from its headers to its answer. */
typedef struct {
	DnApi *api; /* borrowed */
	SoupServerMessage *message;
	GHashTable *query; /* char * → char *, or NULL */
	char *argument;    /* what '*' in the route's pattern stood for, or NULL */
	JsonObject *body;  /* of a request with JSON, or NULL */
	int spool_fd;      /* of a request with an object, or -1 */
} DnApiRequest;

typedef void (*DnApiHandler)(DnApiRequest *request);

typedef enum { DN_BODY_NONE, DN_BODY_JSON, DN_BODY_OBJECT } DnBodyKind;

typedef struct {
	const char *method;
	const char *pattern; /* segments; '*' is any one segment */
	DnBodyKind body;
	DnApiHandler handler;
} DnApiRoute;

/* The whole API as one table, ended by a row without method. */
extern const DnApiRoute dn_api_routes[];

/* Answer later: the message waits until the reply is used. */
DnApiReply *dn_api_defer(DnApiRequest *request) G_GNUC_WARN_UNUSED_RESULT;
/* Answer now. Takes @document. */
void dn_api_answer(DnApiRequest *request, JsonObject *document);
/* Answer now with a problem. */
void dn_api_problem(DnApiRequest *request, const GError *error);
/* 404, with code DN_ERROR_INVALID: nothing of this kind has @name. */
void dn_api_not_found(DnApiRequest *request, const char *what, const char *name, const char *see);

/* The value of @name in the query, or NULL; numbers are checked. */
const char *dn_api_query(const DnApiRequest *request, const char *name);
bool dn_api_query_u64(const DnApiRequest *request, const char *name, uint64_t limit,
		      uint64_t *value, GError **error);

/* Server-sent events: takes over the message of @request. */
void dn_stream_begin(DnApiRequest *request);
void dn_streams_clear(DnApi *api);

/* JSON of what people see. */
JsonObject *dn_json_of_service(const DnServiceView *view) G_GNUC_WARN_UNUSED_RESULT;
JsonObject *dn_json_of_host(const DnHostView *view) G_GNUC_WARN_UNUSED_RESULT;
JsonArray *dn_json_of_signatures(GPtrArray *signatures) G_GNUC_WARN_UNUSED_RESULT;
