/* SPDX-License-Identifier: Apache-2.0 */
#include "deed.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, FILES = 200 };

static bool use_temporary_files(char why[WHY])
{
	char name[] = "/tmp/work-XXXXXX", other[64];

	for (int i = 0; i < FILES; i++) {
		strcpy(name + strlen("/tmp/work-"), "XXXXXX");
		int fd = mkstemp(name);
		NEED(fd >= 0);
		NEED(write(fd, "text", 4) == 4 && fsync(fd) == 0);
		close(fd);
		(void)snprintf(other, sizeof(other), "%s.done", name);
		NEED(rename(name, other) == 0);
		NEED(unlink(other) == 0);
	}
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	NEED(fd >= 0);
	NEED(ftruncate(fd, 1 << 20) == 0);
	close(fd);
	FILE *file = tmpfile();
	NEED(file != NULL);
	fclose(file);
	return true;
}

static bool change_modes(char why[WHY])
{
	char name[] = "/tmp/mode-XXXXXX", directory[] = "/tmp/folder-XXXXXX";
	int fd = mkstemp(name);

	NEED(fd >= 0);
	NEED(chmod(name, 0600) == 0 && fchmod(fd, 0640) == 0);
	NEED(fchmodat(AT_FDCWD, name, 0444, 0) == 0);
	NEED(fchown(fd, geteuid(), getegid()) == 0);
	close(fd);
	NEED(unlink(name) == 0);
	NEED(mkdtemp(directory) != NULL);
	NEED(chmod(directory, 0755) == 0); /* a directory is not executed */
	NEED(rmdir(directory) == 0);
	return true;
}

static bool share_a_mapped_file(char why[WHY])
{
	char name[] = "/tmp/map-XXXXXX";
	int fd = mkstemp(name), status = -1;

	NEED(fd >= 0);
	NEED(unlink(name) == 0 && ftruncate(fd, 4 * PAGE) == 0);
	char *bytes = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(bytes != MAP_FAILED);
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		strcpy(bytes + PAGE, "told");
		_exit(0);
	}
	NEED(waitpid(child, &status, 0) == child && status == 0);
	NEED(strcmp(bytes + PAGE, "told") == 0);
	NEED(msync(bytes, 4 * PAGE, MS_SYNC) == 0);
	NEED(munmap(bytes, 4 * PAGE) == 0);
	close(fd);
	return true;
}

static bool send_files_without_copying(char why[WHY])
{
	char name[] = "/tmp/send-XXXXXX";
	int from = open("/bin/server", O_RDONLY | O_CLOEXEC), to = mkstemp(name), ends[2];
	off_t offset = 0;

	NEED(from >= 0 && to >= 0);
	NEED(unlink(name) == 0);
	NEED(sendfile(to, from, &offset, PAGE) == PAGE);
	NEED(pipe2(ends, O_CLOEXEC) == 0);
	NEED(splice(from, NULL, ends[1], NULL, PAGE, 0) > 0);
	NEED(splice(ends[0], NULL, to, NULL, PAGE, 0) > 0);
	offset = 0;
	NEED(copy_file_range(to, &offset, to, &(off_t){2 * PAGE}, 16, 0) == 16);
	close(from);
	close(to);
	close(ends[0]);
	close(ends[1]);
	return true;
}

static bool lock_files(char why[WHY])
{
	char name[] = "/tmp/lock-XXXXXX";
	int fd = mkstemp(name);
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 8};

	NEED(fd >= 0);
	NEED(unlink(name) == 0);
	NEED(flock(fd, LOCK_EX) == 0 && flock(fd, LOCK_UN) == 0);
	NEED(fcntl(fd, F_SETLK, &range) == 0);
	NEED(fallocate(fd, 0, 0, PAGE) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0);
	close(fd);
	return true;
}

static bool read_whole(const char *path)
{
	char bytes[PAGE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : -1;

	if (fd >= 0)
		close(fd);
	return got > 0;
}

static bool read_about_itself(char why[WHY])
{
	char target[PAGE];

	NEED(read_whole("/proc/self/maps"));
	NEED(read_whole("/proc/self/status"));
	NEED(read_whole("/proc/self/stat"));
	NEED(read_whole("/proc/self/cmdline"));
	NEED(read_whole("/proc/self/limits"));
	NEED(read_whole("/proc/self/cgroup"));
	NEED(read_whole("/proc/meminfo"));
	NEED(read_whole("/proc/cpuinfo"));
	NEED(readlink("/proc/self/exe", target, sizeof(target)) > 0);
	/* Its own memory may be read; only opening it to write would reach its code. */
	NEED(access("/proc/self/mem", R_OK) == 0);
	DIR *fds = opendir("/proc/self/fd");
	NEED(fds != NULL);
	while (readdir(fds) != NULL)
		;
	closedir(fds);
	return true;
}

static bool use_devices(char why[WHY])
{
	char bytes[64];
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	NEED(fd >= 0);
	NEED(write(fd, "x", 1) == 1);
	close(fd);
	NEED(read_whole("/dev/urandom"));
	NEED(read_whole("/dev/zero"));
	NEED(getentropy(bytes, sizeof(bytes)) == 0);
	return true;
}

static bool watch_a_directory(char why[WHY])
{
	char directory[] = "/tmp/watch-XXXXXX", file[64];
	int watcher = inotify_init1(IN_CLOEXEC);

	NEED(watcher >= 0);
	NEED(mkdtemp(directory) != NULL);
	NEED(inotify_add_watch(watcher, directory, IN_CREATE) >= 0);
	(void)snprintf(file, sizeof(file), "%s/new", directory);
	int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	NEED(fd >= 0);
	close(fd);
	NEED(poll(&(struct pollfd){watcher, POLLIN, 0}, 1, 2000) == 1);
	close(watcher);
	NEED(unlink(file) == 0 && rmdir(directory) == 0);
	return true;
}

static bool walk_the_root(char why[WHY])
{
	DIR *root = opendir("/");
	struct dirent *entry;
	struct statx more;
	int seen = 0;

	NEED(root != NULL);
	while ((entry = readdir(root)) != NULL) {
		NEED(statx(dirfd(root), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_ALL, &more) == 0);
		seen++;
	}
	closedir(root);
	NEED(seen > 4);
	return true;
}

static bool talk_through_a_fifo(char why[WHY])
{
	char directory[] = "/tmp/fifo-XXXXXX", path[64], got[4] = "";
	int status = -1;

	NEED(mkdtemp(directory) != NULL);
	(void)snprintf(path, sizeof(path), "%s/f", directory);
	NEED(mkfifo(path, 0600) == 0);
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		int to = open(path, O_WRONLY);
		_exit(to >= 0 && write(to, "hi", 2) == 2 ? 0 : 1);
	}
	int from = open(path, O_RDONLY | O_CLOEXEC);
	NEED(from >= 0);
	NEED(read(from, got, 2) == 2);
	close(from);
	NEED(waitpid(child, &status, 0) == child && status == 0);
	NEED(unlink(path) == 0 && rmdir(directory) == 0);
	return true;
}

/* Told, for nothing of the image is there to be written to, but no incident however often. */
static bool write_to_the_image(char why[WHY])
{
	for (int i = 0; i < FILES; i++) {
		NEED(open("/bin/new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644) < 0 && errno == EROFS);
		NEED(mkdir("/cache", 0755) < 0 && errno == EROFS);
		NEED(unlink("/bin/server") < 0 && errno == EROFS);
	}
	return true;
}

const Deed deeds_of_files[] = {
	{"temporary-files", use_temporary_files},
	{"modes-of-files", change_modes},
	{"shared-mapping", share_a_mapped_file},
	{"sendfile-and-splice", send_files_without_copying},
	{"file-locks", lock_files},
	{"proc-self", read_about_itself},
	{"devices", use_devices},
	{"inotify", watch_a_directory},
	{"walk-the-root", walk_the_root},
	{"fifo", talk_through_a_fifo},
	{"write-to-the-image", write_to_the_image},
	{NULL, NULL},
};
