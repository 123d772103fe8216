/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Namespaces of a node: guarded as long as its first process lives, whichever of its threads are
 * left, and forgotten with it.
 */

#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "sensor/private.h"
#include "support/suite.h"

enum { SLOT = 6, LIMIT_MS = 5000 };

/* What the test and the first process share. */
typedef struct {
	volatile int go;
} Scene;

static Host host;
static Scene *scene;
static pid_t first;
static int pipe_fd = -1, space_fd = -1;
static uint32_t space;

static void must(bool done)
{
	if (!done)
		_exit(73);
}

static void *outlive(void *data)
{
	for (;;)
		pause();
	return NULL;
}

/* A mount namespace of its own; its main thread ends when it is told to, another one does not. */
static void be_first(const Host *at, void *data)
{
	pthread_t other;

	must(unshare(CLONE_NEWNS) == 0 && pthread_create(&other, NULL, outlive, NULL) == 0);
	must(write(3, "r", 1) == 1);
	while (!scene->go)
		sched_yield();
	syscall(SYS_exit, 0);
}

static void setup(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = NULL;
	struct stat info;
	char byte;

	host_set_up(&host);
	scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	cr_assert(scene != MAP_FAILED);
	DnSensorNode node = host_add_node(&host, "n0", SLOT, DN_ANSWER_OBSERVE);
	first = host_spawn_in(&host, "n0", be_first, NULL, &pipe_fd);
	cr_assert(read(pipe_fd, &byte, 1) == 1);
	path = g_strdup_printf("/proc/%d/ns/mnt", first);
	space_fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(fstat(space_fd, &info) == 0);
	space = (uint32_t)info.st_ino;
	node.pid1 = (uint32_t)first;
	node.spaces[1] = space;
	host.answers[SLOT][DN_DRIFT_PROCESS_FOREIGN] = DN_ANSWER_QUARANTINE;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "no error was set");
}

static void teardown(void)
{
	close(pipe_fd);
	close(space_fd);
	munmap(scene, sizeof(*scene));
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(spaces, .init = setup, .fini = teardown, .timeout = 60);

static volatile struct dn_sensor_mark *mark(void)
{
	return &dn_sensor_marks(host.sensor)[SLOT];
}

static bool is_main_thread_gone(void *data)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", first);
	g_autofree char *stat = NULL;

	return g_file_get_contents(path, &stat, NULL, NULL) && strstr(stat, ") Z ") != NULL;
}

static bool is_known(void)
{
	uint64_t owner = 0;

	return bpf_map_lookup_elem(host.sensor->maps[DN_PIN_SPACE], &space, &owner) == 0;
}

/* Somebody of the host, who is not the agent, enters the namespace. */
static void enter(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setns(space_fd, CLONE_NEWNS) == 0 ? 0 : 1);
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
}

Test(spaces, whoever_enters_one_is_foreign)
{
	enter();
	cr_assert(eq(u32, mark()->class, DN_DRIFT_PROCESS_FOREIGN));
}

Test(spaces, they_stay_guarded_when_the_main_thread_has_ended)
{
	scene->go = 1;
	cr_assert(wait_until(is_main_thread_gone, NULL, LIMIT_MS));
	cr_assert(is_known());
	enter();
	cr_assert(eq(u32, mark()->class, DN_DRIFT_PROCESS_FOREIGN));
}

Test(spaces, they_are_forgotten_with_the_first_process_whichever_thread_was_its_last)
{
	scene->go = 1;
	cr_assert(wait_until(is_main_thread_gone, NULL, LIMIT_MS));
	cr_assert(kill(first, SIGKILL) == 0 && waitpid(first, NULL, 0) == first);
	cr_assert(not(is_known()));
}
