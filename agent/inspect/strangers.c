/* SPDX-License-Identifier: Apache-2.0 */

/* Processes of the host that are in a node's namespaces but not in its cgroup. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

typedef struct {
	DnJudge judge;
	const DnInspectBaseline *const *nodes;
	size_t n_nodes;
} Pass;

static DnSight judge_against(DnProcess *process, const DnInspectBaseline *node, size_t index,
			     const char *kind)
{
	DnInspectLook *look = process->judge->look;
	char path[DN_INSPECT_PATH];
	DnStatus status;
	bool is_in = false;
	uint32_t before = look->n_findings;
	DnSight sight = dn_process_is_in(process->dir_fd, node->cgroup_path, &is_in);

	if (sight != DN_SIGHT_SEEN || is_in)
		return sight;
	sight = dn_process_status(process->dir_fd, &status);
	if (sight != DN_SIGHT_SEEN)
		return sight;
	/* A dead one may outlive its cgroup, which is then called by another name. */
	if (status.state == 'Z' || status.state == 'X')
		return DN_SIGHT_GONE;
	g_strlcpy(process->comm, status.name, sizeof(process->comm));
	dn_process_program_path(process->dir_fd, path, sizeof(path));
	dn_process_tell(process, DN_DRIFT_PROCESS_FOREIGN, path,
			"is in the node's %s namespace and not in its cgroup", kind);
	if (look->n_findings > before)
		look->findings[before].node = (uint32_t)index;
	return DN_SIGHT_SEEN;
}

static DnSight judge(const Pass *pass, DnProcess *process)
{
	uint64_t mine[2];

	for (unsigned i = 0; i < G_N_ELEMENTS(mine); i++) {
		DnSight sight = dn_process_namespace(process->dir_fd, i, &mine[i]);

		if (sight != DN_SIGHT_SEEN)
			return sight;
	}
	for (size_t i = 0; i < pass->n_nodes; i++) {
		const DnInspectBaseline *node = pass->nodes[i];
		bool same_pid = mine[DN_NAMESPACE_PID] == node->namespaces[DN_NAMESPACE_PID];

		if (same_pid || mine[DN_NAMESPACE_MNT] == node->namespaces[DN_NAMESPACE_MNT])
			return judge_against(
				process, node, i,
				dn_namespace_kinds[same_pid ? DN_NAMESPACE_PID : DN_NAMESPACE_MNT]);
	}
	return DN_SIGHT_SEEN;
}

static void visit(Pass *pass, uint32_t pid)
{
	DnInspectLook *look = pass->judge.look;
	DnProcess process = {.judge = &pass->judge, .pid = pid, .dir_fd = -1, .memory_fd = -1};
	DnSight sight = dn_process_open(pid, &process.dir_fd);

	if (sight == DN_SIGHT_SEEN)
		sight = judge(pass, &process);
	sight = dn_process_settle(process.dir_fd, sight);
	look->n_processes++;
	if (sight == DN_SIGHT_GONE)
		look->n_gone++;
	if (sight == DN_SIGHT_UNREAD) {
		look->n_unread++;
		look->unread_errno = errno;
	}
	dn_fd_clear(&process.dir_fd);
}

bool dn_inspect_strangers_now(const DnInspectBaseline *const *nodes, size_t n_nodes,
			      DnInspectLook *look, GError **error)
{
	Pass pass = {dn_judge_begin(NULL, look), nodes, n_nodes};
	DIR *proc = opendir("/proc");
	const struct dirent *entry = NULL;

	if (proc == NULL)
		return dn_throw_errno(error, errno, "open /proc");
	/* In rising order of the numbers, so the cursor is one of them. */
	while ((entry = readdir(proc)) != NULL) {
		uint32_t pid = g_ascii_isdigit(entry->d_name[0])
				       ? (uint32_t)strtoul(entry->d_name, NULL, 10)
				       : 0;

		if (pid == 0 || pid == look->exempt_pid || pid < look->cursor.pid)
			continue;
		look->incomplete = dn_look_is_full(look) ||
				   (look->n_processes > 0 && dn_judge_is_spent(&pass.judge));
		if (look->incomplete) {
			look->cursor.pid = pid;
			break;
		}
		visit(&pass, pid);
	}
	if (!look->incomplete)
		look->cursor.pid = 0;
	(void)closedir(proc);
	return true;
}
