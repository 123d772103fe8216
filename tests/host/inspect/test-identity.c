/* SPDX-License-Identifier: Apache-2.0 */

/* Who a process is: its program, numbers, rights, tracer, namespaces, cgroup, mounts. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "support/suite.h"

static Host host;
static Node node;
static DnInspectLook look;

static void setup(void)
{
	host_set_up(&host);
	node_start(&node, &host, "n0", 0, "rest", NULL);
	look = (DnInspectLook){0};
}

static void teardown(void)
{
	node_clear(&node);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(identity, .init = setup, .fini = teardown, .timeout = 60);

static const DnInspectFinding *odd(unsigned oddities, enum dn_drift_class drift)
{
	pid_t pid = node_add(&node, NULL, oddities, "rest", NULL);

	node_look(&node, false, &look);
	return only_finding(&look, drift, pid);
}

Test(identity, a_process_that_is_what_the_node_is_is_not_found)
{
	node_add(&node, NULL, 0, "rest", NULL);
	node_look(&node, false, &look);
	assert_clean(&look);
	cr_assert(eq(u32, look.n_processes, 2));
	cr_assert(eq(u32, look.n_gone, 0));
}

Test(identity, a_user_that_is_not_the_nodes_is_found)
{
	cr_assert(strstr(odd(WITH_HOST_UID, DN_DRIFT_UID)->detail, "user") != NULL);
}

Test(identity, a_group_that_is_not_the_nodes_is_found)
{
	cr_assert(strstr(odd(WITH_HOST_GID, DN_DRIFT_UID)->detail, "group") != NULL);
}

Test(identity, a_capability_is_found)
{
	(void)odd(WITH_CAPABILITIES, DN_DRIFT_CAPABILITY);
}

Test(identity, a_process_without_a_filter_is_found)
{
	(void)odd(WITHOUT_SECCOMP, DN_DRIFT_SYSCALL);
}

Test(identity, a_process_that_may_gain_privileges_is_found)
{
	(void)odd(WITHOUT_NO_NEW_PRIVS, DN_DRIFT_SYSCALL);
}

Test(identity, a_process_of_another_pid_namespace_is_found)
{
	(void)odd(IN_HOST_PID_NAMESPACE, DN_DRIFT_PROCESS_FOREIGN);
}

Test(identity, what_else_a_foreign_process_is_is_not_told_of_the_node)
{
	(void)odd(IN_HOST_PID_NAMESPACE | WITH_HOST_UID | WITH_CAPABILITIES | WITHOUT_SECCOMP,
		  DN_DRIFT_PROCESS_FOREIGN);
}

Test(identity, the_exempt_process_is_passed_over)
{
	look.exempt_pid = (uint32_t)node_add(&node, NULL, IN_HOST_PID_NAMESPACE, "rest", NULL);
	node_look(&node, false, &look);
	assert_clean(&look);
	cr_assert(eq(u32, look.n_processes, 1));
}

Test(identity, a_program_that_is_no_file_of_the_images_is_found)
{
	cr_assert(dup2(host.actors[true], 9) == 9);
	pid_t pid = node_add(&node, NULL, 0, "run-memory-file", NULL);
	node_look(&node, false, &look);
	/* That its code is in memory is the same thing. */
	cr_assert_str_eq(only_finding(&look, DN_DRIFT_EXEC, pid)->path, "/memfd:payload (deleted)");
}

Test(identity, the_first_process_is_passed_over_until_it_executes_something)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = g_build_filename(host.directory, "other", NULL);
	Node fresh;

	run("cp \"$DNODE_TEST_ACTOR_STATIC\" %s && chmod 755 %s", path, path);
	node_start(&fresh, &host, "n1", WITH_HOST_UID, "run-when-told", path);
	DnInspectNode known = fresh.as_known;
	known.is_created = true;
	g_autoptr(DnInspectBaseline) baseline = dn_inspect_baseline_now(&known, &error);
	cr_assert(baseline != NULL);
	cr_assert(dn_inspect_node_now(baseline, &look, &error));
	assert_clean(&look);
	/* It alone, and not whoever else executes the same. */
	pid_t pid = node_add(&fresh, NULL, WITH_HOST_UID, "rest", NULL);
	cr_assert(dn_inspect_node_now(baseline, &look, &error));
	(void)only_finding(&look, DN_DRIFT_UID, pid);
	cr_assert(kill((pid_t)fresh.pid1, SIGUSR1) == 0);
	for (int tries = 0; find(&look, DN_DRIFT_EXEC, (pid_t)fresh.pid1) == NULL; tries++) {
		cr_assert(lt(int, tries, 500));
		g_usleep(10000);
		cr_assert(dn_inspect_node_now(baseline, &look, &error));
	}
	cr_assert(find(&look, DN_DRIFT_UID, (pid_t)fresh.pid1) != NULL);
	node_clear(&fresh);
}

Test(identity, a_shell_of_the_image_is_told_as_a_shell_and_as_nothing_else)
{
	struct stat info;

	cr_assert(fstat(host.actors[true], &info) == 0);
	host.shell = info.st_ino;
	pid_t pid = node_add(&node, NULL, IS_STATIC, "rest", NULL);
	node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_SHELL, pid);
}

Test(identity, a_traced_process_is_found)
{
	pid_t tracer = node_add(&node, NULL, 0, "be-traced", NULL);

	node_look(&node, false, &look);
	cr_assert(eq(u32, look.n_findings, 1));
	cr_assert(eq(int, look.findings[0].class, DN_DRIFT_PTRACE));
	cr_assert(ne(u32, look.findings[0].pid, (uint32_t)tracer));
	g_autofree char *wanted = g_strdup_printf("traced by process %d", tracer);
	cr_assert(strstr(look.findings[0].detail, wanted) != NULL, "%s", look.findings[0].detail);
}

Test(identity, a_process_that_made_a_namespace_is_found_with_the_rights_it_got)
{
	pid_t pid = node_add(&node, NULL, 0, "make-a-namespace", NULL);

	node_look(&node, false, &look);
	cr_assert(find(&look, DN_DRIFT_NAMESPACE, pid) != NULL);
	cr_assert(find(&look, DN_DRIFT_CAPABILITY, pid) != NULL);
	cr_assert(eq(u32, look.n_findings, 2));
}

Test(identity, processes_of_a_cgroup_below_are_the_nodes)
{
	run("mkdir -p %s/deep/deeper", node.cgroup);
	pid_t pid = node_add(&node, "deep/deeper", WITH_HOST_UID, "rest", NULL);
	node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_UID, pid);
	cr_assert(eq(u32, look.n_processes, 2));
}

Test(identity, processes_of_the_cgroup_beside_are_not)
{
	Node other;

	node_start(&other, &host, "n01", 0, "rest", NULL);
	node_add(&other, NULL, WITH_HOST_UID, "rest", NULL);
	node_look(&node, false, &look);
	assert_clean(&look);
	cr_assert(eq(u32, look.n_processes, 1));
	node_clear(&other);
}

/* Something is mounted where process @pid is. */
static void mount_in(pid_t pid, const char *what, const char *where, unsigned long flags)
{
	int status = 0;
	pid_t helper = fork();

	cr_assert(helper >= 0);
	if (helper == 0) {
		dn_autofd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (setns(fd, CLONE_NEWNS) != 0 || mount(what, where, NULL, flags, NULL) != 0)
			_exit(1);
		_exit(0);
	}
	cr_assert(waitpid(helper, &status, 0) == helper);
	cr_assert(eq(int, status, 0));
}

Test(identity, a_mount_within_the_node_is_found_and_rings)
{
	dn_autofd int watch_fd = dn_inspect_mount_watch_open(node.pid1);
	struct pollfd watch = {watch_fd, POLLPRI, 0};

	cr_assert(ge(int, watch_fd, 0));
	cr_assert(eq(int, poll(&watch, 1, 0), 0));
	node_look(&node, false, &look);
	assert_clean(&look);
	mount_in((pid_t)node.pid1, "/usr", "/opt", MS_BIND);
	cr_assert(eq(int, poll(&watch, 1, 5000), 1));
	cr_assert(ne(int, watch.revents &POLLPRI, 0));
	cr_assert(eq(int, poll(&watch, 1, 0), 0));
	node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_MOUNT, (pid_t)node.pid1);
	look.without_mounts = true;
	node_look(&node, false, &look);
	assert_clean(&look);
}

Test(identity, a_mount_is_found_though_the_first_thread_has_left)
{
	Node left = {0};
	DnInspectPlace nowhere = {0};

	node_start(&left, &host, "n1", 0, "leave-when-told", NULL);
	pid_t other = node_add(&left, NULL, 0, "rest", NULL);
	run("until grep -q '^State:.Z' /proc/%u/status; do kill -USR1 %u; sleep 0.01; done",
	    left.pid1, left.pid1);
	node_look(&left, false, &look);
	cr_assert(find(&look, DN_DRIFT_MOUNT, (pid_t)left.pid1) == NULL);
	mount_in(other, "/usr", "/opt", MS_BIND);
	look.who = look.cursor = nowhere;
	node_look(&left, false, &look);
	cr_assert(find(&look, DN_DRIFT_MOUNT, (pid_t)left.pid1) != NULL);
	node_clear(&left);
}

Test(identity, other_options_of_a_mount_are_found)
{
	mount_in((pid_t)node.pid1, NULL, host.directory, MS_REMOUNT | MS_BIND | MS_NOEXEC);
	node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_MOUNT, (pid_t)node.pid1);
}

/* What a new baseline finds after a mount, if @mounts is what was known of the node before. */
static void look_again(const char *mounts)
{
	g_autoptr(GError) error = NULL;
	DnInspectNode known = node.as_known;

	known.mounts = mounts;
	g_autoptr(DnInspectBaseline) baseline = dn_inspect_baseline_now(&known, &error);
	cr_assert(baseline != NULL);
	cr_assert(dn_inspect_node_now(baseline, &look, &error));
}

Test(identity, a_mount_that_was_made_before_anybody_looked_is_found_by_what_was_known)
{
	const char *known = dn_inspect_baseline_mounts(node.baseline);

	look_again(known);
	assert_clean(&look);
	mount_in((pid_t)node.pid1, "/usr", "/opt", MS_BIND);
	look_again(known);
	(void)only_finding(&look, DN_DRIFT_MOUNT, (pid_t)node.pid1);
	/* Nothing is known, or it was written by an agent that knew it in another way. */
	look_again(NULL);
	assert_clean(&look);
	look_again("0:0123");
	assert_clean(&look);
}

Test(identity, a_mount_of_the_hosts_is_not_the_nodes)
{
	cr_assert(mount("/usr", "/opt", NULL, MS_BIND, NULL) == 0);
	node_look(&node, false, &look);
	assert_clean(&look);
	cr_assert(umount("/opt") == 0);
}

Test(identity, a_baseline_wants_the_process_that_was_started)
{
	g_autoptr(GError) error = NULL;
	DnInspectNode wrong = node.as_known;

	wrong.start_time = 1;
	cr_assert(dn_inspect_baseline_now(&wrong, &error) == NULL);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	g_clear_error(&error);
	wrong.start_time = 0;
	wrong.pid1 = (uint32_t)getpid();
	cr_assert(dn_inspect_baseline_now(&wrong, &error) == NULL);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
}

static void look_for_strangers(const Node *of, size_t n)
{
	const DnInspectBaseline *nodes[2];
	g_autoptr(GError) error = NULL;

	for (size_t i = 0; i < n; i++)
		nodes[i] = of[i].baseline;
	look.budget_ns = G_GINT64_CONSTANT(2000000000);
	bool looked = dn_inspect_strangers_now(nodes, n, &look, &error);
	cr_assert(looked, "%s", error != NULL ? error->message : "no error was set");
	cr_assert(not(look.incomplete));
}

Test(identity, a_process_in_the_nodes_namespaces_and_not_in_its_cgroup_is_found)
{
	Node nodes[2] = {node, {0}};

	node_start(&nodes[1], &host, "n1", 0, "rest", NULL);
	node_add(&nodes[0], NULL, 0, "rest", NULL);
	look_for_strangers(nodes, 2);
	assert_clean(&look);
	pid_t stranger = node_add(&nodes[1], NULL, OUTSIDE_OF_CGROUP, "rest", NULL);
	look_for_strangers(nodes, 2);
	cr_assert(eq(u32, only_finding(&look, DN_DRIFT_PROCESS_FOREIGN, stranger)->node, 1));
	node_clear(&nodes[1]);
}
