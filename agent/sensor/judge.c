/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Was a refused exec aimed at a regular file outside the image?
 *
 * The path is resolved the way the process would have (resolve.h): within its root, from its
 * working directory or the directory it named. Nothing of the node is run or opened for reading,
 * and nothing is believed but what the kernel says of the file found. The image is the mount that
 * the root directory is on: a file of any other mount (a tmpfs, a memfd, a volume) is foreign, one
 * of that mount is not, whatever its mode. What cannot be resolved is no proof: the process may
 * have gone and its directories with it, the file may have been replaced since. Nothing has run in
 * any case.
 */

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "sensor/private.h"
#include "sensor/resolve.h"

enum { PROC_PATH = 64, ANY_EXEC = S_IXUSR | S_IXGRP | S_IXOTH, THREADS_MAX = 256 };

/* A process whose first thread has ended shows nothing; the others still have what they share. */
static int open_of_threads(uint32_t pid, const char *what)
{
	char path[PROC_PATH];
	const struct dirent *entry = NULL;
	int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%u/task", pid);
	DIR *tasks = opendir(path);
	for (unsigned i = 0; tasks != NULL && fd < 0 && i < THREADS_MAX; i++) {
		entry = readdir(tasks);
		if (entry == NULL)
			break;
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%.16s/%s", entry->d_name, what);
		fd = openat(dirfd(tasks), path, O_PATH | O_CLOEXEC);
	}
	if (tasks != NULL)
		(void)closedir(tasks);
	return fd;
}

static int open_proc(uint32_t pid, const char *what)
{
	char path[PROC_PATH];

	(void)snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
	int fd = open(path, O_PATH | O_CLOEXEC);
	return fd >= 0 ? fd : open_of_threads(pid, what);
}

static bool same_mount_namespace(uint32_t a, uint32_t b)
{
	dn_autofd int one = open_proc(a, "ns/mnt");
	dn_autofd int other = open_proc(b, "ns/mnt");
	struct stat x = {0}, y = {0};

	return one >= 0 && other >= 0 && fstat(one, &x) == 0 && fstat(other, &y) == 0 &&
	       x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int open_descriptor(uint32_t pid, int number)
{
	char what[32];

	(void)snprintf(what, sizeof(what), "fd/%d", number);
	return open_proc(pid, what);
}

/* The file the call named, or -1. @present: the process is still there to be asked. */
static int find_file(const struct dn_sensor_observation *seen, const char *path, int root_fd,
		     bool present)
{
	dn_autofd int start_fd = -1;

	if (path[0] == '\0')
		return present && seen->flags & AT_EMPTY_PATH && seen->dirfd >= 0
			       ? open_descriptor(seen->pid, seen->dirfd)
			       : -1;
	if (path[0] != '/' && present)
		start_fd = seen->dirfd == AT_FDCWD ? open_proc(seen->pid, "cwd")
						   : open_descriptor(seen->pid, seen->dirfd);
	DnResolve who = {
		.root_fd = root_fd,
		.start_fd = start_fd,
		.pid = present ? seen->pid : 0,
		.follow = (seen->flags & AT_SYMLINK_NOFOLLOW) == 0,
	};
	return dn_resolve_now(&who, path);
}

/* A shell of the image is nothing foreign, declared or not: class shell is about that. */
static bool is_program(DnSensor *self, uint32_t image, int fd)
{
	struct stat info = {0};

	if (fstat(fd, &info) < 0)
		return false;
	struct dn_sensor_file key = dn_sensor_file(&info, image);
	return (dn_sensor_flags_of(self, image, key.dev, key.ino) &
		(DN_FILE_EXEC | DN_FILE_SHELL)) != 0;
}

/* The mount a file is on; false when this kernel does not tell. */
static bool mount_of(int fd, struct statx *info)
{
	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE | STATX_MNT_ID, info) == 0 &&
	       info->stx_mask & STATX_MNT_ID;
}

/*
 * Open what an observation names, and tell which mount the node's root is. A path that filled its
 * buffer was cut off: then @*cut, and what is opened is the directory that is left of it.
 */
static int open_named(const struct dn_sensor_observation *seen, uint32_t pid1, struct statx *root,
		      bool *cut)
{
	char path[DN_SENSOR_PATH];

	memcpy(path, seen->path, sizeof(path));
	path[sizeof(path) - 1] = '\0';
	*cut = strlen(path) == sizeof(path) - 1;
	char *slash = strrchr(path, '/');
	if (*cut && slash == NULL)
		return -1;
	if (*cut)
		slash[slash == path ? 1 : 0] = '\0';
	/* A pid may have been reused outside the node; a process of the node shares its mounts. */
	bool present = same_mount_namespace(seen->pid, pid1);
	dn_autofd int root_fd = present ? open_proc(seen->pid, "root") : -1;
	/* One that ends just now has its namespaces a little longer than its root. */
	if (root_fd < 0) {
		present = false;
		root_fd = open_proc(pid1, "root");
	}
	if (root_fd < 0 || !mount_of(root_fd, root))
		return -1;
	return find_file(seen, path, root_fd, present);
}

bool dn_sensor_refused_is_foreign(DnSensor *self, uint32_t image,
				  const struct dn_sensor_observation *observation, uint32_t pid1)
{
	struct statx root = {0}, file = {0};
	bool cut = false;
	dn_autofd int file_fd = open_named(observation, pid1, &root, &cut);

	if (file_fd < 0 || !mount_of(file_fd, &file) || file.stx_mnt_id == root.stx_mnt_id)
		return false;
	/* No ordinary program looks for one by such a name in a place that it may write to. */
	return cut || (S_ISREG(file.stx_mode) && !is_program(self, image, file_fd));
}

/* A kernel that crosses no mount on the way, and comes to an end of it, has seen the image alone.
 */
static bool stays_in_image(const char *path, uint32_t pid1)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_XDEV};
	dn_autofd int root_fd = open_proc(pid1, "root");

	if (root_fd < 0)
		return false;
	dn_autofd int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	return fd >= 0 || errno == ENOENT || errno == ENOTDIR;
}

void dn_sensor_refused_in_vain(DnSensor *self, const struct dn_sensor_observation *observation,
			       uint32_t pid1)
{
	struct dn_sensor_tried key = {.pid1 = pid1};
	uint64_t value = dn_clock_monotonic_ns() | DN_TRIED_IN_VAIN;
	size_t length = strnlen((const char *)observation->path, DN_SENSOR_PATH);

	if (length >= DN_SENSOR_PATH - 1 || observation->path[0] != '/')
		return;
	memcpy(key.path, observation->path, length);
	if (stays_in_image((const char *)key.path, pid1))
		(void)bpf_map_update_elem(self->maps[DN_PIN_TRIED], &key, &value, BPF_ANY);
}

bool dn_sensor_written_is_file(const struct dn_sensor_observation *observation, uint32_t pid1)
{
	struct statx root = {0}, file = {0};
	bool cut = false;
	dn_autofd int file_fd = open_named(observation, pid1, &root, &cut);

	/* Who sets a mode says it; a list of who may what is only in the file. */
	return file_fd >= 0 && !cut && mount_of(file_fd, &file) && S_ISREG(file.stx_mode) &&
	       file.stx_mnt_id != root.stx_mnt_id &&
	       ((observation->args[0] | file.stx_mode) & ANY_EXEC) != 0;
}

bool dn_sensor_runs_foreign(DnSensor *self, uint32_t image, uint32_t pid, char **file)
{
	char link[PROC_PATH], text[PATH_MAX];
	dn_autofd int file_fd = open_proc(pid, "exe");
	struct stat info = {0};

	if (file_fd < 0 || fstat(file_fd, &info) < 0 || is_program(self, image, file_fd))
		return false;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", file_fd);
	ssize_t length = readlink(link, text, sizeof(text));
	*file = g_strndup(text, length > 0 ? (gsize)length : 0);
	return true;
}
