/* SPDX-License-Identifier: Apache-2.0 */

/* What /proc tells of one process, asked through one descriptor of its directory. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "inspect/private.h"

enum { WAITS = 10 }; /* times its budget a look may last */

const char *const dn_namespace_kinds[DN_N_NAMESPACES] = {"pid", "mnt", "net",   "user",
							 "ipc", "uts", "cgroup"};

DnSight dn_sight_of_errno(void)
{
	return errno == ESRCH || errno == ENOENT ? DN_SIGHT_GONE : DN_SIGHT_UNREAD;
}

DnSight dn_process_settle(int dir_fd, DnSight sight)
{
	int saved = errno;

	if (sight == DN_SIGHT_UNREAD && dir_fd >= 0 && faccessat(dir_fd, "stat", F_OK, 0) < 0)
		sight = DN_SIGHT_GONE;
	errno = saved;
	return sight;
}

DnJudge dn_judge_begin(const DnInspectBaseline *node, DnInspectLook *look)
{
	uint64_t budget_ns = look->budget_ns != 0 ? look->budget_ns : DN_INSPECT_BUDGET_NS;

	look->n_processes = look->n_gone = look->n_unread = look->n_findings = 0;
	look->unread_errno = 0;
	look->incomplete = false;
	look->turn++;
	return (DnJudge){node, look, budget_ns, dn_judge_clock_ns(look) + budget_ns,
			 dn_clock_monotonic_ns() + WAITS * budget_ns};
}

uint64_t dn_judge_clock_ns(const DnInspectLook *look)
{
	return look->by_the_clock ? dn_clock_monotonic_ns() : dn_clock_thread_ns();
}

bool dn_node_may(const DnInspectBaseline *node, uint64_t dev, uint64_t ino, bool as_program)
{
	return node->class_of(node->data, dev, ino, as_program) == DN_DRIFT_NONE;
}

bool dn_judge_is_spent(const DnJudge *judge)
{
	return dn_judge_clock_ns(judge->look) >= judge->deadline_ns ||
	       dn_clock_monotonic_ns() >= judge->until_ns;
}

/* Printable text, cut to @size between two characters. */
static void print(char *to, size_t size, const char *bytes)
{
	const char *end = NULL;
	g_autofree char *text = dn_text_printable(bytes, strnlen(bytes, size));

	g_strlcpy(to, text, size);
	if (!g_utf8_validate(to, -1, &end))
		to[end - to] = '\0';
}

bool dn_look_is_full(const DnInspectLook *look)
{
	return look->n_findings == DN_INSPECT_FINDINGS;
}

void dn_process_tell(DnProcess *process, enum dn_drift_class drift, const char *path,
		     const char *format, ...)
{
	const DnInspectBaseline *node = process->judge->node;
	DnInspectLook *look = process->judge->look;
	bool once = node != NULL && node->once & UINT32_C(1) << drift;
	va_list args;

	for (uint32_t i = 0; i < look->n_findings; i++)
		if (look->findings[i].class == drift &&
		    (once || look->findings[i].pid == process->pid))
			return;
	if (dn_look_is_full(look))
		return;
	DnStatus status;
	if (process->comm[0] == '\0' &&
	    dn_process_status(process->dir_fd, &status) == DN_SIGHT_SEEN)
		g_strlcpy(process->comm, status.name, sizeof(process->comm));
	DnInspectFinding *finding = &look->findings[look->n_findings++];
	*finding = (DnInspectFinding){.class = drift, .pid = process->pid};
	print(finding->comm, sizeof(finding->comm), process->comm);
	print(finding->path, sizeof(finding->path), path != NULL ? path : "");
	va_start(args, format);
	g_autofree char *detail = g_strdup_vprintf(format, args);
	va_end(args);
	print(finding->detail, sizeof(finding->detail), detail);
}

DnSight dn_process_open(uint32_t pid, int *dir_fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/%u", pid);
	*dir_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *dir_fd >= 0 ? DN_SIGHT_SEEN : dn_sight_of_errno();
}

static int open_below(int dir_fd, const char *name)
{
	return openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

DnSight dn_process_is_in(int dir_fd, const char *cgroup_path, bool *is_in)
{
	dn_autofd int fd = open_below(dir_fd, "cgroup");
	const char *line = NULL;
	size_t length = 0;
	DnLines lines;
	int more = -1;

	if (fd < 0)
		return dn_sight_of_errno();
	*is_in = false;
	dn_lines_begin(&lines, fd);
	while (!*is_in && (more = dn_lines_next(&lines, &line, &length)) > 0)
		*is_in = dn_cgroup_line_is_below(line, length, cgroup_path);
	return *is_in || more == 0 ? DN_SIGHT_SEEN : dn_sight_of_errno();
}

DnSight dn_process_status(int dir_fd, DnStatus *status)
{
	dn_autofd int fd = open_below(dir_fd, "status");
	const char *line = NULL;
	size_t length = 0;
	DnLines lines;
	int more = -1;

	*status = (DnStatus){0};
	if (fd < 0)
		return dn_sight_of_errno();
	dn_lines_begin(&lines, fd);
	while (!dn_status_is_whole(status) && (more = dn_lines_next(&lines, &line, &length)) > 0)
		if (!dn_status_take(status, line, length)) {
			errno = EBADMSG;
			return DN_SIGHT_UNREAD;
		}
	if (dn_status_is_whole(status))
		return DN_SIGHT_SEEN;
	if (more == 0)
		errno = EBADMSG;
	return dn_sight_of_errno();
}

DnSight dn_process_namespace(int dir_fd, unsigned which, uint64_t *ino)
{
	char name[16], link[64];

	(void)snprintf(name, sizeof(name), "ns/%s", dn_namespace_kinds[which]);
	ssize_t length = readlinkat(dir_fd, name, link, sizeof(link));
	if (length < 0)
		return dn_sight_of_errno();
	if (dn_namespace_parse(link, (size_t)length, dn_namespace_kinds[which], ino))
		return DN_SIGHT_SEEN;
	errno = EBADMSG;
	return DN_SIGHT_UNREAD;
}

DnSight dn_process_mounts(int dir_fd, char **digest)
{
	enum { LINES_MAX = 4096 }; /* a node has some thirty */
	dn_autofd int fd = open_below(dir_fd, "mountinfo");
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	const char *line = NULL;
	size_t length = 0;
	DnLines lines;
	int more = 1;

	if (fd < 0)
		return dn_sight_of_errno();
	dn_lines_begin(&lines, fd);
	for (unsigned i = 0; i < LINES_MAX; i++) {
		more = dn_lines_next(&lines, &line, &length);
		if (more <= 0)
			break;
		dn_mount_line_digest(sum, line, length);
	}
	if (more < 0)
		return dn_sight_of_errno();
	*digest = g_strconcat(DN_MOUNTS_FORM, g_checksum_get_string(sum), NULL);
	return DN_SIGHT_SEEN;
}

DnSight dn_process_program(int dir_fd, uint64_t *dev, uint64_t *ino, bool *deleted)
{
	struct statx info;

	/* A file system that the node serves itself must not be asked. */
	if (statx(dir_fd, "exe", AT_STATX_DONT_SYNC, STATX_INO | STATX_NLINK, &info) < 0)
		return dn_sight_of_errno();
	*dev = (uint64_t)info.stx_dev_major << 20 | info.stx_dev_minor;
	*ino = info.stx_ino;
	*deleted = info.stx_nlink == 0;
	return DN_SIGHT_SEEN;
}

void dn_process_program_path(int dir_fd, char *path, size_t size)
{
	ssize_t length = readlinkat(dir_fd, "exe", path, size - 1);

	path[length > 0 ? length : 0] = '\0';
}
