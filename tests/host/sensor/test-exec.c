/* SPDX-License-Identifier: Apache-2.0 */

/* What the sensor does about a file that is executed, or that the kernel refuses to execute. */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "fixture.h"
#include "support/suite.h"

/* Observations that a test process causes by coming into the group of its node. */
enum { ENTERED = 1 };

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

TestSuite(exec, .init = setup, .fini = teardown, .timeout = 120);

static volatile struct dn_sensor_mark *mark_of(uint32_t slot)
{
	return &dn_sensor_marks(host.sensor)[slot];
}

static bool was_killed(Result result)
{
	return WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL && !result.ran;
}

static bool has_run(Result result)
{
	return WIFEXITED(result.status) && WEXITSTATUS(result.status) == 99 && result.ran;
}

Test(exec, a_listed_file_runs_and_leaves_no_mark)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(has_run(host_run_in(&host, "n0", exec_listed, NULL)));
	cr_assert(eq(u64, mark_of(0)->event_ns, 0));
}

Test(exec, a_foreign_file_outside_every_node_is_nobodys_business)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	host_make_cgroup(&host, "other");
	cr_assert(has_run(host_run_in(&host, "other", exec_foreign, NULL)));
	cr_assert(eq(u64, mark_of(0)->event_ns, 0));
}

Test(exec, a_mark_says_when_and_what_and_by_whom)
{
	host_add_node(&host, "n0", 7, DN_ANSWER_QUARANTINE);
	uint64_t before = dn_clock_monotonic_ns();
	Result result = host_run_in(&host, "n0", exec_foreign, NULL);
	struct dn_sensor_mark mark = *(struct dn_sensor_mark *)mark_of(7);
	struct stat info;

	cr_assert(was_killed(result));
	cr_assert(ge(u64, mark.event_ns, before));
	cr_assert(ge(u64, mark.cut_ns, mark.event_ns));
	cr_assert(le(u64, mark.cut_ns, dn_clock_monotonic_ns()));
	cr_assert(eq(u32, mark.class, DN_DRIFT_EXEC));
	cr_assert(eq(u32, mark.pid, (uint32_t)result.pid));
	cr_assert_str_eq((char *)mark.path, host.foreign);
	cr_assert_str_eq((char *)mark.comm, "foreign");
	cr_assert(stat(host.foreign, &info) == 0);
	cr_assert(eq(u64, mark.ino, info.st_ino));
	cr_assert(eq(u64, mark.dev, dn_sensor_file(&info, 1).dev));
}

Test(exec, the_bell_rings_once_for_a_node_that_is_marked_twice)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	host_run_in(&host, "n0", exec_foreign, NULL);
	uint64_t first = mark_of(0)->event_ns;
	cr_assert(was_killed(host_run_in(&host, "n0", exec_foreign, NULL)));
	cr_assert(eq(u64, mark_of(0)->event_ns, first));
	uint64_t verdicts, observations;
	dn_sensor_drain_verdicts(host.sensor);
	dn_sensor_losses(host.sensor, &verdicts, &observations);
	cr_assert(eq(u64, verdicts, 0));
}

Test(exec, a_mark_by_hand_is_set_once)
{
	cr_assert(dn_sensor_mark(host.sensor, 3, DN_DRIFT_MANUAL, NULL, 0));
	cr_assert(not(dn_sensor_mark(host.sensor, 3, DN_DRIFT_MANUAL, NULL, 0)));
	cr_assert(eq(u32, mark_of(3)->class, DN_DRIFT_MANUAL));
	cr_assert(ne(u64, mark_of(3)->event_ns, 0));
}

/* Forget the mark, so that the next round's exec is judged like the first. */
static void forget_mark(uint32_t slot)
{
	mark_of(slot)->event_ns = 0;
}

static void count_killed(const char *cgroup, Act act, void *data)
{
	unsigned killed = 0, n = rounds();

	for (unsigned i = 0; i < n; i++) {
		forget_mark(0);
		killed += was_killed(host_run_in(&host, cgroup, act, data));
		cr_assert(ne(u64, mark_of(0)->event_ns, 0), "round %u left no mark", i);
	}
	cr_assert(eq(u32, killed, n), "foreign code ran in %u of %u", n - killed, n);
}

Test(exec, no_foreign_file_of_a_tmpfs_executes_one_instruction)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	count_killed("n0", exec_foreign, NULL);
}

/* A copy of the foreign program that has no name: in memory, or unlinked. */
static void fill(int fd)
{
	char bytes[65536];
	dn_autofd int from = open(host.foreign, O_RDONLY | O_CLOEXEC);
	ssize_t size = read(from, bytes, sizeof(bytes));

	if (size <= 0 || write(fd, bytes, (size_t)size) != size)
		_exit(73);
}

static void exec_descriptor(int fd)
{
	char name[] = "nameless", *const arguments[] = {name, NULL}, *const environment[] = {NULL};

	syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
}

static void exec_memfd(const Host *self, void *data)
{
	int fd = memfd_create("payload", MFD_CLOEXEC);

	fill(fd);
	exec_descriptor(fd);
}

Test(exec, no_program_in_memory_executes_one_instruction)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	count_killed("n0", exec_memfd, NULL);
	cr_assert(zero(int, strncmp((char *)mark_of(0)->path, "/dev/fd/", 8)));
}

static void exec_deleted(const Host *self, void *data)
{
	g_autofree char *path = g_strdup_printf("%s/gone-%d", self->directory, getpid());
	int writer = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);

	fill(writer);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	close(writer);
	unlink(path);
	exec_descriptor(fd);
}

Test(exec, no_deleted_file_executes_one_instruction)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	count_killed("n0", exec_deleted, NULL);
}

/* A sibling in the node that wakes whatever stands in *@data, as fast as it can. */
static void wake_without_end(const Host *self, void *data)
{
	volatile pid_t *target = data;

	for (;;)
		if (*target > 0)
			kill(*target, SIGCONT);
}

static void tell_and_exec(const Host *self, void *data)
{
	volatile pid_t *target = data;

	*target = getpid();
	exec_foreign(self, NULL);
}

Test(exec, a_sibling_that_keeps_waking_it_does_not_help_a_foreign_file)
{
	pid_t *target = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	dn_autofd int pipe_fd = -1;

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	pid_t sibling = host_spawn_in(&host, "n0", wake_without_end, target, &pipe_fd);
	count_killed("n0", tell_and_exec, target);
	kill(sibling, SIGKILL);
	waitpid(sibling, NULL, 0);
	munmap(target, 4096);
}

Test(exec, a_sub_cgroup_of_a_node_is_the_node)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	host_make_cgroup(&host, "n0/deep");
	host_make_cgroup(&host, "n0/deep/deeper");
	cr_assert(was_killed(host_run_in(&host, "n0/deep/deeper", exec_foreign, NULL)));
	cr_assert(ne(u64, mark_of(0)->event_ns, 0));
}

Test(exec, the_set_of_another_image_does_not_count)
{
	struct stat info;
	g_autoptr(GError) error = NULL;

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(stat(host.foreign, &info) == 0);
	struct dn_sensor_file key = dn_sensor_file(&info, 2);
	DnSensorProgram file = {key.dev, key.ino, DN_FILE_EXEC};
	cr_assert(dn_sensor_allow(host.sensor, 2, &file, 1, &error));
	cr_assert(was_killed(host_run_in(&host, "n0", exec_foreign, NULL)));
}

Test(exec, replacing_a_set_forgets_what_is_not_in_the_new_one)
{
	struct stat info;
	g_autoptr(GError) error = NULL;

	host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	cr_assert(stat(host.foreign, &info) == 0);
	struct dn_sensor_file key = dn_sensor_file(&info, 1);
	DnSensorProgram file = {key.dev, key.ino, DN_FILE_EXEC};
	cr_assert(dn_sensor_allow(host.sensor, 1, &file, 1, &error));
	cr_assert(has_run(host_run_in(&host, "n0", exec_foreign, NULL)));
	cr_assert(was_killed(host_run_in(&host, "n0", exec_listed, NULL)));
	cr_assert(dn_sensor_forget_image(host.sensor, 1, &error));
	cr_assert(was_killed(host_run_in(&host, "n0", exec_foreign, NULL)));
}

Test(exec, sets_that_no_node_has_are_swept_and_the_others_stay)
{
	const uint32_t used = 1, left[] = {2, 7};
	g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	struct stat info;
	g_autoptr(GError) error = NULL;

	host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	cr_assert(stat(host.foreign, &info) == 0);
	struct dn_sensor_file key = dn_sensor_file(&info, used);
	DnSensorProgram file = {key.dev, key.ino, DN_FILE_EXEC};
	for (size_t i = 0; i < G_N_ELEMENTS(left); i++)
		cr_assert(dn_sensor_allow(host.sensor, left[i], &file, 1, &error));
	g_array_append_val(taken, used);
	dn_sensor_sweep_images(host.sensor, taken);
	for (size_t i = 0; i < G_N_ELEMENTS(left); i++)
		cr_assert(eq(u32, dn_sensor_flags_of(host.sensor, left[i], file.dev, file.ino), 0));
	cr_assert(has_run(host_run_in(&host, "n0", exec_listed, NULL)));
	cr_assert(was_killed(host_run_in(&host, "n0", exec_foreign, NULL)));
}

Test(exec, a_node_that_was_removed_is_not_watched_any_more)
{
	g_autoptr(GError) error = NULL;
	DnSensorNode node = host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);

	host_run_in(&host, "n0", exec_foreign, NULL);
	cr_assert(dn_sensor_remove_node(host.sensor, &node, &error));
	cr_assert(eq(u64, mark_of(0)->event_ns, 0));
	cr_assert(has_run(host_run_in(&host, "n0", exec_foreign, NULL)));
	cr_assert(dn_sensor_remove_node(host.sensor, &node, &error));
}

Test(exec, deny_kills_and_reports_without_a_mark)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	Result result = host_run_in(&host, "n0", exec_foreign, NULL);
	Seen seen = host_drain(&host);

	cr_assert(was_killed(result));
	cr_assert(eq(u64, mark_of(0)->event_ns, 0));
	cr_assert(eq(u32, seen.count, 1));
	cr_assert(eq(u32, seen.last.class, DN_DRIFT_EXEC));
	cr_assert(eq(u32, seen.last.pid, (uint32_t)result.pid));
	cr_assert_str_eq((char *)seen.last.path, host.foreign);
}

Test(exec, observe_reports_and_lets_it_run)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_OBSERVE);
	cr_assert(has_run(host_run_in(&host, "n0", exec_foreign, NULL)));
	cr_assert(eq(u64, mark_of(0)->event_ns, 0));
	cr_assert(eq(u32, host_drain(&host).count, 1));
}

Test(exec, observations_of_a_slot_are_numbered_without_a_gap)
{
	host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	host_run_in(&host, "n0", exec_foreign, NULL);
	uint64_t first = host_drain(&host).last.seq;
	host_run_in(&host, "n0", exec_foreign, NULL);
	cr_assert(eq(u64, host_drain(&host).last.seq, first + ENTERED + 1));
}

/* Cause an observation by every call: a file of its own becomes executable. */
static void change_modes(const Host *self, void *data)
{
	const unsigned *times = data;
	int fd = memfd_create("mine", MFD_CLOEXEC);

	for (unsigned i = 0; i < *times; i++)
		if (fchmod(fd, 0700) < 0)
			_exit(1);
	_exit(0);
}

Test(exec, what_a_node_says_too_fast_is_swallowed_and_counted)
{
	uint64_t verdicts, observations;
	unsigned times = 10000;

	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	host_add_node(&host, "n1", 1, DN_ANSWER_DENY);
	cr_assert(zero(int, host_run_in(&host, "n0", change_modes, &times).status));
	unsigned seen = host_drain(&host).all;
	dn_sensor_losses(host.sensor, &verdicts, &observations);
	cr_assert(zero(u64, observations));
	cr_assert(gt(u64, dn_sensor_swallowed(host.sensor, 0), 0));
	cr_assert(eq(u64, seen + dn_sensor_swallowed(host.sensor, 0), times + ENTERED));

	/* What one says takes nothing from another. */
	cr_assert(was_killed(host_run_in(&host, "n1", exec_foreign, NULL)));
	cr_assert(eq(u32, host_drain(&host).count, 1));
	cr_assert(zero(u64, dn_sensor_swallowed(host.sensor, 1)));
}

Test(exec, what_may_be_repeated_crowds_out_nothing_else)
{
	unsigned times = 10000;

	host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	cr_assert(zero(int, host_run_in(&host, "n0", change_modes, &times).status));
	cr_assert(gt(u64, dn_sensor_swallowed(host.sensor, 0), 0));
	cr_assert(gt(u32, host_drain(&host).all, 0));
	cr_assert(was_killed(host_run_in(&host, "n0", exec_foreign, NULL)));
	cr_assert(eq(u32, host_drain(&host).count, 1));
}

Test(exec, a_new_node_of_a_slot_begins_without_the_last_ones_flood)
{
	unsigned times = 10000;

	host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	cr_assert(zero(int, host_run_in(&host, "n0", change_modes, &times).status));
	cr_assert(gt(u64, dn_sensor_swallowed(host.sensor, 0), 0));
	host_add_node(&host, "n1", 0, DN_ANSWER_DENY);
	cr_assert(zero(u64, dn_sensor_swallowed(host.sensor, 0)));
}

/* Try to execute a file that is no program, by so many names of it. */
typedef struct {
	unsigned times, names;
} Tries;

static void try_plain_file(const Host *self, void *data)
{
	const Tries *tries = data;
	char path[DN_SENSOR_PATH], *argv[] = {NULL};

	for (unsigned i = 0; i < tries->times; i++) {
		(void)snprintf(path, sizeof(path), "%s%.*s/plain", self->directory,
			       (int)(i % tries->names),
			       "////////////////////////////////"
			       "////////////////////////////////"
			       "////////////////////////////////"
			       "////////////////////////////////"
			       "////////////////////////////////");
		if (execv(path, argv) == 0 || errno != EACCES)
			_exit(1);
	}
	_exit(0);
}

static void make_plain_file(void)
{
	g_autofree char *path = g_build_filename(host.directory, "plain", NULL);

	cr_assert(g_file_set_contents(path, "no program", -1, NULL));
}

Test(exec, a_storm_of_searches_of_the_path_is_told_once_and_is_no_drift)
{
	Tries tries = {.times = 5000, .names = 3};

	make_plain_file();
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(zero(int, host_run_in(&host, "n0", try_plain_file, &tries).status));
	cr_assert(zero(u64, mark_of(0)->event_ns));
	Seen seen = host_drain(&host);
	cr_assert(ge(u32, seen.count, tries.names));
	/* Once a second, however long the machine took for it. */
	cr_assert(lt(u32, seen.count, tries.times / 10), "%u of %u", seen.count, tries.times);
}

/* From its own directory, as a script does that names what is no program. */
static void try_beside(const Host *self, void *data)
{
	const unsigned *times = data;
	char *argv[] = {NULL};

	if (chdir(self->directory) < 0)
		_exit(2);
	for (unsigned i = 0; i < *times; i++)
		if (execv("./plain", argv) == 0 || errno != EACCES)
			_exit(1);
	_exit(0);
}

Test(exec, a_relative_path_that_is_tried_again_and_again_is_no_drift)
{
	unsigned times = 5000;

	make_plain_file();
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(zero(int, host_run_in(&host, "n0", try_beside, &times).status));
	cr_assert(zero(u64, mark_of(0)->event_ns));
	cr_assert(ge(u32, host_drain(&host).count, 1));
}

Test(exec, more_different_refused_execs_than_anybody_searches_for_are_drift)
{
	Tries tries = {.times = 5000, .names = 150};

	make_plain_file();
	host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
	cr_assert(zero(int, host_run_in(&host, "n0", try_plain_file, &tries).status));
	cr_assert(eq(u32, mark_of(0)->class, DN_DRIFT_EXEC));
}

Test(exec, what_one_node_tried_silences_no_other_of_its_slot)
{
	Tries tries = {.times = 1, .names = 1};
	g_autoptr(GError) error = NULL;

	make_plain_file();
	DnSensorNode node = host_add_node(&host, "n0", 0, DN_ANSWER_DENY);
	cr_assert(zero(int, host_run_in(&host, "n0", try_plain_file, &tries).status));
	cr_assert(eq(u32, host_drain(&host).count, 1));
	node.pid1 = 4242;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s", error->message);
	cr_assert(zero(int, host_run_in(&host, "n0", try_plain_file, &tries).status));
	cr_assert(eq(u32, host_drain(&host).count, 1));
}

Test(exec, what_does_not_fit_the_ring_is_counted)
{
	uint64_t verdicts, observations, swallowed = 0;
	unsigned nodes = 200, times = DN_SENSOR_PACE_REPEATABLE;

	for (unsigned i = 0; i < nodes; i++) {
		g_autofree char *name = g_strdup_printf("n%u", i);

		host_add_node(&host, name, i, DN_ANSWER_QUARANTINE);
		cr_assert(zero(int, host_run_in(&host, name, change_modes, &times).status));
		swallowed += dn_sensor_swallowed(host.sensor, i);
	}
	unsigned seen = host_drain(&host).all;
	dn_sensor_losses(host.sensor, &verdicts, &observations);
	cr_assert(zero(u64, swallowed));
	cr_assert(gt(u64, observations, 0));
	cr_assert(eq(u64, seen + observations, (uint64_t)nodes * (times + ENTERED)));
}
