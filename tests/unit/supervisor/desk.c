/* SPDX-License-Identifier: Apache-2.0 */
#include "desk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/file.h"

static JsonObject *cluster(void *data)
{
	JsonObject *object = json_object_new();

	json_object_set_int_member(object, "term", 3);
	return object;
}

DnEvent *desk_event(uint64_t id)
{
	DnEvent *event = dn_event_new("test.event", "info", "text");

	event->id = id;
	event->time_ns = UINT64_C(1767323045000000000);
	return event;
}

static void free_event(gpointer event)
{
	dn_event_free(event);
}

static GPtrArray *events(uint64_t since, unsigned limit, void *data)
{
	Desk *self = data;
	GPtrArray *found = g_ptr_array_new_with_free_func(free_event);

	g_string_append_printf(self->asked, "events:%u:%u ", (unsigned)since, limit);
	for (uint64_t id = since + 1; id <= self->last_event && found->len < limit; id++)
		g_ptr_array_add(found, desk_event(id));
	return found;
}

static void answer_something(DnApiReply *reply)
{
	JsonObject *object = json_object_new();

	json_object_set_boolean_member(object, "done", TRUE);
	dn_api_reply(reply, object);
}

static void apply(GBytes *manifest, GPtrArray *signatures, bool plan, DnApiReply *reply, void *data)
{
	Desk *self = data;

	g_string_append_printf(self->asked, "apply:%.*s:%u:%d ", (int)g_bytes_get_size(manifest),
			       (const char *)g_bytes_get_data(manifest, NULL), signatures->len,
			       plan);
	answer_something(reply);
}

static void cordon(const char *host, bool wanted, DnApiReply *reply, void *data)
{
	Desk *self = data;

	g_string_append_printf(self->asked, "cordon:%s:%d ", host, wanted);
	answer_something(reply);
}

static gboolean refuse_later(gpointer data)
{
	g_autoptr(GError) error =
		g_error_new(DN_ERROR, DN_ERROR_UNAVAILABLE, "host a is not connected");

	dn_api_reply_error(data, error);
	return G_SOURCE_REMOVE;
}

static void quarantine(const char *node, const char *reason, DnApiReply *reply, void *data)
{
	Desk *self = data;

	g_string_append_printf(self->asked, "quarantine:%s:%s ", node, reason);
	g_timeout_add(20, refuse_later, reply);
}

static void image_object(const char *name, int fd, DnApiReply *reply, void *data)
{
	Desk *self = data;
	g_autoptr(GMappedFile) file = g_mapped_file_new_from_fd(fd, FALSE, NULL);
	g_autofree char *digest = g_compute_checksum_for_data(
		G_CHECKSUM_SHA256, (const guchar *)g_mapped_file_get_contents(file),
		g_mapped_file_get_length(file));

	g_string_append_printf(self->asked, "object:%s:%s ", name, digest);
	answer_something(reply);
}

static const DnApiOps ops = {
	.cluster = cluster,
	.events = events,
	.apply = apply,
	.cordon = cordon,
	.quarantine = quarantine,
	.image_object = image_object,
};

static gpointer call_in_thread(gpointer data)
{
	DeskCall *call = data;
	g_autofree char *target = g_strconcat("unix:", call->desk->socket_path, NULL);
	g_autoptr(DnHttp) http = dn_http_new(target, &call->error);

	if (g_str_equal(call->method, "GET"))
		call->answer = dn_http_get(http, call->path, &call->error);
	else if (g_str_equal(call->method, "PUT"))
		call->answer = dn_http_put(http, call->path, call->object, &call->error);
	else
		call->answer = dn_http_post(http, call->path, call->body, &call->error);
	g_atomic_int_set(&call->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

void desk_call(const Desk *self, DeskCall *call)
{
	call->desk = self;
	GThread *thread = g_thread_new("client", call_in_thread, call);

	while (!g_atomic_int_get(&call->done))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(thread);
}

JsonObject *desk_get(const Desk *self, const char *path)
{
	DeskCall call = {.method = "GET", .path = path};

	desk_call(self, &call);
	cr_assert(call.error == NULL, "%s", call.error == NULL ? "" : call.error->message);
	return call.answer;
}

int desk_code_of(const Desk *self, const char *method, const char *path, JsonObject *body)
{
	DeskCall call = {.method = method, .path = path, .body = body};

	desk_call(self, &call);
	cr_assert(call.answer == NULL && call.error != NULL);
	int code = call.error->domain == DN_ERROR ? call.error->code : -1;
	g_clear_error(&call.error);
	return code;
}

void desk_open(Desk *self)
{
	g_autoptr(GError) error = NULL;

	self->world = world_new();
	world_add_host(self->world, "a", 10);
	cr_assert(eq(int, world_apply(self->world, world_declare("web", 1, 2, 1)), 0));
	world_settle(self->world);
	self->directory = g_dir_make_tmp("dnt-api-XXXXXX", NULL);
	self->socket_path = g_build_filename(self->directory, "supervisor.sock", NULL);
	self->asked = g_string_new(NULL);
	self->last_event = 0;
	self->api = dn_api_new(&(DnApiConfig){.socket_path = self->socket_path,
					      .spool_dir = self->directory,
					      .core = world_core(self->world)},
			       &ops, self, &error);
	cr_assert(self->api != NULL, "%s", error == NULL ? "" : error->message);
}

void desk_close(Desk *self)
{
	g_clear_pointer(&self->api, dn_api_free);
	while (g_main_context_iteration(NULL, FALSE))
		continue;
	g_clear_pointer(&self->world, world_free);
	cr_assert(dn_file_remove_tree(self->directory, NULL));
	g_clear_pointer(&self->directory, g_free);
	g_clear_pointer(&self->socket_path, g_free);
	g_string_free(self->asked, TRUE);
}
