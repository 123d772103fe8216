/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/monitor-file.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"

#define LOCK_TRIES 50
#define LOCK_PAUSE_US (10 * 1000)

int dn_monitor_file_lock(const char *path, GError **error)
{
	dn_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0) {
		dn_throw_errno(error, errno, "open %s", path);
		return -1;
	}
	/* Whoever asks for the owner holds the lock for a moment. */
	for (unsigned tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
		if (tries < LOCK_TRIES) {
			g_usleep(LOCK_PAUSE_US);
			continue;
		}
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT, "%s: this lab has its monitor",
			    path);
		return -1;
	}
	if (ftruncate(fd, 0) != 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
		dn_throw_errno(error, errno, "write %s", path);
		return -1;
	}
	return g_steal_fd(&fd);
}

pid_t dn_monitor_file_owner(const char *path)
{
	dn_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[32] = {0};

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	return read(fd, text, sizeof(text) - 1) > 0 ? (pid_t)atoi(text) : 0;
}
