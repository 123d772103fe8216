/* SPDX-License-Identifier: Apache-2.0 */
#include "intruder.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"

bool intruder_flip(const char *path)
{
	dn_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	char byte = 0;

	if (fd < 0 || pread(fd, &byte, 1, 0) != 1)
		return false;
	byte ^= 1;
	return pwrite(fd, &byte, 1, 0) == 1;
}

bool intruder_flip_and_hide(const char *path)
{
	struct stat info = {0};

	if (stat(path, &info) < 0 || !intruder_flip(path))
		return false;
	const struct timespec times[] = {info.st_atim, info.st_mtim};
	return utimensat(AT_FDCWD, path, times, 0) == 0;
}

bool intruder_flip_by_mapping(const char *path)
{
	dn_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	char *at = fd >= 0 ? mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

	if (at == MAP_FAILED)
		return false;
	at[0] ^= 1;
	return true;
}

bool intruder_make_writable(const char *path)
{
	return chmod(path, 0777) == 0;
}

bool intruder_give_away(const char *path)
{
	return lchown(path, 7, 7) == 0;
}

bool intruder_annotate(const char *path)
{
	return lsetxattr(path, "trusted.note", "x", 1, 0) == 0;
}

bool intruder_make(const char *path)
{
	dn_autofd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

	return fd >= 0;
}

bool intruder_delete(const char *path)
{
	return unlink(path) == 0;
}

bool intruder_move(const char *path)
{
	g_autofree char *to = g_strconcat(path, ".moved", NULL);

	return rename(path, to) == 0;
}

bool intruder_relink(const char *path)
{
	return unlink(path) == 0 && symlink("/etc/passwd", path) == 0;
}

bool intruder_touch_much(const char *directory)
{
	for (unsigned i = 0; i < 40000; i++) {
		g_autofree char *path = g_strdup_printf("%s/f%u", directory, i % 1000);
		dn_autofd int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0 || (i >= 39000 && unlink(path) < 0))
			return false;
	}
	return true;
}

pid_t intruder_flood(const char *path)
{
	pid_t child = fork();

	cr_assert(ge(int, child, 0));
	while (child == 0)
		if (!intruder_flip(path))
			_exit(1);
	return child;
}
