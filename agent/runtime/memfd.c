/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
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

/* Only a child of whoever joined is in the namespace, and the sysctl means the writer's. */
static int write_as_child(int sysctl_fd)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(write(sysctl_fd, "2", 1) == 1 ? 0 : errno);
	if (pid < 0)
		return errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

/*
 * Joining binds the pid namespace of every later child, so it is done in a child of its own.
 * Between fork() and _exit() there is nothing but system calls: this program has threads.
 */
bool dn_memfd_seal_now(pid_t pid, GError **error)
{
	dn_autofd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	dn_autofd int sysctl_fd = open(sysctl, O_WRONLY | O_CLOEXEC);
	int status = 0;

	if (pidfd < 0)
		return dn_throw_errno(error, errno, "pidfd_open %d", (int)pid);
	if (sysctl_fd < 0)
		return dn_throw_errno(error, errno, "open %s", sysctl);
	pid_t helper = fork();
	if (helper == 0)
		_exit(setns(pidfd, CLONE_NEWPID) < 0 ? errno : write_as_child(sysctl_fd));
	if (helper < 0)
		return dn_throw_errno(error, errno, "fork");
	while (waitpid(helper, &status, 0) < 0)
		if (errno != EINTR)
			return dn_throw_errno(error, errno, "wait for the helper");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return dn_throw_errno(error, WIFEXITED(status) ? WEXITSTATUS(status) : EINTR,
				      "set %s to 2 in the node", sysctl);
	return true;
}
