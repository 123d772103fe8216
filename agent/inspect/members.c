/* SPDX-License-Identifier: Apache-2.0 */

/* Who is in a node: the numbers in its cgroup and in those below. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

enum { CGROUPS_MAX = 64, LEVELS_MAX = 8, PROCESSES_MAX = 65536 };

/* The processes of a node. */
typedef struct {
	GArray *pids; /* of uint32_t; sorted, so that a walk can go on at a number that is gone */
	uint32_t n_cgroups;
	bool is_cut; /* at a limit: there are more */
} Members;

static void add(Members *members, uint32_t pid)
{
	if (members->pids->len < PROCESSES_MAX)
		g_array_append_val(members->pids, pid);
	else
		members->is_cut = true;
}

/* The numbers in @text, of which the last may go on in the next: *@pid keeps its beginning. */
static void add_all(Members *members, const char *text, size_t length, uint32_t *pid)
{
	for (size_t i = 0; i < length; i++) {
		if (g_ascii_isdigit(text[i])) {
			*pid = *pid * 10 + (uint32_t)(text[i] - '0');
			continue;
		}
		if (*pid != 0)
			add(members, *pid);
		*pid = 0;
	}
}

/* False with errno: there is no such cgroup any more, or it cannot be read. */
static bool add_processes(Members *members, int cgroup_fd)
{
	dn_autofd int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	char text[4096];
	uint32_t pid = 0;
	ssize_t length = 1;

	if (fd < 0)
		return false;
	while (length != 0) {
		length = read(fd, text, sizeof(text));
		/* A threaded cgroup's processes are told by the one above it. */
		if (length < 0 && errno == EOPNOTSUPP)
			break;
		if (length < 0 && errno != EINTR)
			return false;
		add_all(members, text, length > 0 ? (size_t)length : 0, &pid);
	}
	return true;
}

static bool add_cgroup(Members *members, int cgroup_fd, unsigned level);

static void add_children(Members *members, int cgroup_fd, unsigned level)
{
	int fd = openat(cgroup_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry = NULL;

	if (directory == NULL) {
		dn_fd_clear(&fd);
		return;
	}
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		dn_autofd int child_fd =
			openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (child_fd >= 0)
			(void)add_cgroup(members, child_fd, level + 1);
	}
	(void)closedir(directory);
}

static bool add_cgroup(Members *members, int cgroup_fd, unsigned level)
{
	struct stat info;

	if (level > LEVELS_MAX || members->n_cgroups == CGROUPS_MAX) {
		members->is_cut = true;
		return true;
	}
	members->n_cgroups++;
	if (!add_processes(members, cgroup_fd))
		return false;
	/* A directory of cgroupfs has two links and one for each below: most have none. */
	if (fstat(cgroup_fd, &info) == 0 && info.st_nlink > 2)
		add_children(members, cgroup_fd, level);
	return true;
}

static int by_number(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

	return one < other ? -1 : one > other;
}

GArray *dn_members_list(const DnInspectBaseline *node, bool *is_cut, GError **error)
{
	g_autoptr(GArray) pids = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	Members members = {.pids = pids};

	if (add_cgroup(&members, node->cgroup_fd, 0)) {
		g_array_sort(pids, by_number);
		*is_cut = members.is_cut;
		return g_steal_pointer(&pids);
	}
	if (errno != ENOENT && errno != ENODEV)
		dn_throw_errno(error, errno, "read cgroup.procs of %s", node->cgroup_path);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "read cgroup.procs of %s: the cgroup is gone, and the node with it",
			    node->cgroup_path);
	return NULL;
}

GArray *dn_members_newer(const GArray *members, const GArray *known)
{
	GArray *newer = g_array_new(FALSE, FALSE, sizeof(uint32_t));

	for (guint i = 0, k = 0; i < members->len; i++) {
		uint32_t pid = g_array_index(members, uint32_t, i);

		while (k < known->len && g_array_index(known, uint32_t, k) < pid)
			k++;
		if (k == known->len || g_array_index(known, uint32_t, k) != pid)
			g_array_append_val(newer, pid);
	}
	return newer;
}
