/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service that drifts when it is asked to: GET /drift?class=CLASS&way=self in its own process,
 * without executing anything (but for exec and shell, which are about that); way=child in a child
 * of it; way=stay in one that nobody waits for and that goes on afterwards. Whatever became of it
 * stands in its log, one line: "refused CLASS" when the kernel said no, "effect CLASS" when the
 * next instruction after a success was reached. No line: it was killed or held before. Any other
 * path is answered with 200.
 *
 * Called "sh" it is the shell that nobody declared, called "foreign" a program that is not the
 * image's: it says so and ends, or, told to, stays.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, REQUEST = 2048, COPY = 65536 };

static void say(const char *what, const char *class)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%s %s\n", what, class);

	(void)!write(1, line, (size_t)length);
}

/* This very program as a file of the node's own, which is no file of the image. */
static int copy_self(void)
{
	static char bytes[COPY];
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = open("/tmp/foreign", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t size;

	while (from >= 0 && to >= 0 && (size = read(from, bytes, sizeof(bytes))) > 0)
		if (write(to, bytes, (size_t)size) != size)
			break;
	(void)close(from);
	(void)close(to);
	return to >= 0 ? 0 : -1;
}

static bool stays;

static bool run_program(const char *path, const char *name)
{
	const char *const arguments[] = {name, stays ? "stay" : NULL, NULL};
	const char *const environment[] = {NULL};

	(void)execve(path, (char *const *)arguments, (char *const *)environment);
	return false;
}

static bool drift_exec(void)
{
	return copy_self() == 0 && run_program("/tmp/foreign", "foreign");
}

static bool drift_shell(void)
{
	return run_program("/bin/sh", "sh");
}

static bool drift_exec_memory(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0) != MAP_FAILED;
}

static bool drift_text(void)
{
	return open("/proc/self/mem", O_RDWR | O_CLOEXEC) >= 0;
}

static bool drift_library(void)
{
	if (copy_self() != 0)
		return false;
	int fd = open("/tmp/foreign", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED;
}

static bool drift_mount(void)
{
	return mount("drift", "/tmp", "tmpfs", 0, NULL) == 0;
}

static bool drift_namespace(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static bool drift_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, 1, NULL, NULL) == 0;
}

static bool drift_bpf(void)
{
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map)) >= 0;
}

static bool drift_module(void)
{
	return syscall(SYS_init_module, NULL, 0UL, "") == 0;
}

static bool drift_uid(void)
{
	return setresuid(0, 0, 0) == 0;
}

static bool drift_write_exec(void)
{
	return open("/tmp/planted", O_WRONLY | O_CREAT | O_CLOEXEC, 0755) >= 0;
}

static const struct {
	const char *name;
	bool (*drift)(void);
} classes[] = {
	{"exec", drift_exec},
	{"shell", drift_shell},
	{"exec-memory", drift_exec_memory},
	{"text", drift_text},
	{"library", drift_library},
	{"mount", drift_mount},
	{"namespace", drift_namespace},
	{"ptrace", drift_ptrace},
	{"bpf", drift_bpf},
	{"module", drift_module},
	{"uid", drift_uid},
	{"write-exec", drift_write_exec},
};

static void stay(void)
{
	for (;;)
		(void)pause();
}

static void drift(const char *class)
{
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strcmp(class, classes[i].name) == 0)
			say(classes[i].drift() ? "effect" : "refused", class);
}

static void answer_request(int fd)
{
	static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
				    "Connection: close\r\n\r\nok\n";
	char request[REQUEST + 1], class[32] = "", way[8] = "";
	ssize_t size = read(fd, request, REQUEST);

	if (size <= 0)
		return;
	request[size] = '\0';
	if (sscanf(request, "GET /drift?class=%31[a-z-]&way=%7[a-z]", class, way) == 2) {
		pid_t pid = strcmp(way, "self") == 0 ? -1 : fork();

		stays = pid == 0 && strcmp(way, "stay") == 0;
		if (pid <= 0)
			drift(class);
		if (stays)
			stay();
		if (pid == 0)
			_exit(0);
		if (pid > 0 && strcmp(way, "stay") != 0)
			(void)waitpid(pid, NULL, 0);
	}
	(void)!write(fd, reply, sizeof(reply) - 1);
}

int main(int argc, char **argv)
{
	struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(8080)};
	int listener, one = 1;

	if (argc > 0 && (strcmp(argv[0], "sh") == 0 || strcmp(argv[0], "foreign") == 0)) {
		say("effect", argv[0]);
		if (argc > 1)
			stay();
		return 0;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(listener, (struct sockaddr *)&place, sizeof(place)) < 0 ||
	    listen(listener, 64) < 0) {
		perror("drifter");
		return 1;
	}
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		answer_request(fd);
		(void)close(fd);
	}
}
