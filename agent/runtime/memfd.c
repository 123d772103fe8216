/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

static const char sysctl[] = "/proc/sys/vm/memfd_noexec";

bool dn_memfd_can_be_sealed(void)
{
	return access(sysctl, W_OK) == 0;
}

typedef struct {
	int pidfd, sysctl_fd;
	int level;  /* what the namespace has afterwards */
	int failed; /* errno of what went wrong, or 0 */
} Seal;

/* In the node's pid namespace, in the agent's memory; the maker waits until it is gone. */
static int write_and_read_back(void *data)
{
	Seal *seal = data;
	char digit = 0;

	if (write(seal->sysctl_fd, "2", 1) != 1 || pread(seal->sysctl_fd, &digit, 1, 0) != 1)
		seal->failed = errno != 0 ? errno : EIO;
	seal->level = digit - '0';
	_exit(0);
}

/*
 * Joining a pid namespace means the later children of the thread that joins, and the sysctl
 * means the namespace of the process that writes. The child borrows the agent's memory: with a
 * copy, each thread of the agent would fault at its next write, the reflex among them.
 */
static gpointer join_and_write(gpointer data)
{
	enum { STACK_BYTES = 64 * 1024 };
	Seal *seal = data;
	g_autofree char *stack = g_malloc(STACK_BYTES);

	if (setns(seal->pidfd, CLONE_NEWPID) < 0) {
		seal->failed = errno;
		return NULL;
	}
	pid_t child = clone(write_and_read_back, stack + STACK_BYTES,
			    CLONE_VM | CLONE_VFORK | SIGCHLD, seal);
	if (child < 0) {
		seal->failed = errno;
		return NULL;
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	return NULL;
}

bool dn_memfd_seal_now(pid_t pid, int *level, GError **error)
{
	dn_autofd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	dn_autofd int sysctl_fd = open(sysctl, O_RDWR | O_CLOEXEC);
	Seal seal = {.pidfd = pidfd, .sysctl_fd = sysctl_fd};

	if (pidfd < 0)
		return dn_throw_errno(error, errno, "pidfd_open %d", (int)pid);
	if (sysctl_fd < 0)
		return dn_throw_errno(error, errno, "open %s", sysctl);
	GThread *thread = g_thread_try_new("dn-memfd", join_and_write, &seal, error);
	if (thread == NULL)
		return false;
	g_thread_join(thread);
	if (seal.failed != 0)
		return dn_throw_errno(error, seal.failed, "set %s to 2 in the node", sysctl);
	*level = seal.level;
	return true;
}
