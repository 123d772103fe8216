/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the API share. */

#include <libsoup/soup.h>

#include "api/api.h"
#include "http/server.h"

struct DnApi {
	DnFleetCore *core; /* borrowed */
	DnApiOps ops;
	void *data;
	DnHttpServer *server;
	GPtrArray *streams; /* of DnEventStream */
};

typedef DnHttpRequest DnApiRequest;

/* Whose request it is. */
static inline DnApi *dn_api_of(const DnApiRequest *request)
{
	return request->owner;
}

/* The whole API as one table, ended by a row without method. */
extern const DnHttpRoute dn_api_routes[];

/* Server-sent events: takes over the message of @request. */
void dn_stream_begin(DnApiRequest *request);
void dn_streams_clear(DnApi *api);

/* JSON of what people see. */
JsonObject *dn_json_of_service(const DnServiceView *view) G_GNUC_WARN_UNUSED_RESULT;
JsonObject *dn_json_of_host(const DnHostView *view) G_GNUC_WARN_UNUSED_RESULT;
JsonArray *dn_json_of_signatures(GPtrArray *signatures) G_GNUC_WARN_UNUSED_RESULT;
