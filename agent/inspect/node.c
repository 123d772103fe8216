/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A look at one node: its cgroup, the cgroups below, each process of them, and the mount table. Who
 * the processes are is cheap and is judged of all of them before the code of any, which may be
 * long.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

/* Who they are may take one part in WHO_SHARE of a look, as long as there is code to be judged. */
enum { CGROUPS_MAX = 64, LEVELS_MAX = 8, PROCESSES_MAX = 65536, WHO_SHARE = 4 };

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

/* NULL with error: the cgroup is gone, or cannot be read. */
static GArray *list(const DnInspectBaseline *node, bool *is_cut, GError **error)
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

/* One walk, from a place on, which becomes the one to go on at, or 0 at the end. */
typedef struct {
	DnJudge *judge;
	DnProcessVisit visit;
	void *data; /* for @visit */
	DnInspectPlace *place;
	bool counts;
} Walk;

static DnSight look_at(const Walk *walk, uint32_t pid)
{
	const DnInspectBaseline *node = walk->judge->node;
	DnProcess process = {.judge = walk->judge, .pid = pid, .dir_fd = -1, .memory_fd = -1};
	bool is_in = false;
	DnSight sight = dn_process_open(pid, &process.dir_fd);

	/* The number was read before the directory was opened: it may be another process's now. */
	if (sight == DN_SIGHT_SEEN)
		sight = dn_process_is_in(process.dir_fd, node->cgroup_path, &is_in);
	if (sight == DN_SIGHT_SEEN)
		sight = is_in ? walk->visit(&process, walk->data) : DN_SIGHT_GONE;
	sight = dn_process_settle(process.dir_fd, sight);
	dn_fd_clear(&process.dir_fd);
	return sight;
}

static void count(const Walk *walk, DnSight sight)
{
	DnInspectLook *look = walk->judge->look;

	if (walk->counts)
		look->n_processes++;
	if (walk->counts && sight == DN_SIGHT_GONE)
		look->n_gone++;
	if (sight == DN_SIGHT_UNREAD) {
		look->n_unread++;
		look->unread_errno = errno;
	}
}

/* False: a limit ended it, and the next one goes on at *walk->place. */
static bool walk_on(const Walk *walk, const GArray *pids)
{
	DnInspectLook *look = walk->judge->look;
	uint32_t from = walk->place->pid, last = 0;

	for (guint i = 0; i < pids->len; i++) {
		uint32_t pid = g_array_index(pids, uint32_t, i);

		/* One that moves while the list is read may be in it twice. */
		if (pid < from || pid == last || pid == look->exempt_pid)
			continue;
		/* At least one a walk, or there would be no end to it. */
		if (last != 0 && dn_judge_is_spent(walk->judge)) {
			*walk->place = (DnInspectPlace){.pid = pid};
			return false;
		}
		last = pid;
		DnSight sight = look_at(walk, pid);
		count(walk, sight);
		if (sight == DN_SIGHT_SPENT)
			return false;
		if (dn_look_is_full(look)) {
			*walk->place = (DnInspectPlace){.pid = pid + 1};
			return false;
		}
	}
	*walk->place = (DnInspectPlace){0};
	return true;
}

static void judge_mounts(DnJudge *judge)
{
	const DnInspectBaseline *node = judge->node;
	DnProcess process = {.judge = judge, .pid = node->pid1, .dir_fd = node->pid1_fd};
	g_autofree char *digest = NULL;
	DnStatus status;
	DnSight sight = dn_process_mounts(node->pid1_fd, &digest);

	/* A first process that is ending has left its mount namespace: that is EINVAL. */
	if (sight == DN_SIGHT_UNREAD && errno != EINVAL) {
		judge->look->n_unread++;
		judge->look->unread_errno = errno;
	}
	if (sight != DN_SIGHT_SEEN || g_str_equal(digest, node->mounts))
		return;
	if (dn_process_status(node->pid1_fd, &status) != DN_SIGHT_SEEN || status.state == 'Z' ||
	    status.state == 'X')
		return;
	g_strlcpy(process.comm, status.name, sizeof(process.comm));
	dn_process_tell(&process, DN_DRIFT_MOUNT, NULL,
			"the node's mount table is not what it was after its start");
}

static DnSight judge_who(DnProcess *process, void *data)
{
	return dn_process_judge_who(process);
}

static DnSight judge_code(DnProcess *process, void *data)
{
	return dn_process_judge_code(process);
}

bool dn_inspect_node_now(const DnInspectBaseline *self, DnInspectLook *look, GError **error)
{
	DnJudge eye = dn_judge_begin(self, look);
	Walk who = {&eye, judge_who, NULL, &look->who, true};
	Walk code = {&eye, judge_code, NULL, &look->cursor, false};
	uint64_t end_ns = eye.deadline_ns;
	bool is_cut = false;
	g_autoptr(GArray) pids = list(self, &is_cut, error);

	if (pids == NULL)
		return false;
	look->n_members = pids->len;
	if (!look->without_mounts)
		judge_mounts(&eye);
	if (!look->has_code)
		eye.deadline_ns -= eye.budget_ns - eye.budget_ns / WHO_SHARE;
	look->has_who = walk_on(&who, pids) || look->has_who;
	eye.deadline_ns = end_ns;
	if (!look->has_code && !dn_look_is_full(look))
		look->has_code = walk_on(&code, pids);
	bool is_whole = look->has_who && look->has_code;
	if (is_whole)
		look->has_who = look->has_code = false;
	look->n_looks = is_whole ? 0 : look->n_looks + 1;
	look->incomplete = !is_whole || is_cut;
	return true;
}
