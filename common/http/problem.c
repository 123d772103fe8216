/* SPDX-License-Identifier: Apache-2.0 */
#include "http/problem.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "base/text.h"

#define DETAIL_LIMIT 4096

static const unsigned statuses[] = {
	[DN_ERROR_INVALID] = 400,     [DN_ERROR_UNTRUSTED] = 403, [DN_ERROR_CONFLICT] = 409,
	[DN_ERROR_UNAVAILABLE] = 503, [DN_ERROR_EXHAUSTED] = 429, [DN_ERROR_UNSUPPORTED] = 501,
};

unsigned dn_problem_status(const GError *error)
{
	if (error->domain != DN_ERROR || error->code < DN_ERROR_INVALID ||
	    error->code > DN_ERROR_UNSUPPORTED)
		return 500;
	return statuses[error->code];
}

/* For answers that carry no code of ours: a proxy, another program on the port. */
static DnErrorCode code_of_status(unsigned status)
{
	if (status == 404)
		return DN_ERROR_INVALID;
	for (unsigned code = DN_ERROR_INVALID; code < G_N_ELEMENTS(statuses); code++)
		if (statuses[code] == status)
			return code;
	return status >= 400 && status < 500 ? DN_ERROR_INVALID : DN_ERROR_UNAVAILABLE;
}

static JsonObject *object_of(JsonParser *parser, const char *body, size_t length)
{
	if (length == 0 || !json_parser_load_from_data(parser, body, (gssize)length, NULL))
		return NULL;
	JsonNode *root = json_parser_get_root(parser);

	return root != NULL && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
}

static const char *text_of(JsonObject *object, const char *key)
{
	JsonNode *node = json_object_get_member(object, key);

	if (node == NULL || json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	return json_node_get_string(node);
}

GError *dn_problem_parse(unsigned status, const char *body, size_t length)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	JsonObject *object = object_of(parser, body, length);
	const char *detail = NULL;
	GQuark domain = DN_ERROR;
	int64_t code = 0;

	if (object != NULL) {
		detail = text_of(object, "detail");
		if (detail == NULL)
			detail = text_of(object, "title");
		JsonNode *node = json_object_get_member(object, "code");
		if (node != NULL && json_node_get_value_type(node) == G_TYPE_INT64)
			code = json_node_get_int(node);
		/* The other side's own failure: code 0 by its own word, never one of ours. */
		if (status == 500 && code == 0) {
			domain = G_IO_ERROR;
			code = G_IO_ERROR_FAILED;
		}
	}
	if (domain == DN_ERROR && (code < DN_ERROR_INVALID || code > DN_ERROR_UNSUPPORTED))
		code = code_of_status(status);
	if (detail == NULL)
		return g_error_new(domain, (int)code, "the supervisor answered with HTTP status %u",
				   status);

	g_autofree char *printable = dn_text_printable(detail, strnlen(detail, DETAIL_LIMIT));
	return g_error_new_literal(domain, (int)code, printable);
}
