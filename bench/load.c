/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Clients of a service as a benchmark needs them: keep-alive connections of which some ask all
 * the time and some idle, and, while told to, a prober that opens a new connection every
 * PROBE_GAP. What happens is printed as JSON lines with CLOCK_MONOTONIC nanoseconds.
 *
 *     load ADDRESS PORT BUSY IDLE REQUESTS_PER_SECOND
 *
 * The machine is watched too: a thread above every normal task naps for half a millisecond at a
 * time, and "stolen" says when it was woken more than a millisecond late. What holds that thread up
 * is the hypervisor or an interrupt, neither the service nor these clients.
 *
 * On stdin: "probe" and "rest" start and stop the prober, "mark" prints the connections per node,
 * "quit" or the end of input ends it with a summary. Run it in the clients' network namespace.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS = 256,
	PROBES = 1024,
	ANSWER = 2048,
	NAME = 64,
	PROBE_GAP_US = 300,
	TICK_US = 200,
	REQUESTS_A_CONNECTION = 400,
	LATE_MS = 200,
	WATCH_US = 500,
	STOLEN_US = 1000,
	WATCH_PRIORITY = 50,
};

typedef enum { CLOSED, CONNECTING, ASKING, RESTING } Phase;

typedef struct {
	int fd;
	Phase phase;
	bool busy, probe, late;
	unsigned left; /* requests before it reconnects */
	uint64_t began_ns, next_ns;
	char node[NAME];
	char answer[ANSWER];
	size_t filled;
} Connection;

static struct {
	Connection all[CONNECTIONS + PROBES];
	unsigned n; /* lasting ones; the probes follow */
	struct sockaddr_in server;
	int epoll;
	uint64_t gap_ns;
	bool probing, ending;
	uint64_t next_probe_ns;
	unsigned long requests, answers, failed, resets, closed, refused, late;
	uint64_t slowest_ns;
} load;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void tell(const Connection *self, const char *what, uint64_t at_ns)
{
	printf("{\"t\":%llu,\"what\":\"%s\",\"node\":\"%s\",\"probe\":%s,\"asking\":%s}\n",
	       (unsigned long long)at_ns, what, self->node, self->probe ? "true" : "false",
	       self->phase == ASKING ? "true" : "false");
}

static void watch(Connection *self, int action, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = self};

	epoll_ctl(load.epoll, action, self->fd, &event);
}

static void open_one(Connection *self)
{
	int one = 1;
	struct linger hard = {.l_onoff = 1};

	self->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(self->fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
	/* No TIME_WAIT: the benchmark opens more connections than there are ports. */
	setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	self->phase = CONNECTING;
	self->filled = 0;
	self->late = false;
	self->node[0] = '\0';
	self->left = REQUESTS_A_CONNECTION / 2 + (unsigned)rand() % REQUESTS_A_CONNECTION;
	self->began_ns = now_ns();
	(void)connect(self->fd, (struct sockaddr *)&load.server, sizeof(load.server));
	watch(self, EPOLL_CTL_ADD, EPOLLOUT);
}

static void shut(Connection *self)
{
	close(self->fd);
	self->fd = -1;
	self->phase = CLOSED;
}

static void lose(Connection *self, int errsv, uint64_t at_ns)
{
	if (self->phase == ASKING)
		load.failed++;
	if (errsv == ECONNREFUSED)
		load.refused++;
	else if (errsv != 0)
		load.resets++;
	else
		load.closed++;
	tell(self,
	     errsv == ECONNREFUSED ? "refused"
	     : errsv == ETIMEDOUT  ? "timeout"
	     : errsv != 0          ? "reset"
				   : "closed",
	     at_ns);
	shut(self);
	if (!self->probe)
		open_one(self);
}

static void ask(Connection *self)
{
	static const char request[] = "GET /whoami HTTP/1.1\r\nHost: bench\r\n\r\n";

	self->phase = ASKING;
	self->filled = 0;
	self->late = false;
	self->began_ns = now_ns();
	load.requests++;
	/* A reset that came before is told here, once: a read after it would see a plain end. */
	if (send(self->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		lose(self, errno, self->began_ns);
}

/* The whole answer is there: head, and as many bytes as it says. */
static bool is_whole(Connection *self)
{
	char *end = NULL;
	char *length = NULL;

	self->answer[self->filled] = '\0';
	end = strstr(self->answer, "\r\n\r\n");
	length = strcasestr(self->answer, "content-length:");
	if (end == NULL || length == NULL)
		return false;
	return self->filled >= (size_t)(end + 4 - self->answer) + strtoul(length + 15, NULL, 10);
}

static void note_node(Connection *self, uint64_t at_ns)
{
	const char *found = strstr(self->answer, "\"node\"");
	bool is_new = self->node[0] == '\0';

	found = found != NULL ? strchr(found + 6, '"') : NULL;
	if (found != NULL)
		snprintf(self->node, sizeof(self->node), "%.*s", (int)strcspn(found + 1, "\""),
			 found + 1);
	if (strncmp(self->answer, "HTTP/1.1 200", 12) != 0)
		tell(self, "error", at_ns);
	else if (is_new)
		tell(self, "answer", at_ns);
}

static void read_answer(Connection *self, uint64_t at_ns)
{
	ssize_t got = recv(self->fd, self->answer + self->filled, ANSWER - 1 - self->filled, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		lose(self, got < 0 ? errno : 0, at_ns);
		return;
	}
	self->filled += (size_t)got;
	if (!is_whole(self))
		return;
	load.answers++;
	if (at_ns - self->began_ns > load.slowest_ns)
		load.slowest_ns = at_ns - self->began_ns;
	note_node(self, at_ns);
	self->phase = RESTING;
	if (self->probe || strcasestr(self->answer, "connection: close") != NULL) {
		shut(self);
		if (!self->probe)
			open_one(self);
		return;
	}
	self->next_ns = at_ns + (self->busy ? load.gap_ns / 2 + (uint64_t)rand() % load.gap_ns
					    : UINT64_MAX / 2);
}

static void on_event(Connection *self, uint64_t at_ns)
{
	int failed = 0;
	socklen_t length = sizeof(failed);

	if (self->phase != CONNECTING) {
		read_answer(self, at_ns);
		return;
	}
	getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &failed, &length);
	if (failed != 0) {
		lose(self, failed, at_ns);
		return;
	}
	watch(self, EPOLL_CTL_MOD, EPOLLIN | EPOLLRDHUP);
	ask(self);
}

static void open_probe(uint64_t at_ns)
{
	if (!load.probing || at_ns < load.next_probe_ns)
		return;
	load.next_probe_ns = at_ns + PROBE_GAP_US * 1000u;
	for (unsigned i = load.n; i < load.n + PROBES; i++)
		if (load.all[i].phase == CLOSED) {
			load.all[i].probe = true;
			open_one(&load.all[i]);
			return;
		}
}

static void on_tick(uint64_t at_ns)
{
	for (unsigned i = 0; i < load.n + PROBES; i++) {
		Connection *self = &load.all[i];

		if (self->phase == RESTING && at_ns >= self->next_ns) {
			if (self->left-- > 0) {
				ask(self);
			} else {
				shut(self);
				open_one(self);
			}
		}
		if ((self->phase == CONNECTING || self->phase == ASKING) && !self->late &&
		    at_ns > self->began_ns + LATE_MS * UINT64_C(1000000)) {
			self->late = true;
			load.late++;
			tell(self, self->phase == CONNECTING ? "late-connect" : "late-answer",
			     at_ns);
		}
	}
	open_probe(at_ns);
}

/* How many lasting connections each node holds, asked or idle. */
static void print_mark(void)
{
	printf("{\"t\":%llu,\"what\":\"mark\",\"on\":[", (unsigned long long)now_ns());
	for (unsigned i = 0; i < load.n; i++)
		printf("%s\"%s\"", i > 0 ? "," : "", load.all[i].node);
	printf("]}\n");
}

/* False when it is time to go. */
static bool take_command(void)
{
	char text[256];
	ssize_t got = read(STDIN_FILENO, text, sizeof(text) - 1);

	if (got < 0 && errno == EAGAIN)
		return true;
	if (got <= 0)
		return false;
	text[got] = '\0';
	if (strstr(text, "probe") != NULL)
		load.probing = true;
	if (strstr(text, "rest") != NULL)
		load.probing = false;
	if (strstr(text, "mark") != NULL)
		print_mark();
	return strstr(text, "quit") == NULL;
}

static void *watch_machine(void *unused)
{
	struct sched_param param = {.sched_priority = WATCH_PRIORITY};
	struct timespec nap = {.tv_nsec = WATCH_US * 1000};

	prctl(PR_SET_TIMERSLACK, 1);
	if (pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) != 0)
		return NULL;
	while (!__atomic_load_n(&load.ending, __ATOMIC_ACQUIRE)) {
		uint64_t before = now_ns();

		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
		uint64_t late_us = (now_ns() - before) / 1000 - WATCH_US;
		if (late_us > STOLEN_US)
			printf("{\"t\":%llu,\"what\":\"stolen\",\"node\":\"\",\"probe\":false,"
			       "\"us\":%llu}\n",
			       (unsigned long long)before, (unsigned long long)late_us);
	}
	return NULL;
}

static void summary(void)
{
	printf("{\"t\":%llu,\"what\":\"summary\",\"requests\":%lu,\"answers\":%lu,\"failed\":%lu,"
	       "\"resets\":%lu,\"closed\":%lu,\"refused\":%lu,\"late\":%lu,\"slowest_us\":%llu}\n",
	       (unsigned long long)now_ns(), load.requests, load.answers, load.failed, load.resets,
	       load.closed, load.refused, load.late, (unsigned long long)(load.slowest_ns / 1000));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	struct timespec tick = {.tv_nsec = TICK_US * 1000};
	pthread_t watcher;

	if (argc != 6) {
		fprintf(stderr, "usage: load ADDRESS PORT BUSY IDLE REQUESTS_PER_SECOND\n");
		return 2;
	}
	unsigned busy = (unsigned)atoi(argv[3]), idle = (unsigned)atoi(argv[4]);
	load.server = (struct sockaddr_in){.sin_family = AF_INET,
					   .sin_port = htons((uint16_t)atoi(argv[2]))};
	load.n = busy + idle;
	if (inet_pton(AF_INET, argv[1], &load.server.sin_addr) != 1 || load.n > CONNECTIONS)
		return 2;
	load.gap_ns = UINT64_C(1000000000) * (busy > 0 ? busy : 1) / (unsigned)atoi(argv[5]);
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	prctl(PR_SET_TIMERSLACK, 1);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	for (unsigned i = 0; i < load.n; i++) {
		load.all[i].busy = i < busy;
		open_one(&load.all[i]);
	}
	if (pthread_create(&watcher, NULL, watch_machine, NULL) != 0)
		return 1;
	while (take_command()) {
		int n = epoll_pwait2(load.epoll, events, 64, &tick, NULL);
		uint64_t at_ns = now_ns();

		for (int i = 0; i < n; i++)
			on_event(events[i].data.ptr, at_ns);
		on_tick(at_ns);
	}
	__atomic_store_n(&load.ending, true, __ATOMIC_RELEASE);
	(void)pthread_join(watcher, NULL);
	summary();
	return 0;
}
