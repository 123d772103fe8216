/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into a daemon (LD_PRELOAD), it bends the daemon's clocks, and lets its Nth call of a
 * kind fail as it does on a host that has run out of something. bent.py has the other end.
 *
 *   DNODE_BENT   a directory with one file a daemon, named KEY and mapped: struct control. KEY is
 *                the program's name and, after a '-', that of its --config without folder and
 *                suffix: "dnode-supervisor", "dnode-agent-h1". Without its file a program is left
 *                alone and passes the variables on; what a bent one starts does not get them.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, SOCKET = 2, FORK = 4, MMAP = 8, THREAD = 16 };

struct control {
	int64_t realtime_ns; /* added to what the clock says */
	int64_t boottime_ns;
	uint32_t kinds; /* which calls are counted, any of the above */
	int32_t number; /* errno of those that fail */
	uint64_t first; /* the first that fails, from 1; 0: none does */
	uint64_t times; /* how many do */
	uint64_t seen, failed;
};

static struct control *control; /* NULL: nothing is bent */
static pid_t owner;

#define NEXT(name)                                                                                 \
	static __typeof__(&name) next;                                                             \
	if (next == NULL)                                                                          \
	*(void **)&next = dlsym(RTLD_NEXT, #name)

/* "dnode-agent" and "h1" of "/x/dnode-agent --config /y/h1.yaml". */
static void find_key(char *key, size_t size)
{
	char line[PATH_MAX] = "";
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? syscall(SYS_read, fd, line, sizeof(line) - 1) : 0;

	if (fd >= 0)
		syscall(SYS_close, fd);
	snprintf(key, size, "%s", program_invocation_short_name);
	for (char *word = line; word < line + length; word += strlen(word) + 1) {
		if (strcmp(word, "--config") != 0 || strcmp(key, "dnode-agent") != 0)
			continue;
		const char *path = word + strlen(word) + 1, *slash = strrchr(path, '/');
		const char *name = slash != NULL ? slash + 1 : path;

		snprintf(key + strlen(key), size - strlen(key), "-%.*s", (int)strcspn(name, "."),
			 name);
	}
}

__attribute__((constructor)) static void begin(void)
{
	const char *directory = getenv("DNODE_BENT");
	char key[NAME_MAX], path[PATH_MAX];

	if (directory == NULL)
		return;
	find_key(key, sizeof(key));
	snprintf(path, sizeof(path), "%s/%s", directory, key);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	long mapped = syscall(SYS_mmap, NULL, sizeof(struct control), PROT_READ | PROT_WRITE,
			      MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	owner = getpid();
	if (mapped != -1)
		control = (struct control *)mapped;
	unsetenv("LD_PRELOAD");
	unsetenv("DNODE_BENT");
}

/* ---- clocks ---- */

static void bend(struct timespec *time, int64_t offset_ns)
{
	int64_t ns = time->tv_nsec + offset_ns % 1000000000;

	time->tv_sec += offset_ns / 1000000000 + (ns >= 1000000000) - (ns < 0);
	time->tv_nsec = (ns + 1000000000) % 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	NEXT(clock_gettime);
	int result = next(clock, time);

	if (result != 0 || control == NULL)
		return result;
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		bend(time, __atomic_load_n(&control->realtime_ns, __ATOMIC_RELAXED));
	else if (clock == CLOCK_BOOTTIME)
		bend(time, __atomic_load_n(&control->boottime_ns, __ATOMIC_RELAXED));
	return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return -1;
	*time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *result)
{
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0)
		return (time_t)-1;
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}

/* ---- calls: 0, or what this one fails with ---- */

static int failure(uint32_t kind)
{
	if (control == NULL || (control->kinds & kind) == 0 || getpid() != owner)
		return 0;
	uint64_t number = __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
	if (control->first == 0 || number < control->first ||
	    number >= control->first + control->times)
		return 0;
	__atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
	return control->number;
}

#define FAILING(kind, type, bad, name, parameters, arguments)                                      \
	type name parameters                                                                       \
	{                                                                                          \
		NEXT(name);                                                                        \
		int failed = failure(kind);                                                        \
		if (failed == 0)                                                                   \
			return next arguments;                                                     \
		errno = failed;                                                                    \
		return bad;                                                                        \
	}

#define OPENING(name, parameters, ...)                                                             \
	int name parameters                                                                        \
	{                                                                                          \
		NEXT(name);                                                                        \
		va_list more;                                                                      \
		va_start(more, flags);                                                             \
		mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;     \
		va_end(more);                                                                      \
		int failed = failure(OPEN);                                                        \
		if (failed == 0)                                                                   \
			return next(__VA_ARGS__, flags, mode);                                     \
		errno = failed;                                                                    \
		return -1;                                                                         \
	}

OPENING(open, (const char *path, int flags, ...), path)
OPENING(open64, (const char *path, int flags, ...), path)
OPENING(openat, (int dir_fd, const char *path, int flags, ...), dir_fd, path)
OPENING(openat64, (int dir_fd, const char *path, int flags, ...), dir_fd, path)
FAILING(OPEN, DIR *, NULL, opendir, (const char *path), (path))
FAILING(OPEN, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
FAILING(OPEN, FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode))
FAILING(OPEN, int, -1, pipe2, (int ends[2], int flags), (ends, flags))
FAILING(OPEN, int, -1, eventfd, (unsigned int start, int flags), (start, flags))
FAILING(OPEN, int, -1, epoll_create1, (int flags), (flags))
FAILING(SOCKET, int, -1, socket, (int family, int type, int protocol), (family, type, protocol))
FAILING(SOCKET, int, -1, socketpair, (int family, int type, int protocol, int ends[2]),
	(family, type, protocol, ends))
FAILING(SOCKET, int, -1, accept4,
	(int fd, struct sockaddr *restrict peer, socklen_t *restrict size, int flags),
	(fd, peer, size, flags))
FAILING(FORK, pid_t, -1, fork, (void), ())
FAILING(MMAP, void *, MAP_FAILED, mmap,
	(void *at, size_t size, int how, int flags, int fd, off_t from),
	(at, size, how, flags, fd, from))
FAILING(MMAP, void *, MAP_FAILED, mmap64,
	(void *at, size_t size, int how, int flags, int fd, off64_t from),
	(at, size, how, flags, fd, from))

/* These return what went wrong. */
#define SPAWNING(name)                                                                             \
	int name(pid_t *restrict pid, const char *restrict path,                                   \
		 const posix_spawn_file_actions_t *restrict actions,                               \
		 const posix_spawnattr_t *restrict how, char *const argv[restrict],                \
		 char *const env[restrict])                                                        \
	{                                                                                          \
		NEXT(name);                                                                        \
		int failed = failure(FORK);                                                        \
		return failed != 0 ? failed : next(pid, path, actions, how, argv, env);            \
	}

SPAWNING(posix_spawn)
SPAWNING(posix_spawnp)

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict how,
		   void *(*start)(void *), void *restrict data)
{
	NEXT(pthread_create);
	int failed = failure(THREAD);

	return failed != 0 ? failed : next(thread, how, start, data);
}
