/* SPDX-License-Identifier: Apache-2.0 */
#include "network/netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"

#define DIRECTORY "/run/netns"

typedef struct {
	DnNetnsWork work;
	void *data;
	GError **error;
	bool done;
} Call;

static void *run(void *data)
{
	Call *call = data;

	call->done = call->work(call->data, call->error);
	return NULL;
}

bool dn_netns_run(DnNetnsWork work, void *data, GError **error)
{
	Call call = {.work = work, .data = data, .error = error};
	GThread *thread = g_thread_try_new("dn-netns", run, &call, error);

	if (thread == NULL)
		return false;
	g_thread_join(thread);
	return call.done;
}

/*
 * What iproute2 does: names are mounts that every mount namespace shall see and, above all, see
 * disappear; so the directory is a shared mount. Two programs that both make it one would
 * stack mounts on it, therefore the lock.
 */
static bool prepare_directory(GError **error)
{
	if (mkdir(DIRECTORY, 0755) < 0 && errno != EEXIST)
		return dn_throw_errno(error, errno, "create " DIRECTORY);
	dn_autofd int fd = open(DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return dn_throw_errno(error, errno, "lock " DIRECTORY);

	if (mount("", DIRECTORY, "none", MS_SHARED | MS_REC, NULL) == 0)
		return true;
	if (errno != EINVAL)
		return dn_throw_errno(error, errno, "share " DIRECTORY);
	/* EINVAL: it is no mount yet. */
	if (mount(DIRECTORY, DIRECTORY, "none", MS_BIND | MS_REC, NULL) < 0)
		return dn_throw_errno(error, errno, "make " DIRECTORY " a mount");
	if (mount("", DIRECTORY, "none", MS_SHARED | MS_REC, NULL) < 0)
		return dn_throw_errno(error, errno, "share " DIRECTORY);
	return true;
}

int dn_netns_open_current(GError **error)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		dn_throw_errno(error, errno, "open the thread's network namespace");
	return fd;
}

static int create_name(const char *path, GError **error)
{
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);

	if (fd < 0 && errno == EEXIST)
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "%s exists already: delete the old node first", path);
	else if (fd < 0)
		dn_throw_errno(error, errno, "create %s", path);
	return fd;
}

static int make_unnamed(GError **error)
{
	if (!dn_failpoint("agent.netns.create.before", error))
		return -1;
	if (unshare(CLONE_NEWNET) == 0)
		return dn_netns_open_current(error);
	dn_throw_errno(error, errno, "unshare the network namespace");
	return -1;
}

bool dn_netns_bind(int fd, const char *path, GError **error)
{
	g_autofree char *from = g_strdup_printf("/proc/self/fd/%d", fd);

	if (!prepare_directory(error) || !dn_failpoint("agent.netns.name.before", error))
		return false;
	dn_autofd int name = create_name(path, error);
	if (name < 0)
		return false;
	if (dn_failpoint("agent.netns.bind.before", NULL) &&
	    mount(from, path, "none", MS_BIND, NULL) == 0)
		return true;
	dn_throw_errno(error, errno, "bind the network namespace to %s", path);
	(void)unlink(path);
	return false;
}

int dn_netns_create(const char *path, GError **error)
{
	dn_autofd int fd = make_unnamed(error);

	if (fd < 0 || (path != NULL && !dn_netns_bind(fd, path, error)))
		return -1;
	return g_steal_fd(&fd);
}

int dn_netns_open(const char *path, GError **error)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0 && errno != ENOENT) {
		dn_throw_errno(error, errno, "open %s", path);
		return -1;
	}
	/* A plain file: whoever made the name died before it was bound. */
	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "%s: there is no network namespace of that name", path);
		return -1;
	}
	return g_steal_fd(&fd);
}

bool dn_netns_enter(int fd, GError **error)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return dn_throw_errno(error, errno, "enter the network namespace");
	return true;
}

bool dn_netns_remove(const char *path, GError **error)
{
	if (!dn_failpoint("agent.netns.remove.before", error))
		return false;
	/* EINVAL: the name was never bound. */
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return dn_throw_errno(error, errno, "unbind %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return dn_throw_errno(error, errno, "remove %s", path);
	return true;
}

bool dn_netns_sysctl(const char *name, const char *value, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/sys/net/%s", name);

	return dn_file_write_kernel(path, value, error);
}

bool dn_netns_sysctl_if_known(const char *name, const char *value, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/sys/net/%s", name);

	return access(path, F_OK) < 0 || dn_file_write_kernel(path, value, error);
}
