/* SPDX-License-Identifier: Apache-2.0 */
#include "link/listen.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/text.h"

enum { BACKLOG = 1024 };

/* address = host ":" port, host = IPv4 | "[" IPv6 "]" */
static GSocketAddress *parse(const char *address)
{
	const char *colon = strrchr(address, ':');
	uint64_t port = 0;

	if (colon == NULL || !dn_text_parse_u64(colon + 1, 65535, &port))
		return NULL;
	g_autofree char *host = g_strndup(address, (size_t)(colon - address));
	size_t length = strlen(host);
	bool has_brackets = length > 2 && host[0] == '[' && host[length - 1] == ']';

	/* An IPv6 address needs its brackets, or its last group could be taken for the port. */
	if (has_brackets != (strchr(host, ':') != NULL))
		return NULL;
	if (has_brackets) {
		host[length - 1] = '\0';
		memmove(host, host + 1, length - 1);
	}
	return g_inet_socket_address_new_from_string(host, (guint)port);
}

int dn_link_listen(const char *address, GError **error)
{
	g_autoptr(GSocketAddress) parsed = parse(address);
	struct sockaddr_storage native = {0};
	const int on = 1;

	if (parsed == NULL || !g_socket_address_to_native(parsed, &native, sizeof(native), NULL)) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "cannot listen on '%s': give a numeric ADDRESS:PORT", address);
		return -1;
	}
	dn_autofd int fd = socket(native.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t length = (socklen_t)g_socket_address_get_native_size(parsed);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&native, length) < 0 || listen(fd, BACKLOG) < 0) {
		dn_throw_errno(error, errno, "listen on %s", address);
		return -1;
	}
	return g_steal_fd(&fd);
}

static char *format(struct sockaddr_storage *native, socklen_t length)
{
	g_autoptr(GSocketAddress) address = g_socket_address_new_from_native(native, length);

	return address != NULL ? g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(address))
			       : g_strdup("unknown");
}

int dn_link_accept(int listen_fd, char **address)
{
	struct sockaddr_storage native = {0};
	socklen_t length = sizeof(native);
	int fd = accept4(listen_fd, (struct sockaddr *)&native, &length,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		*address = format(&native, length);
	return fd;
}

uint16_t dn_link_port(int listen_fd)
{
	struct sockaddr_storage native = {0};
	socklen_t length = sizeof(native);

	if (getsockname(listen_fd, (struct sockaddr *)&native, &length) < 0)
		return 0;
	g_autoptr(GSocketAddress) address = g_socket_address_new_from_native(&native, length);
	return g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(address));
}
