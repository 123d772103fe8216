/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "core/instance.h"

/*
 * What the owner of a user namespace does until it is killed. It shares the agent's memory, since
 * a copy would make every thread fault at its next write; so it only makes system calls, and
 * none that fails, for errno is shared as well. A pipe whose end it waits for would not do: a child
 * that another thread makes meanwhile inherits the other end, and the two wait for each other. It
 * keeps nothing open, the agent's lock least of all: an agent that dies before the second call is
 * survived by it for a moment, and the next one is not to wait.
 */
static int own(void *parent)
{
	(void)syscall(SYS_close_range, 0U, ~0U, 0U);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == (pid_t)(intptr_t)parent)
		(void)pause();
	_exit(0);
}

/* Born with every signal blocked, it runs no handler of ours and never wakes up. */
static pid_t clone_owner(void *stack_end)
{
	sigset_t all;
	sigset_t before;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid_t pid = clone(own, stack_end, CLONE_VM | CLONE_NEWUSER | SIGCHLD,
			  (void *)(intptr_t)getpid());
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pid;
}

static bool write_map(pid_t pid, const char *kind, uint32_t uid_base, GError **error)
{
	char path[64];
	char map[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/%s_map", (int)pid, kind);
	(void)snprintf(map, sizeof(map), "0 %u %u", uid_base, (unsigned)DN_UIDS_PER_NODE);
	return dn_file_write_kernel(path, map, error);
}

int dn_root_owner_now(uint32_t uid_base, GError **error)
{
	enum { STACK_BYTES = 32 * 1024 };
	g_autofree char *stack = g_malloc(STACK_BYTES);
	char path[64];
	int fd = -1;

	if (!dn_failpoint("agent.userns.create.before", error))
		return -1;
	pid_t pid = clone_owner(stack + STACK_BYTES);
	if (pid < 0) {
		dn_throw_errno(error, errno, "make a user namespace");
		return -1;
	}
	if (write_map(pid, "uid", uid_base, error) && write_map(pid, "gid", uid_base, error)) {
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			dn_throw_errno(error, errno, "open %s", path);
	}
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

/* Take every mount off @target; stacked ones come from an agent that died between two steps. */
static bool detach(const char *target, GError **error)
{
	enum { MOST_STACKED = 16 };

	for (int i = 0; i < MOST_STACKED; i++)
		if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
			if (errno == EINVAL || errno == ENOENT)
				return true;
			return dn_throw_errno(error, errno, "unmount %s", target);
		}
	g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "%s keeps being mounted by somebody else",
		    target);
	return false;
}

/*
 * The kernel's programs know a file by the device of its super block; stat(2) on btrfs tells that
 * of a subvolume. No program of an image would be found to be its own.
 */
static bool check_devices(const char *checkout, GError **error)
{
	struct statfs info;

	if (statfs(checkout, &info) < 0)
		return dn_throw_errno(error, errno, "look at %s", checkout);
	if (info.f_type != BTRFS_SUPER_MAGIC)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "%s is on btrfs, where a file has another device number for stat(2) than for "
		    "the sensor: put the state directory on ext4 or xfs",
		    checkout);
	return false;
}

bool dn_root_mount_now(const char *checkout, const char *target, int owner_fd, GError **error)
{
	struct mount_attr attributes = {
		.attr_set =
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_IDMAP,
		/* Nothing that is mounted here appears elsewhere, or keeps the root busy there. */
		.propagation = MS_PRIVATE,
	};

	/* The node's root user walks to its root by the "other" bits of every directory above. */
	if (!dn_failpoint("agent.mount.create.before", error) || !check_devices(checkout, error) ||
	    !dn_file_make_directory(target, 0711, error) || !detach(target, error))
		return false;
	dn_autofd int tree_fd = (int)syscall(SYS_open_tree, AT_FDCWD, checkout,
					     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree_fd < 0)
		return dn_throw_errno(error, errno, "open tree %s", checkout);

	attributes.userns_fd = (unsigned)owner_fd;
	if (syscall(SYS_mount_setattr, tree_fd, "", AT_EMPTY_PATH, &attributes,
		    sizeof(attributes)) < 0) {
		if (errno == EINVAL || errno == ENOSYS) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
				    "the file system of %s cannot map ids (mount_setattr: %s): put "
				    "the state directory on ext4 or xfs with Linux 5.12 or later",
				    checkout, g_strerror(errno));
			return false;
		}
		return dn_throw_errno(error, errno, "map ids of %s", checkout);
	}
	if (syscall(SYS_move_mount, tree_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return dn_throw_errno(error, errno, "mount %s", target);
	/* Once more: put below a shared mount, as systemd makes the root, it became one too. */
	if (mount(NULL, target, NULL, MS_PRIVATE, NULL) < 0)
		return dn_throw_errno(error, errno, "make %s private", target);
	return dn_failpoint("agent.mount.create.after", error);
}

bool dn_root_unmount_now(const char *target, GError **error)
{
	if (!dn_failpoint("agent.mount.remove.before", error) || !detach(target, error))
		return false;
	if (rmdir(target) < 0 && errno != ENOENT)
		return dn_throw_errno(error, errno, "remove %s", target);
	return true;
}
