/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A node's first process that becomes foreign code itself. It is stopped and not killed, since
 * its death would take the rest of the node along, and with it what a responder wants to see. A
 * stop can be undone by a sibling, so foreign code may run until the freezer has the node: these
 * tests count how often, and show that it runs behind a cut that was there first.
 */

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "support/suite.h"

enum { STOP_MS = 1000, BELL_MS = 5000, FREEZE_MS = 5000, END_MS = 2000 };

/* What the test, the keeper of the pid namespace and the processes in it share. */
typedef struct {
	volatile pid_t first; /* as the test's pid namespace knows it; 0: not there yet */
	volatile int go;
	bool has_sibling;
	bool is_listed; /* it becomes the program of the image: nothing foreign */
	struct sockaddr_in ear;
} Scene;

typedef struct {
	bool ran, talked;
} Outcome;

static Host host;
static Scene *scene;
static DnSensorNode node;
static int ear = -1;

static void open_ear(void)
{
	socklen_t length = sizeof(scene->ear);

	scene->ear = (struct sockaddr_in){.sin_family = AF_INET};
	scene->ear.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ear = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert(bind(ear, (struct sockaddr *)&scene->ear, sizeof(scene->ear)) == 0);
	cr_assert(getsockname(ear, (struct sockaddr *)&scene->ear, &length) == 0);
}

static void setup(void)
{
	host_set_up(&host);
	scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	cr_assert(scene != MAP_FAILED);
	open_ear();
	node = host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
}

static void teardown(void)
{
	close(ear);
	munmap(scene, sizeof(*scene));
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(first_process, .init = setup, .fini = teardown, .timeout = 240);

/* ---- inside the node ---- */

static void wake_without_end(void)
{
	for (;;)
		kill(1, SIGCONT);
}

static void be_first(const Host *self)
{
	if (getpid() != 1)
		_exit(74);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (scene->has_sibling && fork() == 0)
		wake_without_end();
	while (!scene->go)
		sched_yield();
	if (scene->is_listed)
		exec_listed(self, NULL);
	else
		exec_foreign(self, NULL);
	_exit(75);
}

/* A pid namespace as a node has it. Descriptor 4 is a socket of the node's cgroup to the ear. */
static void keep_namespace(const Host *self, void *data)
{
	int talk = socket(AF_INET, SOCK_DGRAM, 0);

	if (talk < 0 || connect(talk, (struct sockaddr *)&scene->ear, sizeof(scene->ear)) < 0 ||
	    (talk != 4 && dup2(talk, 4) != 4) || unshare(CLONE_NEWPID) < 0)
		_exit(76);
	pid_t first = fork();
	if (first == 0)
		be_first(self);
	scene->first = first;
	waitpid(first, NULL, 0);
	_exit(0);
}

/* ---- outside ---- */

static bool is_there(void *data)
{
	return scene->first != 0;
}

static void write_cgroup(const char *file, const char *text)
{
	g_autofree char *path = g_build_filename(host.parent, "n0", file, NULL);
	dn_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

	cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
}

static bool is_frozen(void *data)
{
	g_autofree char *path = g_build_filename(host.parent, "n0", "cgroup.events", NULL);
	g_autofree char *events = NULL;

	return g_file_get_contents(path, &events, NULL, NULL) && strstr(events, "frozen 1") != NULL;
}

static bool is_stopped(void *data)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", scene->first);
	g_autofree char *stat = NULL;
	const char *state =
		g_file_get_contents(path, &stat, NULL, NULL) ? strrchr(stat, ')') : NULL;

	return state != NULL && state[2] == 'T';
}

static bool has_byte(int fd)
{
	char byte;

	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return read(fd, &byte, 1) == 1;
}

/* What the agent's reflex does when the bell rings. */
static void freeze_at_the_bell(void)
{
	struct pollfd bell = {.fd = dn_sensor_verdict_fd(host.sensor), .events = POLLIN};

	cr_assert(poll(&bell, 1, BELL_MS) == 1, "no verdict");
	write_cgroup("cgroup.freeze", "1");
	cr_assert(wait_until(is_frozen, NULL, FREEZE_MS), "the freezer did not get it");
}

static void await_stop(void)
{
	cr_assert(wait_until(is_stopped, NULL, STOP_MS), "it was not stopped");
}

/* The pipe has no writer any more: the first process ended, and its namespace with it. */
static bool has_ended(void *data)
{
	struct pollfd end = {.fd = *(int *)data};

	return poll(&end, 1, 0) == 1 && (end.revents & POLLHUP) != 0;
}

/*
 * One node whose first process becomes another program; @answer is what is done about it. What
 * remains is ended afterwards.
 */
static Outcome play(void (*answer)(void))
{
	g_autoptr(GError) error = NULL;
	dn_autofd int pipe_fd = -1;
	Outcome outcome = {0};

	scene->first = 0;
	scene->go = 0;
	pid_t keeper = host_spawn_in(&host, "n0", keep_namespace, NULL, &pipe_fd);
	cr_assert(wait_until(is_there, NULL, BELL_MS));
	node.pid1 = (uint32_t)scene->first;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "");
	scene->go = 1;
	if (answer != NULL)
		answer();
	else
		(void)wait_until(has_ended, &pipe_fd, END_MS);
	outcome.ran = has_byte(pipe_fd);
	write_cgroup("cgroup.kill", "1");
	write_cgroup("cgroup.freeze", "0");
	cr_assert(waitpid(keeper, NULL, 0) == keeper);
	outcome.talked = has_byte(ear);
	dn_sensor_drain_verdicts(host.sensor);
	return outcome;
}

/* Play @n rounds, every one of which has to leave a mark. */
static void play_all(unsigned n, void (*answer)(void), unsigned *ran, unsigned *talked)
{
	*ran = *talked = 0;
	for (unsigned i = 0; i < n; i++) {
		Outcome outcome = play(answer);

		*ran += outcome.ran;
		*talked += outcome.talked;
		cr_assert(ne(u64, dn_sensor_marks(host.sensor)[0].cut_ns, 0),
			  "round %u left no mark", i);
	}
}

Test(first_process, may_become_a_program_of_its_image_and_talk)
{
	scene->is_listed = true;
	Outcome outcome = play(NULL);

	cr_assert(outcome.ran);
	cr_assert(outcome.talked, "these tests could not notice that anybody talks");
	cr_assert(eq(u64, dn_sensor_marks(host.sensor)[0].event_ns, 0));
}

Test(first_process, that_turns_foreign_is_stopped_before_its_first_instruction)
{
	unsigned n = rounds(), ran, talked;

	play_all(n, await_stop, &ran, &talked);
	cr_assert(eq(u32, ran, 0), "foreign code ran in %u of %u", ran, n);
	cr_assert(eq(u32, talked, 0));
}

Test(first_process, that_a_sibling_keeps_waking_cannot_talk_until_it_is_frozen)
{
	unsigned n = rounds(), ran, talked;

	scene->has_sibling = true;
	play_all(n, freeze_at_the_bell, &ran, &talked);
	fprintf(stderr, "# woken by a sibling, foreign code ran before the freezer in %u of %u\n",
		ran, n);
	cr_assert(eq(u32, talked, 0), "foreign code talked in %u of %u", talked, n);
}

/* If no sibling could wake it, the test above would show nothing. */
Test(first_process, that_a_sibling_keeps_waking_runs_where_nobody_freezes_it_and_cannot_talk)
{
	unsigned n = MIN(rounds(), 50), ran, talked;

	scene->has_sibling = true;
	play_all(n, NULL, &ran, &talked);
	fprintf(stderr, "# woken by a sibling and never frozen, it ran in %u of %u\n", ran, n);
	cr_assert(gt(u32, ran, 0));
	cr_assert(eq(u32, talked, 0), "foreign code talked in %u of %u", talked, n);
}
