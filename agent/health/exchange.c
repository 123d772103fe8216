/* SPDX-License-Identifier: Apache-2.0 */
#include "health/exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

/* The numbers of a status line, RFC 9112 section 4: HTTP/1.x SP 3DIGIT. */
enum { STATUS_LINE_BYTES = sizeof("HTTP/1.1 200") - 1, DRAIN_BYTES = 16384 };

static socklen_t parse_address(const char *address, uint16_t port, struct sockaddr_storage *parsed)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)parsed;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)parsed;

	memset(parsed, 0, sizeof(*parsed));
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	errno = EINVAL;
	return 0;
}

/* One write of the request: more would be a second packet and a second wake-up of the node. */
static bool write_request(DnExchange *self, const DnHealthPolicy *policy, const char *address,
			  uint16_t port)
{
	bool v6 = strchr(address, ':') != NULL;
	int length = snprintf(self->request, sizeof(self->request),
			      "GET %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: dnode-health\r\n"
			      "Accept: */*\r\nConnection: close\r\n\r\n",
			      policy->path != NULL ? policy->path : "/", v6 ? "[" : "", address,
			      v6 ? "]" : "", port);

	if (length < 0 || (size_t)length >= sizeof(self->request)) {
		errno = ENAMETOOLONG;
		return false;
	}
	self->request_length = (size_t)length;
	return true;
}

bool dn_exchange_begin(DnExchange *self, const DnHealthPolicy *policy, const char *address,
		       uint16_t port)
{
	struct sockaddr_storage to;
	socklen_t length = parse_address(address, port, &to);

	*self = (DnExchange){.fd = -1};
	if (length == 0)
		return false;
	if (policy->kind == DN_PROBE_HTTP && !write_request(self, policy, address, port))
		return false;
	self->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (self->fd < 0)
		return false;
	if (connect(self->fd, (struct sockaddr *)&to, length) < 0)
		return errno == EINPROGRESS;
	self->connected = true;
	return true;
}

static DnExchangeState fail(int errsv)
{
	errno = errsv;
	return DN_EXCHANGE_FAILED;
}

/* The answer to a non-blocking connect stands in SO_ERROR once the socket is writable. */
static DnExchangeState finish_connect(DnExchange *self)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	int result = 0;
	socklen_t size = sizeof(result);

	if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &result, &size) < 0)
		return fail(errno);
	if (result != 0)
		return fail(result);
	if (getpeername(self->fd, (struct sockaddr *)&peer, &length) < 0)
		return errno == ENOTCONN ? DN_EXCHANGE_WRITE : fail(errno);
	self->connected = true;
	return DN_EXCHANGE_WRITE;
}

/* A close with unread bytes is a reset, and an error in the node's log every second. */
static void drain(int fd)
{
	char rest[2048];

	for (size_t got = 0; got < DRAIN_BYTES;) {
		ssize_t part = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);

		if (part <= 0)
			return;
		got += (size_t)part;
	}
}

static DnExchangeState judge(DnExchange *self)
{
	const char *code = self->status + sizeof("HTTP/1.1 ") - 1;

	if (memcmp(self->status, "HTTP/1.", 7) != 0 || self->status[8] != ' ')
		return fail(EPROTO);
	for (int i = 0; i < 3; i++)
		if (code[i] < '0' || code[i] > '9')
			return fail(EPROTO);
	drain(self->fd);
	return code[0] == '2' || code[0] == '3' ? DN_EXCHANGE_ANSWERED : fail(EPROTO);
}

static DnExchangeState receive(DnExchange *self)
{
	while (self->received < STATUS_LINE_BYTES) {
		ssize_t got = recv(self->fd, self->status + self->received,
				   STATUS_LINE_BYTES - self->received, 0);

		if (got == 0)
			return fail(EPROTO);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? DN_EXCHANGE_READ : fail(errno);
		self->received += (size_t)got;
	}
	return judge(self);
}

DnExchangeState dn_exchange_step(DnExchange *self)
{
	if (!self->connected) {
		DnExchangeState state = finish_connect(self);

		if (!self->connected)
			return state;
	}
	if (self->request_length == 0)
		return DN_EXCHANGE_ANSWERED;
	while (self->sent < self->request_length) {
		ssize_t sent = send(self->fd, self->request + self->sent,
				    self->request_length - self->sent, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? DN_EXCHANGE_WRITE : fail(errno);
		self->sent += (size_t)sent;
	}
	return receive(self);
}

void dn_exchange_clear(DnExchange *self)
{
	dn_fd_clear(&self->fd);
}
