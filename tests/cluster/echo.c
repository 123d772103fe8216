/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service of UDP: answers every datagram on port 5353 with the name of its node. With ADDRESS
 * PORT it asks there too, twenty times a second. Over HTTP on 8080 it says who answered last.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HTTP_PORT = 8080, UDP_PORT = 5353, PAUSE_MS = 50 };

static char name[65], heard[65] = "nobody";

static int serve(int type, uint16_t port)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type, 0);
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 16) < 0))
		exit(1);
	return fd;
}

static void answer_http(int listener)
{
	char request[4096], answer[256];
	int client = accept(listener, NULL, NULL);

	if (client < 0)
		return;
	int size = snprintf(answer, sizeof(answer),
			    "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
			    strlen(heard), heard);
	if (read(client, request, sizeof(request)) > 0 && write(client, answer, (size_t)size) < 0)
		(void)shutdown(client, SHUT_RDWR);
	close(client);
}

static void answer_udp(int fd)
{
	struct sockaddr_in from = {0};
	socklen_t size = sizeof(from);
	char request[64];

	if (recvfrom(fd, request, sizeof(request), 0, (struct sockaddr *)&from, &size) >= 0)
		(void)sendto(fd, name, strlen(name), 0, (struct sockaddr *)&from, size);
}

static void ask(int out, const struct sockaddr_in *there)
{
	ssize_t length = recv(out, heard, sizeof(heard) - 1, MSG_DONTWAIT);

	if (length >= 0)
		heard[length] = '\0';
	(void)sendto(out, "?", 1, MSG_DONTWAIT, (const struct sockaddr *)there, sizeof(*there));
}

int main(int argc, char **argv)
{
	struct sockaddr_in there = {.sin_family = AF_INET};
	struct pollfd ready[] = {
		{.fd = serve(SOCK_STREAM, HTTP_PORT), .events = POLLIN},
		{.fd = serve(SOCK_DGRAM, UDP_PORT), .events = POLLIN},
	};
	int out = socket(AF_INET, SOCK_DGRAM, 0);
	int asks = argc == 3;

	if (gethostname(name, sizeof(name) - 1) < 0 ||
	    (asks && inet_pton(AF_INET, argv[1], &there.sin_addr) != 1))
		return 2;
	there.sin_port = htons((uint16_t)(asks ? atoi(argv[2]) : 0));
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		if (poll(ready, 2, PAUSE_MS) > 0) {
			if (ready[0].revents != 0)
				answer_http(ready[0].fd);
			if (ready[1].revents != 0)
				answer_udp(ready[1].fd);
		}
		if (asks)
			ask(out, &there);
	}
}
