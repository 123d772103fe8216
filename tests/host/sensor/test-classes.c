/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Every class that the sensor knows, made by the helper of drills: it gets its own mark, or its own
 * event where the node only observes or denies it; and ordinary programs get none.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "fixture.h"
#include "model/drift.h"
#include "sensor/integrity.h"
#include "support/suite.h"

enum { UID = 1000001, UID_BASE = 1000000, SLOT = 2, IMAGE = 1, NOTICE_MS = 5000 };

static Host host;
static DnSensorNode node;

static void setup(void)
{
	host_set_up(&host);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(classes, .init = setup, .fini = teardown, .timeout = 120);

static const enum dn_drift_class by_helper[] = {
	DN_DRIFT_EXEC,
	DN_DRIFT_EXEC_MEMORY,
	DN_DRIFT_TEXT,
	DN_DRIFT_LIBRARY,
	DN_DRIFT_MOUNT,
	DN_DRIFT_PTRACE,
	DN_DRIFT_BPF,
	DN_DRIFT_MODULE,
	DN_DRIFT_NAMESPACE,
	DN_DRIFT_SHELL,
	DN_DRIFT_WRITE_EXEC,
	DN_DRIFT_UID,
	DN_DRIFT_PROCESS_FOREIGN,
};

/* A node whose every class is answered with @answer. */
static void add_node(DnAnswer answer)
{
	g_autoptr(GError) error = NULL;

	node = host_add_node(&host, "n0", SLOT, answer);
	node.uid_base = UID_BASE;
	for (unsigned i = 0; i < DN_DRIFT_LIMIT; i++)
		host.answers[SLOT][i] = answer;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "no error was set");
}

typedef struct {
	pid_t pid;
	int input_fd;
} Guest;

/* Start a program that joins the node when its input has a byte. */
static Guest start(const char *program, const char *const *arguments)
{
	int ends[2];
	Guest guest = {0};

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	guest.pid = fork();
	cr_assert(guest.pid >= 0);
	if (guest.pid == 0) {
		if (dup2(ends[0], 0) != 0)
			_exit(80);
		execv(program, (char *const *)arguments);
		_exit(81);
	}
	close(ends[0]);
	guest.input_fd = ends[1];
	return guest;
}

static void let_in(const Guest *guest, bool announced)
{
	g_autoptr(GError) error = NULL;

	if (announced)
		cr_assert(dn_sensor_expect_guest(host.sensor, node.cgroup_id, (uint32_t)guest->pid,
						 &error));
	cr_assert(send(guest->input_fd, "g", 1, MSG_NOSIGNAL) == 1);
}

static int end(Guest *guest)
{
	int status = 0;

	close(guest->input_fd);
	kill(guest->pid, SIGCONT);
	cr_assert(waitpid(guest->pid, &status, 0) == guest->pid);
	return status;
}

static Guest start_drill(enum dn_drift_class drift)
{
	g_autofree char *procs = g_build_filename(host.parent, "n0", "cgroup.procs", NULL);
	const char *arguments[] = {"dnode-drill",        procs, "1000001", "1000001",
				   dn_drift_name(drift), NULL};

	return start(g_getenv("DNODE_TEST_DRILL"), arguments);
}

/* As the agent does for class shell. */
static void lend(enum dn_drift_class drift, bool lent)
{
	g_autoptr(GError) error = NULL;
	struct stat info;

	if (drift != DN_DRIFT_SHELL)
		return;
	cr_assert(stat(g_getenv("DNODE_TEST_DRILL"), &info) == 0);
	cr_assert(lent ? dn_sensor_pass_as_shell(host.sensor, IMAGE, &info, &error)
		       : dn_sensor_pass_no_more(host.sensor, IMAGE, &info, &error));
}

static bool is_marked(void *data)
{
	return dn_sensor_marks(host.sensor)[SLOT].class != DN_DRIFT_NONE;
}

typedef struct {
	unsigned times[DN_DRIFT_N];
	unsigned all;
} Told;

static void count(const struct dn_sensor_observation *seen, void *data)
{
	Told *told = data;

	told->all++;
	told->times[MIN(seen->class, DN_DRIFT_N - 1)]++;
}

static Told told;

static bool is_told(void *data)
{
	while (!dn_sensor_drain_observations(host.sensor, count, &told))
		;
	return told.times[*(const enum dn_drift_class *)data] > 0;
}

ParameterizedTestParameters(classes, each_drift_marks_its_node_with_its_own_class)
{
	return cr_make_param_array(enum dn_drift_class, (void *)by_helper, G_N_ELEMENTS(by_helper));
}

ParameterizedTest(enum dn_drift_class *drift, classes, each_drift_marks_its_node_with_its_own_class)
{
	add_node(DN_ANSWER_QUARANTINE);
	lend(*drift, true);
	Guest guest = start_drill(*drift);
	let_in(&guest, *drift != DN_DRIFT_PROCESS_FOREIGN);
	bool marked = wait_until(is_marked, NULL, NOTICE_MS);
	struct dn_sensor_mark mark = *(struct dn_sensor_mark *)&dn_sensor_marks(host.sensor)[SLOT];
	lend(*drift, false);
	int status = end(&guest);
	cr_assert(marked, "class %s was not noticed, status %x", dn_drift_name(*drift),
		  (unsigned)status);
	cr_assert_str_eq(dn_drift_name((enum dn_drift_class)mark.class), dn_drift_name(*drift));
	cr_assert(eq(u32, mark.pid, (uint32_t)guest.pid));
}

ParameterizedTestParameters(classes, each_drift_that_is_only_observed_is_told_and_marks_nothing)
{
	return cr_make_param_array(enum dn_drift_class, (void *)by_helper, G_N_ELEMENTS(by_helper));
}

ParameterizedTest(enum dn_drift_class *drift, classes,
		  each_drift_that_is_only_observed_is_told_and_marks_nothing)
{
	add_node(DN_ANSWER_OBSERVE);
	lend(*drift, true);
	Guest guest = start_drill(*drift);
	let_in(&guest, *drift != DN_DRIFT_PROCESS_FOREIGN);
	bool noticed = wait_until(is_told, drift, NOTICE_MS);
	lend(*drift, false);
	int status = end(&guest);
	cr_assert(noticed, "class %s was not told, status %x", dn_drift_name(*drift),
		  (unsigned)status);
	cr_assert(eq(u32, told.all, told.times[*drift]), "other classes were told as well");
	cr_assert(zero(u64, dn_sensor_marks(host.sensor)[SLOT].event_ns));
	/* Nothing stopped it. */
	int code = *drift == DN_DRIFT_EXEC || *drift == DN_DRIFT_SHELL ? 99 : 0;
	cr_assert(eq(int, status, code << 8), "status %x", (unsigned)status);
}

Test(classes, a_file_passes_for_a_shell_only_while_it_is_lent)
{
	add_node(DN_ANSWER_QUARANTINE);
	lend(DN_DRIFT_SHELL, true);
	lend(DN_DRIFT_SHELL, false);
	Guest guest = start_drill(DN_DRIFT_SHELL);
	let_in(&guest, true);
	cr_assert(wait_until(is_marked, NULL, NOTICE_MS));
	end(&guest);
	cr_assert(eq(u32, dn_sensor_marks(host.sensor)[SLOT].class, DN_DRIFT_EXEC));
}

/* As the agent's look at the sensor would: what is lent is no work of others. */
Test(classes, a_file_that_is_lent_is_not_taken_for_tampering)
{
	bool repaired = false;

	add_node(DN_ANSWER_QUARANTINE);
	lend(DN_DRIFT_SHELL, true);
	lend(DN_DRIFT_SHELL, true);
	g_autofree char *first = dn_sensor_check_images(host.sensor, &repaired);
	cr_assert_null(first, "%s", first);
	lend(DN_DRIFT_SHELL, false);
	Guest guest = start_drill(DN_DRIFT_SHELL);
	let_in(&guest, true);
	cr_assert(wait_until(is_marked, NULL, NOTICE_MS));
	end(&guest);
	cr_assert(eq(u32, dn_sensor_marks(host.sensor)[SLOT].class, DN_DRIFT_SHELL));
	lend(DN_DRIFT_SHELL, false);
	g_autofree char *second = dn_sensor_check_images(host.sensor, &repaired);
	cr_assert_null(second, "%s", second);
}

Test(classes, where_code_may_be_made_memory_that_becomes_executable_is_no_drift)
{
	g_autoptr(GError) error = NULL;

	add_node(DN_ANSWER_QUARANTINE);
	node.jit = true;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error));
	Guest guest = start_drill(DN_DRIFT_EXEC_MEMORY);
	let_in(&guest, true);
	cr_assert(zero(int, end(&guest)));
	cr_assert(zero(u64, dn_sensor_marks(host.sensor)[SLOT].event_ns));
}

/* ---- ordinary programs ---- */

/* The files this program has mapped: what a dynamic one needs is among them. */
static void allow(const char *program)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *maps = dn_file_read_kernel("/proc/self/maps", 1024 * 1024, &error);
	g_autoptr(GArray) files = g_array_new(FALSE, FALSE, sizeof(DnSensorProgram));
	g_auto(GStrv) lines = NULL;
	struct stat info;

	cr_assert(maps != NULL && stat(program, &info) == 0);
	struct dn_sensor_file own = dn_sensor_file(&info, IMAGE);
	DnSensorProgram first = {own.dev, own.ino, DN_FILE_EXEC | DN_FILE_MAP};
	g_array_append_val(files, first);
	lines = g_strsplit(maps, "\n", -1);
	for (unsigned i = 0; lines[i] != NULL; i++) {
		const char *path = strchr(lines[i], '/');

		if (path == NULL || stat(path, &info) < 0)
			continue;
		struct dn_sensor_file key = dn_sensor_file(&info, IMAGE);
		DnSensorProgram file = {key.dev, key.ino, DN_FILE_MAP};
		g_array_append_val(files, file);
	}
	cr_assert(dn_sensor_allow(host.sensor, IMAGE, (DnSensorProgram *)(void *)files->data,
				  files->len, &error));
}

static void expect_silence(const char *program)
{
	g_autofree char *procs = g_build_filename(host.parent, "n0", "cgroup.procs", NULL);
	const char *arguments[] = {program, procs, "1000001", program, NULL};

	add_node(DN_ANSWER_QUARANTINE);
	allow(program);
	Guest guest = start(program, arguments);
	let_in(&guest, true);
	int status = end(&guest);
	struct dn_sensor_mark mark = *(struct dn_sensor_mark *)&dn_sensor_marks(host.sensor)[SLOT];
	cr_assert(zero(u64, mark.event_ns), "marked with class %s, call %u, result %d, %s",
		  dn_drift_name((enum dn_drift_class)mark.class), mark.nr, mark.result,
		  (char *)mark.path);
	cr_assert(zero(int, status), "status %x", (unsigned)status);
	while (!dn_sensor_drain_observations(host.sensor, count, &told))
		;
	cr_assert(zero(u32, told.all));
}

Test(classes, an_ordinary_static_program_does_none_of_them)
{
	expect_silence(g_getenv("DNODE_TEST_STATIC"));
}

Test(classes, an_ordinary_dynamic_program_does_none_of_them)
{
	expect_silence(g_getenv("DNODE_TEST_DYNAMIC"));
}
