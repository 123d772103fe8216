/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The service of tests/host/attacks: somebody who has taken over a node and tries the ways out that
 * docs/threat-model.md lists. Static and alone in its image; argv[1] names the group to try. Each
 * attempt prints one line, NAME=ok or NAME=EPERM, NAME=killed… and does no harm where it succeeds.
 */

#include "attacker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_PROCESSES = 64, MOST_FILES = 4096 };

void tell(const char *name, long result)
{
	printf("%s=%s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
}

void try_in_child(const char *name, void (*enter)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		enter();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s=SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
	else
		printf("%s=alive\n", name);
}

/* ---- memory and programs ---- */

static long map(int protection, int flags, int fd)
{
	return mmap(NULL, PAGE, protection, flags, fd, 0) == MAP_FAILED ? -1 : 0;
}

/* One file through two mappings: written by one, executed by the other. */
static void try_double_mapping(const char *name, int fd)
{
	char *written = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (written == MAP_FAILED) {
		tell(name, -1);
		return;
	}
	tell(name, map(PROT_READ | PROT_EXEC, MAP_SHARED, fd));
}

static void attack_memory(void)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int tmp = open("/tmp/double", O_CREAT | O_RDWR, 0700);
	int id = shmget(IPC_PRIVATE, PAGE, 0700);
	int zero = open("/dev/zero", O_RDWR);
	int own = open("/inside", O_RDONLY);
	char *late = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);

	tell("rwx", map(PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	tell("anonymous-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	tell("shared-x", map(PROT_READ | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1));
	tell("mprotect-x", mprotect(page, PAGE, PROT_READ | PROT_EXEC));
	tell("mprotect-rwx", mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	tell("mprotect-zero-x", mprotect(late, PAGE, PROT_READ | PROT_EXEC));
	/* What is shared has a second mapping by mremap(), and that one can be written. */
	tell("zero-shared-x", map(PROT_READ | PROT_EXEC, MAP_SHARED, zero));
	tell("own-shared-x", map(PROT_READ | PROT_EXEC, MAP_SHARED, own));
	tell("own-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE, own));
	tell("pkey-x", pkey_mprotect(page, PAGE, PROT_EXEC, -1));
	tell("shm-x", (long)shmat(id, NULL, SHM_EXEC) == -1 ? -1 : 0);
	(void)!ftruncate(tmp, PAGE);
	try_double_mapping("tmpfs-twice", tmp);
	tell("read-implies-exec", personality(READ_IMPLIES_EXEC));
	tell("no-randomize", personality(ADDR_NO_RANDOMIZE));
	tell("exec-flag-memfd", memfd_create("a", 0x10));
	tell("sealed-memfd", memfd_create("a", 0x8));
	(void)shmctl(id, IPC_RMID, NULL);
}

static void copy_self(const char *to)
{
	char bytes[65536];
	int from = open("/inside", O_RDONLY);
	int fd = open(to, O_CREAT | O_WRONLY, 0755);
	ssize_t got;

	while ((got = read(from, bytes, sizeof(bytes))) > 0)
		if (write(fd, bytes, (size_t)got) != got)
			break;
	close(from);
	close(fd);
}

static void attack_programs(void)
{
	char *const args[] = {(char *)"foreign", (char *)"foreign", NULL};
	int pipes[2];

	copy_self("/tmp/foreign");
	tell("exec-tmpfs", execv("/tmp/foreign", args));
	int fd = open("/tmp/foreign", O_RDONLY);
	tell("exec-descriptor", syscall(SYS_execveat, fd, "", args, NULL, AT_EMPTY_PATH));
	tell("map-tmpfs-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE, fd));
	(void)!pipe(pipes);
	char path[64];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", pipes[0]);
	tell("exec-pipe", execv(path, args));
	tell("suid-bit", chmod("/tmp/foreign", 04755));
	tell("suid-kept-out", execv("/tmp/foreign", args));
	/* The runtime's own program (CVE-2019-5736): here it can only be this one. */
	tell("own-program", open("/proc/self/exe", O_WRONLY));
	tell("first-program", open("/proc/1/exe", O_WRONLY));
}

/* ---- rights ---- */

static void attack_rights(void)
{
	gid_t groups[] = {0};
	struct rlimit files = {.rlim_cur = 65536, .rlim_max = 65536};
	uint32_t header[2] = {0x20080522, 0};
	uint32_t sets[6] = {1U << 21, 1U << 21, 0, 0, 0, 0};
	bool is_root = getuid() == 0;

	if (!is_root) {
		tell("setuid-root", setuid(0));
		tell("setresuid-root", setresuid(0, 0, 0));
		tell("setgid-root", setgid(0));
	} else {
		tell("setuid-other", setuid(1000));
	}
	tell("setgroups", setgroups(1, groups));
	tell("more-files", setrlimit(RLIMIT_NOFILE, &files));
	tell("capset", syscall(SYS_capset, header, sets));
	tell("nice", setpriority(PRIO_PROCESS, 0, -10));
	tell("device", mknod("/tmp/disk", S_IFBLK | 0600, makedev(254, 0)));
	tell("device-memory", mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)));
	tell("device-plain", mknod("/tmp/plain", S_IFREG | 0600, 0));
	tell("tiocsti", ioctl(0, TIOCSTI, "x"));
	tell("tiocsti-high-bits", syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, "x"));
	tell("tiocsctty", ioctl(0, TIOCSCTTY, 0));
	tell("tioclinux", ioctl(0, TIOCLINUX, "\3"));
	tell("ns-get-parent", ioctl(open("/proc/self/ns/user", O_RDONLY), 0xb702));
	tell("immutable", ioctl(open("/tmp", O_RDONLY), 0x40086602, &is_root));
	tell("oom-protect", open("/proc/self/oom_score_adj", O_WRONLY) < 0
				    ? -1
				    : write(open("/proc/self/oom_score_adj", O_WRONLY), "-999", 4));
}

/* ---- the host's files ---- */

/* "ok" when something can be read behind @path. */
static void tell_read(const char *name, const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	ssize_t got = fd >= 0 ? read(fd, &byte, 1) : -1;

	if (fd >= 0 && got == 0)
		printf("%s=empty\n", name);
	else
		tell(name, got);
}

static void tell_write(const char *name, const char *path)
{
	int fd = open(path, O_WRONLY);

	tell(name, fd);
	if (fd >= 0)
		close(fd);
}

static void attack_files(void)
{
	tell_write("core-pattern", "/proc/sys/kernel/core_pattern");
	tell_write("modprobe", "/proc/sys/kernel/modprobe");
	tell_write("hotplug", "/proc/sys/kernel/hotplug");
	tell_write("sysrq", "/proc/sysrq-trigger");
	tell_write("uevent-helper", "/sys/kernel/uevent_helper");
	tell_write("binfmt", "/proc/sys/fs/binfmt_misc/register");
	tell_write("release-agent", "/sys/fs/cgroup/release_agent");
	tell_write("own-cgroup", "/sys/fs/cgroup/cgroup.procs");
	tell_write("timens", "/proc/self/timens_offsets");
	tell_write("latency", "/proc/latency_stats");
	tell_read("kcore", "/proc/kcore");
	tell_read("kmsg", "/proc/kmsg");
	tell_read("keys", "/proc/keys");
	tell_read("kallsyms", "/proc/kallsyms");
	tell_read("interrupts", "/proc/interrupts");
	tell_read("config", "/proc/config.gz");
	tell_read("timers", "/proc/timer_list");
	tell_read("slabs", "/proc/slabinfo");
	tell_read("btf", "/sys/kernel/btf/vmlinux");
	tell_read("disk", "/dev/vda");
	tell_read("memory", "/dev/mem");
	tell_read("kernel-log", "/dev/kmsg");
	tell_read("shadow", "/../../../../etc/shadow");
	tell_read("host-by-root", "/proc/1/root/etc/shadow");
	tell_read("host-by-cwd", "/proc/1/cwd/etc/shadow");
	tell_read("docker", "/run/docker.sock");
	tell_read("containerd", "/run/containerd/containerd.sock");
	tell("root-remount", mount("none", "/", NULL, MS_REMOUNT | MS_BIND, NULL));
	tell("write-root", open("/new", O_CREAT | O_WRONLY, 0600));
	tell("write-dev", open("/dev/new", O_CREAT | O_WRONLY, 0600));
	tell("replace-null", unlink("/dev/null"));
	tell("link-over-null", rename("/tmp", "/dev/null"));
	tell("write-proc", open("/proc/new", O_CREAT | O_WRONLY, 0600));
}

/* What was left open of the host's, and where "." is (CVE-2024-21626). */
static void attack_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	struct stat root;
	struct stat up;

	printf("leaked=");
	while ((entry = readdir(directory)) != NULL) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd > 2 && fd != dirfd(directory))
			printf("%d ", fd);
	}
	printf("\n");
	closedir(directory);
	for (int fd = 0; fd < 3; fd++) {
		struct stat info = {0};

		(void)fstat(fd, &info);
		printf("stdio-%d=%s\n", fd, S_ISFIFO(info.st_mode) ? "pipe" : "other");
	}
	(void)stat("/", &root);
	(void)!chdir("../../../../../../..");
	(void)stat(".", &up);
	printf("above-root=%s\n",
	       root.st_ino == up.st_ino && root.st_dev == up.st_dev ? "root" : "host");
	printf("first-process=%s\n", getpid() == 1 ? "itself" : "other");
}

/* ---- using everything up ---- */

static void attack_limits(void)
{
	static char block[65536];
	unsigned processes = 0;
	unsigned files = 0;
	size_t bytes = 0;
	char path[64];
	pid_t children[MOST_PROCESSES];
	int full = open("/tmp/full", O_CREAT | O_WRONLY, 0600);

	while (write(full, block, sizeof(block)) > 0 && bytes < 64U << 20)
		bytes += sizeof(block);
	tell("fill", write(full, block, sizeof(block)));
	(void)!ftruncate(full, 0);
	for (; files < MOST_FILES; files++) {
		(void)snprintf(path, sizeof(path), "/tmp/f%u", files);
		int fd = open(path, O_CREAT | O_WRONLY, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	tell("inodes", files == MOST_FILES ? 0 : -1);
	for (; processes < MOST_PROCESSES; processes++) {
		children[processes] = fork();
		if (children[processes] == 0)
			for (;;)
				pause();
		if (children[processes] < 0)
			break;
	}
	tell("forks", processes == MOST_PROCESSES ? 0 : -1);
	printf("processes=%u\n", processes);
	while (processes-- > 0) {
		kill(children[processes], SIGKILL);
		waitpid(children[processes], NULL, 0);
	}
	int fd = 0;
	while ((fd = dup(0)) >= 0 && fd < MOST_FILES)
		;
	tell("descriptors", fd);
}

static void eat(void)
{
	for (;;) {
		char *block = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (block == MAP_FAILED)
			_exit(0);
		memset(block, 1, 1 << 20);
	}
}

static void attack_memory_limit(void)
{
	try_in_child("eat", eat);
}

static const struct {
	const char *name;
	void (*attack)(void);
} groups[] = {
	{"sockets", attack_sockets},       {"calls", attack_calls},
	{"namespaces", attack_namespaces}, {"memory", attack_memory},
	{"programs", attack_programs},     {"rights", attack_rights},
	{"files", attack_files},           {"descriptors", attack_descriptors},
	{"entries", attack_entries},       {"limits", attack_limits},
	{"eat", attack_memory_limit},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && strcmp(argv[1], "foreign") == 0)
		printf("foreign code has run\n");
	for (size_t i = 0; argc > 1 && i < sizeof(groups) / sizeof(groups[0]); i++)
		if (strcmp(groups[i].name, argv[1]) == 0)
			groups[i].attack();
	printf("end\n");
	return 0;
}
