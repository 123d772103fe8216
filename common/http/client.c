/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>
#include <string.h>

#include "base/text.h"
#include "http/problem.h"
#include "http/stream.h"

#define ERROR_BODY_LIMIT (256u << 10)
#define READ_STEP (64u << 10)

struct DnHttp {
	char *target;              /* owned: as people wrote it, for messages */
	char *origin;              /* owned: what paths are appended to */
	GSocketConnectable *local; /* owned, or NULL: connect here whatever the URL says */
	SoupSession *session;      /* owned */
};

static SoupSession *new_session(GSocketConnectable *local, unsigned timeout_s)
{
	return g_object_new(SOUP_TYPE_SESSION, "remote-connectable", local, "timeout", timeout_s,
			    "user-agent", "dnode", NULL);
}

DnHttp *dn_http_new(const char *target, GError **error)
{
	const char *path = g_str_has_prefix(target, "unix:") ? target + strlen("unix:") : target;
	bool is_path = path[0] == '/';

	if (!is_path && path != target) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "supervisor '%s': unix: takes an absolute path, unix:/PATH", target);
		return NULL;
	}
	if (!is_path && !g_str_has_prefix(target, "http://")) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "supervisor '%s': name it unix:/PATH or http://HOST:PORT", target);
		return NULL;
	}
	if (!is_path && !g_uri_is_valid(target, G_URI_FLAGS_NONE, NULL)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "supervisor '%s' is not an address: name it http://HOST:PORT", target);
		return NULL;
	}

	DnHttp *self = g_new0(DnHttp, 1);
	self->target = g_strdup(is_path ? path : target);
	if (is_path) {
		self->local = G_SOCKET_CONNECTABLE(g_unix_socket_address_new(path));
		self->origin = g_strdup("http://localhost");
	} else {
		size_t length = strlen(target);
		while (length > 0 && target[length - 1] == '/')
			length--;
		self->origin = g_strndup(target, length);
	}
	self->session = new_session(self->local, DN_HTTP_TIMEOUT_S);
	return self;
}

void dn_http_free(DnHttp *self)
{
	if (self == NULL)
		return;
	soup_session_abort(self->session);
	g_clear_object(&self->session);
	g_clear_object(&self->local);
	g_free(self->target);
	g_free(self->origin);
	g_free(self);
}

char *dn_http_escape(const char *segment)
{
	return g_uri_escape_string(segment, NULL, FALSE);
}

static SoupMessage *new_message(DnHttp *self, const char *method, const char *path, GError **error)
{
	g_autofree char *url = g_strconcat(self->origin, path, NULL);
	SoupMessage *message = soup_message_new(method, url);

	if (message == NULL) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "'%s' is not an address", url);
		return NULL;
	}
	/*
	 * A connection for each request. A kept one may be closed by the other side just as the
	 * next request is written; libsoup then sends it again, but with its body used up.
	 */
	soup_message_add_flags(message, SOUP_MESSAGE_NEW_CONNECTION);
	soup_message_headers_replace(soup_message_get_request_headers(message), "Connection",
				     "close");
	return message;
}

/* Connection trouble in the words of the person who has to do something about it. */
static void explain(DnHttp *self, const GError *cause, GError **error)
{
	const char *what = "cannot talk to the supervisor at";
	const char *hint = "";

	if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
	    g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
		hint = "; is dnode-supervisor running? (name another with --supervisor)";
	else if (g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED))
		hint = "; root and members of the socket's group may use it";
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "%s %s: %s%s", what, self->target,
		    cause->message, hint);
}

/* All of @stream, at most @limit bytes, with a NUL after it. */
static GByteArray *read_all(GInputStream *stream, size_t limit, GError **error)
{
	g_autoptr(GByteArray) body = g_byte_array_new();
	g_autofree uint8_t *step = g_malloc(READ_STEP);

	for (;;) {
		gssize length = g_input_stream_read(stream, step, READ_STEP, NULL, error);
		if (length < 0)
			return NULL;
		if (length == 0)
			break;
		if (body->len + (size_t)length > limit) {
			g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
				    "the answer is larger than %zu bytes; ask for less", limit);
			return NULL;
		}
		g_byte_array_append(body, step, (guint)length);
	}
	g_byte_array_append(body, (const uint8_t *)"", 1);
	return g_steal_pointer(&body);
}

static bool is_success(SoupMessage *message)
{
	return SOUP_STATUS_IS_SUCCESSFUL(soup_message_get_status(message));
}

/* Turn the answer that is no success into @error. */
static void refuse(SoupMessage *message, GInputStream *stream, GError **error)
{
	g_autoptr(GByteArray) body = read_all(stream, ERROR_BODY_LIMIT, NULL);
	const char *text = body != NULL ? (const char *)body->data : "";
	size_t length = body != NULL ? body->len - 1 : 0;

	g_propagate_error(error, dn_problem_parse(soup_message_get_status(message), text, length));
}

static JsonObject *parse(const GByteArray *body, GError **error)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	g_autoptr(GError) cause = NULL;

	if (!json_parser_load_from_data(parser, (const char *)body->data, (gssize)body->len - 1,
					&cause)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "the supervisor's answer is not JSON: %s", cause->message);
		return NULL;
	}
	JsonNode *root = json_parser_get_root(parser);
	if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root)) {
		g_set_error_literal(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "the supervisor's answer is not a JSON object");
		return NULL;
	}
	return json_object_ref(json_node_get_object(root));
}

static JsonObject *exchange_by(DnHttp *self, SoupSession *session, SoupMessage *message,
			       GError **error)
{
	g_autoptr(GError) cause = NULL;
	g_autoptr(GInputStream) stream = soup_session_send(session, message, NULL, &cause);

	if (stream == NULL) {
		explain(self, cause, error);
		return NULL;
	}
	if (!is_success(message)) {
		refuse(message, stream, error);
		return NULL;
	}
	g_autoptr(GByteArray) body = read_all(stream, DN_HTTP_ANSWER_LIMIT, &cause);
	if (body == NULL) {
		if (cause->domain == DN_ERROR)
			g_propagate_error(error, g_steal_pointer(&cause));
		else
			explain(self, cause, error);
		return NULL;
	}
	return parse(body, error);
}

static JsonObject *exchange(DnHttp *self, SoupMessage *message, GError **error)
{
	return exchange_by(self, self->session, message, error);
}

JsonObject *dn_http_get(DnHttp *self, const char *path, GError **error)
{
	g_autoptr(SoupMessage) message = new_message(self, "GET", path, error);

	return message != NULL ? exchange(self, message, error) : NULL;
}

static JsonObject *post_by(DnHttp *self, SoupSession *session, const char *path, JsonObject *body,
			   GError **error)
{
	g_autoptr(SoupMessage) message = new_message(self, "POST", path, error);
	g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), body);

	if (message == NULL)
		return NULL;
	char *text = json_to_string(node, FALSE);
	g_autoptr(GBytes) bytes = g_bytes_new_take(text, strlen(text));
	soup_message_set_request_body_from_bytes(message, "application/json", bytes);
	return exchange_by(self, session, message, error);
}

JsonObject *dn_http_post(DnHttp *self, const char *path, JsonObject *body, GError **error)
{
	return post_by(self, self->session, path, body, error);
}

JsonObject *dn_http_post_patiently(DnHttp *self, const char *path, JsonObject *body, GError **error)
{
	g_autoptr(SoupSession) session = new_session(self->local, 0);

	return post_by(self, session, path, body, error);
}

JsonObject *dn_http_put(DnHttp *self, const char *path, GBytes *body, GError **error)
{
	g_autoptr(SoupMessage) message = new_message(self, "PUT", path, error);

	if (message == NULL)
		return NULL;
	soup_message_set_request_body_from_bytes(message, "application/octet-stream", body);
	return exchange(self, message, error);
}

/* Feed the stream to the reader until somebody ends it. */
static bool follow(GInputStream *stream, DnStream *reader, GCancellable *cancellable,
		   GError **error)
{
	uint8_t step[4096];

	for (;;) {
		gssize length = g_input_stream_read(stream, step, sizeof(step), cancellable, error);
		if (length < 0)
			return false;
		if (length == 0) {
			g_set_error_literal(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
					    "the supervisor ended the stream");
			return false;
		}
		bool going_on = false;
		if (!dn_stream_feed(reader, (const char *)step, (size_t)length, &going_on, error))
			return false;
		if (!going_on)
			return true;
	}
}

bool dn_http_follow(DnHttp *self, const char *path, DnHttpEvent event, gpointer user_data,
		    GCancellable *cancellable, GError **error)
{
	/* A quiet stream is a good one: this session has no time limit. */
	g_autoptr(SoupSession) session = new_session(self->local, 0);
	g_autoptr(SoupMessage) message = new_message(self, "GET", path, error);
	g_autoptr(GError) cause = NULL;

	if (message == NULL)
		return false;
	soup_message_headers_append(soup_message_get_request_headers(message), "Accept",
				    "text/event-stream");
	g_autoptr(GInputStream) stream = soup_session_send(session, message, cancellable, &cause);
	if (stream != NULL && !is_success(message)) {
		refuse(message, stream, error);
		return false;
	}
	g_autoptr(DnStream) reader = dn_stream_new(event, user_data);
	bool done = stream != NULL && follow(stream, reader, cancellable, &cause);
	soup_session_abort(session);
	if (done || g_error_matches(cause, G_IO_ERROR, G_IO_ERROR_CANCELLED))
		return true;
	if (cause->domain == DN_ERROR)
		g_propagate_error(error, g_steal_pointer(&cause));
	else
		explain(self, cause, error);
	return false;
}
