/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Was a refused exec aimed at a regular file outside the image?
 *
 * The path is resolved the way the process would have: within its root, from its working
 * directory or the directory it named, without ever following a link out of that root. Nothing
 * of the node is run or opened for reading (O_PATH), and nothing is believed but what the
 * kernel says of the file found. The image is the mount that the root directory is on: a file
 * of any other mount (a tmpfs, a memfd, a volume) is foreign, one of that mount is not,
 * whatever its mode. What cannot be resolved is no proof: the process may have gone and its
 * directories with it, the file may have been replaced since. Nothing has run in any case.
 */

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "sensor/private.h"

enum { PROC_PATH = 64 };

static int open_proc(uint32_t pid, const char *what)
{
	char path[PROC_PATH];

	(void)snprintf(path, sizeof(path), "/proc/%u/%s", pid, what);
	return open(path, O_PATH | O_CLOEXEC);
}

static bool same_mount_namespace(uint32_t a, uint32_t b)
{
	dn_autofd int one = open_proc(a, "ns/mnt");
	dn_autofd int other = open_proc(b, "ns/mnt");
	struct stat x = {0}, y = {0};

	return one >= 0 && other >= 0 && fstat(one, &x) == 0 && fstat(other, &y) == 0 &&
	       x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int resolve(int root_fd, const char *path, uint32_t flags)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC |
			 (flags & AT_SYMLINK_NOFOLLOW ? (uint64_t)O_NOFOLLOW : 0),
		.resolve = RESOLVE_IN_ROOT,
	};

	return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
}

static bool same_file(int a, int b)
{
	struct stat x = {0}, y = {0};

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/*
 * A relative path, from the directory /proc/PID/@what leads to. The directory's own path is
 * put before it so that ".." and absolute links stay within the root; that text is believed
 * only if it leads to the same directory.
 */
static int resolve_below(int root_fd, uint32_t pid, const char *what, const char *path,
			 uint32_t flags)
{
	char link[PROC_PATH], text[PATH_MAX + 1], whole[PATH_MAX + DN_SENSOR_PATH + 2];

	(void)snprintf(link, sizeof(link), "/proc/%u/%s", pid, what);
	ssize_t length = readlink(link, text, sizeof(text) - 1);
	if (length <= 0 || text[0] != '/')
		return -1;
	text[length] = '\0';
	dn_autofd int found_fd = resolve(root_fd, text, 0);
	dn_autofd int real_fd = open_proc(pid, what);
	if (found_fd < 0 || real_fd < 0 || !same_file(found_fd, real_fd))
		return -1;
	(void)snprintf(whole, sizeof(whole), "%s/%s", text, path);
	return resolve(root_fd, whole, flags);
}

/* The number in "/proc/self/fd/N" and its other spellings, or -1. */
static int own_descriptor(const char *path)
{
	static const char *const prefixes[] = {"/proc/self/fd/", "/proc/thread-self/fd/",
					       "/dev/fd/"};

	for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
		size_t length = strlen(prefixes[i]);
		const char *digits = path + length;

		if (strncmp(path, prefixes[i], length) == 0 && *digits != '\0' &&
		    strlen(digits) < 8 && strspn(digits, "0123456789") == strlen(digits))
			return atoi(digits);
	}
	return -1;
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
	char what[32];

	int number = own_descriptor(path);
	if (number >= 0)
		return present ? open_descriptor(seen->pid, number) : -1;
	if (path[0] == '/')
		return resolve(root_fd, path, seen->flags);
	if (!present)
		return -1;
	if (path[0] == '\0')
		return seen->flags & AT_EMPTY_PATH && seen->dirfd >= 0
			       ? open_descriptor(seen->pid, seen->dirfd)
			       : -1;
	if (seen->dirfd == AT_FDCWD)
		return resolve_below(root_fd, seen->pid, "cwd", path, seen->flags);
	(void)snprintf(what, sizeof(what), "fd/%d", seen->dirfd);
	return resolve_below(root_fd, seen->pid, what, path, seen->flags);
}

static bool is_allowed(DnSensor *self, uint32_t image, int fd)
{
	struct stat info = {0};
	uint32_t yes = 0;

	if (fstat(fd, &info) < 0)
		return false;
	struct dn_sensor_file key = dn_sensor_file(&info, image);
	return bpf_map_lookup_elem(self->maps[DN_PIN_ALLOW], &key, &yes) == 0;
}

/* The mount a file is on; false when this kernel does not tell. */
static bool mount_of(int fd, struct statx *info)
{
	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MNT_ID, info) == 0 &&
	       info->stx_mask & STATX_MNT_ID;
}

bool dn_sensor_refused_is_foreign(DnSensor *self, uint32_t image,
				  const struct dn_sensor_observation *observation, uint32_t pid1)
{
	char path[DN_SENSOR_PATH];
	struct statx root = {0}, file = {0};

	memcpy(path, observation->path, sizeof(path));
	path[sizeof(path) - 1] = '\0';
	/* A path that filled its buffer was cut off, and names some other file. */
	if (strlen(path) == sizeof(path) - 1)
		return false;
	/* A pid may have been reused outside the node; a process of the node shares its mounts. */
	bool present = same_mount_namespace(observation->pid, pid1);
	dn_autofd int root_fd = open_proc(present ? observation->pid : pid1, "root");
	if (root_fd < 0)
		return false;
	dn_autofd int file_fd = find_file(observation, path, root_fd, present);
	if (file_fd < 0 || !mount_of(root_fd, &root) || !mount_of(file_fd, &file))
		return false;
	return S_ISREG(file.stx_mode) && file.stx_mnt_id != root.stx_mnt_id &&
	       !is_allowed(self, image, file_fd);
}

bool dn_sensor_runs_foreign(DnSensor *self, uint32_t image, uint32_t pid, char **file)
{
	char link[PROC_PATH], text[PATH_MAX];
	dn_autofd int file_fd = open_proc(pid, "exe");
	struct stat info = {0};

	if (file_fd < 0 || fstat(file_fd, &info) < 0 || is_allowed(self, image, file_fd))
		return false;
	(void)snprintf(link, sizeof(link), "/proc/%u/exe", pid);
	ssize_t length = readlink(link, text, sizeof(text));
	*file = g_strndup(text, length > 0 ? (gsize)length : 0);
	return true;
}
