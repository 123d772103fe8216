/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dnode-drill CGROUP_PROCS UID GID CLASS
 *
 * Makes one fixed, harmless drift in a node, so that the answer to it can be timed. The agent
 * starts it as root, with the node's cgroup.procs file in v2 and the node's user and group as
 * the host counts them. It joins that cgroup and nothing else of the node's, no namespace, so
 * nothing of the node's can reach it; it closes every descriptor but the standard ones (and
 * those too before the drift), gives up every capability, its groups and its environment, and
 * takes nothing from anywhere but these four words.
 *
 * Classes:
 *   exec   execute a file that is not the image's: this very file
 *
 * Ends:
 *   SIGKILL  the sensor killed the foreign program, as it has to (DN_ANSWER_OBSERVE lets it run)
 *   99       the foreign program ran
 *   2        usage
 *   3        it could not get as far as the drift; standard error says why
 *   4        the kernel refused the drift
 *
 * Static, and without any library but libc: it must start in microseconds and must not pull
 * files of the host's into the node's memory.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_SET_UP = 3, EXIT_REFUSED = 4, EXIT_RAN = 99 };

static const char ran[] = "--foreign-program-ran";

static void fail(const char *doing)
{
	(void)fprintf(stderr, "dnode-drill: %s: %s\n", doing, strerror(errno));
	_exit(EXIT_SET_UP);
}

/* A user or group number as the host counts them; never root's. */
static unsigned parse_id(const char *word)
{
	char *end = NULL;

	errno = 0;
	unsigned long value = strtoul(word, &end, 10);
	if (errno != 0 || end == word || *end != '\0' || word[0] < '0' || word[0] > '9' ||
	    value == 0 || value >= 0xffffffffUL) {
		(void)fprintf(stderr, "dnode-drill: %s is no user or group a node could have\n",
			      word);
		_exit(EXIT_USAGE);
	}
	return (unsigned)value;
}

static void join_cgroup(const char *procs)
{
	int fd = open(procs, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || write(fd, "0", 1) != 1)
		fail(procs);
	(void)close(fd);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};

	if (syscall(SYS_capset, &header, none) < 0)
		fail("drop capabilities");
}

/* From here on there is nothing left that the node's own user would not have. */
static void drop_privileges(unsigned uid, unsigned gid)
{
	const struct rlimit no_core = {0, 0};

	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			fail("drop the bounding set");
	if (setgroups(0, NULL) < 0)
		fail("drop groups");
	if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		fail("become the node's user");
	drop_capabilities();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		fail("give up privileges");
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		fail("forbid a core dump");
	if (setresuid(0, 0, 0) == 0 || getuid() != uid || geteuid() != uid || getegid() != gid) {
		errno = EPERM;
		fail("stay the node's user");
	}
}

static void default_signals(void)
{
	sigset_t none;

	for (int number = 1; number < SIGRTMAX; number++)
		(void)signal(number, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void drift_exec(void)
{
	char name[] = "dnode-drill", argument[sizeof(ran)];
	char *const arguments[] = {name, argument, NULL}, *const environment[] = {NULL};

	memcpy(argument, ran, sizeof(ran));
	/* Standard error goes with the rest: what runs next, if anything does, is foreign. */
	if (syscall(SYS_close_range, 0u, ~0u, 0u) < 0)
		_exit(EXIT_SET_UP);
	(void)execve("/proc/self/exe", arguments, environment);
	_exit(EXIT_REFUSED);
}

static const struct {
	const char *name;
	void (*drift)(void);
} classes[] = {
	{"exec", drift_exec},
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], ran) == 0)
		_exit(EXIT_RAN);
	if (argc != 5) {
		(void)fputs("usage: dnode-drill CGROUP_PROCS UID GID CLASS\n", stderr);
		return EXIT_USAGE;
	}
	unsigned uid = parse_id(argv[2]), gid = parse_id(argv[3]);
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (strcmp(argv[4], classes[i].name) != 0)
			continue;
		if (syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
			fail("close descriptors");
		(void)umask(077);
		if (setsid() < 0 && errno != EPERM)
			fail("leave the session");
		if (chdir("/") < 0)
			fail("leave the directory");
		default_signals();
		join_cgroup(argv[1]);
		drop_privileges(uid, gid);
		classes[i].drift();
	}
	(void)fprintf(stderr, "dnode-drill: no class %s; known: exec\n", argv[4]);
	return EXIT_USAGE;
}
