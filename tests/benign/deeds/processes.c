/* SPDX-License-Identifier: Apache-2.0 */
#include "deed.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 48, CHILDREN = 40, STORM = 400, LARGE = 100 * 1024 };

static const char helper[] = "/bin/helper";
static char name[] = "helper";

/* The exit status of @child, or -1. */
static int end_of(pid_t child)
{
	int status = 0;

	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

int run_program(const char *path, char *const argv[], char *const env[])
{
	pid_t child = -1;

	if (posix_spawn(&child, path, NULL, NULL, argv, env) != 0)
		return -1;
	return end_of(child);
}

static void *count(void *data)
{
	__atomic_fetch_add((int *)data, 1, __ATOMIC_RELAXED);
	return NULL;
}

static bool start_threads(char why[WHY])
{
	pthread_t threads[THREADS];
	int counted = 0;

	for (int i = 0; i < THREADS; i++)
		NEED((errno = pthread_create(&threads[i], NULL, count, &counted)) == 0);
	for (int i = 0; i < THREADS; i++)
		NEED(pthread_join(threads[i], NULL) == 0);
	NEED(counted == THREADS);
	return true;
}

static bool execute_declared_helpers(char why[WHY])
{
	char *argv[] = {name, (char[]){"3"}, NULL};

	for (int i = 0; i < CHILDREN; i++) {
		pid_t child = fork();

		NEED(child >= 0);
		if (child == 0) {
			execv(helper, argv);
			_exit(127);
		}
		NEED(end_of(child) == 3);
	}
	return true;
}

static bool spawn_helpers(char why[WHY])
{
	char *argv[] = {name, (char[]){"4"}, NULL}, *env[] = {(char[]){"A=b"}, NULL};

	NEED(run_program(helper, argv, env) == 4);
	pid_t child = vfork();
	NEED(child >= 0);
	if (child == 0) {
		execve(helper, argv, env);
		_exit(127);
	}
	NEED(end_of(child) == 4);
	return true;
}

/* Directories without it, one that is a file, one where it is a directory, one without its x bit.
 */
static bool search_the_path(char why[WHY])
{
	char *argv[] = {name, (char[]){"5"}, NULL};
	pid_t child = fork();

	NEED(child >= 0);
	if (child == 0) {
		setenv("PATH",
		       "/usr/local/bin:/no/such:/bin/server:/share/path:/share/plain:/tmp:/bin", 1);
		execvp("helper", argv);
		_exit(127);
	}
	NEED(end_of(child) == 5);
	child = fork();
	NEED(child >= 0);
	if (child == 0) {
		execvp("no-such-program", argv);
		_exit(errno == ENOENT || errno == EACCES ? 6 : 127);
	}
	NEED(end_of(child) == 6);
	return true;
}

/* As a script does whose PATH has a directory that it may not look into. */
static bool search_the_path_in_a_storm(char why[WHY])
{
	char *argv[] = {name, (char[]){"5"}, NULL}, *env[] = {NULL};
	pid_t child = -1;

	NEED(setenv("PATH", "/share/plain:/share/path:/bin", 1) == 0);
	for (int i = 0; i < STORM; i++) {
		NEED(posix_spawnp(&child, "helper", NULL, NULL, argv, env) == 0);
		NEED(end_of(child) == 5);
	}
	return true;
}

static bool pass_a_large_environment(char why[WHY])
{
	char *argv[] = {name, (char[]){"7"}, NULL}, *env[2] = {NULL, NULL};
	char *large = malloc(LARGE);

	NEED(large != NULL);
	memset(large, 'x', LARGE - 1);
	memcpy(large, "LARGE=", 6);
	large[LARGE - 1] = '\0';
	env[0] = large;
	int status = run_program(helper, argv, env);
	free(large);
	NEED(status == 7);
	return true;
}

/* Twice forked, the child is nobody's but pid 1's, which is this service: it has to be waited for.
 */
static bool leave_a_daemon(char why[WHY])
{
	char *argv[] = {name, (char[]){"8"}, NULL};
	pid_t daemon = -1;
	int ends[2];

	NEED(pipe2(ends, O_CLOEXEC) == 0);
	pid_t child = fork();
	NEED(child >= 0);
	if (child == 0) {
		setsid();
		daemon = fork();
		if (daemon == 0) {
			execv(helper, argv);
			_exit(127);
		}
		_exit(write(ends[1], &daemon, sizeof(daemon)) == sizeof(daemon) ? 0 : 1);
	}
	NEED(end_of(child) == 0);
	NEED(read(ends[0], &daemon, sizeof(daemon)) == sizeof(daemon));
	close(ends[0]);
	close(ends[1]);
	NEED(end_of(daemon) == 8);
	return true;
}

static bool crash_in_a_child(char why[WHY])
{
	static const int deaths[] = {6, 11}; /* SIGABRT, SIGSEGV */
	volatile int *volatile nowhere = NULL;

	for (int i = 0; i < 2; i++) {
		int status = 0;
		pid_t child = fork();

		NEED(child >= 0);
		if (child == 0) {
			if (deaths[i] == 6)
				abort();
			*nowhere = 1;
		}
		NEED(waitpid(child, &status, 0) == child);
		NEED(WIFSIGNALED(status) && WTERMSIG(status) == deaths[i]);
	}
	return true;
}

static bool load_a_plugin(char why[WHY])
{
	void *plugin = dlopen("/lib/plugin.so", RTLD_NOW | RTLD_LOCAL);

	if (plugin == NULL) {
		(void)snprintf(why, WHY, "%s", dlerror());
		return false;
	}
	int (*answer)(void) = (int (*)(void))dlsym(plugin, "answer");
	NEED(answer != NULL && answer() == 42);
	NEED(dlclose(plugin) == 0);
	return true;
}

static bool name_itself(char why[WHY])
{
	char own[17] = "";

	NEED(prctl(PR_SET_NAME, "worker 1/2") == 0);
	NEED(prctl(PR_GET_NAME, own) == 0 && strcmp(own, "worker 1/2") == 0);
	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	NEED(prctl(PR_GET_DUMPABLE) >= 0);
	return true;
}

/* As servers do that may have been started by root, and libraries that look what they may. */
static bool ask_for_its_rights(char why[WHY])
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};

	NEED(syscall(SYS_capget, &header, data) == 0 && data[0].effective == 0);
	NEED(syscall(SYS_capset, &header, data) == 0);
	NEED(prctl(PR_CAPBSET_READ, CAP_NET_BIND_SERVICE, 0, 0, 0) == 0);
	NEED(setgid(getgid()) == 0 && setuid(getuid()) == 0);
	NEED(setresgid((gid_t)-1, getgid(), (gid_t)-1) == 0);
	(void)!setgroups(0, NULL); /* refused or not: such a server only warns */
	return true;
}

static bool limit_and_schedule_itself(char why[WHY])
{
	struct rlimit files;
	cpu_set_t all;

	NEED(getrlimit(RLIMIT_NOFILE, &files) == 0);
	NEED(setrlimit(RLIMIT_NOFILE, &files) == 0);
	NEED(sched_getaffinity(0, sizeof(all), &all) == 0);
	NEED(sched_setaffinity(0, sizeof(all), &all) == 0);
	NEED(setpriority(PRIO_PROCESS, 0, 1) == 0);
	NEED(sched_yield() == 0);
	NEED(sysconf(_SC_NPROCESSORS_ONLN) > 0);
	return true;
}

static bool fork_a_storm(char why[WHY])
{
	pid_t children[CHILDREN];

	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		NEED(children[i] >= 0);
		if (children[i] == 0)
			_exit(9);
	}
	for (int i = 0; i < CHILDREN; i++)
		NEED(end_of(children[i]) == 9);
	return true;
}

static bool log_a_storm(char why[WHY])
{
	char line[128];

	for (int i = 0; i < 20000; i++) {
		int length = snprintf(line, sizeof(line),
				      "request %d was answered, as were all before it\n", i);

		NEED(write(i % 2 == 0 ? 1 : 2, line, (size_t)length) > 0);
	}
	return true;
}

const Deed deeds_of_processes[] = {
	{"threads", start_threads},
	{"declared-helpers", execute_declared_helpers},
	{"spawned-helpers", spawn_helpers},
	{"path-search", search_the_path},
	{"path-search-storm", search_the_path_in_a_storm},
	{"large-environment", pass_a_large_environment},
	{"orphaned-daemon", leave_a_daemon},
	{"crashing-children", crash_in_a_child},
	{"plugins", load_a_plugin},
	{"process-names", name_itself},
	{"own-rights", ask_for_its_rights},
	{"own-limits", limit_and_schedule_itself},
	{"fork-storm", fork_a_storm},
	{"log-storm", log_a_storm},
	{NULL, NULL},
};
