/* SPDX-License-Identifier: Apache-2.0 */
#include "yard.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

enum { TEST_S = 100, ORPHANS_MS = 5000, PAUSE_MS = 50 };

static unsigned checks, failures;

bool yard_check(bool holds, const char *sentence, const char *detail)
{
	checks++;
	failures += !holds;
	printf("%s %u - %s\n", holds ? "ok" : "not ok", checks, sentence);
	if (!holds && detail != NULL)
		printf("# %s\n", detail);
	return holds;
}

static gboolean on_tick(gpointer data)
{
	return G_SOURCE_CONTINUE;
}

bool yard_wait(bool (*is_so)(void *data), void *data, unsigned seconds)
{
	gint64 end = g_get_monotonic_time() + seconds * G_TIME_SPAN_SECOND;
	guint tick = g_timeout_add(PAUSE_MS, on_tick, NULL);

	while (!is_so(data) && g_get_monotonic_time() < end)
		g_main_context_iteration(NULL, TRUE);
	g_source_remove(tick);
	return is_so(data);
}

/* ---- the programs ---- */

typedef struct {
	char *said;
	bool ended;
} Run;

static void on_ended(GObject *process, GAsyncResult *result, gpointer data)
{
	Run *run = data;

	(void)g_subprocess_communicate_utf8_finish(G_SUBPROCESS(process), result, NULL, &run->said,
						   NULL);
	run->ended = true;
}

static bool has_ended(void *data)
{
	const Run *run = data;

	return run->ended;
}

int yard_enrol(Yard *yard, const char *token, char **said)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GSubprocess) process =
		g_subprocess_new(G_SUBPROCESS_FLAGS_STDERR_PIPE, &error, TEST_AGENT, "--config",
				 yard->config, "enrol", token, NULL);
	Run run = {0};

	if (process == NULL)
		g_error("%s", error->message);
	g_subprocess_communicate_utf8_async(process, NULL, NULL, on_ended, &run);
	if (!yard_wait(has_ended, &run, 30)) {
		g_subprocess_force_exit(process);
		(void)yard_wait(has_ended, &run, 5);
	}
	*said = run.said;
	return g_subprocess_get_if_exited(process) ? g_subprocess_get_exit_status(process) : -1;
}

bool yard_is_enrolled(const Yard *yard)
{
	g_autofree char *key = g_build_filename(yard->state, "agent.key", NULL);

	return g_file_test(key, G_FILE_TEST_EXISTS);
}

void yard_arm_next(const Yard *yard, const char *spec)
{
	g_autofree char *run = g_build_filename(yard->folder, "run", NULL);
	g_autofree char *file = g_build_filename(run, "failpoints", NULL);
	g_autoptr(GError) error = NULL;

	if (g_mkdir_with_parents(run, 0711) < 0 || !g_file_set_contents(file, spec, -1, &error))
		g_error("%s: %s", file, error != NULL ? error->message : g_strerror(errno));
}

void yard_start(Yard *yard)
{
	pid_t parent = getpid();

	yard->agent = fork();
	if (yard->agent < 0)
		g_error("fork: %s", g_strerror(errno));
	if (yard->agent > 0)
		return;
	int log = open(yard->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	/* Its messages of GLib are no part of the test's own output. */
	if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(126);
	execl(TEST_AGENT, TEST_AGENT, "--config", yard->config, NULL);
	_exit(127);
}

void yard_kill(Yard *yard)
{
	if (yard->agent <= 0)
		return;
	kill(yard->agent, SIGKILL);
	while (waitpid(yard->agent, NULL, 0) < 0 && errno == EINTR)
		;
	yard->agent = 0;
}

unsigned yard_count_log(const Yard *yard, const char *text)
{
	g_autofree char *log = NULL;
	unsigned found = 0;

	if (!g_file_get_contents(yard->log, &log, NULL, NULL))
		return 0;
	for (const char *at = log; (at = strstr(at, text)) != NULL; at += strlen(text))
		found++;
	return found;
}

/* ---- the host ---- */

static void must_run(const char *command)
{
	g_autoptr(GError) error = NULL;
	gint status = 0;

	if (!g_spawn_command_line_sync(command, NULL, NULL, &status, &error) ||
	    !g_spawn_check_wait_status(status, &error))
		g_error("%s: %s", command, error->message);
}

static void make_network(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		g_error("unshare: %s", g_strerror(errno));
	must_run("ip link set lo up");
	must_run("ip link add up0 type veth peer name wire0");
	must_run("ip address add 192.0.2.1/24 dev up0");
	must_run("ip link set up0 up");
	must_run("ip link set wire0 up");
}

bool yard_has_route(void)
{
	g_autofree char *routes = NULL;

	if (!g_spawn_command_line_sync("ip -4 route", &routes, NULL, NULL, NULL))
		g_error("ip -4 route does not run");
	return strstr(routes, " via ") != NULL;
}

static void link_helper(const Yard *yard, const char *program)
{
	g_autofree char *name = g_path_get_basename(program);
	g_autofree char *path = g_build_filename(yard->folder, "libexec", name, NULL);

	if (symlink(program, path) < 0)
		g_error("%s: %s", path, g_strerror(errno));
}

static void make_files(Yard *yard)
{
	g_autoptr(GError) error = NULL;

	yard->folder = g_dir_make_tmp("dnt-agent-XXXXXX", &error);
	if (yard->folder == NULL)
		g_error("%s", error->message);
	/* o+x, as run_dir needs it: a node's mapped users have to get through. */
	if (g_chmod(yard->folder, 0711) < 0)
		g_error("%s: %s", yard->folder, g_strerror(errno));
	yard->state = g_build_filename(yard->folder, "state", NULL);
	yard->config = g_build_filename(yard->folder, "agent.yaml", NULL);
	yard->log = g_build_filename(yard->folder, "log", NULL);
	g_autofree char *libexec = g_build_filename(yard->folder, "libexec", NULL);
	g_autofree char *config = g_strdup_printf(
		"name: " YARD_HOST "\n"
		"state_dir: %s\nrun_dir: %s/run\nruntime_root: %s/run/runtime\n"
		"libexec_dir: %s\n"
		"cgroup_parent: dnt%d\nbpf_dir: /sys/fs/bpf/dnt%d\n"
		"uid_base: 4000000000\nuplink: up0\nsupervisor: " YARD_SUPERVISOR "\n",
		yard->state, yard->folder, yard->folder, libexec, getpid(), getpid());
	if (g_mkdir(libexec, 0755) < 0 || !g_file_set_contents(yard->config, config, -1, &error))
		g_error("%s: %s", yard->folder, error != NULL ? error->message : g_strerror(errno));
	link_helper(yard, TEST_LOG_PUMP);
	link_helper(yard, TEST_DRILL);
}

static void test_in_child(Yard *yard, void (*test)(Yard *yard))
{
	alarm(TEST_S);
	test(yard);
	yard_kill(yard);
	if (failures > 0) {
		g_autofree char *log = NULL;

		(void)g_file_get_contents(yard->log, &log, NULL, NULL);
		fprintf(stderr, "the agent said:\n%s\n", log != NULL ? log : "nothing");
	}
	printf("1..%u\n", checks);
	exit(failures > 0);
}

/* The agent of a child that died is on its way out too, and ours to wait for. */
static void await_orphans(void)
{
	for (unsigned waited = 0; waited < ORPHANS_MS; waited += PAUSE_MS) {
		pid_t gone = 0;

		do
			gone = waitpid(-1, NULL, WNOHANG);
		while (gone > 0);
		if (gone < 0)
			return;
		g_usleep(PAUSE_MS * 1000);
	}
}

static bool clean(Yard *yard)
{
	g_autoptr(GError) error = NULL;
	const char *argv[] = {TEST_AGENT, "--config", yard->config, "cleanup", "--force", NULL};
	gint status = 0;
	bool done = g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL,
				 &status, &error) &&
		    g_spawn_check_wait_status(status, &error);

	if (!done)
		printf("Bail out! cleanup: %s\n", error->message);
	g_clear_error(&error);
	if (!dn_file_remove_tree(yard->folder, &error)) {
		printf("Bail out! %s\n", error->message);
		done = false;
	}
	g_free(yard->folder);
	g_free(yard->state);
	g_free(yard->config);
	g_free(yard->log);
	return done;
}

int yard_run(void (*test)(Yard *yard))
{
	Yard yard = {0};
	int status = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	make_network();
	make_files(&yard);
	pid_t child = fork();
	if (child == 0)
		test_in_child(&yard, test);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	await_orphans();
	bool cleaned = clean(&yard);
	if (child < 0 || !WIFEXITED(status)) {
		printf("Bail out! the test ended with status %d\n", status);
		return 1;
	}
	return WEXITSTATUS(status) != 0 || !cleaned;
}
