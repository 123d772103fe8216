/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into a daemon (LD_PRELOAD), it lets a test decide what becomes of each call that
 * touches a file: shim.py has the other end.
 *
 *   DNODE_SHIM           a directory: `control` (mapped) and `socket` (SOCK_SEQPACKET)
 *   DNODE_SHIM_PROGRAMS  names, "dnode-agent:dnode-supervisor"; any other program only passes the
 *                        variables on, and what these start does not get them
 *
 * control: u32 armed, u32 unused, then the prefix of the paths that are asked about, NUL-ended.
 * asked: "OP PATH" before the call; answered by a number of 32 bits: 0 go, GO_AND_TELL, KILL, else
 * the errno to fail with. After a call that was to be told: "OP! PATH", answered by 0 or KILL.
 * What nobody answers goes on: the shim never fails a test by itself.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONTROL_BYTES = 4096, GO_AND_TELL = 1001, KILL = 1002, MESSAGE = 3 * PATH_MAX };

struct control {
	volatile uint32_t armed;
	uint32_t unused;
	char prefix[CONTROL_BYTES - 8];
};

static const struct control *control; /* NULL: passive */
static char socket_path[PATH_MAX];
static pid_t owner; /* a child before its exec is not asked about */
static int asking_fd = -1;
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER;

/* ---- asking ---- */

static bool is_named(const char *programs)
{
	size_t length = strlen(program_invocation_short_name);

	for (const char *at = programs; at != NULL && *at != '\0'; at = strchr(at, ':')) {
		at += *at == ':';
		if (strncmp(at, program_invocation_short_name, length) == 0 &&
		    (at[length] == ':' || at[length] == '\0'))
			return true;
	}
	return false;
}

__attribute__((constructor)) static void begin(void)
{
	const char *directory = getenv("DNODE_SHIM"), *programs = getenv("DNODE_SHIM_PROGRAMS");
	char path[PATH_MAX];

	if (directory == NULL || programs == NULL || !is_named(programs))
		return;
	snprintf(path, sizeof(path), "%s/control", directory);
	snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		void *mapped = mmap(NULL, CONTROL_BYTES, PROT_READ, MAP_SHARED, fd, 0);

		if (mapped != MAP_FAILED)
			control = mapped;
		syscall(SYS_close, fd);
	}
	owner = getpid();
	unsetenv("LD_PRELOAD");
	unsetenv("DNODE_SHIM");
}

static bool connect_once(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (asking_fd >= 0)
		return true;
	memcpy(to.sun_path, socket_path, strnlen(socket_path, sizeof(to.sun_path) - 1));
	asking_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (asking_fd >= 0 && connect(asking_fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return true;
	if (asking_fd >= 0)
		close(asking_fd);
	asking_fd = -1;
	return false;
}

static uint32_t ask(const char *op, const char *suffix, const char *path)
{
	char message[MESSAGE];
	uint32_t answer = 0;
	int length = snprintf(message, sizeof(message), "%s%s %s", op, suffix, path);

	pthread_mutex_lock(&asking);
	if (connect_once() && (send(asking_fd, message, (size_t)length, MSG_NOSIGNAL) != length ||
			       recv(asking_fd, &answer, sizeof(answer), 0) != sizeof(answer))) {
		close(asking_fd);
		asking_fd = -1;
		answer = 0;
	}
	pthread_mutex_unlock(&asking);
	if (answer == KILL)
		kill(getpid(), SIGKILL);
	return answer;
}

static bool is_asked_about(const char *path)
{
	return control != NULL && control->armed != 0 && getpid() == owner &&
	       strncmp(path, control->prefix, strlen(control->prefix)) == 0;
}

/* One call under judgement. */
struct call {
	char path[PATH_MAX];
	const char *op;
	bool tell;
};

/* True: go on. False: fail with errno, which is set. */
static bool judge(struct call *call, const char *op)
{
	uint32_t answer = is_asked_about(call->path) ? ask(op, "", call->path) : 0;

	call->op = op;
	call->tell = answer == GO_AND_TELL;
	if (answer == 0 || answer == GO_AND_TELL)
		return true;
	errno = (int)answer;
	return false;
}

static void tell(const struct call *call, bool done)
{
	int errsv = errno;

	if (done && call->tell)
		ask(call->op, "!", call->path);
	errno = errsv;
}

static bool is_armed(void)
{
	return control != NULL && control->armed != 0;
}

static bool judge_fd(struct call *call, const char *op, int fd)
{
	char link[64];
	int errsv = errno;

	call->tell = false;
	if (!is_armed())
		return true;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, call->path, sizeof(call->path) - 1);
	errno = errsv;
	call->path[length > 0 ? length : 0] = '\0';
	return judge(call, op);
}

/* Below @dir_fd, or what it is relative to. */
static bool judge_path(struct call *call, const char *op, int dir_fd, const char *path)
{
	char link[64] = "/proc/self/cwd", base[PATH_MAX] = "";
	int errsv = errno;

	call->tell = false;
	if (!is_armed() || path == NULL)
		return true;
	if (path[0] != '/') {
		if (dir_fd != AT_FDCWD)
			snprintf(link, sizeof(link), "/proc/self/fd/%d", dir_fd);
		ssize_t length = readlink(link, base, sizeof(base) - 2);
		base[length > 0 ? length : 0] = '\0';
		strcat(base, "/");
	}
	size_t length = strlen(base);
	memcpy(call->path, base, length + 1);
	strncat(call->path, path, sizeof(call->path) - length - 1);
	errno = errsv;
	return judge(call, op);
}

#define NEXT(name)                                                                                 \
	static __typeof__(&name) next;                                                             \
	if (next == NULL)                                                                          \
	*(void **)&next = dlsym(RTLD_NEXT, #name)

/* ---- calls on a descriptor, the first parameter @fd ---- */

#define FD_CALL(type, name, op, parameters, arguments)                                             \
	type name parameters                                                                       \
	{                                                                                          \
		NEXT(name);                                                                        \
		struct call call;                                                                  \
		if (!judge_fd(&call, op, fd))                                                      \
			return (type)-1;                                                           \
		type result = next arguments;                                                      \
		tell(&call, result >= 0);                                                          \
		return result;                                                                     \
	}

FD_CALL(ssize_t, write, "write", (int fd, const void *data, size_t size), (fd, data, size))
FD_CALL(ssize_t, pwrite, "write", (int fd, const void *data, size_t size, off_t at),
	(fd, data, size, at))
FD_CALL(ssize_t, pwrite64, "write", (int fd, const void *data, size_t size, off64_t at),
	(fd, data, size, at))
FD_CALL(ssize_t, writev, "write", (int fd, const struct iovec *parts, int n), (fd, parts, n))
FD_CALL(ssize_t, pwritev, "write", (int fd, const struct iovec *parts, int n, off_t at),
	(fd, parts, n, at))
FD_CALL(ssize_t, pwritev64, "write", (int fd, const struct iovec *parts, int n, off64_t at),
	(fd, parts, n, at))
FD_CALL(ssize_t, read, "read", (int fd, void *data, size_t size), (fd, data, size))
FD_CALL(ssize_t, pread, "read", (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
FD_CALL(ssize_t, pread64, "read", (int fd, void *data, size_t size, off64_t at),
	(fd, data, size, at))
FD_CALL(int, fsync, "sync", (int fd), (fd))
FD_CALL(int, fdatasync, "sync", (int fd), (fd))
FD_CALL(int, syncfs, "syncfs", (int fd), (fd))
FD_CALL(int, ftruncate, "truncate", (int fd, off_t size), (fd, size))
FD_CALL(int, ftruncate64, "truncate", (int fd, off64_t size), (fd, size))

/* What fortified programs call instead. */
#define CHECKED(name, parameters, arguments)                                                       \
	ssize_t name parameters;                                                                   \
	FD_CALL(ssize_t, name, "read", parameters, arguments)

CHECKED(__read_chk, (int fd, void *data, size_t size, size_t room), (fd, data, size, room))
CHECKED(__pread_chk, (int fd, void *data, size_t size, off_t at, size_t room),
	(fd, data, size, at, room))
CHECKED(__pread64_chk, (int fd, void *data, size_t size, off64_t at, size_t room),
	(fd, data, size, at, room))

/* These return what went wrong. */
#define ALLOCATE(name, offset)                                                                     \
	int name(int fd, offset at, offset size)                                                   \
	{                                                                                          \
		NEXT(name);                                                                        \
		struct call call;                                                                  \
		return judge_fd(&call, "write", fd) ? next(fd, at, size) : errno;                  \
	}

ALLOCATE(posix_fallocate, off_t)
ALLOCATE(posix_fallocate64, off64_t)

/* ---- opening ---- */

static const char *op_of(int flags)
{
	return (flags & (O_WRONLY | O_RDWR | O_CREAT)) != 0 ? "open" : "look";
}

static mode_t mode_of(int flags, va_list more)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		NEXT(name);                                                                        \
		struct call call;                                                                  \
		va_list more;                                                                      \
		va_start(more, flags);                                                             \
		mode_t mode = mode_of(flags, more);                                                \
		va_end(more);                                                                      \
		if (!judge_path(&call, op_of(flags), AT_FDCWD, path))                              \
			return -1;                                                                 \
		int fd = next(path, flags, mode);                                                  \
		tell(&call, fd >= 0);                                                              \
		return fd;                                                                         \
	}

#define OPENAT(name)                                                                               \
	int name(int dir_fd, const char *path, int flags, ...)                                     \
	{                                                                                          \
		NEXT(name);                                                                        \
		struct call call;                                                                  \
		va_list more;                                                                      \
		va_start(more, flags);                                                             \
		mode_t mode = mode_of(flags, more);                                                \
		va_end(more);                                                                      \
		if (!judge_path(&call, op_of(flags), dir_fd, path))                                \
			return -1;                                                                 \
		int fd = next(dir_fd, path, flags, mode);                                          \
		tell(&call, fd >= 0);                                                              \
		return fd;                                                                         \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* ---- calls on paths ---- */

#define PATH_CALL(name, op, dir_fd, path, parameters, arguments)                                   \
	int name parameters                                                                        \
	{                                                                                          \
		NEXT(name);                                                                        \
		struct call call;                                                                  \
		if (!judge_path(&call, op, dir_fd, path))                                          \
			return -1;                                                                 \
		int result = next arguments;                                                       \
		tell(&call, result == 0);                                                          \
		return result;                                                                     \
	}

PATH_CALL(rename, "rename", AT_FDCWD, to, (const char *from, const char *to), (from, to))
PATH_CALL(renameat, "rename", to_fd, to, (int from_fd, const char *from, int to_fd, const char *to),
	  (from_fd, from, to_fd, to))
PATH_CALL(link, "link", AT_FDCWD, to, (const char *from, const char *to), (from, to))
PATH_CALL(linkat, "link", to_fd, to,
	  (int from_fd, const char *from, int to_fd, const char *to, int flags),
	  (from_fd, from, to_fd, to, flags))
PATH_CALL(symlinkat, "link", dir_fd, path, (const char *to, int dir_fd, const char *path),
	  (to, dir_fd, path))
PATH_CALL(mkdir, "mkdir", AT_FDCWD, path, (const char *path, mode_t mode), (path, mode))
PATH_CALL(mkdirat, "mkdir", dir_fd, path, (int dir_fd, const char *path, mode_t mode),
	  (dir_fd, path, mode))
PATH_CALL(unlink, "unlink", AT_FDCWD, path, (const char *path), (path))
PATH_CALL(unlinkat, "unlink", dir_fd, path, (int dir_fd, const char *path, int flags),
	  (dir_fd, path, flags))
PATH_CALL(rmdir, "unlink", AT_FDCWD, path, (const char *path), (path))
