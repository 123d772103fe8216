/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The programs at the kernel's security hooks. Where the kernel takes them, drift is refused before
 * it has an effect; where it does not, nothing of them is left and everything else works.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "fixture.h"
#include "sensor/integrity.h"
#include "sensor/probe.h"
#include "support/suite.h"

enum { SLOT = 3, RAN = 99, PAGE = 4096 };

static Host host;

static void setup(void)
{
	host.lsm = true;
	host_set_up(&host);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(lsm, .init = setup, .fini = teardown, .timeout = 120);

static bool denies(void)
{
	const char *why = NULL;
	bool can = dn_sensor_denies(host.sensor, &why);

	cr_assert(why != NULL && *why != '\0', "no reason is told");
	return can;
}

/* Only where the kernel takes the programs there is something to see. */
static void need_lsm(void)
{
	if (!denies())
		cr_skip_test("this kernel has no BPF programs at its security hooks");
}

static unsigned count_pins(void)
{
	GDir *pins = g_dir_open(host.instance.bpf_dir, 0, NULL);
	const char *name;
	unsigned n = 0;

	cr_assert(pins != NULL);
	while ((name = g_dir_read_name(pins)) != NULL)
		n += g_str_has_prefix(name, "link_lsm_");
	g_dir_close(pins);
	return n;
}

static char *pin(const char *name)
{
	return g_build_filename(host.instance.bpf_dir, name, NULL);
}

/* Every class of the node is answered with @answer. */
static void add_node(DnAnswer answer, bool jit)
{
	g_autoptr(GError) error = NULL;
	DnSensorNode node = host_add_node(&host, "n0", SLOT, answer);

	/* Test processes are root's and come into the group from outside. */
	for (unsigned i = 0; i < DN_DRIFT_LIMIT; i++)
		if (i != DN_DRIFT_UID && i != DN_DRIFT_PROCESS_FOREIGN)
			host.answers[SLOT][i] = answer;
	node.jit = jit;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "no error was set");
}

static volatile struct dn_sensor_mark *mark(void)
{
	return &dn_sensor_marks(host.sensor)[SLOT];
}

/* ---- what a process in the node tries: exits with the errno, or with RAN ---- */

static void tell(bool done)
{
	_exit(done ? RAN : errno);
}

static void execute_foreign(const Host *at, void *data)
{
	execl(at->foreign, "foreign", (char *)NULL);
	tell(false);
}

static void execute_script(const Host *at, void *data)
{
	g_autofree char *script = g_build_filename(at->directory, "script", NULL);

	execl(script, "script", (char *)NULL);
	tell(false);
}

static void map_foreign(const Host *at, void *data)
{
	int fd = open(at->foreign, O_RDONLY | O_CLOEXEC);

	tell(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED);
}

static void map_listed(const Host *at, void *data)
{
	int fd = open(at->listed, O_RDONLY | O_CLOEXEC);

	tell(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED);
}

static void map_memory(const Host *at, void *data)
{
	tell(mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		  0) != MAP_FAILED);
}

static void protect_memory(const Host *at, void *data)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	tell(mprotect(page, PAGE, PROT_READ | PROT_EXEC) == 0);
}

static void open_memory(const Host *at, void *data)
{
	tell(open("/proc/self/mem", O_RDWR | O_CLOEXEC) >= 0);
}

static void read_memory(const Host *at, void *data)
{
	tell(open("/proc/self/mem", O_RDONLY | O_CLOEXEC) >= 0);
}

static void make_mount(const Host *at, void *data)
{
	tell(mount("none", at->directory, "tmpfs", 0, NULL) == 0);
}

static void attach_to_parent(const Host *at, void *data)
{
	tell(ptrace(PTRACE_SEIZE, getppid(), NULL, NULL) == 0);
}

static void load_program(const Host *at, void *data)
{
	tell(dn_sensor_probe_now(DN_PROBE_RAW_TRACEPOINT, NULL));
}

typedef struct {
	const char *name;
	Act act;
	enum dn_drift_class class;
	int refused; /* the errno */
} Attempt;

static const Attempt attempts[] = {
	{"a foreign program", execute_foreign, DN_DRIFT_EXEC, EACCES},
	{"a foreign interpreter", execute_script, DN_DRIFT_EXEC, EACCES},
	{"a foreign library", map_foreign, DN_DRIFT_LIBRARY, EPERM},
	{"memory to write and execute", map_memory, DN_DRIFT_EXEC_MEMORY, EPERM},
	{"memory made executable", protect_memory, DN_DRIFT_EXEC_MEMORY, EPERM},
	{"its own text", open_memory, DN_DRIFT_TEXT, EACCES},
	{"a mount", make_mount, DN_DRIFT_MOUNT, EPERM},
	{"another process", attach_to_parent, DN_DRIFT_PTRACE, EPERM},
};

static int try_in(const char *group, const Attempt *attempt)
{
	Result result = host_run_in(&host, group, attempt->act, NULL);

	bool ended = WIFEXITED(result.status);
	cr_assert(ended, "%s: status %x", attempt->name, (unsigned)result.status);
	return WEXITSTATUS(result.status);
}

static int try(const Attempt *attempt)
{
	return try_in("n0", attempt);
}

static void write_script(void)
{
	g_autofree char *script = g_build_filename(host.directory, "script", NULL);
	g_autofree char *text = g_strdup_printf("#!%s\n", host.foreign);

	cr_assert(g_file_set_contents(script, text, -1, NULL));
	cr_assert(chmod(script, 0755) == 0);
}

static unsigned seen_of_class;

static void count_seen(const struct dn_sensor_observation *observation, void *data)
{
	const Attempt *attempt = data;

	if (observation->class == attempt->class)
		seen_of_class++;
}

static unsigned count_told(const Attempt *attempt)
{
	seen_of_class = 0;
	while (!dn_sensor_drain_observations(host.sensor, count_seen, (void *)attempt))
		;
	return seen_of_class;
}

/* ---- the kernel does not have them ---- */

static bool kills_foreign(void)
{
	Result result = host_run_in(&host, "n0", exec_foreign, NULL);

	return WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL && !result.ran;
}

Test(lsm, what_the_kernel_does_not_take_leaves_no_pin_and_says_why)
{
	if (denies()) {
		cr_assert(gt(uint, count_pins(), 0));
		return;
	}
	cr_assert(eq(uint, count_pins(), 0));
	add_node(DN_ANSWER_QUARANTINE, false);
	cr_assert(kills_foreign());
	cr_assert(ne(u64, mark()->event_ns, 0));
}

Test(lsm, the_probe_says_what_the_sensor_then_can)
{
	g_autoptr(GError) error = NULL;
	bool can = dn_sensor_probe_now(DN_PROBE_LSM, &error);

	cr_assert(eq(int, can, denies()));
	cr_assert(can || (error != NULL && *error->message != '\0'));
}

#ifdef DN_FAILPOINTS
Test(lsm, without_them_a_foreign_program_is_still_killed)
{
	g_autoptr(GError) error = NULL;
	bool repaired = false;

	dn_sensor_close(g_steal_pointer(&host.sensor));
	run("rm -f '%s'/link_lsm_*", host.instance.bpf_dir);
	cr_assert(dn_failpoints_arm("agent.bpf.lsm.before=error:EPERM", &error), "%s",
		  error->message);
	host.sensor = host_open(&host);
	bool active = denies();
	cr_assert(not(active));
	cr_assert(eq(uint, count_pins(), 0));
	cr_assert(eq(ptr, dn_sensor_check_hooks(host.sensor, &host.instance, &repaired), NULL));
	add_node(DN_ANSWER_QUARANTINE, false);
	cr_assert(kills_foreign());
}
#endif

/* ---- it does ---- */

Test(lsm, each_attempt_is_refused_before_its_effect_and_marks_the_node)
{
	need_lsm();
	write_script();
	add_node(DN_ANSWER_QUARANTINE, false);
	for (size_t i = 0; i < G_N_ELEMENTS(attempts); i++) {
		memset((void *)mark(), 0, sizeof(*mark()));
		int told = try(&attempts[i]);
		cr_assert(eq(int, told, attempts[i].refused), "%s: %d", attempts[i].name, told);
		cr_assert(eq(u32, mark()->class, attempts[i].class), "%s: class %u",
			  attempts[i].name, mark()->class);
		cr_assert(eq(i32, mark()->result, -attempts[i].refused), "%s", attempts[i].name);
	}
}

Test(lsm, what_is_denied_is_told_once_and_marks_nothing)
{
	need_lsm();
	write_script();
	add_node(DN_ANSWER_DENY, false);
	for (size_t i = 0; i < G_N_ELEMENTS(attempts); i++) {
		int told = try(&attempts[i]);
		cr_assert(eq(int, told, attempts[i].refused), "%s: %d", attempts[i].name, told);
		unsigned times = count_told(&attempts[i]);
		cr_assert(eq(uint, times, 1), "%s: told %u times", attempts[i].name, times);
	}
	cr_assert(eq(u64, mark()->event_ns, 0));
}

Test(lsm, what_is_only_observed_goes_on_and_is_told)
{
	need_lsm();
	add_node(DN_ANSWER_OBSERVE, false);
	cr_assert(eq(int, try(&attempts[0]), RAN));
	cr_assert(eq(uint, count_told(&attempts[0]), 1));
	cr_assert(try(&(Attempt){"its own text", open_memory, DN_DRIFT_TEXT, 0}) == RAN);
	cr_assert(eq(u64, mark()->event_ns, 0));
}

Test(lsm, an_observed_program_is_no_foreign_library)
{
	need_lsm();
	add_node(DN_ANSWER_QUARANTINE, false);
	g_autoptr(GError) error = NULL;
	DnSensorNode node = {.slot = SLOT, .ifindex = 1, .image = 1, .service = 1};
	g_autofree char *group = g_build_filename(host.parent, "n0", NULL);
	struct stat info;

	cr_assert(stat(group, &info) == 0);
	node.cgroup_id = info.st_ino;
	node.answer = host.answers[SLOT];
	host.answers[SLOT][DN_DRIFT_EXEC] = DN_ANSWER_OBSERVE;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error));
	cr_assert(eq(int, try(&attempts[0]), RAN));
	cr_assert(eq(u64, mark()->event_ns, 0));
}

Test(lsm, what_a_node_may_do_is_not_refused)
{
	static const Attempt allowed[] = {
		{"a program of the image", exec_listed, 0, 0},
		{"a file of the image", map_listed, 0, 0},
		{"its own memory, to read", read_memory, 0, 0},
	};

	need_lsm();
	add_node(DN_ANSWER_QUARANTINE, false);
	for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++)
		cr_assert(eq(int, try(&allowed[i]), RAN), "%s", allowed[i].name);
	cr_assert(eq(u64, mark()->event_ns, 0));
}

Test(lsm, a_service_that_makes_code_may_do_so)
{
	need_lsm();
	add_node(DN_ANSWER_QUARANTINE, true);
	cr_assert(try(&(Attempt){"memory", map_memory, 0, 0}) == RAN);
	cr_assert(try(&(Attempt){"protection", protect_memory, 0, 0}) == RAN);
	cr_assert(eq(u64, mark()->event_ns, 0));
}

Test(lsm, nobody_else_on_the_host_is_refused_anything)
{
	need_lsm();
	add_node(DN_ANSWER_QUARANTINE, false);
	host_make_cgroup(&host, "other");
	for (size_t i = 0; i < G_N_ELEMENTS(attempts); i++) {
		if (attempts[i].act == execute_script)
			continue;
		int told = try_in("other", &attempts[i]);
		cr_assert(eq(int, told, RAN), "%s: %d", attempts[i].name, told);
	}
	cr_assert(try_in("other", &(Attempt){"bpf", load_program, 0, 0}) == RAN);
	cr_assert(eq(u64, mark()->event_ns, 0));
}

Test(lsm, they_refuse_while_no_agent_runs_and_the_next_agent_has_them)
{
	need_lsm();
	unsigned before = count_pins();

	add_node(DN_ANSWER_QUARANTINE, false);
	dn_sensor_close(g_steal_pointer(&host.sensor));
	int told = try(&attempts[0]);
	host.sensor = host_open(&host);
	cr_assert(eq(int, told, EACCES));
	cr_assert(denies());
	cr_assert(eq(uint, count_pins(), before));
	cr_assert(eq(u32, mark()->class, DN_DRIFT_EXEC));
}

Test(lsm, a_pin_that_is_gone_at_the_start_is_made_anew)
{
	g_autofree char *path = pin("link_lsm_mmap_file");

	need_lsm();
	add_node(DN_ANSWER_QUARANTINE, false);
	dn_sensor_close(g_steal_pointer(&host.sensor));
	cr_assert(unlink(path) == 0);
	host.sensor = host_open(&host);
	cr_assert(denies());
	cr_assert(access(path, F_OK) == 0);
	cr_assert(eq(int, try(&attempts[2]), EPERM));
}

Test(lsm, a_pin_that_is_taken_away_is_found_and_put_back)
{
	g_autofree char *path = pin("link_lsm_file_open");
	bool repaired = false;

	need_lsm();
	cr_assert(unlink(path) == 0);
	g_autofree char *what = dn_sensor_check_hooks(host.sensor, &host.instance, &repaired);
	cr_assert(what != NULL && strstr(what, "link_lsm_file_open") != NULL, "%s", what);
	cr_assert(repaired);
	cr_assert(access(path, F_OK) == 0);
}

Test(lsm, removal_takes_them_with_it)
{
	g_autoptr(GError) error = NULL;

	need_lsm();
	add_node(DN_ANSWER_QUARANTINE, false);
	dn_sensor_close(g_steal_pointer(&host.sensor));
	cr_assert(dn_sensor_remove(&host.instance, &error), "%s", error->message);
	int told = try(&attempts[0]);
	host.sensor = host_open(&host);
	cr_assert(eq(int, told, RAN));
}
