/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

enum { FIRST_EXTRA = 3, MOST_FDS = FIRST_EXTRA + DN_PROGRAM_EXTRA };

typedef struct {
	pid_t pid;
	int pidfd;     /* owned */
	int output_fd; /* owned: what is captured */
	size_t length;
	char output[DN_PROGRAM_OUTPUT_BYTES];
} Child;

struct DnProgramRun {
	char *name;
	unsigned timeout_ms;
	uint64_t deadline_ns;
	Child child;
};

static const char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

static void child_clear(Child *child)
{
	dn_fd_clear(&child->pidfd);
	dn_fd_clear(&child->output_fd);
}

static void run_free(DnProgramRun *run)
{
	child_clear(&run->child);
	g_free(run->name);
	g_free(run);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnProgramRun, run_free)

static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none;
	sigset_t all;

	/* A thread's blocked and ignored signals would go on into the node. */
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	int failed = posix_spawnattr_setsigmask(attributes, &none);
	if (failed == 0)
		failed = posix_spawnattr_setsigdefault(attributes, &all);
	if (failed == 0)
		failed = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
								      POSIX_SPAWN_SETSIGDEF |
								      POSIX_SPAWN_SETSID);
	return failed;
}

/*
 * The descriptors in the order of their new numbers. Each is first copied above every source
 * and target, so that no dup2() closes one that is still wanted.
 */
static int place(posix_spawn_file_actions_t *actions, const DnProgram *program, int capture_fd)
{
	int wanted[MOST_FDS] = {
		program->stdin_fd,
		program->stdout_fd >= 0 ? program->stdout_fd : capture_fd,
		program->stderr_fd >= 0 ? program->stderr_fd : capture_fd,
	};
	int n = FIRST_EXTRA;
	int staging = MOST_FDS;
	int failed = 0;

	for (int i = 0; i < DN_PROGRAM_EXTRA && program->extra_fds[i] >= 0; i++)
		wanted[n++] = program->extra_fds[i];
	for (int i = 0; i < n; i++)
		staging = MAX(staging, wanted[i] + 1);
	for (int i = 0; i < n && failed == 0; i++)
		if (wanted[i] >= 0)
			failed = posix_spawn_file_actions_adddup2(actions, wanted[i], staging + i);
	for (int i = 0; i < n && failed == 0; i++)
		failed = wanted[i] >= 0 ? posix_spawn_file_actions_adddup2(actions, staging + i, i)
					: posix_spawn_file_actions_addopen(actions, i, "/dev/null",
									   O_RDONLY, 0);
	if (failed == 0)
		failed = posix_spawn_file_actions_addclosefrom_np(actions, n);
	return failed;
}

static int spawn_with(const DnProgram *program, int capture_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;

	int failed = posix_spawn_file_actions_init(&actions);
	if (failed != 0)
		return failed;
	failed = posix_spawnattr_init(&attributes);
	if (failed == 0) {
		failed = set_attributes(&attributes);
		if (failed == 0)
			failed = place(&actions, program, capture_fd);
		if (failed == 0)
			failed = posix_spawnp(pid, program->argv[0], &actions, &attributes,
					      (char *const *)program->argv,
					      (char *const *)environment);
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return failed;
}

/*
 * The agent's own priority is not for what it starts. Where sessions are scheduled as groups
 * (sched(7), "The autogroup feature") a nice value counts only within one, so the group gets it
 * too. Without the right to do so the program is as prompt as any other.
 */
static void set_nice(pid_t pid, int nice)
{
	g_autofree char *group = g_strdup_printf("/proc/%d/autogroup", (int)pid);
	g_autofree char *value = g_strdup_printf("%d", nice);

	(void)setpriority(PRIO_PROCESS, (id_t)pid, nice);
	if (!dn_file_write_kernel(group, value, NULL))
		g_debug("%s has no priority as a group", group);
}

static bool begin(const DnProgram *program, Child *child, GError **error)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return dn_throw_errno(error, errno, "pipe");
	child->output_fd = ends[0];
	dn_autofd int capture_fd = ends[1];
	/* Only our end is non-blocking: the program must not see EAGAIN. */
	(void)fcntl(capture_fd, F_SETFL, 0);

	int failed = spawn_with(program, capture_fd, &child->pid);
	if (failed == ENOENT) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "%s: no such program on this host: install it or name it in agent.yaml",
			    program->argv[0]);
		return false;
	}
	if (failed != 0)
		return dn_throw_errno(error, failed, "run %s", program->argv[0]);
	set_nice(child->pid, program->nice);
	child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pidfd < 0) {
		int saved = errno;

		(void)kill(child->pid, SIGKILL);
		(void)waitpid(child->pid, NULL, 0);
		return dn_throw_errno(error, saved, "pidfd_open");
	}
	return true;
}

/* Keep what fits and throw the rest away: the program must never wait for us. */
static void collect(Child *child)
{
	char rest[1024];

	for (;;) {
		size_t room = sizeof(child->output) - child->length;
		ssize_t got =
			read(child->output_fd, room > 0 ? child->output + child->length : rest,
			     room > 0 ? room : sizeof(rest));

		if (got > 0 && room > 0)
			child->length += (size_t)got;
		if (got == 0)
			dn_fd_clear(&child->output_fd);
		if (got <= 0)
			return;
	}
}

/* Until exit or deadline. The end of the output is no sign: a grandchild may hold the pipe. */
static bool watch(Child *child, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd news[2] = {{child->pidfd, POLLIN, 0}, {child->output_fd, POLLIN, 0}};
		uint64_t now = dn_clock_monotonic_ns();

		if (now >= deadline_ns)
			return false;
		int left_ms = (int)((deadline_ns - now + DN_NS_PER_MS - 1) / DN_NS_PER_MS);
		if (poll(news, 2, left_ms) < 0 && errno != EINTR)
			return false;
		if (news[1].revents != 0)
			collect(child);
		if (news[0].revents != 0)
			return true;
	}
}

static int reap(Child *child)
{
	int status = 0;

	while (waitpid(child->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (child->output_fd >= 0)
		collect(child);
	return status;
}

DnProgramRun *dn_program_begin(const DnProgram *program, GError **error)
{
	g_autoptr(DnProgramRun) run = g_new0(DnProgramRun, 1);

	run->name = g_strdup(program->argv[0]);
	run->timeout_ms = program->timeout_ms;
	run->deadline_ns = dn_clock_monotonic_ns() + program->timeout_ms * DN_NS_PER_MS;
	run->child.pidfd = run->child.output_fd = -1;
	if (!begin(program, &run->child, error))
		return NULL;
	return g_steal_pointer(&run);
}

bool dn_program_end_now(DnProgramRun *begun, char **output, GError **error)
{
	g_autoptr(DnProgramRun) run = begun;

	if (run == NULL)
		return false;
	Child *child = &run->child;
	bool ended = watch(child, run->deadline_ns);
	if (!ended)
		(void)kill(child->pid, SIGKILL); /* not reaped yet, so the number is still its */
	int status = reap(child);

	while (child->length > 0 && g_ascii_isspace(child->output[child->length - 1]))
		child->length--;
	g_autofree char *said = dn_text_printable(child->output, child->length);
	if (!ended) {
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "%s did not end within %u ms and was killed%s%s", run->name,
			    run->timeout_ms, said[0] != '\0' ? ": " : "", said);
		return false;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		bool exited = WIFEXITED(status);

		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "%s %s %d%s%s", run->name,
			    exited ? "failed with status" : "was ended by signal",
			    exited ? WEXITSTATUS(status) : WTERMSIG(status),
			    said[0] != '\0' ? ": " : "", said);
		return false;
	}
	if (output != NULL)
		*output = g_strndup(child->output, child->length);
	return true;
}

bool dn_program_run_now(const DnProgram *program, char **output, GError **error)
{
	DnProgramRun *run = dn_program_begin(program, error);

	return run != NULL && dn_program_end_now(run, output, error);
}
