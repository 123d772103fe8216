/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One process of a node judged, but for its memory: what it runs, as whom, with what rights, in
 * which namespaces. Rights, tracers and namespaces are a thread's, so every thread is asked; the
 * first one may have ended, and then /proc/PID has neither program nor memory to show.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "inspect/private.h"

enum { UIDS = 65536, SECCOMP_FILTER = 2 };

static bool are_in_range(const uint32_t ids[4], uint32_t base)
{
	for (int i = 0; i < 4; i++)
		if (ids[i] < base || ids[i] - base >= UIDS)
			return false;
	return true;
}

static void judge_ids(DnProcess *process, const char *what, const uint32_t ids[4])
{
	uint32_t base = process->judge->node->uid_base;

	if (!are_in_range(ids, base))
		dn_process_tell(process, DN_DRIFT_UID, NULL,
				"%s numbers %u %u %u %u, those of the node are %u to %u", what,
				ids[0], ids[1], ids[2], ids[3], base, base + UIDS - 1);
}

static void judge_status(DnProcess *process, const DnStatus *status)
{
	static const char *const sets[] = {"inheritable", "permitted", "effective", "bounding",
					   "ambient"};

	judge_ids(process, "user", status->uid);
	judge_ids(process, "group", status->gid);
	for (size_t i = 0; i < G_N_ELEMENTS(sets); i++)
		if (status->capabilities[i] != 0)
			dn_process_tell(process, DN_DRIFT_CAPABILITY, NULL,
					"has %s capabilities %" G_GINT64_MODIFIER "x", sets[i],
					status->capabilities[i]);
	if (status->tracer != 0)
		dn_process_tell(process, DN_DRIFT_PTRACE, NULL, "is traced by process %u",
				status->tracer);
	if (status->seccomp != SECCOMP_FILTER)
		dn_process_tell(process, DN_DRIFT_SYSCALL, NULL, "has no seccomp filter (mode %u)",
				status->seccomp);
	if (status->no_new_privs != 1)
		dn_process_tell(process, DN_DRIFT_SYSCALL, NULL,
				"may gain privileges: no_new_privs is not set");
}

/* Not the node's at all: then what else it is, is nothing that became of the node. */
static DnSight judge_home(DnProcess *process, bool *is_foreign)
{
	uint64_t ino = 0, own = process->judge->node->namespaces[DN_NAMESPACE_PID];
	DnSight sight = dn_process_namespace(process->memory_fd, DN_NAMESPACE_PID, &ino);

	*is_foreign = sight == DN_SIGHT_SEEN && ino != own;
	if (*is_foreign)
		dn_process_tell(process, DN_DRIFT_PROCESS_FOREIGN, NULL,
				"is in pid namespace %" G_GUINT64_FORMAT
				", the node in %" G_GUINT64_FORMAT,
				ino, own);
	return sight;
}

static DnSight judge_namespaces(DnProcess *process, int dir_fd)
{
	const DnInspectBaseline *node = process->judge->node;

	for (unsigned i = DN_NAMESPACE_PID + 1; i < DN_N_NAMESPACES; i++) {
		uint64_t ino = 0;
		DnSight sight = dn_process_namespace(dir_fd, i, &ino);

		if (sight != DN_SIGHT_SEEN)
			return sight;
		if (ino == node->namespaces[i])
			continue;
		dn_process_tell(process, DN_DRIFT_NAMESPACE, NULL,
				"is in %s namespace %" G_GUINT64_FORMAT
				", the node in %" G_GUINT64_FORMAT,
				dn_namespace_kinds[i], ino, node->namespaces[i]);
	}
	return DN_SIGHT_SEEN;
}

static void judge_program(DnProcess *process)
{
	const DnInspectBaseline *node = process->judge->node;
	uint64_t dev = process->program_dev, ino = process->program_ino;
	enum dn_drift_class drift = node->class_of(node->data, dev, ino, true);
	bool deleted = process->program_deleted;
	char path[DN_INSPECT_PATH];

	if (drift == DN_DRIFT_NONE && !deleted)
		return;
	dn_process_program_path(process->memory_fd, path, sizeof(path));
	dn_process_tell(process, deleted ? DN_DRIFT_EXEC : drift, path,
			"runs file %u:%u inode %" G_GUINT64_FORMAT ", which %s",
			(unsigned)(dev >> 20), (unsigned)(dev & 0xfffff), ino,
			deleted                   ? "was deleted"
			: drift == DN_DRIFT_SHELL ? "is a shell that is not declared"
						  : "is no program of the image");
}

static DnSight judge_thread(DnProcess *process, int dir_fd)
{
	DnStatus status;
	DnSight sight = dn_process_status(dir_fd, &status);

	if (sight != DN_SIGHT_SEEN)
		return sight;
	if (status.state == 'Z' || status.state == 'X')
		return DN_SIGHT_GONE;
	judge_status(process, &status);
	return judge_namespaces(process, dir_fd);
}

static void judge_entry(DnProcess *process, int tasks_fd, const char *name)
{
	dn_autofd int fd = openat(tasks_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && dn_process_settle(fd, judge_thread(process, fd)) == DN_SIGHT_UNREAD) {
		process->judge->look->n_unread++;
		process->judge->look->unread_errno = errno;
	}
}

/*
 * The threads but the first, DN_INSPECT_THREADS of them, others each turn. The list costs something
 * for each that is passed over, and is not read from its beginning: where it goes on, 2 is the
 * first thread after "." and ".." (proc_task_readdir() of the kernel).
 */
static void judge_threads(DnProcess *process, uint32_t n_threads)
{
	uint32_t windows = (n_threads + DN_INSPECT_THREADS - 1) / DN_INSPECT_THREADS;
	uint32_t begin = process->judge->look->turn % windows * DN_INSPECT_THREADS;
	int tasks_fd = openat(process->dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *tasks = tasks_fd >= 0 ? fdopendir(tasks_fd) : NULL;
	const struct dirent *entry = NULL;

	if (tasks != NULL && begin > 0)
		seekdir(tasks, begin + 2);
	for (uint32_t i = 0; tasks != NULL && i < DN_INSPECT_THREADS;) {
		entry = readdir(tasks);
		if (entry == NULL)
			break;
		if (entry->d_name[0] == '.')
			continue;
		i++;
		if (strtoul(entry->d_name, NULL, 10) != process->pid)
			judge_entry(process, tasks_fd, entry->d_name);
	}
	if (tasks != NULL)
		(void)closedir(tasks);
	else if (tasks_fd >= 0)
		(void)close(tasks_fd);
}

/* A task without memory has no program either. */
static DnSight take_memory(DnProcess *process, int dir_fd)
{
	bool deleted = false;
	DnSight sight =
		dn_process_program(dir_fd, &process->program_dev, &process->program_ino, &deleted);

	if (sight == DN_SIGHT_SEEN)
		process->memory_fd = dir_fd;
	return sight;
}

/* The first thread has ended: one of the others may have the memory. *@living_fd is its. */
static DnSight take_memory_of_threads(DnProcess *process, int *living_fd)
{
	int tasks_fd = openat(process->dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *tasks = tasks_fd >= 0 ? fdopendir(tasks_fd) : NULL;
	const struct dirent *entry = NULL;
	DnSight sight = DN_SIGHT_GONE;

	while (tasks != NULL && sight != DN_SIGHT_SEEN && (entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		dn_fd_clear(living_fd);
		*living_fd = openat(tasks_fd, entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		sight = *living_fd >= 0 ? take_memory(process, *living_fd) : DN_SIGHT_GONE;
	}
	if (tasks != NULL)
		(void)closedir(tasks);
	else if (tasks_fd >= 0)
		(void)close(tasks_fd);
	return sight == DN_SIGHT_SEEN ? sight : DN_SIGHT_GONE;
}

/* Released, and not so far yet: a busy host takes its time. */
static bool is_runtime(const DnProcess *process)
{
	const DnInspectBaseline *node = process->judge->node;

	return node->has_runtime && process->pid == node->pid1 &&
	       process->program_dev == node->runtime_dev &&
	       process->program_ino == node->runtime_ino;
}

DnSight dn_process_find_memory(DnProcess *process, int *living_fd)
{
	DnSight sight = dn_process_settle(process->dir_fd, take_memory(process, process->dir_fd));

	return sight == DN_SIGHT_GONE ? take_memory_of_threads(process, living_fd) : sight;
}

DnSight dn_process_judge_who(DnProcess *process)
{
	dn_autofd int living_fd = -1;
	bool is_foreign = false;
	DnStatus status;
	DnSight sight = dn_process_status(process->dir_fd, &status);

	if (sight != DN_SIGHT_SEEN)
		return sight;
	g_strlcpy(process->comm, status.name, sizeof(process->comm));
	sight = dn_process_find_memory(process, &living_fd);
	if (sight != DN_SIGHT_SEEN || is_runtime(process))
		return sight;
	sight = judge_home(process, &is_foreign);
	if (sight != DN_SIGHT_SEEN || is_foreign)
		return sight;
	if (process->memory_fd == process->dir_fd) {
		judge_status(process, &status);
		sight = judge_namespaces(process, process->dir_fd);
		if (sight != DN_SIGHT_SEEN)
			return sight;
	}
	if (status.threads > 1)
		judge_threads(process, status.threads);
	judge_program(process);
	return DN_SIGHT_SEEN;
}

DnSight dn_process_judge_code(DnProcess *process)
{
	dn_autofd int living_fd = -1;
	bool is_foreign = false;
	DnSight sight = dn_process_find_memory(process, &living_fd);

	if (sight != DN_SIGHT_SEEN || is_runtime(process))
		return sight;
	sight = judge_home(process, &is_foreign);
	return sight != DN_SIGHT_SEEN || is_foreign ? sight : dn_process_judge_memory(process);
}
