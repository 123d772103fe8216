/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An ordinary service in C, linked dynamically against glibc: a thread a connection, kept alive.
 *
 *     GET /healthz       ok
 *     GET /list          the names of the deeds, one a line
 *     GET /do?what=NAME  does it: 200 and "did NAME", or 500 and what did not work
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deed.h"

enum { PORT = 8080, REQUEST = 2048, ANSWER = 4096, STACK = 256 * 1024, BACKLOG = 4096 };

static const Deed *const lists[] = {deeds_of_files, deeds_of_memory, deeds_of_network,
				    deeds_of_processes, deeds_of_signals};
enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

static const Deed *find(const char *name, size_t length)
{
	for (size_t i = 0; i < LISTS; i++)
		for (const Deed *deed = lists[i]; deed->name != NULL; deed++)
			if (strlen(deed->name) == length && memcmp(deed->name, name, length) == 0)
				return deed;
	return NULL;
}

static int list_names(char *body, size_t size)
{
	int length = 0;

	for (size_t i = 0; i < LISTS; i++)
		for (const Deed *deed = lists[i]; deed->name != NULL; deed++)
			length +=
				snprintf(body + length, size - (size_t)length, "%s\n", deed->name);
	return length;
}

/* The status; the body is a line in @body. */
static int answer(const char *request, char *body, size_t size)
{
	static const char asked[] = "GET /do?what=";
	char why[WHY] = "";

	if (strncmp(request, "GET /healthz ", 13) == 0) {
		(void)snprintf(body, size, "ok\n");
		return 200;
	}
	if (strncmp(request, "GET /list ", 10) == 0) {
		(void)list_names(body, size);
		return 200;
	}
	if (strncmp(request, asked, strlen(asked)) != 0)
		return 404;
	const char *name = request + strlen(asked);
	const Deed *deed = find(name, strcspn(name, " &"));
	if (deed == NULL)
		return 404;
	bool did = deed->work(why);
	(void)snprintf(body, size, did ? "did %s\n" : "%s: %s\n", deed->name, why);
	return did ? 200 : 500;
}

static bool reply(int client, const char *request)
{
	char body[ANSWER - 256] = "", whole[ANSWER];
	int status = answer(request, body, sizeof(body));
	int length =
		snprintf(whole, sizeof(whole), "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n\r\n%s",
			 status, status == 200 ? "OK" : "Failed", strlen(body), body);

	return send(client, whole, (size_t)length, MSG_NOSIGNAL) == length;
}

static void *serve(void *data)
{
	int client = (int)(long)data;
	char request[REQUEST];
	size_t filled = 0;

	for (;;) {
		ssize_t got = recv(client, request + filled, sizeof(request) - 1 - filled, 0);

		if (got <= 0)
			break;
		filled += (size_t)got;
		request[filled] = '\0';
		if (strstr(request, "\r\n\r\n") == NULL)
			continue;
		if (!reply(client, request))
			break;
		filled = 0;
	}
	close(client);
	return NULL;
}

/* Both families by one socket, as most services do; a kernel without IPv6 has the other. */
static int open_listener(void)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int one = 1, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&any6, sizeof(any6)) == 0)
			return fd;
		close(fd);
	}
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any4, sizeof(any4)) < 0) {
		perror("bind");
		exit(1);
	}
	return fd;
}

int main(void)
{
	int listener = open_listener(), one = 1;
	pthread_attr_t attributes;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, _exit); /* the number is a good enough status: it was asked to */
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	if (listen(listener, BACKLOG) < 0) {
		perror("listen");
		return 1;
	}
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (client < 0)
			continue;
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (pthread_create(&thread, &attributes, serve, (void *)(long)client) != 0)
			close(client);
	}
}
