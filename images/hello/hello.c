/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A little HTTP/1.1 service to try a fleet with: one static program, one thread, one epoll.
 *
 *     hello [PORT]        8080 when it is not given
 *
 *     GET /               a greeting
 *     GET /healthz        200
 *     GET /whoami         node, service, image, epoch and version as JSON
 *     GET /version        $VERSION
 *     GET /slow?ms=N      answers after N milliseconds (60,000 at most); others are not held up
 *
 * SIGTERM: no new connections; what is being answered is finished; a kept-alive connection is told
 * to close with its next answer, and closed when none comes for two seconds; then exit 0.
 *
 * Everything is bounded: connections, bytes of a request's head, time to send it.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection.h"

enum {
	MAX_CONNECTIONS = 4096,
	SPARE_FILES = 8,
};

typedef struct {
	int listen_fd; /* -1 once it drains */
	int signal_fd;
	bool listening; /* epoll watches listen_fd */
	size_t max_connections;
	Connections connections;
} Server;

/* The rest wait in the kernel's queue while there are as many as there may be. */
static void listen_while_there_is_room(Server *self)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = self};
	bool on = self->connections.count < self->max_connections;

	if (on == self->listening || self->listen_fd < 0)
		return;
	(void)epoll_ctl(self->connections.epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
			self->listen_fd, &event);
	self->listening = on;
}

static void accept_all(Server *self)
{
	while (self->connections.count < self->max_connections) {
		int fd = accept4(self->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		connections_add(&self->connections, fd);
	}
}

static void drain(Server *self)
{
	connections_drain(&self->connections);
	/* Those in the queue were told by the kernel that they are connected. */
	accept_all(self);
	(void)close(self->listen_fd);
	self->listen_fd = -1;
}

static void run(Server *self)
{
	Connections *connections = &self->connections;

	while (self->listen_fd >= 0 || connections->first != NULL) {
		struct epoll_event events[64];
		struct signalfd_siginfo info;

		listen_while_there_is_room(self);
		int n = epoll_wait(connections->epoll_fd, events, 64,
				   connections_timeout_ms(connections));
		/* A connection has at most one event a round, so a dropped one is not met again. */
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == self)
				accept_all(self);
			else if (events[i].data.ptr != NULL)
				connection_on_event(events[i].data.ptr, events[i].events);
		}
		connections_expire(connections);
		if (self->listen_fd >= 0 &&
		    read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			drain(self);
	}
}

static bool watch_signals(Server *self)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	self->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	return self->signal_fd >= 0 &&
	       epoll_ctl(self->connections.epoll_fd, EPOLL_CTL_ADD, self->signal_fd, &event) == 0;
}

static bool open_port(Server *self, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct rlimit files = {0};
	int one = 1;

	self->connections.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	self->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (self->connections.epoll_fd < 0 || self->listen_fd < 0 ||
	    getrlimit(RLIMIT_NOFILE, &files) < 0)
		return false;
	self->max_connections =
		files.rlim_cur > 2 * SPARE_FILES ? files.rlim_cur - SPARE_FILES : SPARE_FILES;
	if (self->max_connections > MAX_CONNECTIONS)
		self->max_connections = MAX_CONNECTIONS;
	(void)setsockopt(self->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return bind(self->listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	       listen(self->listen_fd, 1024) == 0;
}

int main(int argc, char **argv)
{
	Server server = {.connections.next_deadline_ms = UINT64_MAX};
	char *end = NULL;
	unsigned long port = argc > 1 ? strtoul(argv[1], &end, 10) : 8080;

	if (argc > 2 || (end != NULL && *end != '\0') || port == 0 || port > UINT16_MAX) {
		(void)fputs("usage: hello [PORT]\n", stderr);
		return 2;
	}
	if (!open_port(&server, (uint16_t)port) || !watch_signals(&server)) {
		(void)fprintf(stderr, "hello: port %lu: %s\n", port, strerror(errno));
		return 1;
	}
	run(&server);
	return 0;
}
