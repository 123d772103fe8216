/* SPDX-License-Identifier: Apache-2.0 */
#include "connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "page.h"
#include "request.h"

enum {
	HEAD_LIMIT = 8192,
	ANSWER_LIMIT = PAGE_BODY_LIMIT + 512,
	OUT_LIMIT = 4 * ANSWER_LIMIT,
	IDLE_MS = 60000,
	DRAIN_IDLE_MS = 2000,
	LINGER_MS = 1000,
};

typedef enum {
	READING,   /* waits for the rest of a request */
	WAITING,   /* owes an answer at its deadline */
	LINGERING, /* has answered for the last time; waits for the client's end */
} Phase;

struct Connection {
	Connections *all;
	Connection *next, *previous;
	int fd;
	Phase phase;
	bool head_only, close_after, ended;
	uint64_t deadline_ms;
	size_t in_size, out_size, out_sent, body_left;
	char in[HEAD_LIMIT];
	char out[OUT_LIMIT];
};

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_deadline(Connection *self, uint64_t after_ms)
{
	self->deadline_ms = now_ms() + after_ms;
	if (self->deadline_ms < self->all->next_deadline_ms)
		self->all->next_deadline_ms = self->deadline_ms;
}

static uint64_t idle_ms(const Connections *all)
{
	return all->draining ? DRAIN_IDLE_MS : IDLE_MS;
}

static void drop(Connection *self)
{
	if (self->previous != NULL)
		self->previous->next = self->next;
	else
		self->all->first = self->next;
	if (self->next != NULL)
		self->next->previous = self->previous;
	self->all->count--;
	(void)close(self->fd);
	free(self);
}

/* Room for one answer was made sure of by the caller. */
static void answer(Connection *self, const char *status, const char *type, const char *body)
{
	size_t room = sizeof(self->out) - self->out_size;
	int length = snprintf(self->out + self->out_size, room,
			      "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n%s",
			      status, type, strlen(body),
			      self->close_after ? "Connection: close\r\n" : "",
			      self->head_only ? "" : body);

	if (length > 0 && (size_t)length < room)
		self->out_size += (size_t)length;
	else
		self->close_after = true;
}

static void refuse(Connection *self, const char *status)
{
	self->close_after = true;
	answer(self, status, "text/plain", "");
}

static void answer_page(Connection *self, const Page *page)
{
	answer(self, page->status, page->type, page->body);
}

/* @head is one request's head, NUL-terminated, without its empty line. */
static void handle(Connection *self, char *head)
{
	Request request = {0};
	const char *refusal = request_read(&request, head);
	Page page;

	self->head_only = request.head_only;
	if (refusal != NULL) {
		refuse(self, refusal);
		return;
	}
	self->body_left = request.body;
	self->close_after = self->all->draining || request.close_after;
	if (!request.is_known) {
		answer(self, "405 Method Not Allowed\r\nAllow: GET, HEAD", "text/plain", "");
		return;
	}
	page_make(&page, request.path, request.query);
	if (page.wait_ms > 0) {
		self->phase = WAITING;
		set_deadline(self, page.wait_ms);
	} else {
		answer_page(self, &page);
	}
}

static void consume(Connection *self, size_t n)
{
	self->in_size -= n;
	memmove(self->in, self->in + n, self->in_size);
}

/* Take the next request out of the buffer. False: there is none yet. */
static bool take_request(Connection *self)
{
	size_t body = self->body_left < self->in_size ? self->body_left : self->in_size;

	consume(self, body);
	self->body_left -= body;
	if (self->body_left > 0 || self->in_size == 0)
		return false;
	char *end = memmem(self->in, self->in_size, "\r\n\r\n", 4);
	if (end == NULL) {
		if (self->in_size == sizeof(self->in))
			refuse(self, "431 Request Header Fields Too Large");
		return self->close_after;
	}
	size_t length = (size_t)(end - self->in);
	if (memchr(self->in, '\0', length) != NULL) {
		refuse(self, "400 Bad Request");
		return true;
	}
	char head[HEAD_LIMIT];
	memcpy(head, self->in, length);
	head[length] = '\0';
	consume(self, length + 4);
	handle(self, head);
	return true;
}

static void want(Connection *self, bool out)
{
	/* A client that waits for its answer may send more: what does not fit stays in the kernel.
	 */
	bool in = self->phase == LINGERING || self->in_size < sizeof(self->in);
	struct epoll_event event = {
		.events = (in && !self->ended ? EPOLLIN | EPOLLRDHUP : 0u) | (out ? EPOLLOUT : 0u),
		.data.ptr = self,
	};

	(void)epoll_ctl(self->all->epoll_fd, EPOLL_CTL_MOD, self->fd, &event);
}

/* Send what there is. False: the connection is gone. */
static bool send_out(Connection *self)
{
	while (self->out_sent < self->out_size) {
		ssize_t sent = send(self->fd, self->out + self->out_sent,
				    self->out_size - self->out_sent, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return true;
		if (sent < 0) {
			drop(self);
			return false;
		}
		self->out_sent += (size_t)sent;
	}
	self->out_size = 0;
	self->out_sent = 0;
	return true;
}

/*
 * Answer and send as far as it goes. Closing at once with unread bytes of the client would make
 * the kernel reset the connection, and the client lose the answer: hence LINGERING.
 */
static void advance(Connection *self)
{
	bool blocked = false;

	while (!blocked && self->phase == READING && !self->close_after) {
		bool took = false;

		while (self->phase == READING && !self->close_after &&
		       self->out_size <= sizeof(self->out) - ANSWER_LIMIT && take_request(self))
			took = true;
		if (!send_out(self))
			return;
		blocked = self->out_size > 0 || !took;
		if (took && self->phase == READING)
			set_deadline(self, idle_ms(self->all));
	}
	if (!send_out(self))
		return;
	if (self->out_size == 0 && self->phase == READING && (self->close_after || self->ended)) {
		if (self->ended) {
			drop(self);
			return;
		}
		(void)shutdown(self->fd, SHUT_WR);
		self->phase = LINGERING;
		set_deadline(self, LINGER_MS);
	}
	want(self, self->out_size > 0);
}

void connection_on_event(Connection *self, uint32_t events)
{
	char waste[4096];
	bool linger = self->phase == LINGERING;
	char *into = linger ? waste : self->in + self->in_size;
	size_t room = linger ? sizeof(waste) : sizeof(self->in) - self->in_size;

	if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
		drop(self);
		return;
	}
	if ((events & (EPOLLIN | EPOLLRDHUP)) != 0 && room > 0) {
		ssize_t got = recv(self->fd, into, room, 0);

		if (got < 0 && errno != EAGAIN && errno != EINTR) {
			drop(self);
			return;
		}
		if (got == 0) {
			self->ended = true;
			if (linger) {
				drop(self);
				return;
			}
		} else if (got > 0 && !linger) {
			self->in_size += (size_t)got;
		}
	}
	if (!linger)
		advance(self);
}

static void answer_late(Connection *self)
{
	Page page;

	page_make_late(&page);
	self->phase = READING;
	self->close_after |= self->all->draining;
	answer_page(self, &page);
	set_deadline(self, IDLE_MS);
	advance(self);
}

void connections_expire(Connections *self)
{
	uint64_t now = now_ms();

	if (now < self->next_deadline_ms)
		return;
	self->next_deadline_ms = UINT64_MAX;
	for (Connection *at = self->first, *next = NULL; at != NULL; at = next) {
		next = at->next;
		if (at->deadline_ms > now) {
			if (at->deadline_ms < self->next_deadline_ms)
				self->next_deadline_ms = at->deadline_ms;
		} else if (at->phase == WAITING) {
			answer_late(at);
		} else {
			drop(at);
		}
	}
}

int connections_timeout_ms(const Connections *self)
{
	uint64_t now = now_ms();

	if (self->next_deadline_ms == UINT64_MAX)
		return -1;
	return self->next_deadline_ms > now ? (int)(self->next_deadline_ms - now) : 0;
}

void connections_add(Connections *self, int fd)
{
	Connection *made = malloc(sizeof(*made));
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = made};
	int one = 1;

	if (made == NULL) {
		(void)close(fd);
		return;
	}
	/* The buffers say how much of them is filled. */
	memset(made, 0, offsetof(Connection, in));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	made->all = self;
	made->fd = fd;
	made->next = self->first;
	if (self->first != NULL)
		self->first->previous = made;
	self->first = made;
	self->count++;
	set_deadline(made, idle_ms(self));
	(void)epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

void connections_drain(Connections *self)
{
	self->draining = true;
	for (Connection *at = self->first; at != NULL; at = at->next)
		if (at->phase == READING)
			set_deadline(at, DRAIN_IDLE_MS);
}
