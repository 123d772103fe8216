/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service that answers /healthz and keeps one connection of its own open to ADDRESS PORT, on
 * which it sends a byte every few milliseconds: what a reverse shell looks like from outside.
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_PORT = 8080, PAUSE_MS = 5 };

static void answer(int listener)
{
	static const char ok[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	char request[4096];
	int client = accept(listener, NULL, NULL);

	if (client < 0)
		return;
	if (read(client, request, sizeof(request)) > 0 && write(client, ok, sizeof(ok) - 1) < 0)
		(void)shutdown(client, SHUT_RDWR);
	close(client);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(LISTEN_PORT)};
	struct sockaddr_in there = {.sin_family = AF_INET};
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int out = socket(AF_INET, SOCK_STREAM, 0);
	int one = 1;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &there.sin_addr) != 1)
		return 2;
	there.sin_port = htons((uint16_t)atoi(argv[2]));
	signal(SIGPIPE, SIG_IGN);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(listener, 16) < 0)
		return 1;
	if (connect(out, (struct sockaddr *)&there, sizeof(there)) < 0)
		return 1;
	for (;;) {
		struct pollfd ready = {.fd = listener, .events = POLLIN};

		if (poll(&ready, 1, PAUSE_MS) > 0)
			answer(listener);
		if (send(out, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			continue;
	}
}
