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
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_CONNECTIONS = 4096,
	SPARE_FILES = 8,
	HEAD_LIMIT = 8192,
	ANSWER_LIMIT = 2048,
	OUT_LIMIT = 4 * ANSWER_LIMIT,
	BODY_LIMIT = 1 << 20,
	SLOW_LIMIT_MS = 60000,
	IDLE_MS = 60000,
	DRAIN_IDLE_MS = 2000,
	LINGER_MS = 1000,
};

typedef enum {
	READING,   /* waits for the rest of a request */
	WAITING,   /* owes an answer at its deadline */
	LINGERING, /* has answered for the last time; waits for the client's end */
} Phase;

typedef struct Connection Connection;
struct Connection {
	Connection *next, *previous;
	int fd;
	Phase phase;
	bool head_only, close_after, want_out, ended;
	uint64_t deadline_ms;
	size_t in_size, out_size, out_sent, body_left;
	char in[HEAD_LIMIT];
	char out[OUT_LIMIT];
};

static int epoll_fd, listen_fd;
static bool draining, listening;
static size_t n_connections, max_connections;
static Connection *connections;
static uint64_t next_deadline_ms = UINT64_MAX;

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_deadline(Connection *self, uint64_t after_ms)
{
	self->deadline_ms = now_ms() + after_ms;
	if (self->deadline_ms < next_deadline_ms)
		next_deadline_ms = self->deadline_ms;
}

static void listen_on(bool on)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listen_fd};

	if (on == listening || listen_fd < 0)
		return;
	(void)epoll_ctl(epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listen_fd, &event);
	listening = on;
}

static void drop(Connection *self)
{
	if (self->previous != NULL)
		self->previous->next = self->next;
	else
		connections = self->next;
	if (self->next != NULL)
		self->next->previous = self->previous;
	(void)close(self->fd);
	free(self);
	n_connections--;
	if (!draining)
		listen_on(true);
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

/* Append @text to JSON as a string, safe whatever the environment holds. */
static size_t quote(char *out, size_t size, size_t at, const char *text)
{
	out[at++] = '"';
	for (; *text != '\0' && at + 8 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			out[at++] = '\\';
		if (c >= 0x20 && c < 0x7f)
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(out + at, size - at, "\\u%04x", c);
	}
	out[at++] = '"';
	return at;
}

static const char *from_environment(const char *name)
{
	const char *value = getenv(name);

	return value != NULL ? value : "";
}

static void answer_whoami(Connection *self)
{
	static const char *const members[][2] = {
		{"node", "DNODE_NODE"},   {"service", "DNODE_SERVICE"}, {"image", "DNODE_IMAGE"},
		{"epoch", "DNODE_EPOCH"}, {"version", "VERSION"},
	};
	/* Each of five values may use a fifth of it. */
	char body[ANSWER_LIMIT - 512];
	size_t at = 0, n = sizeof(members) / sizeof(members[0]);

	for (size_t i = 0; i < n; i++) {
		size_t part = (i + 1) * (sizeof(body) - 8) / n;

		at += (size_t)snprintf(body + at, sizeof(body) - at,
				       "%c\"%s\": ", i == 0 ? '{' : ',', members[i][0]);
		at = quote(body, part, at, from_environment(members[i][1]));
	}
	(void)snprintf(body + at, sizeof(body) - at, "}\n");
	answer(self, "200 OK", "application/json", body);
}

/* Milliseconds of "ms=N" in @query; -1 when it says nothing usable. */
static long slow_ms(const char *query)
{
	char *end = NULL;

	if (query == NULL || strncmp(query, "ms=", 3) != 0 || query[3] < '0' || query[3] > '9')
		return -1;
	errno = 0;
	long ms = strtol(query + 3, &end, 10);
	return errno == 0 && *end == '\0' && ms <= SLOW_LIMIT_MS ? ms : -1;
}

static void answer_text(Connection *self, const char *text)
{
	char body[256];

	(void)snprintf(body, sizeof(body), "%.200s\n", text);
	answer(self, "200 OK", "text/plain", body);
}

/* @path is cut at its '?'; @query is what follows, or NULL. */
static void route(Connection *self, const char *path, const char *query)
{
	if (strcmp(path, "/") == 0) {
		answer_text(self, "hello");
	} else if (strcmp(path, "/healthz") == 0) {
		answer_text(self, "ok");
	} else if (strcmp(path, "/whoami") == 0) {
		answer_whoami(self);
	} else if (strcmp(path, "/version") == 0) {
		answer_text(self, from_environment("VERSION"));
	} else if (strcmp(path, "/slow") == 0) {
		long ms = slow_ms(query);

		if (ms < 0) {
			answer(self, "400 Bad Request", "text/plain", "say /slow?ms=0 to 60000\n");
			return;
		}
		self->phase = WAITING;
		set_deadline(self, (uint64_t)ms);
	} else {
		answer(self, "404 Not Found", "text/plain", "no such page\n");
	}
}

typedef struct {
	bool bad, close, keep, chunked, sized;
	size_t body;
} Fields;

/* One "Name: value" of the head. */
static void read_field(Fields *fields, char *line)
{
	char *colon = strchr(line, ':');

	/* A blank before the colon is how requests are smuggled past a proxy that trims it. */
	if (colon == NULL || colon == line || strcspn(line, " \t") < (size_t)(colon - line)) {
		fields->bad = true;
		return;
	}
	*colon = '\0';
	char *value = colon + 1 + strspn(colon + 1, " \t");
	for (char *end = value + strlen(value); end > value && strchr(" \t", end[-1]) != NULL;)
		*--end = '\0';
	if (strcasecmp(line, "connection") == 0) {
		fields->close |= strcasestr(value, "close") != NULL;
		fields->keep |= strcasestr(value, "keep-alive") != NULL;
	} else if (strcasecmp(line, "transfer-encoding") == 0) {
		fields->chunked = true;
	} else if (strcasecmp(line, "content-length") == 0) {
		char *end = NULL;

		errno = 0;
		unsigned long length = strtoul(value, &end, 10);
		fields->bad |= fields->sized || value[0] < '0' || value[0] > '9' || *end != '\0' ||
			       errno != 0;
		fields->sized = true;
		fields->body = length;
	}
}

/* METHOD SP TARGET SP VERSION, in place. */
static bool split_request_line(char *line, char **method, char **target, char **version)
{
	char *first = strchr(line, ' ');
	char *second = first != NULL ? strchr(first + 1, ' ') : NULL;

	if (second == NULL || strchr(second + 1, ' ') != NULL || first[1] != '/')
		return false;
	*first = '\0';
	*second = '\0';
	*method = line;
	*target = first + 1;
	*version = second + 1;
	return strncmp(*version, "HTTP/1.", 7) == 0 && strlen(*version) == 8;
}

/* @head is one request's head, NUL-terminated, without its empty line. */
static void handle(Connection *self, char *head)
{
	char *rest = NULL, *method = NULL, *target = NULL, *version = NULL;
	Fields fields = {0};
	char *line = strtok_r(head, "\r\n", &rest);

	self->head_only = false;
	if (line == NULL || !split_request_line(line, &method, &target, &version)) {
		refuse(self, "400 Bad Request");
		return;
	}
	while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL)
		read_field(&fields, line);
	if (fields.bad || (fields.chunked && fields.sized)) {
		refuse(self, "400 Bad Request");
		return;
	}
	if (fields.chunked || fields.body > BODY_LIMIT) {
		refuse(self, fields.chunked ? "501 Not Implemented" : "413 Content Too Large");
		return;
	}
	self->body_left = fields.body;
	self->head_only = strcmp(method, "HEAD") == 0;
	self->close_after = draining || fields.close || (version[7] == '0' && !fields.keep);
	if (!self->head_only && strcmp(method, "GET") != 0) {
		answer(self, "405 Method Not Allowed\r\nAllow: GET, HEAD", "text/plain", "");
		return;
	}
	char *query = strchr(target, '?');
	if (query != NULL)
		*query++ = '\0';
	route(self, target, query);
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

	(void)epoll_ctl(epoll_fd, EPOLL_CTL_MOD, self->fd, &event);
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
			set_deadline(self, draining ? DRAIN_IDLE_MS : IDLE_MS);
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

static void on_ready(Connection *self, uint32_t events)
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

static void on_deadlines(void)
{
	uint64_t now = now_ms();

	if (now < next_deadline_ms)
		return;
	next_deadline_ms = UINT64_MAX;
	for (Connection *at = connections, *next = NULL; at != NULL; at = next) {
		next = at->next;
		if (at->deadline_ms > now) {
			if (at->deadline_ms < next_deadline_ms)
				next_deadline_ms = at->deadline_ms;
		} else if (at->phase == WAITING) {
			at->phase = READING;
			at->close_after |= draining;
			answer_text(at, "slow");
			set_deadline(at, IDLE_MS);
			advance(at);
		} else {
			drop(at);
		}
	}
}

static void on_client(void)
{
	int one = 1;

	while (n_connections < max_connections) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};

		if (fd < 0)
			return;
		Connection *made = malloc(sizeof(*made));
		if (made == NULL) {
			(void)close(fd);
			return;
		}
		memset(made, 0, offsetof(Connection, in));
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		made->fd = fd;
		made->next = connections;
		if (connections != NULL)
			connections->previous = made;
		connections = made;
		n_connections++;
		set_deadline(made, draining ? DRAIN_IDLE_MS : IDLE_MS);
		event.data.ptr = made;
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	}
	/* The rest wait in the kernel's queue until one goes. */
	listen_on(false);
}

static void drain(void)
{
	draining = true;
	/* Those in the queue were told by the kernel that they are connected. */
	on_client();
	listen_on(false);
	(void)close(listen_fd);
	listen_fd = -1;
	for (Connection *at = connections; at != NULL; at = at->next)
		if (at->phase == READING)
			set_deadline(at, DRAIN_IDLE_MS);
}

static void run(int signal_fd)
{
	while (!draining || connections != NULL) {
		struct epoll_event events[64];
		uint64_t now = now_ms();
		int timeout = next_deadline_ms == UINT64_MAX ? -1
			      : next_deadline_ms > now       ? (int)(next_deadline_ms - now)
							     : 0;
		int n = epoll_wait(epoll_fd, events, 64, timeout);

		/* A connection has at most one event a round, so a dropped one is not met again. */
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &listen_fd)
				on_client();
			else if (events[i].data.ptr == NULL)
				continue;
			else
				on_ready(events[i].data.ptr, events[i].events);
		}
		on_deadlines();
		struct signalfd_siginfo info;
		if (!draining && read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			drain();
	}
}

static bool open_port(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct rlimit files = {0};
	sigset_t signals;
	int one = 1;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (epoll_fd < 0 || listen_fd < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return false;
	max_connections = files.rlim_cur > 2 * SPARE_FILES ? files.rlim_cur - SPARE_FILES : 8;
	if (max_connections > MAX_CONNECTIONS)
		max_connections = MAX_CONNECTIONS;
	(void)setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listen_fd, 1024) < 0)
		return false;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	int signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (signal_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signal_fd, &event) < 0)
		return false;
	listen_on(true);
	run(signal_fd);
	return true;
}

int main(int argc, char **argv)
{
	char *end = NULL;
	unsigned long port = argc > 1 ? strtoul(argv[1], &end, 10) : 8080;

	if (argc > 2 || (end != NULL && *end != '\0') || port == 0 || port > UINT16_MAX) {
		(void)fputs("usage: hello [PORT]\n", stderr);
		return 2;
	}
	if (!open_port((uint16_t)port)) {
		(void)fprintf(stderr, "hello: port %lu: %s\n", port, strerror(errno));
		return 1;
	}
	return 0;
}
