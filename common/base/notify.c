/* SPDX-License-Identifier: Apache-2.0 */
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

struct DnNotify {
	char *socket;         /* owned; NULL: nobody listens */
	unsigned interval_ms; /* between two signs of life; 0: none is wanted */
	guint watchdog;       /* the source, 0: not started */
};

static char *take(const char *name)
{
	char *value = g_strdup(g_getenv(name));

	g_unsetenv(name);
	return value;
}

DnNotify *dn_notify_new(void)
{
	DnNotify *self = g_new0(DnNotify, 1);
	g_autofree char *usec = take("WATCHDOG_USEC");
	g_autofree char *pid = take("WATCHDOG_PID");
	guint64 interval = 0;

	self->socket = take("NOTIFY_SOCKET");
	/* sd_watchdog_enabled(3): the variables may have been meant for a parent. */
	if (pid != NULL && g_ascii_strtoull(pid, NULL, 10) != (guint64)getpid())
		return self;
	/* Twice in the time there is; a manager that grants less than 2 ms is not one. */
	if (usec != NULL && g_ascii_string_to_unsigned(usec, 10, 2000, G_MAXUINT, &interval, NULL))
		self->interval_ms = (unsigned)(interval / 2000);
	return self;
}

/* A manager that went away is no reason to stop serving: what cannot be told is dropped. */
static void say(const DnNotify *self, const char *state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = self->socket != NULL ? strlen(self->socket) : 0;

	if (length < 2 || length >= sizeof(address.sun_path) ||
	    (self->socket[0] != '/' && self->socket[0] != '@'))
		return;
	memcpy(address.sun_path, self->socket, length);
	if (self->socket[0] == '@')
		address.sun_path[0] = '\0'; /* the abstract name space, unix(7) */
	dn_autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (fd < 0 ||
	    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0)
		g_debug("%s to %s: %s", state, self->socket, g_strerror(errno));
}

static gboolean on_interval(gpointer data)
{
	say(data, "WATCHDOG=1");
	return G_SOURCE_CONTINUE;
}

void dn_notify_ready(DnNotify *self)
{
	say(self, "READY=1");
	if (self->interval_ms > 0 && self->watchdog == 0)
		self->watchdog = g_timeout_add(self->interval_ms, on_interval, self);
}

void dn_notify_stopping(DnNotify *self)
{
	say(self, "STOPPING=1");
	if (self->watchdog != 0)
		g_source_remove(self->watchdog);
	self->watchdog = 0;
}

void dn_notify_free(DnNotify *self)
{
	if (self == NULL)
		return;
	if (self->watchdog != 0)
		g_source_remove(self->watchdog);
	g_free(self->socket);
	g_free(self);
}
