/* SPDX-License-Identifier: Apache-2.0 */

/* What a node can do to make a look long, blind or mistaken. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "fixture.h"
#include "inspect/private.h"
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

TestSuite(limits, .init = setup, .fini = teardown, .timeout = 120);

static void find_in_small_steps(bool plain, uint64_t budget_ns)
{
	unsigned looks = 0;
	pid_t pid = node_add(&node, NULL, 0, "hide-behind-mappings", NULL);

	look.budget_ns = budget_ns;
	do
		node_look(&node, plain, &look);
	while (look.n_findings == 0 && ++looks < 2000);
	(void)only_finding(&look, DN_DRIFT_EXEC_MEMORY, pid);
	cr_assert(gt(u32, looks, 0), "one step was enough");
}

Test(limits, a_look_that_ran_out_of_time_goes_on_where_it_stopped)
{
	find_in_small_steps(false, 1000000);
}

Test(limits, so_does_one_that_reads_the_text)
{
	find_in_small_steps(true, 10000000);
}

Test(limits, a_look_says_that_it_ran_out_of_time)
{
	node_add(&node, NULL, 0, "hide-behind-mappings", NULL);
	look.budget_ns = 1000000;
	node_look(&node, false, &look);
	cr_assert(look.incomplete);
	cr_assert(ne(u32, look.cursor.pid, 0));
}

Test(limits, who_all_processes_are_is_judged_before_the_mappings_of_any)
{
	node_add(&node, NULL, 0, "hide-behind-mappings", NULL);
	pid_t pid = node_add(&node, NULL, WITH_HOST_UID, "rest", NULL);

	look.budget_ns = 8000000;
	node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_UID, pid);
	cr_assert(look.incomplete);
	cr_assert(eq(u32, look.n_looks, 1));
	cr_assert(eq(u32, look.n_members, 3));
}

Test(limits, a_frozen_node_is_looked_at_to_its_end_whatever_came_and_went)
{
	node_add(&node, NULL, 0, "hide-among-others", NULL);
	run("echo 1 > %s/cgroup.freeze", node.cgroup);
	run("until grep -q 'frozen 1' %s/cgroup.events; do sleep 0.01; done", node.cgroup);
	look.by_the_clock = true;
	node_look(&node, false, &look);
	cr_assert(eq(u32, look.n_looks, 0));
	cr_assert(ge(u32, look.n_findings, 1));
	cr_assert(eq(int, look.findings[0].class, DN_DRIFT_EXEC_MEMORY));
}

Test(limits, what_is_handed_on_from_process_to_process_is_found_or_known_to_have_fled)
{
	(void)node_add(&node, NULL, 0, "hand-on", "0");
	for (int i = 0; i < 200 && look.n_findings == 0 && look.n_fled < 8; i++)
		node_look(&node, false, &look);
	cr_assert(look.n_findings > 0 || look.n_fled == 8);
	run("echo 1 > %s/cgroup.freeze", node.cgroup);
	run("until grep -q 'frozen 1' %s/cgroup.events; do sleep 0.01; done", node.cgroup);
	node_look(&node, false, &look);
	cr_assert(eq(u32, look.n_fled, 0));
	cr_assert(ge(u32, look.n_findings, 1));
	cr_assert(eq(int, look.findings[0].class, DN_DRIFT_EXEC_MEMORY));
}

Test(limits, who_comes_and_goes_does_not_keep_a_look_from_its_end)
{
	unsigned looks = 0;
	node_add(&node, NULL, 0, "come-and-go", NULL);
	pid_t pid = node_add(&node, NULL, 0, "hide-behind-mappings", NULL);

	look.budget_ns = 1000000;
	do
		node_look(&node, false, &look);
	while (find(&look, DN_DRIFT_EXEC_MEMORY, pid) == NULL && ++looks < 2000);
	cr_assert(lt(u32, looks, 2000), "its last mapping was never looked at");
}

Test(limits, a_node_whose_processes_end_but_leave_none_has_not_fled)
{
	node_add(&node, NULL, 0, "come-and-go", NULL);
	for (int i = 0; i < 20; i++) {
		node_look(&node, false, &look);
		assert_clean(&look);
		cr_assert(lt(u32, look.n_fled, 8));
	}
}

Test(limits, a_look_goes_on_behind_a_process_that_has_ended)
{
	pid_t pid = node_add(&node, NULL, WITH_HOST_UID, "rest", NULL);

	look.cursor.pid = (uint32_t)getpid();
	node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_UID, pid);
	cr_assert(eq(u32, look.n_processes, 2));
	cr_assert(eq(u32, look.cursor.pid, 0));
}

Test(limits, more_findings_than_there_is_room_for_end_the_look)
{
	for (int i = 0; i < DN_INSPECT_FINDINGS + 2; i++)
		node_add(&node, NULL, WITH_HOST_UID, "rest", NULL);
	node_look(&node, false, &look);
	cr_assert(eq(u32, look.n_findings, DN_INSPECT_FINDINGS));
	cr_assert(look.incomplete);
}

Test(limits, what_is_told_once_takes_one_place_however_many_are_in_it)
{
	g_autoptr(GError) error = NULL;
	DnInspectNode known = node.as_known;

	known.once = 1 << DN_DRIFT_UID;
	g_autoptr(DnInspectBaseline) baseline = dn_inspect_baseline_now(&known, &error);
	cr_assert(baseline != NULL);
	for (int i = 0; i < DN_INSPECT_FINDINGS + 2; i++)
		node_add(&node, NULL, WITH_HOST_UID, "rest", NULL);
	node_add(&node, NULL, WITH_CAPABILITIES, "rest", NULL);
	look.budget_ns = UINT64_C(5000000000);
	cr_assert(dn_inspect_node_now(baseline, &look, &error));
	cr_assert(eq(u32, look.n_findings, 2));
	cr_assert(not(look.incomplete));
}

enum { THREADS = 192 }; /* of actor.c */

Test(limits, many_threads_are_no_drift)
{
	node_add(&node, NULL, 0, "have-threads", NULL);
	for (int i = 0; i < 8; i++) {
		node_look(&node, false, &look);
		assert_clean(&look);
	}
}

Test(limits, one_traced_thread_among_many_is_found_in_a_few_looks)
{
	const unsigned turns = THREADS / DN_INSPECT_THREADS + 1;
	pid_t pid = node_add(&node, NULL, 0, "have-threads", "traced");

	for (unsigned i = 0; i < turns && look.n_findings == 0; i++)
		node_look(&node, false, &look);
	(void)only_finding(&look, DN_DRIFT_PTRACE, pid);
}

Test(limits, a_name_that_looks_like_another_line_is_a_name)
{
	node_add(&node, NULL, 0, "be-called", "x\nTracerPid:\t7");
	node_look(&node, false, &look);
	assert_clean(&look);
	pid_t pid = node_add(&node, NULL, WITH_HOST_UID, "be-called", "x\nTracerPid:\t7");
	node_look(&node, false, &look);
	cr_assert_str_eq(only_finding(&look, DN_DRIFT_UID, pid)->comm, "x\\nTracerPid:\t7");
}

/* What asks for the first program's file moves the other process away, which was listed already. */
typedef struct {
	pid_t mover;
	bool has_moved;
} Move;

static enum dn_drift_class move_and_allow(void *data, uint64_t dev, uint64_t ino, bool as_program)
{
	Move *move = data;

	if (move->mover != 0 && !move->has_moved) {
		run("echo %d > %s/cgroup.procs", move->mover, host.cgroup);
		move->has_moved = true;
	}
	return DN_DRIFT_NONE;
}

Test(limits, a_process_that_is_the_nodes_no_more_when_its_turn_comes_is_not_judged)
{
	g_autoptr(GError) error = NULL;
	Move move = {0};
	DnInspectNode known = node.as_known;

	known.class_of = move_and_allow;
	known.data = &move;
	g_autoptr(DnInspectBaseline) baseline = dn_inspect_baseline_now(&known, &error);
	cr_assert(baseline != NULL);
	move.mover = node_add(&node, NULL, WITH_HOST_UID, "rest", NULL);
	cr_assert(dn_inspect_node_now(baseline, &look, &error));
	cr_assert(move.has_moved);
	assert_clean(&look);
	cr_assert(eq(u32, look.n_processes, 2));
	cr_assert(eq(u32, look.n_gone, 1));
}

/* Within a pid namespace whose next number can be chosen. */
static void reuse_a_number(void)
{
	int dir_fd = -1;
	DnStatus status;
	pid_t first = fork();

	if (first == 0) {
		pause();
		_exit(0);
	}
	if (dn_process_open((uint32_t)first, &dir_fd) != DN_SIGHT_SEEN ||
	    dn_process_status(dir_fd, &status) != DN_SIGHT_SEEN)
		_exit(1);
	kill(first, SIGKILL);
	waitpid(first, NULL, 0);
	g_autofree char *before = g_strdup_printf("%d", first - 1);
	if (!dn_file_write_kernel("/proc/sys/kernel/ns_last_pid", before, NULL))
		_exit(2);
	pid_t second = fork();
	if (second == 0) {
		pause();
		_exit(0);
	}
	if (second != first)
		_exit(3);
	if (dn_process_status(dir_fd, &status) != DN_SIGHT_GONE)
		_exit(4);
	_exit(0);
}

Test(limits, the_next_owner_of_a_number_is_not_taken_for_the_process)
{
	int status = 0;
	pid_t helper = fork();

	cr_assert(helper >= 0);
	if (helper == 0) {
		if (unshare(CLONE_NEWPID) != 0)
			_exit(10);
		pid_t child = fork();
		if (child == 0) {
			if (unshare(CLONE_NEWNS) != 0 ||
			    mount("proc", "/proc", "proc", 0, NULL) != 0)
				_exit(11);
			reuse_a_number();
		}
		waitpid(child, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 12);
	}
	cr_assert(waitpid(helper, &status, 0) == helper);
	cr_assert(eq(int, WEXITSTATUS(status), 0));
}
