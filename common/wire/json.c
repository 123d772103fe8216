/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

enum { NESTING_LIMIT = 32, WHY_BYTES = 200 };

static bool is_set(GError **error)
{
	return error != NULL && *error != NULL;
}

static void refuse(GError **error, const char *name, const char *wanted)
{
	if (!is_set(error))
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "member \"%s\" must be %s", name,
			    wanted);
}

/* The four digits of \u at @text, or 0, which no text may hold. */
static unsigned escaped_unit(const char *text, size_t length)
{
	unsigned unit = 0;

	if (length < 6 || text[0] != '\\' || text[1] != 'u')
		return 0;
	for (size_t i = 2; i < 6; i++) {
		if (!g_ascii_isxdigit(text[i]))
			return 0;
		unit = unit << 4 | (unsigned)g_ascii_xdigit_value(text[i]);
	}
	return unit;
}

/*
 * The bytes of the escape at @text, 0 when it is wrong. json-glib takes half of a surrogate pair,
 * and what is no digit, and makes text of it that is not UTF-8.
 */
static size_t escape_length(const char *text, size_t length)
{
	if (length < 2 || text[1] != 'u')
		return length < 2 ? 0 : 2;
	unsigned unit = escaped_unit(text, length);
	if (unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		return 0;
	if (unit < 0xd800 || unit > 0xdbff)
		return 6;
	unsigned low = escaped_unit(text + 6, length - 6);
	return low >= 0xdc00 && low <= 0xdfff ? 12 : 0;
}

/* The bytes of the string whose opening quote is at @text, 0 when it is wrong. */
static size_t string_length(const char *text, size_t length)
{
	for (size_t at = 1; at < length;) {
		size_t step = 1;

		if (text[at] == '"')
			return at + 1;
		if (text[at] == '\\')
			step = escape_length(text + at, length - at);
		if (step == 0)
			return 0;
		at += step;
	}
	return 0;
}

/*
 * json-glib recurses, so a deep document would end on its stack, not in an error. It also reads
 * comments and words in single quotes, which are no JSON and could hide a bracket from this count:
 * outside of strings only the bytes of RFC 8259's own tokens are let through.
 */
static bool is_plain_and_shallow(const char *text, size_t length)
{
	static const char tokens[] = " \t\r\n:,0123456789+-.Eaeflnrstu";
	unsigned depth = 0;

	for (size_t at = 0; at < length;) {
		char c = text[at];
		size_t step = 1;

		if (c == '"')
			step = string_length(text + at, length - at);
		else if (c == '{' || c == '[')
			step = ++depth <= NESTING_LIMIT ? 1 : 0;
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
		else if (memchr(tokens, c, sizeof(tokens) - 1) == NULL)
			step = 0;
		if (step == 0)
			return false;
		at += step;
	}
	return true;
}

/* json-glib quotes what it read, which is not ours to print as it is. */
static void refuse_text(const char *why, GError **error)
{
	g_autofree char *shown = dn_text_printable(why, strnlen(why, WHY_BYTES));

	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "not JSON: %s", shown);
}

JsonObject *dn_json_parse(GBytes *bytes, size_t limit, GError **error)
{
	gsize length = 0;
	const char *text = g_bytes_get_data(bytes, &length);
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	g_autoptr(GError) cause = NULL;

	if (length > limit) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED, "JSON of %zu bytes, at most %zu",
			    (size_t)length, limit);
		return NULL;
	}
	if (length == 0 || !g_utf8_validate_len(text, length, NULL) ||
	    !is_plain_and_shallow(text, length)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "not JSON: empty, not UTF-8, nested more than %d deep, or with "
			    "something that RFC 8259 does not know",
			    NESTING_LIMIT);
		return NULL;
	}
	if (!json_parser_load_from_data(parser, text, (gssize)length, &cause)) {
		refuse_text(cause->message, error);
		return NULL;
	}
	JsonNode *root = json_parser_get_root(parser);
	if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "not a JSON object");
		return NULL;
	}
	return json_node_dup_object(root);
}

/* json-glib 1.6 leaves U+001F as it is, which RFC 8259 section 7 does not allow in a string. */
static char *escape_last_control(char *text, gsize *length)
{
	if (memchr(text, 0x1f, *length) == NULL)
		return text;
	GString *escaped = g_string_sized_new(*length + 64);

	for (gsize i = 0; i < *length; i++) {
		if (text[i] == 0x1f)
			g_string_append(escaped, "\\u001f");
		else
			g_string_append_c(escaped, text[i]);
	}
	g_free(text);
	*length = escaped->len;
	return g_string_free(escaped, FALSE);
}

static char *print(JsonObject *object, bool pretty, gsize *length)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	g_autoptr(JsonGenerator) generator = json_generator_new();

	json_node_take_object(node, object);
	json_generator_set_root(generator, node);
	json_generator_set_pretty(generator, pretty);
	char *text = json_generator_to_data(generator, length);
	return escape_last_control(text, length);
}

GBytes *dn_json_print(JsonObject *object)
{
	gsize length = 0;
	char *text = print(object, false, &length);

	return g_bytes_new_take(text, length);
}

char *dn_json_print_pretty(JsonObject *object)
{
	gsize length = 0;

	return print(object, true, &length);
}

JsonObject *dn_json_document(void)
{
	JsonObject *object = json_object_new();

	json_object_set_string_member(object, "schema", "dnode/v1");
	return object;
}

/* The member if it is there and not null. */
static JsonNode *member(JsonObject *object, const char *name)
{
	JsonNode *node = object == NULL ? NULL : json_object_get_member(object, name);

	return node == NULL || JSON_NODE_HOLDS_NULL(node) ? NULL : node;
}

static const char *string_of(JsonNode *node, size_t limit)
{
	if (node == NULL || !JSON_NODE_HOLDS_VALUE(node) ||
	    json_node_get_value_type(node) != G_TYPE_STRING)
		return NULL;
	const char *text = json_node_get_string(node);
	return strlen(text) <= limit ? text : NULL;
}

char *dn_json_string(JsonObject *object, const char *name, size_t limit, GError **error)
{
	const char *text = string_of(member(object, name), limit);

	if (is_set(error))
		return NULL;
	if (text == NULL)
		refuse(error, name, "a string within its limit");
	return g_strdup(text);
}

char *dn_json_name(JsonObject *object, const char *name, GError **error)
{
	const char *text = string_of(member(object, name), G_MAXSIZE);

	if (is_set(error))
		return NULL;
	if (text == NULL || !dn_text_is_name(text)) {
		refuse(error, name, "a name: 1 to 40 of a-z, 0-9 and '-', a letter first");
		return NULL;
	}
	return g_strdup(text);
}

char *dn_json_string_or_null(JsonObject *object, const char *name, size_t limit, GError **error)
{
	return member(object, name) == NULL ? NULL : dn_json_string(object, name, limit, error);
}

uint64_t dn_json_u64(JsonObject *object, const char *name, uint64_t limit, GError **error)
{
	JsonNode *node = member(object, name);

	if (is_set(error))
		return 0;
	if (node == NULL || !JSON_NODE_HOLDS_VALUE(node) ||
	    json_node_get_value_type(node) != G_TYPE_INT64 || json_node_get_int(node) < 0 ||
	    (uint64_t)json_node_get_int(node) > limit) {
		refuse(error, name, "a whole number within its limit");
		return 0;
	}
	return (uint64_t)json_node_get_int(node);
}

int64_t dn_json_i64_or(JsonObject *object, const char *name, int64_t otherwise, GError **error)
{
	JsonNode *node = member(object, name);

	if (node == NULL || is_set(error))
		return otherwise;
	if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64) {
		refuse(error, name, "a whole number");
		return otherwise;
	}
	return json_node_get_int(node);
}

bool dn_json_bool(JsonObject *object, const char *name, GError **error)
{
	if (!is_set(error) && member(object, name) == NULL)
		refuse(error, name, "true or false");
	return dn_json_bool_or(object, name, false, error);
}

bool dn_json_bool_or(JsonObject *object, const char *name, bool otherwise, GError **error)
{
	JsonNode *node = member(object, name);

	if (node == NULL || is_set(error))
		return otherwise;
	if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
		refuse(error, name, "true or false");
		return otherwise;
	}
	return json_node_get_boolean(node);
}

JsonObject *dn_json_object(JsonObject *object, const char *name, GError **error)
{
	JsonNode *node = member(object, name);

	if (is_set(error))
		return NULL;
	if (node == NULL || !JSON_NODE_HOLDS_OBJECT(node)) {
		refuse(error, name, "an object");
		return NULL;
	}
	return json_node_get_object(node);
}

JsonArray *dn_json_array(JsonObject *object, const char *name, unsigned limit, GError **error)
{
	JsonNode *node = member(object, name);

	if (is_set(error))
		return NULL;
	if (node == NULL || !JSON_NODE_HOLDS_ARRAY(node) ||
	    json_array_get_length(json_node_get_array(node)) > limit) {
		refuse(error, name, "a list within its limit");
		return NULL;
	}
	return json_node_get_array(node);
}

static GBytes *decode(const char *text, const char *name, size_t limit, GError **error)
{
	gsize length = 0;

	if (text == NULL) {
		refuse(error, name, "base64 within its limit");
		return NULL;
	}
	/* GLib skips what is not base64; only the one canonical spelling is taken. */
	g_autofree guchar *bytes = g_base64_decode(text, &length);
	g_autofree char *canonical = g_base64_encode(bytes, length);
	if (length > limit || !g_str_equal(canonical, text)) {
		refuse(error, name, "base64 within its limit");
		return NULL;
	}
	return g_bytes_new(bytes, length);
}

GBytes *dn_json_base64(JsonObject *object, const char *name, size_t limit, GError **error)
{
	if (is_set(error))
		return NULL;
	return decode(string_of(member(object, name), limit / 3 * 4 + 8), name, limit, error);
}

JsonObject *dn_json_object_at(JsonArray *array, unsigned index, GError **error)
{
	JsonNode *node = json_array_get_element(array, index);

	if (is_set(error))
		return NULL;
	if (!JSON_NODE_HOLDS_OBJECT(node)) {
		refuse(error, "[]", "a list of objects");
		return NULL;
	}
	return json_node_get_object(node);
}

const char *dn_json_string_at(JsonArray *array, unsigned index, size_t limit, GError **error)
{
	const char *text = string_of(json_array_get_element(array, index), limit);

	if (!is_set(error) && text == NULL)
		refuse(error, "[]", "a list of strings");
	return is_set(error) ? NULL : text;
}

GBytes *dn_json_base64_at(JsonArray *array, unsigned index, size_t limit, GError **error)
{
	const char *text = dn_json_string_at(array, index, limit / 3 * 4 + 8, error);

	return text == NULL ? NULL : decode(text, "[]", limit, error);
}

void dn_json_set_string(JsonObject *object, const char *name, const char *text)
{
	if (text == NULL)
		json_object_set_null_member(object, name);
	else
		json_object_set_string_member(object, name, text);
}

void dn_json_set_text(JsonObject *object, const char *name, const char *text, size_t limit)
{
	g_autofree char *valid = text == NULL ? NULL : g_utf8_make_valid(text, -1);
	const char *end = NULL;

	if (valid != NULL && strlen(valid) > limit) {
		(void)g_utf8_validate(valid, (gssize)limit, &end);
		valid[end - valid] = '\0';
	}
	dn_json_set_string(object, name, valid);
}

void dn_json_set_base64(JsonObject *object, const char *name, GBytes *bytes)
{
	gsize length = 0;
	const guchar *data = g_bytes_get_data(bytes, &length);
	g_autofree char *text = g_base64_encode(data, length);

	json_object_set_string_member(object, name, text);
}

void dn_json_set_time(JsonObject *object, const char *name, uint64_t realtime_ns)
{
	if (realtime_ns == 0) {
		json_object_set_null_member(object, name);
		return;
	}
	g_autofree char *text = dn_clock_format(realtime_ns);
	json_object_set_string_member(object, name, text);
}

uint64_t dn_json_time_or_zero(JsonObject *object, const char *name, GError **error)
{
	g_autofree char *text = dn_json_string_or_null(object, name, 64, error);
	uint64_t time_ns = 0;

	if (text != NULL && !dn_clock_parse(text, &time_ns))
		refuse(error, name, "a time in RFC 3339");
	return time_ns;
}
