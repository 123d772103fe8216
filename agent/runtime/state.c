/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/state.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "runtime/bundle.h"
#include "runtime/proc.h"
#include "runtime/program.h"
#include "wire/json.h"

enum { STATUS_BYTES = 1024 * 1024, STAT_BYTES = 4096, STATE_TIMEOUT_MS = 10000 };

char *dn_state_path(const DnInstance *instance, const char *node, const char *file)
{
	return g_build_filename(instance->runtime_root, node, file, NULL);
}

char *dn_state_cgroup(const DnInstance *instance, const char *node, const char *file)
{
	return g_build_filename(instance->cgroup_root, instance->cgroup_parent, node, file, NULL);
}

bool dn_state_start_time(pid_t pid, uint64_t *start_time)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
	g_autofree char *stat = dn_file_read_kernel(path, STAT_BYTES, NULL);

	return stat != NULL && dn_proc_start_time(stat, start_time);
}

bool dn_state_identify(const DnInstance *instance, const char *node, pid_t pid,
		       DnContainer *container, GError **error)
{
	g_autofree char *cgroup = dn_state_cgroup(instance, node, NULL);
	struct stat info;

	if (!dn_state_start_time(pid, &container->start_time)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "node %s: its pid 1 (%d here) has ended", node, (int)pid);
		return false;
	}
	if (stat(cgroup, &info) < 0)
		return dn_throw_errno(error, errno, "node %s: cgroup %s", node, cgroup);
	container->pid = pid;
	container->cgroup_id = info.st_ino;
	return true;
}

/* The "state" verb of every OCI runtime, for those that keep other files than crun. */
static JsonObject *ask_runtime(const DnInstance *instance, const char *node, GError **error)
{
	const char *argv[] = {instance->runtime, "--root", instance->runtime_root,
			      "state",           node,     NULL};
	DnProgram program = DN_PROGRAM(argv, STATE_TIMEOUT_MS);
	g_autofree char *text = NULL;

	if (!dn_program_run_now(&program, &text, error))
		return NULL;
	g_autoptr(GBytes) bytes = g_bytes_new(text, strlen(text));
	return dn_json_parse(bytes, STATUS_BYTES, error);
}

/*
 * crun's own file first: asking the program costs 5 ms a node, which counts when an agent comes
 * back to a host full of nodes.
 */
static JsonObject *read_status(const DnInstance *instance, const char *node, bool *is_crun,
			       GError **error)
{
	g_autofree char *path = dn_state_path(instance, node, "status");
	g_autoptr(GError) local = NULL;
	g_autoptr(GBytes) bytes = dn_file_read(path, STATUS_BYTES, &local);

	*is_crun = bytes != NULL;
	return *is_crun ? dn_json_parse(bytes, STATUS_BYTES, error)
			: ask_runtime(instance, node, error);
}

static bool judge_status(const DnInstance *instance, const char *node, JsonObject *status,
			 bool is_crun, bool *created, pid_t *pid, GError **error)
{
	g_autofree char *fifo = dn_state_path(instance, node, "exec.fifo");
	GError *local = NULL;
	uint64_t number = dn_json_u64(status, "pid", G_MAXINT32, &local);
	uint64_t started;

	if (local != NULL) {
		g_propagate_prefixed_error(error, local, "node %s: runtime state: ", node);
		return false;
	}
	*pid = (pid_t)number;
	if (!is_crun) {
		g_autofree char *state = dn_json_string(status, "status", 64, error);

		*created = g_strcmp0(state, "created") == 0;
		return state != NULL;
	}
	/* The number may be somebody else's by now. Older files lack the time: then pid must do. */
	int64_t recorded = dn_json_i64_or(status, "process-start-time", 0, NULL);
	if (number == 0 || !dn_state_start_time(*pid, &started) ||
	    (recorded != 0 && (uint64_t)recorded != started)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "node %s has ended", node);
		return false;
	}
	*created = access(fifo, F_OK) == 0;
	return true;
}

bool dn_container_find_now(const DnInstance *instance, const char *node, DnContainer *found,
			   bool *created_only, GError **error)
{
	g_autofree char *directory = dn_state_path(instance, node, NULL);
	bool is_crun;
	bool created;
	pid_t pid;

	if (!dn_bundle_check_name(node, error))
		return false;
	if (access(directory, F_OK) < 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "node %s: the runtime knows no such container", node);
		return false;
	}
	g_autoptr(JsonObject) status = read_status(instance, node, &is_crun, error);
	DnContainer container = {.memfd_noexec = DN_MEMFD_NOT_READ};

	if (status == NULL || !judge_status(instance, node, status, is_crun, &created, &pid, error))
		return false;
	if (!dn_state_identify(instance, node, pid, &container, error))
		return false;
	*found = container;
	*created_only = created;
	return true;
}

bool dn_container_list_now(const DnInstance *instance, GPtrArray *nodes, GError **error)
{
	DIR *directory = opendir(instance->runtime_root);
	const struct dirent *entry;

	if (directory == NULL)
		return errno == ENOENT ||
		       dn_throw_errno(error, errno, "open %s", instance->runtime_root);
	while ((entry = readdir(directory)) != NULL)
		if (dn_bundle_check_name(entry->d_name, NULL))
			g_ptr_array_add(nodes, g_strdup(entry->d_name));
	(void)closedir(directory);
	return true;
}
