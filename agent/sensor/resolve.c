/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

enum {
	STEPS = 256,   /* far more than a path has that anybody means */
	LINKS = 40,    /* as the kernel */
	PROC_ROOT = 1, /* inode number of /proc itself */
	STATUS_LIMIT = 65536,
};

typedef struct {
	const DnResolve *who;
	int at_fd; /* owned */
	unsigned steps, links;
} Walk;

static bool walk(Walk *self, const char *path, bool follow);

static bool move(Walk *self, int *fd)
{
	if (*fd < 0)
		return false;
	dn_fd_clear(&self->at_fd);
	self->at_fd = g_steal_fd(fd);
	return true;
}

static bool go_to_root(Walk *self)
{
	dn_autofd int fd = openat(self->who->root_fd, ".", O_PATH | O_CLOEXEC);

	return move(self, &fd);
}

static bool is_root(const Walk *self)
{
	struct stat here, root;

	return fstat(self->at_fd, &here) == 0 && fstat(self->who->root_fd, &root) == 0 &&
	       here.st_dev == root.st_dev && here.st_ino == root.st_ino;
}

/* The number of the process in its own pid namespace, which its /proc counts by. */
static char *own_number(uint32_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%u/status", pid);
	g_autofree char *status = pid > 0 ? dn_file_read_kernel(path, STATUS_LIMIT, NULL) : NULL;
	char *line = status != NULL ? strstr(status, "\nNSpid:") : NULL;

	if (line == NULL)
		return NULL;
	*strchrnul(line + 1, '\n') = '\0';
	return g_strdup(strrchr(line, '\t') + 1);
}

static bool follow_text(Walk *self, int link_fd)
{
	char text[PATH_MAX];
	ssize_t length = readlinkat(link_fd, "", text, sizeof(text) - 1);

	if (length <= 0)
		return false;
	text[length] = '\0';
	return walk(self, text, true);
}

/* A link of /proc: in its root it is a name, that of whoever asks or below it; elsewhere a file. */
static bool follow_in_proc(Walk *self, int link_fd, const char *name)
{
	struct stat here;

	if (fstat(self->at_fd, &here) < 0)
		return false;
	if (here.st_ino != PROC_ROOT) {
		dn_autofd int fd = openat(self->at_fd, name, O_PATH | O_CLOEXEC);
		return move(self, &fd);
	}
	if (!g_str_equal(name, "self") && !g_str_equal(name, "thread-self"))
		return follow_text(self, link_fd);
	g_autofree char *number = own_number(self->who->pid);
	errno = ENOENT;
	return number != NULL && walk(self, number, true);
}

static bool step(Walk *self, const char *name, bool follow)
{
	struct stat info;
	struct statfs where;

	errno = ELOOP;
	if (++self->steps > STEPS)
		return false;
	if (g_str_equal(name, "..") && is_root(self))
		return true;
	dn_autofd int fd = openat(self->at_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) < 0)
		return false;
	if (!S_ISLNK(info.st_mode) || !follow)
		return move(self, &fd);
	errno = ELOOP;
	if (++self->links > LINKS || fstatfs(fd, &where) < 0)
		return false;
	return where.f_type == PROC_SUPER_MAGIC ? follow_in_proc(self, fd, name)
						: follow_text(self, fd);
}

/* On from where the walk is, or from the root. Nothing is allocated: the text is somebody's. */
static bool walk(Walk *self, const char *path, bool follow)
{
	char name[NAME_MAX + 1];

	if (path[0] == '/' && !go_to_root(self))
		return false;
	for (path += strspn(path, "/"); *path != '\0';) {
		size_t length = strcspn(path, "/");
		const char *next = path + length + strspn(path + length, "/");

		errno = ENAMETOOLONG;
		if (length > NAME_MAX)
			return false;
		memcpy(name, path, length);
		name[length] = '\0';
		if (!step(self, name, follow || *next != '\0'))
			return false;
		path = next;
	}
	return true;
}

int dn_resolve_now(const DnResolve *self, const char *path)
{
	Walk made = {.who = self, .at_fd = -1};
	dn_autofd int start_fd =
		path[0] == '/' ? -1 : openat(self->start_fd, ".", O_PATH | O_CLOEXEC);

	if (path[0] != '/' && !move(&made, &start_fd))
		return -1;
	if (walk(&made, path, self->follow))
		return made.at_fd;
	dn_fd_clear(&made.at_fd);
	return -1;
}
