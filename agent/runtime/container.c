/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/container.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/bundle.h"
#include "runtime/logs.h"
#include "runtime/program.h"
#include "runtime/state.h"

enum { CREATE_TIMEOUT_MS = 20000, START_TIMEOUT_MS = 10000, PID_BYTES = 32, LOG_BYTES = 4096 };

/* What the runtime says about itself is in its log: its stderr already is the node's. */
static void explain(const char *log, GError **error)
{
	g_autofree char *text = dn_file_read_kernel(log, LOG_BYTES, NULL);

	if (text == NULL || g_strstrip(text)[0] == '\0')
		return;
	g_autofree char *printable = dn_text_printable(text, strlen(text));
	g_prefix_error(error, "%s: ", printable);
}

/*
 * An ended pipe serves as stdin: crun gives its descriptors 0 to 2 to the node's user, and with
 * /dev/null that would be the host's own device.
 */
static int open_ended_stdin(GError **error)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0) {
		dn_throw_errno(error, errno, "pipe");
		return -1;
	}
	(void)close(ends[1]);
	return ends[0];
}

/*
 * The runtime takes milliseconds before it hands the node its pipes, so their reader gets ready
 * beside it. Without one the node's first words would kill it.
 */
static bool run_with_reader(const DnInstance *instance, const DnContainerSpec *spec,
			    const DnProgram *program, DnLogPipes *pipes, GError **error)
{
	DnProgramRun *runtime = dn_program_begin(program, error);

	if (runtime == NULL)
		return false;
	DnProgramRun *reader =
		dn_logs_begin(instance->libexec_dir, spec->log_dir, spec->nice, pipes, error);
	bool created = dn_program_end_now(runtime, NULL, reader != NULL ? error : NULL);
	bool reads = reader != NULL && dn_program_end_now(reader, NULL, created ? error : NULL);

	return created && reads;
}

static bool run_create(const DnInstance *instance, const DnContainerSpec *spec, GError **error)
{
	g_autofree char *bundle = dn_bundle_path(instance, spec->node, NULL);
	g_autofree char *log = dn_bundle_path(instance, spec->node, "runtime.log");
	g_autofree char *pid_file = dn_bundle_path(instance, spec->node, "pid");
	const char *argv[] = {
		instance->runtime, "--root", instance->runtime_root, "--log",  log,        "create",
		"--bundle",        bundle,   "--pid-file",           pid_file, spec->node, NULL};
	DnProgram program = DN_PROGRAM(argv, CREATE_TIMEOUT_MS);
	dn_autofd int in_fd = open_ended_stdin(error);
	DnLogPipes pipes;

	if (in_fd < 0 || !dn_logs_make_pipes(&pipes, error))
		return false;
	program.stdin_fd = in_fd;
	program.stdout_fd = pipes.out[1];
	program.stderr_fd = pipes.err[1];
	program.nice = spec->nice;
	bool created = run_with_reader(instance, spec, &program, &pipes, error);
	if (!created)
		explain(log, error);
	dn_logs_close_pipes(&pipes);
	return created;
}

static bool read_pid(const DnInstance *instance, const char *node, pid_t *pid, GError **error)
{
	g_autofree char *path = dn_bundle_path(instance, node, "pid");
	g_autofree char *text = dn_file_read_kernel(path, PID_BYTES, error);
	uint64_t number;

	if (text == NULL)
		return false;
	if (!dn_text_parse_u64(g_strstrip(text), INT_MAX, &number) || number == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "%s wrote no process number to %s", instance->runtime, path);
		return false;
	}
	*pid = (pid_t)number;
	return true;
}

static bool build(const DnInstance *instance, const DnContainerSpec *spec, DnContainer *made,
		  GError **error)
{
	DnContainer container = {0};
	pid_t pid;

	if (!dn_failpoint("agent.bundle.write.before", error) ||
	    !dn_bundle_write(instance, spec, error) ||
	    !dn_failpoint("agent.container.create.before", error) ||
	    !run_create(instance, spec, error) ||
	    !dn_failpoint("agent.container.create.after", error) ||
	    !read_pid(instance, spec->node, &pid, error) ||
	    !dn_state_identify(instance, spec->node, pid, &container, error))
		return false;
	if (setpriority(PRIO_PROCESS, (id_t)pid, 0) < 0)
		return dn_throw_errno(error, errno, "priority of node %s", spec->node);
	/* Before its first instruction. A profile with memfd_create relies on it. */
	container.memfd_noexec = DN_MEMFD_NO_SYSCTL;
	if (dn_memfd_can_be_sealed() && !dn_memfd_seal_now(pid, &container.memfd_noexec, error))
		return false;
	*made = container;
	return true;
}

bool dn_container_create_now(const DnInstance *instance, const DnContainerSpec *spec,
			     DnContainer *made, GError **error)
{
	g_autofree char *state = dn_state_path(instance, spec->node, NULL);

	if (!dn_bundle_check_name(spec->node, error))
		return false;
	/* What fails below is cleaned up, so it must not be somebody else's. */
	if (access(state, F_OK) == 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_CONFLICT,
			    "node %s is there already: delete it first", spec->node);
		return false;
	}
	if (!dn_file_make_directory(instance->runtime_root, 0700, error))
		return false;
	if (build(instance, spec, made, error))
		return true;

	g_autoptr(GError) second = NULL;
	g_prefix_error(error, "create node %s: ", spec->node);
	if (!dn_container_delete_now(instance, spec->node, &second))
		g_warning("clean up after node %s: %s", spec->node, second->message);
	return false;
}

bool dn_container_start_now(const DnInstance *instance, const DnRuntimeAbility *ability,
			    const char *node, GError **error)
{
	const char *argv[] = {instance->runtime, "--root", instance->runtime_root,
			      "start",           node,     NULL};
	DnProgram program = DN_PROGRAM(argv, START_TIMEOUT_MS);

	if (!dn_bundle_check_name(node, error))
		return false;
	if (!ability->fast_start)
		return dn_program_run_now(&program, NULL, error);
	dn_autofd int fifo_fd = dn_container_hold_fifo(instance, node, error);
	if (fifo_fd < 0)
		return false;
	if (!dn_container_release_fifo(fifo_fd)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "node %s does not wait to be started: %s", node, g_strerror(errno));
		return false;
	}
	return true;
}

int dn_container_hold_fifo(const DnInstance *instance, const char *node, GError **error)
{
	struct stat info;

	if (!dn_bundle_check_name(node, error) ||
	    !dn_failpoint("agent.container.fifo.before", error))
		return -1;
	g_autofree char *path = dn_state_path(instance, node, "exec.fifo");
	dn_autofd int fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &info) < 0) {
		dn_throw_errno(error, errno, "open %s of a created node", path);
		return -1;
	}
	if (!S_ISFIFO(info.st_mode)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED, "%s is not a fifo", path);
		return -1;
	}
	return g_steal_fd(&fd);
}

bool dn_container_is_released(int fifo_fd)
{
	struct stat info;

	return fstat(fifo_fd, &info) == 0 && S_ISFIFO(info.st_mode) && info.st_nlink == 0;
}

bool dn_container_release_fifo(int fifo_fd)
{
	char link[64];
	char path[PATH_MAX];
	struct stat info;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fifo_fd);
	/* Non-blocking: without a waiting reader it is ENXIO instead of a hanging reflex. */
	dn_autofd int fd = open(link, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &info) < 0 || !S_ISFIFO(info.st_mode))
		return false;
	/* As crun's start does: its state says "created" as long as the fifo is there. */
	ssize_t length = readlink(link, path, sizeof(path) - 1);
	if (length > 0) {
		path[length] = '\0';
		(void)unlink(path);
	}
	return write(fd, "", 1) == 1;
}

bool dn_container_kill_now(const DnInstance *instance, const char *node, int signal, GError **error)
{
	DnContainer found;
	bool created;
	uint64_t start_time;

	if (!dn_container_find_now(instance, node, &found, &created, error))
		return false;
	dn_autofd int pidfd = (int)syscall(SYS_pidfd_open, found.pid, 0);
	if (pidfd < 0)
		return dn_throw_errno(error, errno, "node %s: pidfd_open", node);
	/* The pidfd holds one process; was it still ours when it was opened? */
	if (!dn_state_start_time(found.pid, &start_time) || start_time != found.start_time) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "node %s has ended", node);
		return false;
	}
	if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0)
		return dn_throw_errno(error, errno, "node %s: signal %d", node, signal);
	return true;
}
