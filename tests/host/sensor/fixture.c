/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "sensor/private.h"

static char *find_cgroup_root(void)
{
	g_autofree char *mounts = NULL;

	cr_assert(g_file_get_contents("/proc/self/mounts", &mounts, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(mounts, "\n", -1);
	for (char **line = lines; *line != NULL; line++) {
		g_auto(GStrv) words = g_strsplit(*line, " ", -1);

		if (g_strv_length(words) > 2 && g_str_equal(words[2], "cgroup2"))
			return g_strdup(words[1]);
	}
	cr_assert_fail("no cgroup v2 is mounted");
	return NULL;
}

/* Kill what is in the tree of cgroups and remove it, deepest first. */
static void sweep(const char *directory)
{
	g_autofree char *kill_file = g_build_filename(directory, "cgroup.kill", NULL);
	GDir *entries = g_dir_open(directory, 0, NULL);
	const char *name;

	dn_autofd int fd = open(kill_file, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, "1", 1);
	while (entries != NULL && (name = g_dir_read_name(entries)) != NULL) {
		g_autofree char *path = g_build_filename(directory, name, NULL);

		if (g_file_test(path, G_FILE_TEST_IS_DIR))
			sweep(path);
	}
	if (entries != NULL)
		g_dir_close(entries);
	for (int tries = 0; rmdir(directory) < 0 && errno == EBUSY && tries < 2000; tries++)
		g_usleep(1000);
}

/* Ends with the test process, however that ends, and sweeps up after it. */
static void leave_guardian(const char *parent, const char *directory)
{
	int alive[2];

	cr_assert(pipe2(alive, O_CLOEXEC) == 0);
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (pid > 0) {
		close(alive[0]); /* the writing end lives as long as this process */
		return;
	}
	setsid();
	close(alive[1]);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	char byte;
	while (read(alive[0], &byte, 1) < 0 && errno == EINTR)
		continue;
	sweep(parent);
	(void)umount2(directory, MNT_DETACH);
	(void)rmdir(directory);
	_exit(0);
}

static char *copy_program(const Host *host, const char *name)
{
	char *path = g_build_filename(host->directory, name, NULL);

	const char *program = g_getenv("DNODE_TEST_FOREIGN");

	cr_assert(program != NULL, "run it through meson, which says where the program is");
	run("cp '%s' '%s'", program, path);
	return path;
}

void host_set_up(Host *host)
{
	g_autofree char *name = g_strdup_printf("dnt%d", getpid());

	/* Binaries of the suite are parents to nobody: what they leave is theirs to end. */
	cr_assert(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0, "these tests need root");
	cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	run("ip link set lo up");
	host->directory = g_build_filename("/tmp", name, NULL);
	cr_assert(mkdir(host->directory, 0755) == 0);
	cr_assert(mount("tmpfs", host->directory, "tmpfs", 0, "mode=755") == 0);

	g_autofree char *bpf = g_build_filename(host->directory, "bpf", NULL);
	cr_assert(mkdir(bpf, 0700) == 0 && mount("bpf", bpf, "bpf", 0, NULL) == 0);

	host->instance.name = g_strdup(name);
	host->instance.bpf_dir = g_build_filename(bpf, "lab", "h1", NULL);
	host->instance.cgroup_root = find_cgroup_root();
	host->instance.cgroup_parent = g_strdup(name);
	host->level = 1;
	host->parent = g_build_filename(host->instance.cgroup_root, name, NULL);
	cr_assert(mkdir(host->parent, 0755) == 0);
	leave_guardian(host->parent, host->directory);
	host->listed = copy_program(host, "listed");
	host->foreign = copy_program(host, "foreign");
	host->sensor = host_open(host);

	struct stat info;
	g_autoptr(GError) error = NULL;
	cr_assert(stat(host->listed, &info) == 0);
	struct dn_sensor_file key = dn_sensor_file(&info, 1);
	DnSensorProgram file = {key.dev, key.ino, DN_FILE_EXEC | DN_FILE_MAP};
	cr_assert(dn_sensor_allow(host->sensor, 1, &file, 1, &error), "%s", error->message);
}

void host_tear_down(Host *host)
{
	dn_sensor_close(host->sensor);
	sweep(host->parent);
	(void)umount2(host->directory, MNT_DETACH);
	rmdir(host->directory);
	g_free(host->instance.name);
	g_free(host->instance.bpf_dir);
	g_free(host->instance.cgroup_root);
	g_free(host->instance.cgroup_parent);
	g_free(host->parent);
	g_free(host->directory);
	g_free(host->listed);
	g_free(host->foreign);
}

/* What the other programs do shows on every kernel alike only where these do nothing. */
static void leave_lsm(const Host *host, DnSensor *sensor)
{
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++) {
		g_autofree char *path =
			g_build_filename(host->instance.bpf_dir, dn_lsm_hook_name(i), NULL);

		cr_assert(unlink(path) == 0 || errno == ENOENT);
	}
	dn_lsm_close(&sensor->lsm);
}

DnSensor *host_open(Host *host)
{
	g_autoptr(GError) error = NULL;
	DnSensor *sensor = dn_sensor_open(&host->instance, host->level, &error);

	cr_assert(sensor != NULL, "%s", error != NULL ? error->message : "no error was set");
	if (!host->lsm)
		leave_lsm(host, sensor);
	return sensor;
}

uint64_t host_make_cgroup(const Host *host, const char *name)
{
	g_autofree char *path = g_build_filename(host->parent, name, NULL);
	struct stat info;

	cr_assert(mkdir(path, 0755) == 0, "%s: %s", path, g_strerror(errno));
	cr_assert(stat(path, &info) == 0);
	return info.st_ino;
}

DnSensorNode host_add_node(Host *host, const char *name, uint32_t slot, DnAnswer answer)
{
	static const uint16_t ports[] = {8080};
	DnAnswer *answers = host->answers[slot];
	g_autoptr(GError) error = NULL;
	DnSensorNode node = {
		.slot = slot,
		.cgroup_id = host_make_cgroup(host, name),
		.ifindex = 1,
		.image = 1,
		.service = 1,
		.answer = answers,
		.ports = ports,
		.n_ports = 1,
	};

	answers[DN_DRIFT_EXEC] = answer;
	bool added = dn_sensor_add_node(host->sensor, &node, &error);
	cr_assert(added, "%s", error != NULL ? error->message : "no error was set");
	return node;
}

static void enter_cgroup(const Host *host, const char *cgroup)
{
	g_autofree char *path = g_build_filename(host->parent, cgroup, "cgroup.procs", NULL);
	dn_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(70);
}

pid_t host_spawn_in(const Host *host, const char *cgroup, Act act, void *data, int *pipe_fd)
{
	int ends[2];

	cr_assert(pipe2(ends, O_CLOEXEC) == 0);
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		enter_cgroup(host, cgroup);
		if (ends[1] == 3)
			(void)fcntl(3, F_SETFD, 0);
		else if (dup2(ends[1], 3) != 3)
			_exit(71);
		act(host, data);
		_exit(72);
	}
	close(ends[1]);
	*pipe_fd = ends[0];
	return pid;
}

Result host_run_in(const Host *host, const char *cgroup, Act act, void *data)
{
	Result result = {0};
	char byte;
	dn_autofd int pipe_fd = -1;

	result.pid = host_spawn_in(host, cgroup, act, data, &pipe_fd);
	cr_assert(waitpid(result.pid, &result.status, 0) == result.pid);
	(void)fcntl(pipe_fd, F_SETFL, O_NONBLOCK);
	result.ran = read(pipe_fd, &byte, 1) == 1;
	return result;
}

void exec_listed(const Host *host, void *data)
{
	execl(host->listed, "listed", (char *)NULL);
}

void exec_foreign(const Host *host, void *data)
{
	execl(host->foreign, "foreign", (char *)NULL);
}

static void remember(const struct dn_sensor_observation *observation, void *data)
{
	Seen *seen = data;

	seen->all++;
	if (observation->class != DN_DRIFT_EXEC)
		return; /* that test processes are no node's */
	seen->count++;
	seen->last = *observation;
}

Seen host_drain(const Host *host)
{
	Seen seen = {0};

	while (!dn_sensor_drain_observations(host->sensor, remember, &seen))
		;
	return seen;
}

unsigned rounds(void)
{
	const char *wanted = g_getenv("DNODE_TEST_ROUNDS");

	return wanted != NULL ? (unsigned)atoi(wanted) : 200;
}

bool wait_until(bool (*done)(void *data), void *data, unsigned limit_ms)
{
	uint64_t end = dn_clock_monotonic_ns() + limit_ms * DN_NS_PER_MS;

	while (!done(data)) {
		if (dn_clock_monotonic_ns() > end)
			return false;
		g_usleep(200);
	}
	return true;
}

void run(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *command = g_strdup_vprintf(format, args);
	va_end(args);
	int status = system(command);
	cr_assert(status == 0, "%s: status %d", command, status);
}
