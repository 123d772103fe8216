/* SPDX-License-Identifier: Apache-2.0 */

/* How every answer leaves: documents with their schema, errors as problems. */

#include <dnode/version.h>
#include <string.h>

#include "api/internal.h"
#include "base/text.h"
#include "http/problem.h"
#include "wire/json.h"

struct DnApiReply {
	SoupServerMessage *message; /* owned; paused */
};

/* Takes @object. */
static void respond(SoupServerMessage *message, unsigned status, const char *type,
		    JsonObject *object)
{
	g_autoptr(GBytes) bytes = NULL;
	gsize size = 0;

	dn_json_set_string(object, "schema", DN_SCHEMA);
	bytes = dn_json_print(object);
	const char *data = g_bytes_get_data(bytes, &size);
	soup_server_message_set_status(message, status, NULL);
	soup_server_message_set_response(message, type, SOUP_MEMORY_COPY, data, size);
}

static void respond_problem(SoupServerMessage *message, unsigned status, const GError *error)
{
	JsonObject *problem = json_object_new();
	const char *title = soup_status_get_phrase(status);

	dn_json_set_string(problem, "title", title);
	json_object_set_int_member(problem, "status", status);
	dn_json_set_string(problem, "detail", error->message);
	json_object_set_int_member(problem, "code", error->domain == DN_ERROR ? error->code : 0);
	respond(message, status, DN_PROBLEM_MEDIA_TYPE, problem);
}

void dn_api_answer(DnApiRequest *request, JsonObject *document)
{
	respond(request->message, SOUP_STATUS_OK, "application/json", document);
}

void dn_api_problem(DnApiRequest *request, const GError *error)
{
	respond_problem(request->message, dn_problem_status(error), error);
}

void dn_api_not_found(DnApiRequest *request, const char *what, const char *name, const char *see)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *shown = dn_text_printable(name, strlen(name));

	g_set_error(&error, DN_ERROR, DN_ERROR_INVALID, "there is no %s \"%.64s\"; see %s", what,
		    shown, see);
	respond_problem(request->message, SOUP_STATUS_NOT_FOUND, error);
}

DnApiReply *dn_api_defer(DnApiRequest *request)
{
	DnApiReply *reply = g_new0(DnApiReply, 1);

	reply->message = g_object_ref(request->message);
	soup_server_message_pause(reply->message);
	return reply;
}

static void finish(DnApiReply *self)
{
	soup_server_message_unpause(self->message);
	g_object_unref(self->message);
	g_free(self);
}

void dn_api_reply(DnApiReply *self, JsonObject *document)
{
	respond(self->message, SOUP_STATUS_OK, "application/json", document);
	finish(self);
}

void dn_api_reply_error(DnApiReply *self, const GError *error)
{
	respond_problem(self->message, dn_problem_status(error), error);
	finish(self);
}
