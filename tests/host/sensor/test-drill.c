/* SPDX-License-Identifier: Apache-2.0 */

/* The helper that drifts on purpose: what it does, and what it no longer has when it does it. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "support/suite.h"

static Host host;

static void setup(void)
{
	host_set_up(&host);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(drill, .init = setup, .fini = teardown, .timeout = 120);

/* Becomes the helper, which waits for a byte of @go; NULL: it has one already. */
static pid_t start_drill(const char *uid, const char *class, const int *go)
{
	g_autofree char *procs = g_build_filename(host.parent, "n0", "cgroup.procs", NULL);
	int now[2];

	cr_assert(pipe2(now, O_CLOEXEC) == 0 && write(now[1], "g", 1) == 1);
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (pid > 0) {
		close(now[0]);
		close(now[1]);
		return pid;
	}
	if (dup2(go != NULL ? go[0] : now[0], 0) != 0)
		_exit(70);
	(void)fcntl(3, F_SETFD, 0);
	(void)setenv("SECRET", "of the agent", 1);
	execl(g_getenv("DNODE_TEST_DRILL"), "dnode-drill", procs, uid, "1000001", class,
	      (char *)NULL);
	_exit(71);
}

static int drill(const char *uid, const char *class)
{
	int status = 0;
	pid_t pid = start_drill(uid, class, NULL);

	cr_assert(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

Test(drill, a_drill_is_killed_and_marks_its_node)
{
	host_add_node(&host, "n0", 2, DN_ANSWER_QUARANTINE);
	cr_assert(eq(int, drill("1000001", "exec"), -SIGKILL));
	cr_assert(ne(u64, dn_sensor_marks(host.sensor)[2].event_ns, 0));
	cr_assert_str_eq((char *)dn_sensor_marks(host.sensor)[2].path, "/proc/self/exe");
}

Test(drill, a_node_that_only_observes_lets_it_run_and_it_says_so)
{
	host_add_node(&host, "n0", 2, DN_ANSWER_OBSERVE);
	cr_assert(eq(int, drill("1000001", "exec"), 99));
}

Test(drill, it_takes_no_root_and_no_unknown_class)
{
	host_make_cgroup(&host, "n0");
	cr_assert(eq(int, drill("0", "exec"), 2));
	cr_assert(eq(int, drill("-1", "exec"), 2));
	cr_assert(eq(int, drill("1000001 ", "exec"), 2));
	cr_assert(eq(int, drill("1000001", "exec;reboot"), 2));
}

Test(drill, without_the_cgroup_it_does_not_drift)
{
	cr_assert(eq(int, drill("1000001", "exec"), 3));
}

static char *read_proc(pid_t pid, const char *name)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, name);
	char *text = NULL;

	cr_assert(g_file_get_contents(path, &text, NULL, NULL), "%s", path);
	return text;
}

static void expect_line(const char *status, const char *line)
{
	cr_assert(strstr(status, line) != NULL, "no \"%s\" in:\n%s", line, status);
}

/* Registered as the node's first process it is stopped, not killed, and can be looked at. */
Test(drill, at_the_moment_of_its_drift_it_has_nothing_of_the_agents)
{
	g_autoptr(GError) error = NULL;
	DnSensorNode node = host_add_node(&host, "n0", 2, DN_ANSWER_QUARANTINE);
	int go[2], status = 0;

	cr_assert(pipe2(go, O_CLOEXEC) == 0);
	pid_t pid = start_drill("1000001", "exec", go);
	node.pid1 = (uint32_t)pid;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error));
	cr_assert(write(go[1], "g", 1) == 1);
	cr_assert(waitpid(pid, &status, WUNTRACED) == pid);
	bool stopped = WIFSTOPPED(status);
	cr_assert(stopped, "status %x", (unsigned)status);

	g_autofree char *proc_status = read_proc(pid, "status");
	expect_line(proc_status, "Uid:\t1000001\t1000001\t1000001\t1000001\n");
	expect_line(proc_status, "Gid:\t1000001\t1000001\t1000001\t1000001\n");
	expect_line(proc_status, "Groups:\t \n");
	expect_line(proc_status, "CapInh:\t0000000000000000\n");
	expect_line(proc_status, "CapPrm:\t0000000000000000\n");
	expect_line(proc_status, "CapEff:\t0000000000000000\n");
	expect_line(proc_status, "CapBnd:\t0000000000000000\n");
	expect_line(proc_status, "CapAmb:\t0000000000000000\n");
	expect_line(proc_status, "NoNewPrivs:\t1\n");
	g_autofree char *environment = read_proc(pid, "environ");
	cr_assert_str_eq(environment, "");
	g_autofree char *descriptors = g_strdup_printf("/proc/%d/fd", pid);
	GDir *entries = g_dir_open(descriptors, 0, NULL);
	cr_assert(entries != NULL);
	cr_assert(g_dir_read_name(entries) == NULL, "a descriptor is still open");
	g_dir_close(entries);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(go[0]);
	close(go[1]);
}
