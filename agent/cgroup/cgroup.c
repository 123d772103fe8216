/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/cgroup.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"

enum { EVENTS_BYTES = 256, OWN_BYTES = 64 * 1024 };

static char *node_path(const DnInstance *instance, const char *node, const char *file)
{
	return g_build_filename(instance->cgroup_root, instance->cgroup_parent, node, file, NULL);
}

/* The cgroup that this process is in: the v2 line of /proc/self/cgroup, "0::/PATH". */
static char *own_procs(const char *root)
{
	g_autofree char *text = dn_file_read_kernel("/proc/self/cgroup", OWN_BYTES, NULL);
	const char *line = text == NULL                    ? NULL
			   : g_str_has_prefix(text, "0::") ? text
							   : strstr(text, "\n0::");

	const char *begin = line == NULL ? NULL : strchr(line, '/');

	if (begin == NULL)
		return NULL;
	g_autofree char *path = g_strndup(begin, strcspn(begin, "\n"));
	return g_build_filename(root, path, "cgroup.procs", NULL);
}

static gpointer move_to_own(gpointer data)
{
	g_autofree char *root = data;
	g_autofree char *procs = own_procs(root);

	if (procs == NULL || !dn_file_write_kernel(procs, "0", NULL))
		g_debug("the first move between cgroups will wait");
	return NULL;
}

void dn_cgroup_expect_moves(const DnInstance *instance)
{
	if (!dn_failpoint("agent.cgroup.expect-moves.before", NULL))
		return;
	GThread *thread =
		g_thread_try_new("dn-cgroup", move_to_own, g_strdup(instance->cgroup_root), NULL);

	if (thread != NULL)
		g_thread_unref(thread);
}

bool dn_cgroup_open(const DnInstance *instance, const char *node, DnCgroup *opened, GError **error)
{
	g_autofree char *path = node_path(instance, node, NULL);
	dn_autofd int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat info;

	if (!dn_failpoint("agent.cgroup.open.before", error))
		return false;
	if (directory < 0 || fstat(directory, &info) < 0)
		return dn_throw_errno(error, errno, "open cgroup %s", path);
	dn_autofd int freeze = openat(directory, "cgroup.freeze", O_WRONLY | O_CLOEXEC);
	if (freeze < 0)
		return dn_throw_errno(error, errno, "open %s/cgroup.freeze", path);
	dn_autofd int events = openat(directory, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events < 0)
		return dn_throw_errno(error, errno, "open %s/cgroup.events", path);

	opened->freeze_fd = g_steal_fd(&freeze);
	opened->events_fd = g_steal_fd(&events);
	opened->id = info.st_ino;
	return true;
}

void dn_cgroup_close(DnCgroup *self)
{
	dn_fd_clear(&self->freeze_fd);
	dn_fd_clear(&self->events_fd);
}

bool dn_cgroup_freeze(const DnCgroup *self)
{
	return pwrite(self->freeze_fd, "1", 1, 0) == 1;
}

bool dn_cgroup_thaw(const DnCgroup *self)
{
	return pwrite(self->freeze_fd, "0", 1, 0) == 1;
}

/* True when the cgroup.events behind @fd has @line; errno is 0 when it could be read. */
static bool events_say(int fd, const char *line)
{
	char events[EVENTS_BYTES];
	ssize_t length = pread(fd, events, sizeof(events) - 1, 0);

	if (length < 0)
		return false;
	errno = 0;
	events[length] = '\0';
	return strstr(events, line) != NULL;
}

bool dn_cgroup_is_frozen(const DnCgroup *self)
{
	return events_say(self->events_fd, "frozen 1");
}

bool dn_cgroup_is_empty(const DnInstance *instance, const char *node)
{
	g_autofree char *path = node_path(instance, node, "cgroup.events");
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	/* ENODEV: removed between open and read. */
	return events_say(fd, "populated 0") || errno == ENODEV;
}
