/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

/* Whether @path still is the file behind @fd: its last holder removes it. */
static bool is_current(const char *path, int fd)
{
	struct stat ours, theirs;

	return fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
	       ours.st_dev == theirs.st_dev;
}

int dn_lab_lock_take(const DnLab *lab, DnOutput *output, GError **error)
{
	bool told = false;

	for (;;) {
		dn_autofd int fd = open(lab->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			break;
		if (!told && flock(fd, LOCK_EX | LOCK_NB) != 0) {
			dn_output_progress(output,
					   "lab: another command is at work on it, waiting");
			told = true;
		}
		if (flock(fd, LOCK_EX) != 0) {
			if (errno == EINTR)
				continue;
			break;
		}
		if (is_current(lab->lock, fd))
			return g_steal_fd(&fd);
	}
	dn_throw_errno(error, errno, "lock %s", lab->lock);
	return -1;
}

void dn_lab_lock_give(const DnLab *lab, int fd)
{
	(void)unlink(lab->lock);
	(void)close(fd);
}
