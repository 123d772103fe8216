/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "inspect/private.h"

static bool fail(const DnInspectNode *node, int pid1_fd, DnSight sight, const char *what,
		 GError **error)
{
	if (dn_process_settle(pid1_fd, sight) == DN_SIGHT_UNREAD)
		return dn_throw_errno(error, errno, "look at %s of process %u", what, node->pid1);
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "look at %s of process %u: the node's first process has ended", what,
		    node->pid1);
	return false;
}

/* Field 22 of /proc/PID/stat: the name may hold blanks and brackets, the last bracket ends it. */
static DnSight read_start_time(int dir_fd, uint64_t *start_time)
{
	enum { START_FIELD = 19 }; /* counted from behind the name */
	char text[1024];
	dn_autofd int fd = openat(dir_fd, "stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

	if (length < 0)
		return dn_sight_of_errno();
	text[length] = '\0';
	const char *fields = strrchr(text, ')');
	g_auto(GStrv) words = g_strsplit(fields != NULL ? fields + 1 : "", " ", START_FIELD + 3);
	if (g_strv_length(words) > START_FIELD + 1 &&
	    dn_text_parse_u64(words[START_FIELD + 1], UINT64_MAX, start_time))
		return DN_SIGHT_SEEN;
	errno = EBADMSG;
	return DN_SIGHT_UNREAD;
}

static bool check_identity(DnInspectBaseline *self, const DnInspectNode *node, GError **error)
{
	uint64_t start_time = 0;
	DnSight sight = dn_process_open(node->pid1, &self->pid1_fd);

	if (sight == DN_SIGHT_SEEN)
		sight = read_start_time(self->pid1_fd, &start_time);
	if (sight != DN_SIGHT_SEEN)
		return fail(node, self->pid1_fd, sight, "stat", error);
	if (node->start_time == 0 || node->start_time == start_time)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "process %u began at %" G_GUINT64_FORMAT ", the node's at %" G_GUINT64_FORMAT
		    ": the node's first process has ended",
		    node->pid1, start_time, node->start_time);
	return false;
}

/*
 * The name of the node's cgroup as /proc/PID/cgroup tells it: what @line has in common with the end
 * of the directory's path. The first process may be in a cgroup below.
 */
static char *common_path(const char *cgroup_dir, const char *path, size_t length)
{
	g_autofree char *text = g_strndup(path, length);

	while (text[0] == '/' && text[1] != '\0') {
		if (g_str_has_suffix(cgroup_dir, text))
			return g_steal_pointer(&text);
		*strrchr(text, '/') = '\0';
	}
	return NULL;
}

static bool find_cgroup(DnInspectBaseline *self, const DnInspectNode *node, GError **error)
{
	static const char v2[] = "0::";
	const size_t head = sizeof(v2) - 1;
	dn_autofd int fd = openat(self->pid1_fd, "cgroup", O_RDONLY | O_CLOEXEC);
	const char *line = NULL;
	size_t length = 0;
	DnLines lines;

	self->cgroup_fd = open(node->cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (self->cgroup_fd < 0)
		return dn_throw_errno(error, errno, "open %s", node->cgroup_dir);
	if (fd < 0)
		return fail(node, self->pid1_fd, dn_sight_of_errno(), "cgroup", error);
	dn_lines_begin(&lines, fd);
	while (dn_lines_next(&lines, &line, &length) > 0)
		if (length > head && memcmp(line, v2, head) == 0)
			self->cgroup_path =
				common_path(node->cgroup_dir, line + head, length - head);
	if (self->cgroup_path != NULL)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "process %u is not in the cgroup %s: the node's first process has ended",
		    node->pid1, node->cgroup_dir);
	return false;
}

/* Shared memory, /dev/zero and memfd are files of a file system that is mounted nowhere. */
static uint64_t memory_device(unsigned flags)
{
	dn_autofd int fd = memfd_create("dnode-inspect", MFD_CLOEXEC | flags);
	struct stat info;

	if (fd < 0 || fstat(fd, &info) < 0)
		return 0;
	return (uint64_t)major(info.st_dev) << 20 | minor(info.st_dev);
}

/* Nobody in the node can execute that file: it is the host's, or in memory and gone by then. */
static bool learn_runtime(DnInspectBaseline *self, const DnInspectNode *node, GError **error)
{
	bool deleted = false;
	DnSight sight =
		dn_process_program(self->pid1_fd, &self->runtime_dev, &self->runtime_ino, &deleted);

	self->has_runtime = sight == DN_SIGHT_SEEN;
	return self->has_runtime || fail(node, self->pid1_fd, sight, "program", error);
}

static bool learn(DnInspectBaseline *self, const DnInspectNode *node, GError **error)
{
	for (unsigned i = 0; i < DN_N_NAMESPACES; i++) {
		DnSight sight = dn_process_namespace(self->pid1_fd, i, &self->namespaces[i]);

		if (sight != DN_SIGHT_SEEN)
			return fail(node, self->pid1_fd, sight, "namespaces", error);
	}
	if (node->is_created && !learn_runtime(self, node, error))
		return false;
	if (node->mounts != NULL && g_str_has_prefix(node->mounts, DN_MOUNTS_FORM)) {
		self->mounts = g_strdup(node->mounts);
		return true;
	}
	DnSight sight = dn_process_mounts(self->pid1_fd, &self->mounts);
	return sight == DN_SIGHT_SEEN || fail(node, self->pid1_fd, sight, "mountinfo", error);
}

DnInspectBaseline *dn_inspect_baseline_now(const DnInspectNode *node, GError **error)
{
	g_autoptr(DnInspectBaseline) self = g_new0(DnInspectBaseline, 1);

	g_return_val_if_fail(node->class_of != NULL && node->pid1 != 0, NULL);
	self->cgroup_fd = self->pid1_fd = -1;
	self->pid1 = node->pid1;
	self->uid_base = node->uid_base;
	self->jit = node->jit;
	self->once = node->once;
	self->class_of = node->class_of;
	self->data = node->data;
	self->memory_devices[0] = memory_device(0);
	self->memory_devices[1] = memory_device(MFD_HUGETLB);
	if (!check_identity(self, node, error) || !find_cgroup(self, node, error) ||
	    !learn(self, node, error))
		return NULL;
	return g_steal_pointer(&self);
}

const char *dn_inspect_baseline_mounts(const DnInspectBaseline *self)
{
	return self->mounts;
}

void dn_inspect_baseline_free(DnInspectBaseline *self)
{
	if (self == NULL)
		return;
	dn_fd_clear(&self->cgroup_fd);
	dn_fd_clear(&self->pid1_fd);
	g_free(self->cgroup_path);
	g_free(self->mounts);
	g_free(self);
}

int dn_inspect_mount_watch_open(uint32_t pid)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/%u/mountinfo", pid);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}
