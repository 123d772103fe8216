/* SPDX-License-Identifier: Apache-2.0 */
#include "http/failpoints.h"

#include "base/failpoint.h"
#include "wire/json.h"

enum { SPEC_LIMIT = 16384 };

static const char *const actions[] = {
	[DN_FAIL_OFF] = NULL,
	[DN_FAIL_CRASH] = "crash",
	[DN_FAIL_ERROR] = "error",
	[DN_FAIL_DELAY] = "delay",
};

static void answer(DnHttpRequest *request)
{
	g_autoptr(GPtrArray) points = dn_failpoints_list();
	JsonArray *list = json_array_new();

	for (guint i = 0; i < points->len; i++) {
		const DnFailpoint *point = g_ptr_array_index(points, i);
		JsonObject *object = json_object_new();

		dn_json_set_string(object, "name", point->name);
		json_object_set_boolean_member(object, "can_fail", point->can_fail);
		dn_json_set_string(object, "armed", actions[point->action]);
		json_object_set_int_member(object, "hits", (gint64)point->hits);
		json_object_set_int_member(object, "taken", (gint64)point->taken);
		json_array_add_object_element(list, object);
	}
	dn_http_answer_list(request, "failpoints", list);
}

void dn_http_get_failpoints(DnHttpRequest *request)
{
	answer(request);
}

void dn_http_post_failpoints(DnHttpRequest *request)
{
	GError *failed = NULL;
	g_autofree char *spec = dn_json_string(request->body, "arm", SPEC_LIMIT, &failed);
	g_autoptr(GError) error = failed;

	if (error == NULL && dn_failpoints_arm(spec, &error))
		answer(request);
	else
		dn_http_answer_error(request, error);
}
