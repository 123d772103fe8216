/* SPDX-License-Identifier: Apache-2.0 */
#include "deed.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAIRS = 200, WAIT_MS = 5000 };

static bool resolve_names(char why[WHY])
{
	struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};

	NEED(getaddrinfo("localhost", "80", &hints, &found) == 0);
	freeaddrinfo(found);
	NEED(getaddrinfo("peer.service.dnode", "80", &hints, &found) == 0);
	freeaddrinfo(found);
	hints.ai_flags = AI_ADDRCONFIG; /* asks the kernel for the addresses of this node */
	NEED(getaddrinfo("peer.service.dnode", "80", &hints, &found) == 0);
	freeaddrinfo(found);
	NEED(getaddrinfo("nobody.invalid", "80", &hints, &found) != 0);
	return true;
}

static bool open_to_peer(const char *port, int type, int *fd)
{
	struct addrinfo *found = NULL, hints = {.ai_socktype = type, .ai_family = AF_INET};

	if (getaddrinfo("peer.service.dnode", port, &hints, &found) != 0)
		return false;
	*fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	bool open = *fd >= 0 && connect(*fd, found->ai_addr, found->ai_addrlen) == 0;
	freeaddrinfo(found);
	return open;
}

static bool ask_a_declared_peer(char why[WHY])
{
	static const char request[] = "GET / HTTP/1.0\r\n\r\n";
	char answer[512] = "";
	int fd = -1;

	NEED(open_to_peer("80", SOCK_STREAM, &fd));
	NEED(send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request));
	NEED(poll(&(struct pollfd){fd, POLLIN, 0}, 1, WAIT_MS) == 1);
	NEED(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
	NEED(strstr(answer, "200 OK") != NULL);
	close(fd);
	return true;
}

/* What a resolver's client does: a datagram to port 53 of a peer that the manifest names. */
static bool ask_a_declared_peer_by_udp(char why[WHY])
{
	char answer[128];
	int fd = -1, got = 0;

	NEED(open_to_peer("53", SOCK_DGRAM, &fd));
	for (int i = 0; i < 5 && got == 0; i++) { /* as a resolver, again when none answers */
		NEED(send(fd, "?", 1, MSG_NOSIGNAL) == 1);
		got = poll(&(struct pollfd){fd, POLLIN, 0}, 1, WAIT_MS / 5);
	}
	NEED(got == 1 && recv(fd, answer, sizeof(answer), 0) > 0);
	close(fd);
	return true;
}

static bool meet(char why[WHY], const struct sockaddr_un *at, socklen_t size, int type)
{
	int server = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	int client = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	struct ucred who = {0};

	NEED(server >= 0 && client >= 0);
	NEED(bind(server, (const struct sockaddr *)at, size) == 0);
	NEED(type == SOCK_DGRAM || listen(server, 4) == 0);
	NEED(connect(client, (const struct sockaddr *)at, size) == 0);
	NEED(send(client, "x", 1, MSG_NOSIGNAL) == 1);
	NEED(type == SOCK_DGRAM ||
	     getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &(socklen_t){sizeof(who)}) == 0);
	close(client);
	close(server);
	return true;
}

static bool use_unix_sockets(char why[WHY])
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "/tmp/s-%lx",
		       (unsigned long)pthread_self());
	NEED(meet(why, &at, sizeof(at), SOCK_STREAM));
	NEED(unlink(at.sun_path) == 0);
	NEED(meet(why, &at, sizeof(at), SOCK_DGRAM));
	NEED(unlink(at.sun_path) == 0);
	return true;
}

static bool use_abstract_sockets(char why[WHY])
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int length = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "deed-%lx",
			      (unsigned long)pthread_self());

	return meet(why, &at,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) + (socklen_t)length,
		    SOCK_STREAM);
}

static bool pass_a_descriptor(char why[WHY])
{
	int pair[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC), got = -1;
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};

	NEED(null >= 0);
	NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &null, sizeof(int));
	NEED(sendmsg(pair[0], &message, 0) == 1);
	NEED(recvmsg(pair[1], &message, MSG_CMSG_CLOEXEC) == 1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	NEED(got >= 0 && write(got, "x", 1) == 1);
	close(got);
	close(null);
	close(pair[0]);
	close(pair[1]);
	return true;
}

static bool list_interfaces(char why[WHY])
{
	struct ifaddrs *list = NULL;
	bool own = false;

	NEED(getifaddrs(&list) == 0);
	for (struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
		own = own || strcmp(i->ifa_name, "lo") != 0;
	freeifaddrs(list);
	NEED(own);
	return true;
}

static bool wait_by_epoll(char why[WHY])
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), fds[PAIRS];
	struct epoll_event events[PAIRS];
	int ready = 0;

	NEED(epoll >= 0);
	for (int i = 0; i < PAIRS; i++) {
		struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = i};

		NEED((fds[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0);
		NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) == 0);
	}
	while (ready < PAIRS) {
		int more = epoll_wait(epoll, events, PAIRS, WAIT_MS);

		NEED(more > 0);
		ready += more;
	}
	for (int i = 0; i < PAIRS; i++)
		close(fds[i]);
	close(epoll);
	return true;
}

static bool connect_to_itself(char why[WHY])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	NEED(server >= 0);
	NEED(bind(server, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(server, 64) == 0);
	NEED(getsockname(server, (struct sockaddr *)&at, &(socklen_t){sizeof(at)}) == 0);
	for (int i = 0; i < PAIRS; i++) {
		int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

		NEED(client >= 0 && connect(client, (struct sockaddr *)&at, sizeof(at)) == 0);
		int taken = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		NEED(taken >= 0);
		close(taken);
		close(client);
	}
	close(server);
	return true;
}

const Deed deeds_of_network[] = {
	{"getaddrinfo", resolve_names},
	{"declared-egress", ask_a_declared_peer},
	{"declared-udp", ask_a_declared_peer_by_udp},
	{"unix-sockets", use_unix_sockets},
	{"abstract-sockets", use_abstract_sockets},
	{"passed-descriptors", pass_a_descriptor},
	{"getifaddrs", list_interfaces},
	{"epoll", wait_by_epoll},
	{"loopback-connections", connect_to_itself},
	{NULL, NULL},
};
