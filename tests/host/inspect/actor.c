/* SPDX-License-Identifier: Apache-2.0 */

/*
 * inspect-actor ACT [ARGUMENT]: a process of a node, good or bad. Writes a byte to descriptor 3
 * when it is what it shall be seen as, and never ends by itself.
 */

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_FD = 3, MAPPINGS = 20000, THREADS = 192 };

static void ready(void)
{
	if (write(READY_FD, "r", 1) != 1)
		_exit(70);
	(void)close(READY_FD);
}

static void rest(const char *argument)
{
	ready();
	for (;;)
		pause();
}

static void make_writable_code(const char *argument)
{
	void *code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		_exit(90);
	rest(NULL);
}

static void turn_data_into_code(const char *argument)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED || mprotect(code, 4096, PROT_READ | PROT_EXEC) != 0)
		_exit(90);
	rest(NULL);
}

static void make_memory_file(const char *argument)
{
	int fd = memfd_create("cache", MFD_CLOEXEC);

	if (ftruncate(fd, 4096) != 0 ||
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ||
	    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED)
		_exit(90);
	rest(NULL);
}

static void map_as_code(const char *argument)
{
	int fd = open(argument, O_RDONLY | O_CLOEXEC);

	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		_exit(90);
	rest(NULL);
}

/* Through its own memory as a file, which no permission of the mapping stops. */
static void change_own_code(const char *argument)
{
	int fd = open("/proc/thread-self/mem", O_RDWR | O_CLOEXEC);
	unsigned char byte = *(const unsigned char *)(uintptr_t)puts ^ 1;

	if (fd < 0 || pwrite(fd, &byte, 1, (off_t)(uintptr_t)puts) != 1)
		_exit(90);
	rest(NULL);
}

static void write_read_only_data(const char *argument)
{
	static const char words[] = "nothing that is executed";
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, "N", 1, (off_t)(uintptr_t)words) != 1)
		_exit(90);
	rest(NULL);
}

static void map_and_read_data(const char *argument)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	unsigned char *bytes = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (bytes == MAP_FAILED)
		_exit(90);
	memset(bytes, 1, 8192);
	rest(NULL);
}

/* Twenty pages of code written with what they held, and one behind them, which is changed. */
static void rewrite_code(const char *changes)
{
	enum { SAME = 20 };
	const size_t page = 4096;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char *code = mmap(NULL, (SAME + 1) * page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	if (code == MAP_FAILED)
		_exit(90);
	for (size_t i = 0; i <= SAME; i++) {
		char byte = code[i * page];

		if (i == SAME && changes != NULL)
			byte ^= 1;
		if ((i < SAME || changes != NULL) &&
		    pwrite(mem_fd, &byte, 1, (off_t)(uintptr_t)(code + i * page)) != 1)
			_exit(91);
	}
	rest(NULL);
}

/* Pages of the program's own code given up for guards, but for one behind them, which is changed.
 */
static void guard_code(const char *changes)
{
	enum { INSTALL_GUARD = 102, GUARDS = 40 };
	const size_t page = 4096;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	char *code = mmap(NULL, (GUARDS + 1) * page, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	if (code == MAP_FAILED || madvise(code, GUARDS * page, INSTALL_GUARD) != 0)
		_exit(90);
	if (changes != NULL &&
	    pwrite(mem_fd, "x", 1, (off_t)(uintptr_t)code + (off_t)(GUARDS * page)) != 1)
		_exit(90);
	rest(NULL);
}

static void *hold_code(void *data)
{
	make_writable_code(NULL);
	return NULL;
}

static void *change_code(void *data)
{
	change_own_code(NULL);
	return NULL;
}

static void leave_the_first_thread(const char *changes)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, changes != NULL ? change_code : hold_code, NULL) != 0)
		_exit(90);
	/* Without the C library's farewell: the thread stays, the process shows no memory. */
	syscall(SYS_exit, 0);
}

static void hear(int number)
{
}

static void leave_when_told(const char *argument)
{
	pthread_t thread;

	(void)signal(SIGUSR1, hear);
	if (pthread_create(&thread, NULL, hold_code, NULL) != 0)
		_exit(90);
	(void)pause();
	syscall(SYS_exit, 0);
}

static void run_memory_file(const char *argument)
{
	char bytes[65536], name[] = "x", what[] = "rest";
	char *const arguments[] = {name, what, NULL}, *const environment[] = {NULL};
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = memfd_create("payload", MFD_CLOEXEC);
	ssize_t length = 0;

	while ((length = read(from, bytes, sizeof(bytes))) > 0)
		if (write(fd, bytes, (size_t)length) != length)
			_exit(90);
	syscall(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
}

static void be_traced(const char *argument)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		rest(NULL);
	}
	for (;;)
		pause();
}

static void make_a_namespace(const char *argument)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWUTS) != 0)
		_exit(90);
	rest(NULL);
}

/* Twenty thousand executable mappings of the image, and behind them the one that is foreign. */
static void hide_behind_mappings(const char *argument)
{
	const size_t page = 4096;
	char *room = mmap(NULL, (2 * MAPPINGS + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	void *last = NULL;

	for (size_t i = 0; i < MAPPINGS; i++)
		if (mmap(room + 2 * i * page, page, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED,
			 fd, 0) == MAP_FAILED)
			_exit(90);
	last = mmap(room + (size_t)2 * MAPPINGS * page, page, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (last == MAP_FAILED)
		_exit(90);
	rest(NULL);
}

/* What @act makes of a new child, which then waits for its end. */
static pid_t have_child(void (*act)(void))
{
	int ends[2];
	char byte;

	if (pipe(ends) != 0)
		_exit(90);
	pid_t pid = fork();
	if (pid == 0) {
		act();
		(void)!write(ends[1], "m", 1);
		for (;;)
			pause();
	}
	(void)!read(ends[0], &byte, 1);
	(void)close(ends[0]);
	(void)close(ends[1]);
	return pid;
}

static void map_own_code(void)
{
	enum { SOME = 4000 };
	const size_t page = 4096;
	char *room = mmap(NULL, 2 * SOME * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	for (size_t i = 0; i < SOME; i++)
		(void)!mmap(room + 2 * i * page, page, PROT_READ | PROT_EXEC,
			    MAP_PRIVATE | MAP_FIXED, fd, 0);
}

static void map_foreign_code(void)
{
	(void)!mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void end_child(pid_t pid)
{
	if (pid > 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
	}
}

/* Children with many mappings come and go, and the one with foreign code is always the youngest. */
static void hide_among_others(const char *argument)
{
	enum { OTHERS = 6 };
	pid_t others[OTHERS] = {0}, hidden = 0;

	for (unsigned i = 0;; i++) {
		pid_t last = hidden;

		end_child(others[i % OTHERS]);
		others[i % OTHERS] = have_child(map_own_code);
		hidden = have_child(map_foreign_code);
		end_child(last);
		if (i == OTHERS)
			ready();
	}
}

/* Foreign code that each process hands on to its child after so many us, and is gone. */
static void hand_on(const char *microseconds)
{
	const useconds_t pause_us = (useconds_t)strtoul(microseconds, NULL, 10);

	map_foreign_code();
	ready();
	for (;;) {
		pid_t child = fork();

		if (child > 0)
			_exit(0);
		if (pause_us > 0)
			(void)usleep(pause_us);
	}
}

static pthread_barrier_t all_there;
static pid_t last_thread;

static void *wait_in_thread(void *is_last)
{
	if (is_last != NULL)
		last_thread = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&all_there);
	for (;;)
		pause();
	return NULL;
}

/* Many threads, of which one is traced, by a child. */
static void have_threads(const char *argument)
{
	pthread_attr_t small;

	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	pthread_barrier_init(&all_there, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, &small, wait_in_thread,
				   i == THREADS - 1 ? &last_thread : NULL) != 0)
			_exit(91);
	}
	pthread_barrier_wait(&all_there);
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	if (argument != NULL && fork() == 0) {
		if (ptrace(PTRACE_SEIZE, last_thread, NULL, NULL) != 0)
			_exit(92);
		rest(NULL);
	}
	if (argument == NULL)
		ready();
	for (;;)
		pause();
}

static void be_called(const char *name)
{
	(void)prctl(PR_SET_NAME, name);
	rest(NULL);
}

/* Processes of the node that begin, execute and end as fast as they can. */
static void come_and_go(const char *argument)
{
	ready();
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			execl("/bin/true", "true", (char *)NULL);
			_exit(1);
		}
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
	}
}

/* One number, the same program again and again. */
static void execute_itself(const char *argument)
{
	static const char again[] = "exec /bin/sh -c \"$0\" \"$0\"";

	ready();
	/* "$0" is what it executes next: the shell with the same two words. */
	execl("/bin/sh", "sh", "-c", again, again, (char *)NULL);
}

static void run_python(const char *argument)
{
	execl("/usr/bin/python3", "python3", "-c",
	      "import ctypes, hashlib, json, os, re, socket, ssl, threading\n"
	      "os.write(3, b'r')\n"
	      "while True:\n"
	      "    t = threading.Thread(target=lambda: json.dumps(list(range(999))))\n"
	      "    t.start(); t.join()\n"
	      "    re.sub('a', 'b', 'a' * 999); hashlib.sha256(b'x' * 9999).hexdigest()\n",
	      (char *)NULL);
}

extern const char __executable_start[], etext[];
static volatile unsigned long sum;

static void *work(void *data)
{
	for (size_t size = 4096; size < 4 << 20; size *= 2) {
		char *bytes = malloc(size);

		if (bytes == NULL)
			continue;
		memset(bytes, 1, size);
		sum += (unsigned char)bytes[size / 2];
		free(bytes);
	}
	return NULL;
}

static void read_own_code(void)
{
	for (const char *byte = __executable_start; byte < etext; byte += 64)
		sum += (unsigned char)*byte;
}

static void one_round(void)
{
	struct timespec now;
	pthread_t thread;

	read_own_code();
	if (pthread_create(&thread, NULL, work, NULL) == 0)
		(void)pthread_join(thread, NULL);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	if (child > 0)
		(void)waitpid(child, NULL, 0);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	sum += (unsigned long)now.tv_nsec;
	/* Mapped and unmapped without ever being executable. */
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED)
		(void)munmap(page, 4096);
}

/*
 * What a busy service does: memory that comes and goes, threads that do, children that end at once,
 * and its own code read from end to end.
 */
static void work_for_ever(const char *argument)
{
	one_round();
	ready();
	for (;;)
		one_round();
}

static void run(const char *argument)
{
	execl(argument, "run", "rest", (char *)NULL);
}

static void run_when_told(const char *argument)
{
	(void)signal(SIGUSR1, hear);
	ready();
	(void)pause();
	/* The new program says that it is ready, too. */
	if (open("/dev/null", O_WRONLY) != READY_FD)
		_exit(90);
	run(argument);
}

static const struct {
	const char *name;
	void (*act)(const char *argument);
} acts[] = {
	{"rest", rest},
	{"work", work_for_ever},
	{"python", run_python},
	{"come-and-go", come_and_go},
	{"execute-itself", execute_itself},
	{"run", run},
	{"run-when-told", run_when_told},
	{"writable-code", make_writable_code},
	{"data-into-code", turn_data_into_code},
	{"memory-file", make_memory_file},
	{"map-as-code", map_as_code},
	{"change-own-code", change_own_code},
	{"write-read-only-data", write_read_only_data},
	{"write-private-copy", map_and_read_data},
	{"guard-code", guard_code},
	{"rewrite-code", rewrite_code},
	{"leave-the-first-thread", leave_the_first_thread},
	{"leave-when-told", leave_when_told},
	{"run-memory-file", run_memory_file},
	{"be-traced", be_traced},
	{"make-a-namespace", make_a_namespace},
	{"hide-behind-mappings", hide_behind_mappings},
	{"hide-among-others", hide_among_others},
	{"hand-on", hand_on},
	{"have-threads", have_threads},
	{"be-called", be_called},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(acts) / sizeof(acts[0]); i++)
		if (strcmp(acts[i].name, argv[1]) == 0)
			acts[i].act(argc > 2 ? argv[2] : NULL);
	return 1;
}
