/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dnode-drill CGROUP_PROCS UID GID CLASS
 *
 * Makes one fixed, harmless drift in a node, so that the answer to it can be timed. The agent
 * starts it as root, with the node's cgroup.procs file in v2 and the node's user and group as
 * the host counts them. It closes every descriptor but the standard ones, opens that file, gives
 * up every capability, its groups and its environment, and becomes the node's user. Then it reads
 * one byte from standard input, which the agent writes when the sensor expects this process; at
 * the end of the input it leaves. Only then does it join the cgroup, and nothing else of the
 * node's, no namespace, so nothing of the node's can reach it. It takes nothing from anywhere but
 * these four words and that byte, of which it only knows that it came.
 *
 * What the profile of a node would refuse is refused here too, by a filter of one system call, so
 * that it can never succeed. After its drift it stays until its input ends: whoever judges it can
 * look at it. See the table of classes at the end.
 *
 * Ends:
 *   0        it made its drift and was let go on
 *   SIGKILL  the sensor killed it, as it has to, or its node was destroyed
 *   99       the foreign program ran: exec and shell where they are only observed
 *   2        usage
 *   3        it could not get as far as the drift; standard error says why
 *   4        the kernel, or the sensor at its security hooks, did not let it make the drift
 *
 * Static, and without any library but libc: it must start in microseconds and must not pull
 * files of the host's into the node's memory.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_MADE = 0, EXIT_USAGE = 2, EXIT_SET_UP = 3, EXIT_REFUSED = 4, EXIT_RAN = 99 };
enum { PAGE = 4096 };

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

/*
 * Who may move a process is judged by who opened the file: root does, and the node's user, who
 * could not, writes to it.
 */
static int open_cgroup(const char *procs)
{
	int fd = open(procs, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		fail(procs);
	return fd;
}

static void join_cgroup(int fd, const char *procs)
{
	if (write(fd, "0", 1) != 1)
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
	/* Of 1: no file is so small, and a core_pattern that is a program is not started for it. */
	const struct rlimit no_core = {1, 1};

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

/* ---- the drifts ---- */

/* System call @nr is refused from now on, as the profile of a node refuses it. */
static void refuse(int nr)
{
	struct sock_filter steps[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(steps) / sizeof(steps[0]), steps};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		_exit(EXIT_SET_UP);
}

/* Did what was to be refused get refused? */
static bool is_refused(long result)
{
	return result == -1 && errno == EPERM;
}

/* Standard error goes with the rest: what runs next, if anything does, is foreign. */
static bool drift_exec(void)
{
	char name[] = "dnode-drill", argument[sizeof(ran)];
	char *const arguments[] = {name, argument, NULL}, *const environment[] = {NULL};

	memcpy(argument, ran, sizeof(ran));
	if (syscall(SYS_close_range, 0U, ~0U, 0U) < 0)
		_exit(EXIT_SET_UP);
	(void)execve("/proc/self/exe", arguments, environment);
	return false;
}

static bool drift_exec_memory(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) != MAP_FAILED;
}

/* The memory of a process that may not be dumped is root's. */
static bool drift_text(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0 &&
	       open("/proc/self/mem", O_RDWR | O_CLOEXEC) >= 0;
}

static bool drift_library(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED;
}

static bool drift_mount(void)
{
	refuse(SYS_mount);
	return is_refused(mount("drill", "/proc", "tmpfs", MS_RDONLY, NULL));
}

static bool drift_namespace(void)
{
	refuse(SYS_unshare);
	return is_refused(unshare(CLONE_NEWNET));
}

static bool drift_ptrace(void)
{
	refuse(SYS_ptrace);
	return is_refused(ptrace(PTRACE_ATTACH, 1, NULL, NULL));
}

static bool drift_bpf(void)
{
	union bpf_attr nothing = {.prog_type = BPF_PROG_TYPE_TRACEPOINT};

	refuse(SYS_bpf);
	return is_refused(syscall(SYS_bpf, BPF_PROG_LOAD, &nothing, sizeof(nothing)));
}

static bool drift_module(void)
{
	refuse(SYS_init_module);
	return is_refused(syscall(SYS_init_module, NULL, 0UL, ""));
}

static bool drift_uid(void)
{
	refuse(SYS_setresuid);
	return is_refused(syscall(SYS_setresuid, 0, 0, 0));
}

/* A file without a name, which is gone with this process. */
static bool drift_write_exec(void)
{
	static const char *const places[] = {"/dev/shm", "/tmp", "/var/tmp", "/run/lock"};

	(void)umask(0);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (open(places[i], O_TMPFILE | O_WRONLY | O_CLOEXEC, 0700) >= 0)
			return true;
	return false;
}

/* To have come is the drift: nobody expected it. */
static bool drift_process_foreign(void)
{
	return true;
}

static const struct {
	const char *name;
	bool (*drift)(void);
} classes[] = {
	{"exec", drift_exec},  /* execute a file that is not the image's: this very file */
	{"shell", drift_exec}, /* the same; the agent lets it pass as a shell of the image */
	{"exec-memory", drift_exec_memory},         /* map memory to write and execute */
	{"text", drift_text},                       /* open own memory as a file, to write */
	{"library", drift_library},                 /* map this very file as code */
	{"mount", drift_mount},                     /* mount a tmpfs: refused */
	{"process-foreign", drift_process_foreign}, /* join the cgroup unexpected */
	{"ptrace", drift_ptrace},         /* attach to the host's first process: refused */
	{"bpf", drift_bpf},               /* load a program of no instruction: refused */
	{"module", drift_module},         /* load a module of no byte: refused */
	{"namespace", drift_namespace},   /* make a network namespace: refused */
	{"write-exec", drift_write_exec}, /* make an empty executable file */
	{"uid", drift_uid},               /* become root: refused */
};
enum { CLASSES = sizeof(classes) / sizeof(classes[0]) };

/* Until whoever started it has seen enough, or is gone. */
static void stay(void)
{
	char byte;

	while (read(0, &byte, 1) > 0 || errno == EINTR)
		errno = 0;
}

static int run(size_t class, char **words)
{
	unsigned uid = parse_id(words[1]), gid = parse_id(words[2]);
	char byte;

	if (syscall(SYS_close_range, 3U, ~0U, 0U) < 0)
		fail("close descriptors");
	(void)umask(077);
	if (setsid() < 0 && errno != EPERM)
		fail("leave the session");
	if (chdir("/") < 0)
		fail("leave the directory");
	default_signals();
	int procs = open_cgroup(words[0]);
	drop_privileges(uid, gid);
	if (read(0, &byte, 1) != 1)
		return EXIT_SET_UP;
	join_cgroup(procs, words[0]);
	if (!classes[class].drift())
		return EXIT_REFUSED;
	stay();
	return EXIT_MADE;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], ran) == 0)
		_exit(EXIT_RAN);
	if (argc != 5) {
		(void)fputs("usage: dnode-drill CGROUP_PROCS UID GID CLASS\n", stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < CLASSES; i++)
		if (strcmp(argv[4], classes[i].name) == 0)
			return run(i, argv + 1);
	(void)fprintf(stderr, "dnode-drill: no class %s; known:", argv[4]);
	for (size_t i = 0; i < CLASSES; i++)
		(void)fprintf(stderr, " %s", classes[i].name);
	(void)fputs("\n", stderr);
	return EXIT_USAGE;
}
