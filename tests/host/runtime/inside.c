/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The service of the runtime's host tests, static and alone in its image: `profile` tries what
 * a node must not be able to do and prints one NAME=RESULT line for each, `serve PORT` answers
 * every request with 200, `chatter` logs, `wait` waits, `hold` waits with much of its own open,
 * `leave` waits in a thread that is not its first.
 */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <net/ethernet.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MPTCP = 262 };

/* NAME=ok or NAME=EPERM… */
static void tell(const char *name, long result)
{
	printf("%s=%s\n", name, result >= 0 ? "ok" : strerrorname_np(errno));
}

static void tell_socket(const char *name, int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	tell(name, fd);
	if (fd >= 0)
		close(fd);
}

static long map(int protection, int flags, int fd)
{
	return mmap(NULL, PAGE, protection, flags, fd, 0) == MAP_FAILED ? -1 : 0;
}

static void try_memory(void)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int text = open("/inside", O_RDONLY);
	int id = shmget(IPC_PRIVATE, PAGE, 0700);

	tell("mmap-wx", map(PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	tell("mmap-anonymous-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1));
	tell("mmap-file-wx", map(PROT_WRITE | PROT_EXEC, MAP_PRIVATE, text));
	tell("mmap-file-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE, text));
	tell("mprotect-x", mprotect(page, PAGE, PROT_READ | PROT_EXEC));
	tell("mprotect-high-bits", syscall(SYS_mprotect, page, PAGE, 0x100000000UL | PROT_EXEC));
	tell("pkey-mprotect-x", pkey_mprotect(page, PAGE, PROT_EXEC, -1));
	tell("shmat", (long)shmat(id, NULL, 0) == -1 ? -1 : 0);
	tell("shmat-x", (long)shmat(id, NULL, SHM_EXEC) == -1 ? -1 : 0);
	tell("personality", personality(READ_IMPLIES_EXEC));
	tell("personality-ask", personality(0xffffffff));
}

static void try_sockets(void)
{
	tell_socket("socket-unix", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	tell_socket("socket-inet6", AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
	tell_socket("socket-udp", AF_INET, SOCK_DGRAM, 0);
	tell_socket("socket-route", AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	tell_socket("socket-raw", AF_INET, SOCK_RAW, IPPROTO_ICMP);
	tell_socket("socket-ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	tell_socket("socket-mptcp", AF_INET, SOCK_STREAM, MPTCP);
	tell_socket("socket-packet", AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	tell_socket("socket-alg", AF_ALG, SOCK_SEQPACKET, 0);
	tell_socket("socket-vsock", AF_VSOCK, SOCK_STREAM, 0);
	tell_socket("socket-xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM);
}

static void try_calls(void)
{
	char buffer[64] = {0};
	uint64_t arguments[11] = {0};

	tell("unshare", unshare(CLONE_NEWUSER));
	tell("clone-newuser", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
	tell("clone3", syscall(SYS_clone3, arguments, sizeof(arguments)));
	tell("setns", setns(0, 0));
	tell("ptrace", ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	tell("process-vm-readv", syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0));
	tell("pidfd-getfd", syscall(SYS_pidfd_getfd, 0, 0, 0));
	tell("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
	tell("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	tell("open-tree", syscall(SYS_open_tree, AT_FDCWD, "/", 0));
	tell("chroot", chroot("/tmp"));
	tell("bpf", syscall(SYS_bpf, 0, buffer, sizeof(buffer)));
	tell("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, 0, 0));
	tell("userfaultfd", syscall(SYS_userfaultfd, 0));
	tell("io-uring", syscall(SYS_io_uring_setup, 1, buffer));
	tell("perf", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
	tell("handle", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", buffer, buffer, 0));
	tell("tiocsti", ioctl(0, TIOCSTI, "x"));
	tell("tiocsti-high-bits", syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, "x"));
	tell("mknod-device", mknod("/tmp/null", S_IFCHR | 0600, makedev(1, 3)));
	tell("mkfifo", mkfifo("/tmp/fifo", 0600));
}

static void try_files(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int entries = 0;
	struct stat info;

	tell("write-root", open("/new", O_CREAT | O_WRONLY, 0600));
	tell("write-image", open("/data", O_WRONLY));
	tell("write-dev", open("/dev/new", O_CREAT | O_WRONLY, 0600));
	tell("write-tmp", open("/tmp/new", O_CREAT | O_WRONLY, 0600));
	tell("write-sysctl", open("/proc/sys/kernel/core_pattern", O_WRONLY));
	tell("write-hosts", open("/etc/hosts", O_WRONLY));
	tell("chmod-null", chmod("/dev/null", 0600));
	tell("write-null", open("/dev/null", O_WRONLY) < 0 ? -1 : 0);
	tell("sys", stat("/sys/kernel", &info));
	tell("pts", stat("/dev/pts", &info));
	tell("shm", stat("/dev/shm", &info));
	while (readdir(directory) != NULL)
		entries++;
	closedir(directory);
	/* ".", "..", 0, 1, 2, the directory itself; the four files opened above */
	printf("leaked-descriptors=%d\n", entries - 6 - 2);
}

/* Copy this program to @fd; whether it can be executed is the question. */
static int copy_program(int fd)
{
	char bytes[65536];
	int program = open("/inside", O_RDONLY);
	ssize_t got;

	while ((got = read(program, bytes, sizeof(bytes))) > 0)
		if (write(fd, bytes, (size_t)got) != got)
			abort();
	close(program);
	return fd;
}

static void try_foreign(void)
{
	char *const args[] = {(char *)"foreign", (char *)"foreign", NULL};
	int fd = memfd_create("foreign", 0);

	tell("memfd", fd);
	tell("memfd-noexec", memfd_create("foreign", 0x8));
	tell("memfd-exec-flag", memfd_create("foreign", 0x10));
	/* What a service with jit has: it may map what it has written, and still not execute it. */
	if (fd >= 0) {
		copy_program(fd);
		tell("exec-memfd", syscall(SYS_execveat, fd, "", args, NULL, AT_EMPTY_PATH));
		tell("mmap-memfd-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE, fd));
	}
	fd = copy_program(open("/tmp/foreign", O_CREAT | O_WRONLY, 0700));
	close(fd);
	tell("exec-tmpfs", execv("/tmp/foreign", args));
	fd = open("/tmp/foreign", O_RDONLY);
	tell("mmap-tmpfs-x", map(PROT_READ | PROT_EXEC, MAP_PRIVATE, fd));
}

/* A child that enters the kernel as another architecture must die of it. */
static void try_entry(const char *name, void (*enter)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		enter();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("%s=%s\n", name, WIFSIGNALED(status) ? "killed" : "alive");
}

#ifdef __x86_64__
static void enter_i386(void)
{
	long result = 20; /* getpid of i386 */

	__asm__ volatile("int $0x80" : "+a"(result)::"memory");
}

static void enter_x32(void)
{
	syscall(0x40000000 | SYS_getpid);
}
#endif

static void tell_status(void)
{
	static const char *const wanted[] = {"CapInh", "CapPrm",     "CapEff",  "CapBnd",
					     "CapAmb", "NoNewPrivs", "Seccomp", "Uid"};
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];

	while (fgets(line, sizeof(line), status) != NULL)
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
			size_t length = strlen(wanted[i]);
			char *value = line + length + 1;

			if (strncmp(line, wanted[i], length) == 0 && line[length] == ':')
				printf("%s=%s", wanted[i], value + strspn(value, "\t "));
		}
	fclose(status);
}

static void tell_file(const char *name, const char *path)
{
	char text[256] = "";
	int fd = open(path, O_RDONLY);

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	if (fd >= 0)
		close(fd);
	text[strcspn(text, "\n")] = '\0';
	printf("%s=%s\n", name, text);
}

static int profile(void)
{
	struct rlimit core;
	struct rlimit files;
	char host[65] = "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	try_files();
	try_memory();
	try_sockets();
	try_calls();
	try_foreign();
#ifdef __x86_64__
	try_entry("entry-i386", enter_i386);
	try_entry("entry-x32", enter_x32);
#endif
	tell_status();
	tell_file("hosts", "/etc/hosts");
	tell_file("passwd", "/etc/passwd");
	tell_file("oom", "/proc/self/oom_score_adj");
	tell_file("kallsyms", "/proc/kallsyms");
	gethostname(host, sizeof(host) - 1);
	getrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_NOFILE, &files);
	printf("host=%s\nmode=%s\nnode=%s\nimage=%s\nepoch=%s\n", host, getenv("MODE"),
	       getenv("DNODE_NODE"), getenv("DNODE_IMAGE"), getenv("DNODE_EPOCH"));
	printf("core=%lu\nfiles=%lu\numask=%o\n", (unsigned long)core.rlim_max,
	       (unsigned long)files.rlim_max, umask(0));
	printf("end\n");
	return 0;
}

static int serve(int port)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
	struct sockaddr_in here = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
	};
	int one = 1;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	char request[2048];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(listener, 16) < 0)
		return 1;
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (recv(fd, request, sizeof(request), 0) > 0)
			send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
		close(fd);
	}
}

static int chatter(void)
{
	static const char hostile[] = "bell\007 escape\033[2J half \xff\xfe end\n";

	dprintf(1, "hello from stdout\n");
	dprintf(2, "hello from stderr\n");
	(void)!write(1, hostile, sizeof(hostile) - 1);
	dprintf(1, "no newline at the end");
	return 0;
}

/* Everything that a program may hold open without a file of the host's. */
static void hold(void)
{
	int pair[2];

	(void)mq_open("/queue", O_CREAT | O_RDWR, 0600, NULL);
	(void)open("/proc/self/ns/net", O_RDONLY);
	(void)open("/proc/self/status", O_RDONLY);
	(void)open("/tmp/held", O_CREAT | O_RDWR, 0600);
	(void)open("/tmp", O_TMPFILE | O_RDWR, 0600);
	(void)open("/dev/null", O_RDWR);
	(void)open("/etc/hosts", O_RDONLY);
	(void)open("/", O_PATH | O_DIRECTORY);
	(void)epoll_create1(0);
	(void)eventfd(0, 0);
	(void)inotify_init1(0);
	(void)timerfd_create(CLOCK_MONOTONIC, 0);
	(void)syscall(SYS_pidfd_open, getpid(), 0);
	(void)memfd_create("held", 0);
	(void)socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	(void)!pipe(pair);
	(void)!chdir("/proc/self");
	dprintf(1, "holding\n");
}

static void *wait_for_ever(void *data)
{
	(void)data;
	for (;;)
		pause();
	return NULL;
}

/* pthread_exit() would load libgcc's unwinder, which a static program has not got. */
static void leave(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, wait_for_ever, NULL) == 0)
		syscall(SYS_exit, 0);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "profile") == 0)
		return profile();
	if (strcmp(mode, "serve") == 0 && argc > 2)
		return serve(atoi(argv[2]));
	if (strcmp(mode, "chatter") == 0)
		return chatter();
	if (strcmp(mode, "foreign") == 0)
		printf("foreign code has run\n");
	if (strcmp(mode, "leave") == 0)
		leave();
	if (strcmp(mode, "hold") == 0)
		hold();
	if (strcmp(mode, "wait") == 0 || strcmp(mode, "hold") == 0)
		for (;;)
			pause();
	return 0;
}
