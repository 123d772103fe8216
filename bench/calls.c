/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service that times system calls of its own: GET /WHAT/TIMES answers with nanoseconds for one.
 *
 *     cheap     getppid(): what every call pays
 *     refused   acct(), which neither seccomp nor the kernel allows it
 *     open      a file, and close it
 *     mmap      64 KiB, touched, and unmap them
 *     code      its own program, mapped executable, and unmap it
 *     fork      a child that ends, waited for
 *     exec      the same, executing this program again
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 8080, PAGE = 4096, MAPPED = 16 * PAGE };

static const char program[] = "/bin/calls";

static bool call_cheap(void)
{
	return syscall(SYS_getppid) >= 0;
}

static bool call_refused(void)
{
	return syscall(SYS_acct, NULL) < 0;
}

static bool open_file(void)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && close(fd) == 0;
}

static bool map_memory(void)
{
	char *bytes =
		mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; bytes != MAP_FAILED && i < MAPPED; i += PAGE)
		bytes[i] = 1;
	return bytes != MAP_FAILED && munmap(bytes, MAPPED) == 0;
}

static bool map_code(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open(program, O_RDONLY | O_CLOEXEC);
	void *code = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	return code != MAP_FAILED && munmap(code, PAGE) == 0;
}

static bool fork_child(void)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static bool execute(void)
{
	char *argv[] = {(char[]){"calls"}, (char[]){"-"}, NULL}, *env[] = {NULL};
	int status = -1;
	pid_t child = -1;

	return posix_spawn(&child, program, NULL, NULL, argv, env) == 0 &&
	       waitpid(child, &status, 0) == child && status == 0;
}

static const struct {
	const char *name;
	bool (*act)(void);
} acts[] = {
	{"cheap", call_cheap}, {"refused", call_refused}, {"open", open_file}, {"mmap", map_memory},
	{"code", map_code},    {"fork", fork_child},      {"exec", execute},
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Nanoseconds for one, or -1. */
static double time_act(const char *request)
{
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		size_t length = strlen(acts[i].name);

		if (strncmp(request, acts[i].name, length) != 0 || request[length] != '/')
			continue;
		long times = strtol(request + length + 1, NULL, 10);
		uint64_t began = now_ns();
		for (long n = 0; n < times; n++)
			if (!acts[i].act())
				return -1;
		return times > 0 ? (double)(now_ns() - began) / (double)times : -1;
	}
	return -1;
}

static void serve(int listener)
{
	char request[1024] = "", body[64], answer[256];
	int client = accept(listener, NULL, NULL);

	if (client < 0)
		return;
	if (read(client, request, sizeof(request) - 1) > 5) {
		int size = snprintf(body, sizeof(body), "%.1f\n", time_act(request + 5));
		int whole = snprintf(answer, sizeof(answer),
				     "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n"
				     "Connection: close\r\n\r\n%s",
				     size, body);

		(void)!write(client, answer, (size_t)whole);
	}
	close(client);
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int one = 1;

	if (argc > 1)
		return strcmp(argv[1], "-") == 0 ? 0 : 1;
	signal(SIGPIPE, SIG_IGN);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(listener, 64) < 0)
		return 1;
	for (;;)
		serve(listener);
}
