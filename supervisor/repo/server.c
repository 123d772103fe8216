/* SPDX-License-Identifier: Apache-2.0 */
#include "repo/server.h"

#include <errno.h>
#include <fcntl.h>
#include <libsoup/soup.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "http/guard.h"
#include "image/repository.h"

#define PREFIX "/repo/"
enum { HEX = 62, PATH_LONGEST = 256 };

struct DnRepoServer {
	SoupServer *soup;        /* owned */
	GSocketService *service; /* owned */
	uint16_t port;
	DnHttpGuard *guard; /* owned */
	int repo_fd;        /* owned */
	void (*crowded)(const char *where, unsigned count, void *data);
	void *data;
};

static bool is_object(const char *path)
{
	static const char *const types[] = {"commit", "commitmeta", "dirtree", "dirmeta", "filez"};

	/* XX/ and 62 digits and .TYPE */
	if (strlen(path) < 3 + HEX + 1 || path[2] != '/' || path[3 + HEX] != '.')
		return false;
	g_autofree char *start = g_strndup(path, 2);
	g_autofree char *rest = g_strndup(path + 3, HEX);
	if (!dn_text_is_hex(start, 2) || !dn_text_is_hex(rest, HEX))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
		if (strcmp(path + 3 + HEX + 1, types[i]) == 0)
			return true;
	return false;
}

bool dn_repo_server_is_served(const char *path)
{
	if (strlen(path) > PATH_LONGEST)
		return false;
	if (strcmp(path, "config") == 0 || strcmp(path, "summary") == 0)
		return true;
	if (g_str_has_prefix(path, "objects/"))
		return is_object(path + strlen("objects/"));
	/* A ref's words never begin with a dot. */
	return g_str_has_prefix(path, "refs/heads/") &&
	       dn_image_is_ref(path + strlen("refs/heads/"));
}

/*
 * What the repository does not have, or what leads out of it, is not found. Anything else is no
 * word about the file: a sandbox that takes the system call away must not look like an empty one.
 */
static guint status_of(int errsv)
{
	if (errsv == ENOENT || errsv == ENOTDIR || errsv == ELOOP || errsv == EXDEV)
		return SOUP_STATUS_NOT_FOUND;
	g_warning("open a file of the repository: %s", g_strerror(errsv));
	return SOUP_STATUS_INTERNAL_SERVER_ERROR;
}

/* Map a regular file of the repository; NULL with an HTTP status. */
static GBytes *map(const DnRepoServer *self, const char *path, guint *status)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	dn_autofd int fd = (int)syscall(SYS_openat2, self->repo_fd, path, &how, sizeof(how));
	struct stat info = {0};

	*status = SOUP_STATUS_NOT_FOUND;
	if (fd < 0)
		*status = status_of(errno);
	if (fd < 0 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode))
		return NULL;
	/* Objects are never written again under their name, so the mapping cannot be cut short. */
	g_autoptr(GMappedFile) mapped = g_mapped_file_new_from_fd(fd, FALSE, NULL);
	*status = mapped != NULL ? SOUP_STATUS_OK : SOUP_STATUS_INTERNAL_SERVER_ERROR;
	return mapped != NULL ? g_mapped_file_get_bytes(mapped) : NULL;
}

static void answer(const DnRepoServer *self, SoupServerMessage *message, const char *path)
{
	SoupMessageHeaders *headers = soup_server_message_get_response_headers(message);
	const char *method = soup_server_message_get_method(message);
	guint status = SOUP_STATUS_NOT_FOUND;

	if (method != SOUP_METHOD_GET && method != SOUP_METHOD_HEAD) {
		soup_message_headers_replace(headers, "Allow", "GET, HEAD");
		soup_server_message_set_status(message, SOUP_STATUS_METHOD_NOT_ALLOWED, NULL);
		return;
	}
	g_autoptr(GBytes) bytes = NULL;
	if (g_str_has_prefix(path, PREFIX) && dn_repo_server_is_served(path + strlen(PREFIX)))
		bytes = map(self, path + strlen(PREFIX), &status);
	soup_server_message_set_status(message, status, NULL);
	if (bytes == NULL)
		return;
	soup_message_headers_set_content_type(headers, "application/octet-stream", NULL);
	if (method == SOUP_METHOD_HEAD)
		soup_message_headers_set_content_length(headers, (goffset)g_bytes_get_size(bytes));
	else
		soup_message_body_append_bytes(soup_server_message_get_response_body(message),
					       bytes);
}

static void on_request(SoupServer *soup, SoupServerMessage *message, const char *path,
		       GHashTable *query, gpointer data)
{
	/* libsoup ends connections it did not listen for itself after one request: say so. */
	soup_message_headers_replace(soup_server_message_get_response_headers(message),
				     "Connection", "close");
	answer(data, message, path);
	dn_http_guard_answered(message);
}

/* A request has no body here: nothing is gathered of one that comes all the same. */
static void on_headers(SoupServerMessage *message, gpointer data)
{
	SoupMessageHeaders *headers = soup_server_message_get_request_headers(message);

	if (soup_message_headers_get_encoding(headers) == SOUP_ENCODING_NONE ||
	    soup_message_headers_get_content_length(headers) == 0)
		return;
	soup_server_message_set_status(message, SOUP_STATUS_REQUEST_ENTITY_TOO_LARGE, NULL);
}

static void on_started(SoupServer *soup, SoupServerMessage *message, gpointer data)
{
	soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
	g_signal_connect(message, "got-headers", G_CALLBACK(on_headers), NULL);
}

static gboolean on_incoming(GSocketService *service, GSocketConnection *connection, GObject *source,
			    gpointer data)
{
	DnRepoServer *self = data;
	g_autoptr(GSocketAddress) remote = g_socket_connection_get_remote_address(connection, NULL);

	if (remote == NULL || !G_IS_INET_SOCKET_ADDRESS(remote))
		return TRUE;
	g_autofree char *peer = g_inet_address_to_string(
		g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(remote)));
	dn_http_guard_accept(self->guard, connection, peer);
	return TRUE;
}

static void on_crowded(unsigned count, void *data)
{
	const DnRepoServer *self = data;

	if (self->crowded != NULL)
		self->crowded("image repository", count, self->data);
}

/* "192.0.2.1:80", "[2001:db8::1]:80" */
static GSocketAddress *parse_address(const char *text, GError **error)
{
	const char *colon = strrchr(text, ':');
	uint64_t port = 0;

	if (colon != NULL && colon > text && dn_text_parse_u64(colon + 1, UINT16_MAX, &port)) {
		bool bracketed = text[0] == '[' && colon[-1] == ']';
		g_autofree char *ip = bracketed ? g_strndup(text + 1, (gsize)(colon - text) - 2)
						: g_strndup(text, (gsize)(colon - text));
		GSocketAddress *address = g_inet_socket_address_new_from_string(ip, (guint)port);

		if (address != NULL)
			return address;
	}
	g_set_error(error, DN_ERROR, DN_ERROR_INVALID, "repo_listen: %s is not IP:PORT", text);
	return NULL;
}

static bool listen_on(DnRepoServer *self, GSocketAddress *where, GError **error)
{
	g_autoptr(GSocketAddress) bound = NULL;

	self->service = g_socket_service_new();
	g_socket_listener_set_backlog(G_SOCKET_LISTENER(self->service), DN_REPO_CONNECTIONS);
	if (!g_socket_listener_add_address(G_SOCKET_LISTENER(self->service), where,
					   G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL,
					   &bound, error))
		return false;
	self->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
	g_signal_connect(self->service, "incoming", G_CALLBACK(on_incoming), self);
	g_socket_service_start(self->service);
	return true;
}

DnRepoServer *dn_repo_server_new(const DnRepoServerConfig *config, GError **error)
{
	g_autoptr(GSocketAddress) where = parse_address(config->listen, error);

	if (where == NULL)
		return NULL;
	g_autoptr(DnRepoServer) self = g_new0(DnRepoServer, 1);
	self->crowded = config->crowded;
	self->data = config->data;
	self->repo_fd = open(config->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (self->repo_fd < 0) {
		dn_throw_errno(error, errno, "open repository %s", config->path);
		return NULL;
	}
	self->soup = soup_server_new("server-header", "dnode", NULL);
	g_signal_connect(self->soup, "request-started", G_CALLBACK(on_started), self);
	soup_server_add_handler(self->soup, NULL, on_request, self, NULL);
	self->guard =
		dn_http_guard_new(&(DnHttpGuardConfig){.server = self->soup,
						       .max = DN_REPO_CONNECTIONS,
						       .max_of_peer = DN_REPO_CONNECTIONS_HERE,
						       .crowded = on_crowded,
						       .data = self});
	if (!listen_on(self, where, error)) {
		g_prefix_error(error, "repo_listen %s: ", config->listen);
		return NULL;
	}
	return g_steal_pointer(&self);
}

void dn_repo_server_free(DnRepoServer *self)
{
	if (self == NULL)
		return;
	if (self->service != NULL) {
		g_socket_service_stop(self->service);
		g_socket_listener_close(G_SOCKET_LISTENER(self->service));
		g_object_unref(self->service);
	}
	dn_http_guard_free(self->guard);
	if (self->soup != NULL) {
		/* Requests that are cut off here end in a signal, which must not reach freed
		 * memory. */
		soup_server_disconnect(self->soup);
		g_signal_handlers_disconnect_by_data(self->soup, self);
		soup_server_remove_handler(self->soup, NULL);
		g_object_unref(self->soup);
	}
	dn_fd_clear(&self->repo_fd);
	g_free(self);
}

uint16_t dn_repo_server_port(const DnRepoServer *self)
{
	return self->port;
}
