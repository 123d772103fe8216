/* SPDX-License-Identifier: Apache-2.0 */
#include "base/members.h"

#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

/* As many as a node may have (pids: 32,768), at 11 bytes a line. */
enum { PROCS_BYTES = 512 * 1024 };

/* The number may be somebody else's by now: what is opened stays who it was. */
static int open_member(unsigned pid, const char *line)
{
	char path[32], text[4096];
	ssize_t length = 0;

	(void)snprintf(path, sizeof(path), "/proc/%u", pid);
	dn_autofd int process = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dn_autofd int group = process < 0 ? -1 : openat(process, "cgroup", O_RDONLY | O_CLOEXEC);
	if (group >= 0)
		length = read(group, text, sizeof(text) - 1);
	text[MAX(length, 0)] = '\0';
	return strstr(text, line) != NULL ? g_steal_fd(&process) : -1;
}

void dn_members_visit(const char *procs, const char *group, void (*visit)(int proc_fd, void *data),
		      void *data)
{
	g_autofree char *text = dn_file_read_kernel(procs, PROCS_BYTES, NULL);
	g_autofree char *line = g_strdup_printf("%s\n", group);
	g_auto(GStrv) pids = g_strsplit(text != NULL ? text : "", "\n", -1);

	for (unsigned i = 0; pids[i] != NULL; i++) {
		uint64_t pid = 0;

		if (!dn_text_parse_u64(pids[i], INT32_MAX, &pid) || pid == 0)
			continue;
		dn_autofd int process = open_member((unsigned)pid, line);
		if (process >= 0)
			visit(process, data);
	}
}

static void kill_process(int proc_fd, void *data)
{
	/* What has ended by itself meanwhile is as dead. */
	(void)syscall(SYS_pidfd_send_signal, proc_fd, SIGKILL, NULL, 0);
}

void dn_members_kill(const char *procs, const char *group)
{
	dn_members_visit(procs, group, kill_process, NULL);
}
