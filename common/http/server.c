/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixsocketaddress.h>
#include <libsoup/soup.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "http/guard.h"
#include "wire/json.h"

enum { GROUPS_LIMIT = 1024, BACKLOG = 1024 };

/* What all requests together hold. A request that waits for its answer may outlive the server. */
typedef struct {
	uint64_t bytes;   /* of JSON */
	unsigned objects; /* files of objects on their way in */
} Tally;

struct DnHttpServer {
	char *socket_path, *spool_dir;
	mode_t mode;
	bool root_only;
	const DnHttpRoute *routes; /* borrowed */
	void *owner;               /* borrowed */
	SoupServer *server;
	DnHttpGuard *guard;
	GSocketService *service;
	Tally *tally; /* a reference */
	gid_t group;  /* of the socket */
};

static const char inbound_key[] = "dn-inbound";

/* What is known of a request while its body arrives. */
typedef struct {
	Tally *tally;             /* a reference */
	const DnHttpRoute *route; /* NULL: there is none */
	char *argument;
	bool is_wrong_method; /* the path is known */
	uint64_t size;
	uint64_t kept; /* of it in memory */
	bool too_large;
	int spool_fd;
	GError *error; /* of the spool, or NULL */
} Inbound;

static void free_inbound(gpointer data)
{
	Inbound *inbound = data;

	inbound->tally->bytes -= inbound->kept;
	inbound->tally->objects -= inbound->spool_fd >= 0 ? 1 : 0;
	g_rc_box_release(inbound->tally);
	dn_fd_clear(&inbound->spool_fd);
	g_clear_error(&inbound->error);
	g_free(inbound->argument);
	g_free(inbound);
}

/* ---- the table ---- */

/* Whether @path is @pattern; *@argument is what '*' stood for, in the path's own encoding. */
static bool matches(const char *pattern, const char *path, char **argument)
{
	g_auto(GStrv) wanted = g_strsplit(pattern, "/", -1);
	g_auto(GStrv) given = g_strsplit(path, "/", -1);
	g_autofree char *found = NULL;

	if (g_strv_length(wanted) != g_strv_length(given))
		return false;
	for (guint i = 0; wanted[i] != NULL; i++) {
		if (g_str_equal(wanted[i], "*") && given[i][0] != '\0') {
			g_free(found);
			found = g_strdup(given[i]);
		} else if (!g_str_equal(wanted[i], given[i])) {
			return false;
		}
	}
	*argument = g_steal_pointer(&found);
	return true;
}

static void find_route(Inbound *inbound, const DnHttpRoute *routes, const char *method,
		       const char *path)
{
	for (const DnHttpRoute *route = routes; route->method != NULL; route++) {
		g_autofree char *argument = NULL;

		if (!matches(route->pattern, path, &argument))
			continue;
		if (g_str_equal(route->method, method)) {
			inbound->route = route;
			inbound->argument = g_steal_pointer(&argument);
			return;
		}
		inbound->is_wrong_method = true;
	}
}

/* ---- bodies ---- */

static uint64_t limit_of(const Inbound *inbound)
{
	if (inbound->route == NULL || inbound->route->body == DN_BODY_NONE)
		return 0;
	return inbound->route->body == DN_BODY_OBJECT ? DN_HTTP_OBJECT_LIMIT : DN_HTTP_BODY_LIMIT;
}

static void write_spool(Inbound *inbound, GBytes *chunk)
{
	if (inbound->error == NULL && !dn_file_write_all(inbound->spool_fd, chunk))
		dn_throw_errno(&inbound->error, errno, "keep an object on its way in");
}

static void throw_away(SoupServerMessage *message, Inbound *inbound)
{
	SoupMessageBody *body = soup_server_message_get_request_body(message);

	soup_message_body_set_accumulate(body, FALSE);
	soup_message_body_truncate(body);
	inbound->tally->bytes -= inbound->kept;
	inbound->kept = 0;
}

static void keep(SoupServerMessage *message, Inbound *inbound, size_t size)
{
	inbound->kept += size;
	inbound->tally->bytes += size;
	if (inbound->tally->bytes <= DN_HTTP_BODIES_LIMIT)
		return;
	if (inbound->error == NULL)
		g_set_error(&inbound->error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "requests of more than %d bytes arrive at once; try again",
			    DN_HTTP_BODIES_LIMIT);
	throw_away(message, inbound);
}

/* What is over the limit is read and thrown away, so that the answer still arrives. */
static void on_got_chunk(SoupServerMessage *message, GBytes *chunk, gpointer data)
{
	Inbound *inbound = data;

	inbound->size += g_bytes_get_size(chunk);
	if (inbound->size > limit_of(inbound)) {
		inbound->too_large = true;
		throw_away(message, inbound);
	} else if (inbound->spool_fd >= 0) {
		write_spool(inbound, chunk);
	} else if (inbound->route->body == DN_BODY_JSON && inbound->error == NULL) {
		keep(message, inbound, g_bytes_get_size(chunk));
	}
}

static void open_spool(DnHttpServer *self, Inbound *inbound)
{
	if (self->tally->objects >= DN_HTTP_OBJECTS_AT_ONCE) {
		g_set_error(&inbound->error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "%d objects are arriving already; try again", DN_HTTP_OBJECTS_AT_ONCE);
		return;
	}
	inbound->spool_fd =
		open(self->spool_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (inbound->spool_fd < 0)
		dn_throw_errno(&inbound->error, errno, "open a file in %s", self->spool_dir);
	else
		self->tally->objects++;
}

static void on_got_headers(SoupServerMessage *message, gpointer data)
{
	DnHttpServer *self = data;
	Inbound *inbound = g_new0(Inbound, 1);

	inbound->tally = g_rc_box_acquire(self->tally);
	inbound->spool_fd = -1;
	g_object_set_data_full(G_OBJECT(message), inbound_key, inbound, free_inbound);
	/*
	 * libsoup ends connections it did not listen for itself after one request. Unless that is
	 * said, clients send the next one into the closing connection, and libsoup's own repeats
	 * it without its body.
	 */
	soup_message_headers_replace(soup_server_message_get_response_headers(message),
				     "Connection", "close");
	find_route(inbound, self->routes, soup_server_message_get_method(message),
		   g_uri_get_path(soup_server_message_get_uri(message)));
	if (inbound->route == NULL || inbound->route->body != DN_BODY_JSON)
		soup_message_body_set_accumulate(soup_server_message_get_request_body(message),
						 FALSE);
	if (inbound->route != NULL && inbound->route->body == DN_BODY_OBJECT)
		open_spool(self, inbound);
	g_signal_connect(message, "got-chunk", G_CALLBACK(on_got_chunk), inbound);
}

/* ---- a request ---- */

const char *dn_http_query(const DnHttpRequest *request, const char *name)
{
	return request->query == NULL ? NULL : g_hash_table_lookup(request->query, name);
}

bool dn_http_query_u64(const DnHttpRequest *request, const char *name, uint64_t limit,
		       uint64_t *value, GError **error)
{
	const char *text = dn_http_query(request, name);

	if (text == NULL || dn_text_parse_u64(text, limit, value))
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
		    "%s: not a whole number from 0 to %" G_GUINT64_FORMAT, name, limit);
	return false;
}

static bool read_body(DnHttpRequest *request, const Inbound *inbound, GError **error)
{
	if (inbound->too_large) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "the request's body is larger than %" G_GUINT64_FORMAT " bytes",
			    limit_of(inbound));
		return false;
	}
	if (inbound->error != NULL) {
		g_propagate_error(error, g_error_copy(inbound->error));
		return false;
	}
	if (inbound->route->body == DN_BODY_OBJECT) {
		if (lseek(inbound->spool_fd, 0, SEEK_SET) < 0)
			return dn_throw_errno(error, errno, "rewind an object");
		request->spool_fd = inbound->spool_fd;
	}
	if (inbound->route->body != DN_BODY_JSON)
		return true;
	g_autoptr(GBytes) bytes =
		soup_message_body_flatten(soup_server_message_get_request_body(request->message));
	request->body = dn_json_parse(bytes, DN_HTTP_BODY_LIMIT, error);
	return request->body != NULL;
}

static void serve(DnHttpRequest *request, const Inbound *inbound)
{
	g_autoptr(GError) error = NULL;

	if (inbound->route == NULL) {
		dn_http_not_found(request,
				  inbound->is_wrong_method ? "such method for this path" : "path",
				  request->argument, "docs/formats/api.md");
		return;
	}
	if (read_body(request, inbound, &error))
		inbound->route->handler(request);
	else
		dn_http_answer_error(request, error);
	g_clear_pointer(&request->body, json_object_unref);
}

static void on_request(SoupServer *server, SoupServerMessage *message, const char *path,
		       GHashTable *query, gpointer data)
{
	const Inbound *inbound = g_object_get_data(G_OBJECT(message), inbound_key);
	DnHttpRequest request = {
		.owner = ((DnHttpServer *)data)->owner,
		.message = message,
		.query = query,
		.argument = inbound->route == NULL ? (char *)path : inbound->argument,
		.spool_fd = -1,
	};

	serve(&request, inbound);
}

static void on_started(SoupServer *server, SoupServerMessage *message, gpointer data)
{
	g_signal_connect(message, "got-headers", G_CALLBACK(on_got_headers), data);
}

/* ---- the socket ---- */

static bool is_in_group(int fd, gid_t group)
{
	gid_t groups[GROUPS_LIMIT];
	socklen_t size = sizeof(groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == group)
			return true;
	return false;
}

/* The mode of the socket says the same; this holds even where somebody has widened it. */
static bool may_call(const DnHttpServer *self, int fd, pid_t *pid)
{
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return false;
	*pid = peer.pid;
	if (self->root_only)
		return peer.uid == 0;
	return peer.uid == 0 || peer.uid == geteuid() || peer.gid == self->group ||
	       is_in_group(fd, self->group);
}

static gboolean on_incoming(GSocketService *service, GSocketConnection *connection, GObject *source,
			    gpointer data)
{
	DnHttpServer *self = data;
	int fd = g_socket_get_fd(g_socket_connection_get_socket(connection));
	pid_t pid = 0;

	/* Dropping the connection is the answer. */
	if (!may_call(self, fd, &pid))
		return TRUE;
	g_autofree char *peer = g_strdup_printf("%d", pid);
	dn_http_guard_accept(self->guard, connection, peer);
	return TRUE;
}

static int make_socket(const char *path, mode_t mode, gid_t *group, GError **error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat info;

	if (strlen(path) >= sizeof(address.sun_path)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "%s is too long for a socket; choose a shorter run directory", path);
		return -1;
	}
	strcpy(address.sun_path, path);
	dn_autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || (unlink(path) < 0 && errno != ENOENT)) {
		dn_throw_errno(error, errno, "make %s", path);
		return -1;
	}
	mode_t before = umask(0777 & ~mode);
	int bound = bind(fd, (struct sockaddr *)&address, sizeof(address));
	int errsv = errno;
	umask(before);
	if (bound < 0 || listen(fd, BACKLOG) < 0 || stat(path, &info) < 0) {
		dn_throw_errno(error, bound < 0 ? errsv : errno, "listen on %s", path);
		return -1;
	}
	*group = info.st_gid;
	return g_steal_fd(&fd);
}

static bool listen_on(DnHttpServer *self, GError **error)
{
	dn_autofd int fd = make_socket(self->socket_path, self->mode, &self->group, error);

	if (fd < 0)
		return false;
	g_autoptr(GSocket) socket = g_socket_new_from_fd(fd, error);
	if (socket == NULL)
		return false;
	(void)g_steal_fd(&fd);
	self->service = g_socket_service_new();
	if (!g_socket_listener_add_socket(G_SOCKET_LISTENER(self->service), socket, NULL, error))
		return false;
	g_signal_connect(self->service, "incoming", G_CALLBACK(on_incoming), self);
	g_socket_service_start(self->service);
	return true;
}

DnHttpServer *dn_http_server_new(const DnHttpServerConfig *config, GError **error)
{
	g_autoptr(DnHttpServer) self = g_new0(DnHttpServer, 1);

	self->socket_path = g_strdup(config->socket_path);
	self->spool_dir = g_strdup(config->spool_dir);
	self->mode = (mode_t)config->mode;
	self->root_only = config->root_only;
	self->routes = config->routes;
	self->owner = config->owner;
	self->tally = g_rc_box_new0(Tally);
	self->server = soup_server_new("server-header", "dnode", NULL);
	g_signal_connect(self->server, "request-started", G_CALLBACK(on_started), self);
	soup_server_add_handler(self->server, NULL, on_request, self, NULL);
	self->guard =
		dn_http_guard_new(&(DnHttpGuardConfig){.server = self->server,
						       .max = DN_HTTP_CONNECTIONS,
						       .max_of_peer = DN_HTTP_CONNECTIONS_HERE,
						       .crowded = config->crowded,
						       .data = config->owner});
	return listen_on(self, error) ? g_steal_pointer(&self) : NULL;
}

void dn_http_server_free(DnHttpServer *self)
{
	if (self == NULL)
		return;
	if (self->service != NULL) {
		g_socket_service_stop(self->service);
		g_socket_listener_close(G_SOCKET_LISTENER(self->service));
		g_object_unref(self->service);
		(void)unlink(self->socket_path);
	}
	dn_http_guard_free(self->guard);
	soup_server_disconnect(self->server);
	g_signal_handlers_disconnect_by_data(self->server, self);
	g_object_unref(self->server);
	g_rc_box_release(self->tally);
	g_free(self->socket_path);
	g_free(self->spool_dir);
	g_free(self);
}
