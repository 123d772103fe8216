/* SPDX-License-Identifier: Apache-2.0 */
#include "verbs/answer.h"

#include "base/clock.h"

#define SHORT_DIGITS 12

static JsonNode *member(JsonObject *object, const char *name, GType type)
{
	JsonNode *node = object != NULL ? json_object_get_member(object, name) : NULL;

	if (node == NULL || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != type)
		return NULL;
	return node;
}

const char *dn_answer_text(JsonObject *object, const char *name)
{
	JsonNode *node = member(object, name, G_TYPE_STRING);

	return node != NULL ? json_node_get_string(node) : NULL;
}

const char *dn_answer_word(JsonObject *object, const char *name)
{
	const char *text = dn_answer_text(object, name);

	return text != NULL ? text : "-";
}

int64_t dn_answer_number(JsonObject *object, const char *name, int64_t otherwise)
{
	JsonNode *node = member(object, name, G_TYPE_INT64);

	return node != NULL ? json_node_get_int(node) : otherwise;
}

bool dn_answer_bool(JsonObject *object, const char *name)
{
	JsonNode *node = member(object, name, G_TYPE_BOOLEAN);

	return node != NULL && json_node_get_boolean(node);
}

JsonObject *dn_answer_object(JsonObject *object, const char *name)
{
	JsonNode *node = object != NULL ? json_object_get_member(object, name) : NULL;

	return node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *dn_answer_array(JsonObject *object, const char *name)
{
	JsonNode *node = object != NULL ? json_object_get_member(object, name) : NULL;

	return node != NULL && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

unsigned dn_answer_length(JsonArray *array)
{
	return array != NULL ? json_array_get_length(array) : 0;
}

JsonObject *dn_answer_at(JsonArray *array, unsigned index)
{
	if (index >= dn_answer_length(array))
		return NULL;
	JsonNode *node = json_array_get_element(array, index);

	return JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

char *dn_answer_short(const char *digest)
{
	return digest != NULL ? g_strndup(digest, SHORT_DIGITS) : NULL;
}

char *dn_answer_age(const char *time)
{
	static const struct {
		uint64_t seconds;
		char unit;
	} units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
	uint64_t then_ns, now_ns = dn_clock_realtime_ns();

	if (time == NULL || !dn_clock_parse(time, &then_ns))
		return g_strdup("-");
	uint64_t age = now_ns > then_ns ? (now_ns - then_ns) / DN_NS_PER_S : 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(units); i++)
		if (age >= units[i].seconds)
			return g_strdup_printf("%" G_GUINT64_FORMAT "%c", age / units[i].seconds,
					       units[i].unit);
	return g_strdup("0s");
}

static bool refuse_answer(const char *noun, GError **error)
{
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "the supervisor's answer has no '%s': is it of another version?", noun);
	return false;
}

bool dn_answer_list(DnCall *call, const char *path, const char *noun, DnShowList show,
		    GError **error)
{
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) answer = http != NULL ? dn_http_get(http, path, error) : NULL;

	if (answer == NULL)
		return false;
	JsonArray *list = dn_answer_array(answer, noun);
	if (list == NULL)
		return refuse_answer(noun, error);
	if (call->json) {
		dn_output_json(call->output, answer);
		return true;
	}
	show(call->output, list);
	/* Those of which only the store knows more than that there were so many. */
	int64_t older = dn_answer_number(answer, "older", 0);
	if (older > 0)
		dn_output_note(call->output,
			       "and %" G_GINT64_FORMAT " older %s, whose evidence is destroyed; "
			       "'show ID' reads each",
			       older, noun);
	return true;
}

bool dn_answer_one(DnCall *call, const char *path, const char *noun, DnShowOne show, GError **error)
{
	g_autoptr(DnHttp) http = dn_call_connect(call, error);
	g_autoptr(JsonObject) answer = http != NULL ? dn_http_get(http, path, error) : NULL;

	if (answer == NULL)
		return false;
	JsonObject *one = dn_answer_object(answer, noun);
	if (one == NULL)
		return refuse_answer(noun, error);
	if (call->json)
		dn_output_json(call->output, answer);
	else
		show(call->output, one);
	return true;
}
