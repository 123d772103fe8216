/* SPDX-License-Identifier: Apache-2.0 */
#include <gio/gunixsocketaddress.h>

#include "api/api.h"
#include "fuzz/fuzz.h"

/*
 * One connection to the people's API over its own socket. An input with an empty line is sent as it
 * is; any other is "METHOD PATH", a line feed and a body, and gets the headers that belong to it:
 * a length that does not fit the body would keep everything from the parsers behind libsoup.
 */

enum { TURNS = 400 };

/*
 * libsoup 3.2 forgets the path of a request whose headers it refuses. At most a header's size each,
 * and only by those whom the socket lets in.
 */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:soup_headers_parse_request\n";
}

/* GLib is built without frame pointers: only the slow way finds who asked it for memory. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "fast_unwind_on_malloc=0";
}

static void answer(DnApiReply *reply)
{
	dn_api_reply(reply, json_object_new());
}

static JsonObject *cluster(void *data)
{
	return json_object_new();
}

static GPtrArray *events(uint64_t since, unsigned limit, void *data)
{
	return g_ptr_array_new();
}

static void apply(GBytes *manifest, GPtrArray *signatures, bool plan, DnApiReply *reply, void *data)
{
	g_assert(manifest != NULL && signatures != NULL);
	answer(reply);
}

static void token(const char *host, DnApiReply *reply, void *data)
{
	fuzz_judge_text(host);
	answer(reply);
}

static void images(DnApiReply *reply, void *data)
{
	answer(reply);
}

static void images_missing(GPtrArray *objects, DnApiReply *reply, void *data)
{
	for (guint i = 0; i < objects->len; i++)
		g_assert(strlen(g_ptr_array_index(objects, i)) < 1024);
	answer(reply);
}

static void image_object(const char *name, int fd, DnApiReply *reply, void *data)
{
	g_assert(name != NULL && fd >= 0);
	answer(reply);
}

static void image_set(const char *ref, const char *commit, GBytes *metadata, DnApiReply *reply,
		      void *data)
{
	g_assert(ref != NULL && commit != NULL && metadata != NULL);
	answer(reply);
}

static DnApi *api;
static GSocketAddress *address;

static void open_api(void)
{
	static const DnApiOps ops = {
		.cluster = cluster,
		.events = events,
		.apply = apply,
		.token = token,
		.images = images,
		.images_missing = images_missing,
		.image_object = image_object,
		.image_set = image_set,
	};
	g_autoptr(DnCluster) defaults = dn_cluster_new();
	g_autofree char *path = g_build_filename(fuzz_directory(), "api.sock", NULL);
	DnApiConfig config = {
		.socket_path = path,
		.spool_dir = fuzz_directory(),
		.core = dn_fleet_core_new(defaults, NULL),
	};

	api = dn_api_new(&config, &ops, NULL, NULL);
	address = g_unix_socket_address_new(path);
	g_assert(api != NULL && config.core != NULL);
}

static char *complete(const uint8_t *data, size_t size, size_t *length)
{
	const uint8_t *line = memchr(data, '\n', size);

	*length = size;
	if (line == NULL || g_strstr_len((const char *)data, (gssize)size, "\r\n\r\n") != NULL)
		return g_memdup2(data, size);
	size_t head = (size_t)(line - data);
	GString *text = g_string_new_len((const char *)data, (gssize)head);
	g_string_append_printf(text, " HTTP/1.1\r\nHost: dnode\r\nContent-Length: %zu\r\n\r\n",
			       size - head - 1);
	g_string_append_len(text, (const char *)line + 1, (gssize)(size - head - 1));
	*length = text->len;
	return g_string_free(text, FALSE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char back[4096];
	size_t length = 0;

	if (size == 0 || size > 32768)
		return 0;
	if (api == NULL)
		open_api();
	g_autofree char *request = complete(data, size, &length);
	g_autoptr(GSocket) socket =
		g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, 0, NULL);
	g_assert(socket != NULL && g_socket_connect(socket, address, NULL, NULL));
	g_socket_set_blocking(socket, FALSE);
	(void)g_socket_send(socket, request, length, NULL, NULL);
	(void)g_socket_shutdown(socket, FALSE, TRUE, NULL);
	/* Until it hangs up. Followers of events are not hung up on, hence a bound. */
	for (unsigned turn = 0; turn < TURNS; turn++) {
		(void)g_main_context_iteration(NULL, FALSE);
		if (g_socket_receive(socket, back, sizeof(back), NULL, NULL) == 0)
			break;
	}
	(void)g_socket_close(socket, NULL);
	for (unsigned turn = 0; turn < TURNS && g_main_context_iteration(NULL, FALSE); turn++)
		continue;
	return 0;
}
