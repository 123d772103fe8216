/* SPDX-License-Identifier: Apache-2.0 */
#include "http/stream.h"

#include <string.h>

struct DnStream {
	DnHttpEvent event;
	gpointer user_data; /* borrowed from the caller */
	GString *line;      /* owned */
	GString *data;      /* owned */
	char *id;           /* owned, or NULL */
};

DnStream *dn_stream_new(DnHttpEvent event, gpointer user_data)
{
	DnStream *self = g_new0(DnStream, 1);

	self->event = event;
	self->user_data = user_data;
	self->line = g_string_new(NULL);
	self->data = g_string_new(NULL);
	return self;
}

void dn_stream_free(DnStream *self)
{
	if (self == NULL)
		return;
	g_string_free(self->line, TRUE);
	g_string_free(self->data, TRUE);
	g_free(self->id);
	g_free(self);
}

static bool dispatch(DnStream *self, bool *going_on, GError **error)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	g_autoptr(GError) cause = NULL;

	*going_on = true;
	if (self->data->len == 0)
		return true;
	if (!json_parser_load_from_data(parser, self->data->str, (gssize)self->data->len, &cause)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "an event of the stream is not JSON: %s", cause->message);
		return false;
	}
	g_string_truncate(self->data, 0);
	JsonNode *root = json_parser_get_root(parser);
	if (root != NULL && JSON_NODE_HOLDS_OBJECT(root))
		*going_on = self->event(self->id, json_node_get_object(root), self->user_data);
	return true;
}

/* The text after "NAME:" and one optional blank, or NULL when @line is another field. */
static const char *field(const char *line, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(line, name, length) != 0 || line[length] != ':')
		return NULL;
	line += length + 1;
	return line[0] == ' ' ? line + 1 : line;
}

static bool take_line(DnStream *self, bool *going_on, GError **error)
{
	const char *text;

	if (self->line->len > 0 && self->line->str[self->line->len - 1] == '\r')
		g_string_truncate(self->line, self->line->len - 1);
	if (self->line->len == 0)
		return dispatch(self, going_on, error);
	text = field(self->line->str, "id");
	if (text != NULL) {
		g_free(self->id);
		self->id = g_strdup(text);
	}
	text = field(self->line->str, "data");
	if (text != NULL) {
		if (self->data->len > 0)
			g_string_append_c(self->data, '\n');
		g_string_append(self->data, text);
	}
	return true;
}

bool dn_stream_feed(DnStream *self, const char *bytes, size_t length, bool *going_on,
		    GError **error)
{
	*going_on = true;
	for (size_t i = 0; i < length; i++) {
		if (self->line->len + self->data->len > DN_STREAM_EVENT_LIMIT) {
			g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
				    "an event of the stream is larger than %u bytes",
				    DN_STREAM_EVENT_LIMIT);
			return false;
		}
		if (bytes[i] != '\n') {
			g_string_append_c(self->line, bytes[i]);
			continue;
		}
		if (!take_line(self, going_on, error))
			return false;
		g_string_truncate(self->line, 0);
		if (!*going_on)
			return true;
	}
	return true;
}
