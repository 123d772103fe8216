/* SPDX-License-Identifier: Apache-2.0 */

/* How every answer leaves: documents with their schema, errors as problems. */

#include <dnode/version.h>
#include <libsoup/soup.h>
#include <string.h>

#include "base/text.h"
#include "http/guard.h"
#include "http/problem.h"
#include "http/server.h"

struct DnHttpReply {
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
	dn_http_guard_answered(message);
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

void dn_http_answer(DnHttpRequest *request, JsonObject *document)
{
	respond(request->message, SOUP_STATUS_OK, "application/json", document);
}

static JsonObject *document_of(const char *noun, JsonNode *taken)
{
	JsonObject *document = json_object_new();

	json_object_set_member(document, noun, taken);
	return document;
}

void dn_http_answer_list(DnHttpRequest *request, const char *noun, JsonArray *list)
{
	JsonNode *node = json_node_init_array(json_node_alloc(), list);

	json_array_unref(list);
	dn_http_answer(request, document_of(noun, node));
}

void dn_http_answer_one(DnHttpRequest *request, const char *noun, JsonObject *one)
{
	JsonNode *node = json_node_init_object(json_node_alloc(), one);

	json_object_unref(one);
	dn_http_answer(request, document_of(noun, node));
}

void dn_http_answer_error(DnHttpRequest *request, const GError *error)
{
	respond_problem(request->message, dn_problem_status(error), error);
}

void dn_http_not_found(DnHttpRequest *request, const char *what, const char *name, const char *see)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *shown = dn_text_printable(name, strlen(name));

	g_set_error(&error, DN_ERROR, DN_ERROR_INVALID, "there is no %s \"%.64s\"; see %s", what,
		    shown, see);
	respond_problem(request->message, SOUP_STATUS_NOT_FOUND, error);
}

DnHttpReply *dn_http_defer(DnHttpRequest *request)
{
	DnHttpReply *reply = g_new0(DnHttpReply, 1);

	reply->message = g_object_ref(request->message);
	soup_server_message_pause(reply->message);
	return reply;
}

static void finish(DnHttpReply *self)
{
	soup_server_message_unpause(self->message);
	g_object_unref(self->message);
	g_free(self);
}

void dn_http_reply(DnHttpReply *self, JsonObject *document)
{
	respond(self->message, SOUP_STATUS_OK, "application/json", document);
	finish(self);
}

void dn_http_reply_error(DnHttpReply *self, const GError *error)
{
	respond_problem(self->message, dn_problem_status(error), error);
	finish(self);
}
