/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A look at one node: each process of its cgroup and of those below, and the mount table. Who
 * the processes are is cheap and is judged of all of them before the code of any, which may be
 * long.
 */

#include <errno.h>

#include "base/fd.h"
#include "inspect/private.h"

/* Who they are may take one part in WHO_SHARE of a look, as long as there is code to be judged. */
enum { WHO_SHARE = 4, CHASES = 8 };

/* One walk, from a place on, which becomes the one to go on at, or 0 at the end. */
typedef struct {
	DnJudge *judge;
	DnProcessVisit visit;
	void *data; /* for @visit */
	DnInspectPlace *place;
	bool counts;
	uint32_t n_gone; /* out */
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

static void count(Walk *walk, DnSight sight)
{
	DnInspectLook *look = walk->judge->look;

	if (walk->counts)
		look->n_processes++;
	if (walk->counts && sight == DN_SIGHT_GONE)
		look->n_gone++;
	if (sight == DN_SIGHT_GONE)
		walk->n_gone++;
	if (sight == DN_SIGHT_UNREAD) {
		look->n_unread++;
		look->unread_errno = errno;
	}
}

/* False: a limit ended it, and the next one goes on at *walk->place. */
static bool walk_on(Walk *walk, const GArray *pids)
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

/*
 * The mounts that a process with memory sees: one that is ending has left its mount namespace, and
 * so has a first thread that ended before the others.
 */
static void judge_mounts(DnJudge *judge)
{
	const DnInspectBaseline *node = judge->node;
	DnProcess process = {.judge = judge, .pid = node->pid1, .dir_fd = node->pid1_fd};
	dn_autofd int living_fd = -1;
	g_autofree char *digest = NULL;
	DnSight sight = dn_process_find_memory(&process, &living_fd);

	if (sight == DN_SIGHT_SEEN)
		sight = dn_process_mounts(process.memory_fd, &digest);
	/* It has ended since: that is EINVAL. */
	if (sight == DN_SIGHT_UNREAD && errno != EINVAL) {
		judge->look->n_unread++;
		judge->look->unread_errno = errno;
	}
	if (sight != DN_SIGHT_SEEN || g_str_equal(digest, node->mounts))
		return;
	DnStatus status;
	if (dn_process_status(process.memory_fd, &status) != DN_SIGHT_SEEN || status.state == 'Z' ||
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

static DnSight judge_both(DnProcess *process, void *data)
{
	DnSight sight = dn_process_judge_who(process);

	return sight == DN_SIGHT_SEEN ? dn_process_judge_code(process) : sight;
}

/* False: one had ended, or a limit ended it. */
static bool meet(DnJudge *judge, const GArray *pids)
{
	DnInspectPlace place = {0}, cursor = judge->look->cursor;
	Walk walk = {.judge = judge, .visit = judge_both, .place = &place, .counts = true};

	/* Where the walk of all goes on stays as it is. */
	judge->look->cursor = (DnInspectPlace){0};
	bool met = walk_on(&walk, pids) && walk.n_gone == 0;
	judge->look->cursor = cursor;
	return met;
}

/*
 * Whoever has ended before the walk came there may have left a child, which was in no list and does
 * the same. What is new since the last list is few, and is looked at as soon as it is listed.
 * False: whatever was new was gone each time.
 */
static bool chase(DnJudge *judge, const GArray *pids)
{
	g_autoptr(GArray) known = g_array_copy((GArray *)pids);

	for (unsigned i = 0; i < CHASES && !dn_judge_is_spent(judge); i++) {
		bool is_cut = false;
		g_autoptr(GArray) now = dn_members_list(judge->node, &is_cut, NULL);

		if (now == NULL)
			return true; /* gone as a whole */
		g_autoptr(GArray) newer = dn_members_newer(now, known);
		if (newer->len == 0 || meet(judge, newer))
			return true;
		g_array_unref(known);
		known = g_steal_pointer(&now);
	}
	return false;
}

/* Who they are, in a part of the look as long as there is code to be judged; then their code. */
static uint32_t judge_all(DnJudge *judge, const GArray *pids)
{
	DnInspectLook *look = judge->look;
	Walk who = {.judge = judge, .visit = judge_who, .place = &look->who, .counts = true};
	Walk code = {.judge = judge, .visit = judge_code, .place = &look->cursor};
	uint64_t end_ns = judge->deadline_ns;

	if (!look->has_code)
		judge->deadline_ns -= judge->budget_ns - judge->budget_ns / WHO_SHARE;
	look->has_who = walk_on(&who, pids) || look->has_who;
	judge->deadline_ns = end_ns;
	if (!look->has_code && !dn_look_is_full(look))
		look->has_code = walk_on(&code, pids);
	return who.n_gone + code.n_gone;
}

bool dn_inspect_node_now(const DnInspectBaseline *self, DnInspectLook *look, GError **error)
{
	DnJudge eye = dn_judge_begin(self, look);
	bool is_cut = false;
	g_autoptr(GArray) pids = dn_members_list(self, &is_cut, error);

	if (pids == NULL)
		return false;
	look->n_members = pids->len;
	if (!look->without_mounts)
		judge_mounts(&eye);
	uint32_t n_gone = judge_all(&eye, pids);
	if (!dn_look_is_full(look)) {
		eye.deadline_ns += eye.budget_ns / WHO_SHARE;
		look->n_fled = n_gone == 0 || chase(&eye, pids) ? 0 : look->n_fled + 1;
	}
	bool is_whole = look->has_who && look->has_code;
	if (is_whole)
		look->has_who = look->has_code = false;
	look->n_looks = is_whole ? 0 : look->n_looks + 1;
	look->incomplete = !is_whole || is_cut;
	return true;
}
