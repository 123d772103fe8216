/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A hostile service: from GET /flood on it causes what the sensor tells of, and log, as fast as it
 * can, a thread for each kind, until GET /rest. Beside that it does, when asked, what is proof:
 *
 *     GET /memory   memory that is writable and executable
 *     GET /exec     a program of its own, from a place that it may write to
 *     GET /crowd    no drift: processes with thousands of mappings each, that come and go
 *     GET /rest     an end of the flood, and of the crowd
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PORT = 8080, BATCH = 500, PAUSE_US = 1000, MAPPINGS = 12000, CROWD = 8 };

static volatile bool flooding;

static void write_to_image(void)
{
	(void)!open("/bin/planted", O_CREAT | O_WRONLY, 0644);
}

static void become_root(void)
{
	(void)!setuid(0);
}

static void make_executable(void)
{
	static _Thread_local int fd = -1;

	if (fd < 0)
		fd = open("/tmp/made", O_CREAT | O_WRONLY, 0600);
	(void)!fchmod(fd, 0755);
}

static void mount_something(void)
{
	(void)!mount("none", "/tmp", "tmpfs", 0, NULL);
}

static void trace_something(void)
{
	(void)!syscall(SYS_kcmp, 1, 1, 0, 0, 0);
}

static void execute_no_program(void)
{
	char *argv[] = {NULL};

	(void)!execv("/readme", argv);
}

static void say_something(void)
{
	static const char line[] =
		"the same line, again and again, of which nobody wants to know\n";

	(void)!write(1, line, sizeof(line) - 1);
}

static void (*const kinds[])(void) = {write_to_image,  become_root,     make_executable,
				      mount_something, trace_something, execute_no_program,
				      say_something};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void *flood(void *data)
{
	void (*kind)(void) = *(void (*const *)(void))data;

	for (;;) {
		for (int i = 0; flooding && i < BATCH; i++)
			kind();
		if (!flooding)
			usleep(PAUSE_US);
	}
	return NULL;
}

static void take_memory(void)
{
	(void)!mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
}

static void execute_a_copy(void)
{
	char bytes[4096], *argv[] = {(char[]){"copy"}, NULL};
	int from = open("/bin/flooder", O_RDONLY), to = open("/tmp/copy", O_CREAT | O_WRONLY, 0700);
	ssize_t got;

	while ((got = read(from, bytes, sizeof(bytes))) > 0)
		(void)!write(to, bytes, (size_t)got);
	close(from);
	close(to);
	(void)!execv("/tmp/copy", argv);
}

/* Its own code again and again, with holes in between so that the kernel does not join it. */
static void map_much(void)
{
	const size_t page = 4096;
	char *room = mmap(NULL, 2 * MAPPINGS * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; room != MAP_FAILED && i < MAPPINGS; i++)
		(void)!mmap(room + 2 * i * page, page, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | MAP_FIXED, fd, 0);
}

/* To copy them costs less than to look at them. */
static void keep_coming(void)
{
	pid_t pids[CROWD] = {0};

	map_much();
	for (unsigned i = 0;; i = (i + 1) % CROWD) {
		if (pids[i] > 0) {
			(void)kill(pids[i], SIGKILL);
			(void)waitpid(pids[i], NULL, 0);
		}
		pids[i] = fork();
		if (pids[i] == 0)
			for (;;)
				(void)pause();
	}
}

static void crowd(bool begins)
{
	static pid_t group;

	if (group > 0) {
		/* It may not lead a group yet. */
		(void)kill(group, SIGKILL);
		(void)kill(-group, SIGKILL);
		(void)waitpid(group, NULL, 0);
	}
	group = begins ? fork() : 0;
	if (!begins || group > 0)
		return;
	(void)setpgid(0, 0);
	keep_coming();
}

static void rest(void)
{
	flooding = false;
	crowd(false);
}

static void obey(const char *request)
{
	if (strncmp(request, "GET /flood ", 11) == 0)
		flooding = true;
	else if (strncmp(request, "GET /rest ", 10) == 0)
		rest();
	else if (strncmp(request, "GET /memory ", 12) == 0)
		take_memory();
	else if (strncmp(request, "GET /exec ", 10) == 0)
		execute_a_copy();
	else if (strncmp(request, "GET /crowd ", 11) == 0)
		crowd(true);
}

static void serve(int listener)
{
	static const char ok[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
	char request[1024] = "";
	int client = accept(listener, NULL, NULL);

	if (client < 0)
		return;
	if (read(client, request, sizeof(request) - 1) > 0) {
		obey(request);
		(void)!write(client, ok, sizeof(ok) - 1);
	}
	close(client);
}

int main(void)
{
	struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	signal(SIGPIPE, SIG_IGN);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(listener, 64) < 0)
		return 1;
	for (int i = 0; i < KINDS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, flood, (void *)&kinds[i]) != 0)
			return 1;
	}
	for (;;)
		serve(listener);
}
