/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The events as they come, as server-sent events. A follower that does not read loses its
 * connection, not the supervisor its memory: it asks again with the last id it has seen.
 */

#include <string.h>

#include "api/internal.h"
#include "http/guard.h"
#include "wire/json.h"
#include "wire/records.h"

enum {
	BACKLOG_BYTES = 512 * 1024, /* 32 MiB for all followers that may be */
	KEEPALIVE_S = 15,
};

typedef struct {
	DnApi *api;
	SoupServerMessage *message; /* owned */
	GQueue sizes;               /* of the chunks that the socket has not taken */
	size_t unsent;              /* bytes of them */
	guint keepalive;
} DnEventStream;

static void free_stream(DnEventStream *stream)
{
	g_signal_handlers_disconnect_by_data(stream->message, stream);
	if (stream->keepalive != 0)
		g_source_remove(stream->keepalive);
	g_queue_clear(&stream->sizes);
	g_object_unref(stream->message);
	g_free(stream);
}

static void end_stream(DnEventStream *stream)
{
	SoupServerMessage *message = g_object_ref(stream->message);

	g_ptr_array_remove_fast(stream->api->streams, stream);
	free_stream(stream);
	soup_message_body_complete(soup_server_message_get_response_body(message));
	/* One that does not even take what is left is ended by the guard. */
	dn_http_guard_answered(message);
	soup_server_message_unpause(message);
	g_object_unref(message);
}

static void on_gone(SoupServerMessage *message, gpointer data)
{
	DnEventStream *stream = data;

	g_ptr_array_remove_fast(stream->api->streams, stream);
	free_stream(stream);
}

static void on_wrote_chunk(SoupServerMessage *message, gpointer data)
{
	DnEventStream *stream = data;

	stream->unsent -= GPOINTER_TO_SIZE(g_queue_pop_head(&stream->sizes));
}

/* Takes @text. False: the stream is gone. */
static bool push(DnEventStream *stream, char *text)
{
	size_t size = strlen(text);

	if (stream->unsent + size > BACKLOG_BYTES) {
		g_free(text);
		end_stream(stream);
		return false;
	}
	stream->unsent += size;
	g_queue_push_tail(&stream->sizes, GSIZE_TO_POINTER(size));
	soup_message_body_append(soup_server_message_get_response_body(stream->message),
				 SOUP_MEMORY_TAKE, text, size);
	soup_server_message_unpause(stream->message);
	return true;
}

static bool push_event(DnEventStream *stream, const DnEvent *event)
{
	g_autoptr(GBytes) json = dn_json_print(dn_record_from_event(event));
	gsize size = 0;
	const char *data = g_bytes_get_data(json, &size);

	return push(stream, g_strdup_printf("id: %" G_GUINT64_FORMAT "\ndata: %.*s\n\n", event->id,
					    (int)size, data));
}

/* A comment, so that both ends notice when the other has gone. */
static gboolean on_keepalive(gpointer data)
{
	DnEventStream *stream = data;
	guint source = stream->keepalive;

	stream->keepalive = 0;
	if (!push(stream, g_strdup(": still here\n\n")))
		return G_SOURCE_REMOVE;
	stream->keepalive = source;
	return G_SOURCE_CONTINUE;
}

static bool read_since(DnApiRequest *request, uint64_t *since, bool *has_since, GError **error)
{
	const char *last = soup_message_headers_get_one(
		soup_server_message_get_request_headers(request->message), "Last-Event-ID");

	*since = 0;
	*has_since = dn_http_query(request, "since") != NULL;
	if (last != NULL && !*has_since) {
		*has_since = g_ascii_string_to_unsigned(last, 10, 0, G_MAXINT64, since, NULL);
		return true;
	}
	return dn_http_query_u64(request, "since", G_MAXINT64, since, error);
}

static void replay(DnEventStream *stream, uint64_t since)
{
	bool going_on = true;

	while (going_on) {
		g_autoptr(GPtrArray) events =
			stream->api->ops.events(since, DN_EVENTS_LIMIT, stream->api->data);

		/* since 0 is "the last ones" to events(), and so its only batch. */
		going_on = since != 0 && events->len == DN_EVENTS_LIMIT;
		for (guint i = 0; i < events->len; i++) {
			const DnEvent *event = g_ptr_array_index(events, i);

			since = event->id;
			if (!push_event(stream, event))
				return;
		}
	}
}

void dn_stream_begin(DnApiRequest *request)
{
	DnApi *api = dn_api_of(request);
	g_autoptr(GError) error = NULL;
	uint64_t since = 0;
	bool has_since = false;

	if (api->streams->len >= DN_API_STREAMS_LIMIT)
		g_set_error(&error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%d programs follow the events already; end one of them",
			    DN_API_STREAMS_LIMIT);
	if (error != NULL || !read_since(request, &since, &has_since, &error)) {
		dn_http_answer_error(request, error);
		return;
	}
	DnEventStream *stream = g_new0(DnEventStream, 1);
	stream->api = api;
	stream->message = g_object_ref(request->message);
	g_ptr_array_add(api->streams, stream);
	SoupMessageHeaders *headers = soup_server_message_get_response_headers(stream->message);
	soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
	soup_message_headers_set_content_type(headers, "text/event-stream", NULL);
	soup_message_headers_replace(headers, "Cache-Control", "no-store");
	soup_message_body_set_accumulate(soup_server_message_get_response_body(stream->message),
					 FALSE);
	soup_server_message_set_status(stream->message, SOUP_STATUS_OK, NULL);
	g_signal_connect(stream->message, "finished", G_CALLBACK(on_gone), stream);
	g_signal_connect(stream->message, "disconnected", G_CALLBACK(on_gone), stream);
	g_signal_connect(stream->message, "wrote-chunk", G_CALLBACK(on_wrote_chunk), stream);
	stream->keepalive = g_timeout_add_seconds(KEEPALIVE_S, on_keepalive, stream);
	/* The first bytes tell a client that it is connected before anything has happened. */
	if (push(stream, g_strdup(": events follow\n\n")) && has_since)
		replay(stream, since);
}

void dn_api_publish(DnApi *self, const DnEvent *event)
{
	/* Backwards: a stream that does not keep up is removed on the way. */
	for (guint i = self->streams->len; i-- > 0;)
		if (i < self->streams->len)
			push_event(g_ptr_array_index(self->streams, i), event);
}

void dn_streams_clear(DnApi *api)
{
	while (api->streams->len > 0)
		end_stream(g_ptr_array_index(api->streams, 0));
}
