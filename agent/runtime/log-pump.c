/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dnode-log DIRECTORY: the reader of one node's stdout (descriptor 3) and stderr (descriptor 4).
 *
 * Every line becomes "TIME o|e TEXT" in the ring of DIRECTORY. The program forks once it is
 * ready, so its first exit status is the answer, and then depends on nobody: it has its own
 * session, survives the agent, and ends when the node's last writer is gone. Whatever
 * comes out of the pipes is hostile, so it keeps no privilege that writing the ring does not need.
 * Linked statically without GLib: there is one for every node.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/logs.h"
#include "runtime/ring.h"

enum {
	FIRST_FD = 3,
	STREAMS = 2,
	READ_BYTES = 16384,
	TIME_BYTES = sizeof("2026-01-02T03:04:05.000000006Z"),
	/* A node that logs faster waits in write(2): its own time, not the host's. */
	BYTES_PER_SECOND = 4 * 1024 * 1024,
	LAST_CAPABILITY = 63,
};

typedef struct {
	int fd;
	char mark; /* o or e */
	size_t length;
	char line[DN_LOG_LINE_BYTES];
} Stream;

typedef struct {
	DnRing ring;
	uint64_t lost; /* lines that could not be written */
	time_t second;
	size_t taken; /* bytes in this second */
	Stream streams[STREAMS];
} Pump;

static size_t format_head(char *head, size_t size, char mark)
{
	struct timespec now;
	struct tm utc;
	char seconds[32];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &utc);
	(void)strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
	return (size_t)snprintf(head, size, "%s.%09ldZ %c ", seconds, now.tv_nsec, mark);
}

static bool append(Pump *pump, char mark, const char *text, size_t length)
{
	char record[TIME_BYTES + 8 + DN_LOG_LINE_BYTES];
	size_t head = format_head(record, TIME_BYTES + 8, mark);

	memcpy(record + head, text, length);
	record[head + length] = '\n';
	return dn_ring_append(&pump->ring, record, head + length + 1);
}

/* A full disk must not stop the node: its lines are counted instead, and the count is logged. */
static void keep(Pump *pump, char mark, const char *text, size_t length)
{
	char note[80];

	if (pump->lost > 0) {
		int size = snprintf(note, sizeof(note), "[dnode: %llu lines could not be written]",
				    (unsigned long long)pump->lost);

		if (append(pump, 'e', note, (size_t)size))
			pump->lost = 0;
	}
	if (pump->lost > 0 || !append(pump, mark, text, length))
		pump->lost++;
}

static void end_line(Pump *pump, Stream *stream)
{
	keep(pump, stream->mark, stream->line, stream->length);
	stream->length = 0;
}

/* Cut @bytes into lines; one that is too long becomes several. */
static void feed(Pump *pump, Stream *stream, const char *bytes, size_t length)
{
	while (length > 0) {
		const char *newline = memchr(bytes, '\n', length);
		size_t part = newline != NULL ? (size_t)(newline - bytes) : length;
		size_t room = sizeof(stream->line) - stream->length;
		size_t take = part < room ? part : room;

		memcpy(stream->line + stream->length, bytes, take);
		stream->length += take;
		bytes += take;
		length -= take;
		if (take == part && newline != NULL) {
			end_line(pump, stream);
			bytes++;
			length--;
		} else if (stream->length == sizeof(stream->line)) {
			end_line(pump, stream);
		}
	}
}

static void pump_stream(Pump *pump, Stream *stream)
{
	char bytes[READ_BYTES];
	ssize_t got = read(stream->fd, bytes, sizeof(bytes));

	if (got > 0) {
		feed(pump, stream, bytes, (size_t)got);
		pump->taken += (size_t)got;
	} else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
		if (stream->length > 0)
			end_line(pump, stream);
		(void)close(stream->fd);
		stream->fd = -1;
	}
}

static void throttle(Pump *pump)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec == pump->second && pump->taken >= BYTES_PER_SECOND) {
		struct timespec rest = {0, 1000000000L - now.tv_nsec};

		(void)nanosleep(&rest, NULL);
		pump->taken = 0;
	} else if (now.tv_sec != pump->second) {
		pump->second = now.tv_sec;
		pump->taken = 0;
	}
}

static void run(Pump *pump)
{
	while (pump->streams[0].fd >= 0 || pump->streams[1].fd >= 0) {
		struct pollfd news[STREAMS];

		for (int i = 0; i < STREAMS; i++)
			news[i] = (struct pollfd){pump->streams[i].fd, POLLIN, 0};
		if (poll(news, STREAMS, -1) < 0)
			continue;
		for (int i = 0; i < STREAMS; i++)
			if (news[i].revents != 0)
				pump_stream(pump, &pump->streams[i]);
		throttle(pump);
	}
}

/*
 * Keep uid 0, which owns the directory, and nothing else: no capability, no file system but
 * the ring's directory, no program to become, no file beyond a segment.
 */
static bool confine(void)
{
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
	struct rlimit size = {DN_LOG_SEGMENT_BYTES, DN_LOG_SEGMENT_BYTES};
	struct rlimit files = {16, 16};
	struct rlimit zero = {0, 0};

	if (setrlimit(RLIMIT_FSIZE, &size) < 0 || setrlimit(RLIMIT_NOFILE, &files) < 0 ||
	    setrlimit(RLIMIT_CORE, &zero) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return false;
	if (geteuid() != 0)
		return true; /* nothing to give away */
	if (chroot(".") < 0)
		return false;
	for (unsigned long capability = 0; capability <= LAST_CAPABILITY; capability++)
		if (prctl(PR_CAPBSET_DROP, capability) < 0 && errno != EINVAL)
			return false;
	return syscall(SYS_capset, &header, none) == 0;
}

static int complain(const char *what, const char *where)
{
	(void)fprintf(stderr, "dnode-log: %s %s: %s\n", what, where, strerror(errno));
	return 1;
}

/* The agent's end of the error pipe goes, so that nothing ties the two together. */
static void detach(void)
{
	int null_fd = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < FIRST_FD; fd++)
		(void)dup2(null_fd, fd);
	if (null_fd >= FIRST_FD + STREAMS)
		(void)close(null_fd);
	(void)setsid();
}

int main(int argc, char **argv)
{
	static Pump pump = {
		.streams = {{.fd = FIRST_FD, .mark = 'o'}, {.fd = FIRST_FD + 1, .mark = 'e'}},
	};

	if (argc != 2 || fcntl(FIRST_FD, F_GETFD) < 0 || fcntl(FIRST_FD + 1, F_GETFD) < 0) {
		(void)fprintf(stderr, "dnode-log: is started by dnode-agent only\n");
		return 2;
	}
	if (chdir(argv[1]) < 0)
		return complain("enter", argv[1]);
	int directory_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory_fd < 0 || !dn_ring_open(&pump.ring, directory_fd, DN_LOG_SEGMENT_BYTES))
		return complain("open the ring in", argv[1]);

	pid_t pid = fork();
	if (pid < 0)
		return complain("fork for", argv[1]);
	if (pid > 0)
		_exit(0);
	detach();
	if (!confine())
		_exit(1);
	run(&pump);
	dn_ring_close(&pump.ring);
	return 0;
}
