/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What it costs to learn of refused calls, by the ways of refused.h, in random order again and
 * again:
 *
 *     refused ROUNDS
 *
 * prints a JSON line for each way of each round: nanoseconds for an ordinary call (getppid), a
 * refused one that the sensor has a class for (kcmp) and one that it has none for (acct). As root;
 * in namespaces of its own, but raw tracepoints are the whole kernel's: programs of agents that run
 * elsewhere on this machine cost every way the same.
 *
 * At last it tries what becomes of callers when nobody answers: "closed" and "silent".
 */

#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cgroup/cgroup.h"
#include "refused.h"
#include "sensor/sensor.h"

enum { CHEAP = 200000, DEAR = 20000, SILENCE_MS = 300, SLOT = 1, LEVEL = 1 };

typedef enum { NOTHING, ERRNO, TRACED, NOTIFIED, NOTIFIED_SYNC, WAYS } Way;
static const char *const names[WAYS] = {"nothing", "errno", "traced", "notified", "notified-sync"};

typedef struct {
	DnInstance instance;
	char *directory, *group;
	DnAnswer answers[DN_DRIFT_LIMIT];
} Bench;

static void fail(const char *what)
{
	(void)fprintf(stderr, "refused: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void need(bool done, const char *what)
{
	if (!done)
		fail(what);
}

static void send_fd(int link, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 0;
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	need(sendmsg(link, &message, 0) == 1, "send the descriptor");
}

static int receive_fd(int link)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 0;
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	int fd = -1;

	need(recvmsg(link, &message, MSG_CMSG_CLOEXEC) == 1, "receive the descriptor");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* The process that is measured; it has entered the node's group already. */
static void measure(Way way, int link, int out)
{
	char line[256];
	double refused[CALLS] = {0, 0};

	if (way == ERRNO || way == TRACED)
		need(filter_errno(), "install a filter");
	if (way == NOTIFIED || way == NOTIFIED_SYNC) {
		dn_autofd int fd = filter_notify();

		need(fd >= 0, "install a filter that notifies");
		send_fd(link, fd);
	}
	(void)time_ordinary(CHEAP / 10);
	double ordinary = time_ordinary(CHEAP);
	for (int i = 0; i < CALLS && way != NOTHING; i++)
		refused[i] = time_refused(refused_calls[i], DEAR);
	int length = snprintf(line, sizeof(line),
			      "{\"way\": \"%s\", \"ordinary\": %.1f, \"told\": %.1f, "
			      "\"untold\": %.1f}\n",
			      names[way], ordinary, refused[CALL_TOLD], refused[CALL_UNTOLD]);
	need(write(out, line, (size_t)length) == length, "tell");
	_exit(0);
}

static void enter(const char *group)
{
	g_autofree char *path = g_build_filename(group, "cgroup.procs", NULL);

	need(g_file_set_contents_full(path, "0", 1, G_FILE_SET_CONTENTS_NONE, 0600, NULL),
	     "enter the group");
}

static DnSensor *attach(const Bench *bench)
{
	g_autoptr(GError) error = NULL;
	DnSensor *sensor = dn_sensor_open(&bench->instance, LEVEL, &error);
	struct stat info;

	if (sensor == NULL) {
		(void)fprintf(stderr, "refused: %s\n", error->message);
		exit(1);
	}
	need(stat(bench->group, &info) == 0, "look at the group");
	DnSensorNode node = {.slot = SLOT,
			     .cgroup_id = info.st_ino,
			     .ifindex = 1,
			     .image = 1,
			     .service = 1,
			     .answer = bench->answers};
	if (!dn_sensor_add_node(sensor, &node, &error)) {
		(void)fprintf(stderr, "refused: %s\n", error->message);
		exit(1);
	}
	return sensor;
}

static void try_way(const Bench *bench, Way way)
{
	DnSensor *sensor = way == TRACED ? attach(bench) : NULL;
	int link[2];

	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) == 0, "socketpair");
	(void)fflush(stdout);
	pid_t child = fork();
	need(child >= 0, "fork");
	if (child == 0) {
		enter(bench->group);
		measure(way, link[1], STDOUT_FILENO);
	}
	if (way == NOTIFIED || way == NOTIFIED_SYNC) {
		dn_autofd int fd = receive_fd(link[0]);

		(void)answer_notifications(fd, way == NOTIFIED_SYNC);
	}
	int status = 0;
	need(waitpid(child, &status, 0) == child && status == 0, "a way has failed");
	close(link[0]);
	close(link[1]);
	dn_sensor_close(sensor);
	if (sensor != NULL && !dn_sensor_remove(&bench->instance, NULL))
		fail("detach the sensor");
}

/* A caller whose notification nobody takes. @close_it: the descriptor is closed, or kept. */
static void try_nobody(bool close_it)
{
	int link[2], status = 0;

	need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) == 0, "socketpair");
	(void)fflush(stdout);
	pid_t child = fork();
	need(child >= 0, "fork");
	if (child == 0) {
		int fd = filter_notify();
		char byte;

		send_fd(link[1], fd);
		close(fd);
		need(read(link[1], &byte, 1) == 1, "wait");
		long result = syscall(refused_calls[CALL_UNTOLD], 0);
		_exit(result < 0 ? errno : 0);
	}
	int fd = receive_fd(link[0]);
	if (close_it)
		dn_fd_clear(&fd);
	need(write(link[0], "", 1) == 1, "begin");
	g_usleep(SILENCE_MS * 1000);
	bool hangs = waitpid(child, &status, WNOHANG) == 0;
	if (hangs) {
		kill(child, SIGKILL);
		need(waitpid(child, &status, 0) == child, "end it");
	}
	printf("{\"way\": \"%s\", \"hangs\": %s, \"errno\": %d, \"killed\": %s}\n",
	       close_it ? "closed" : "silent", hangs ? "true" : "false",
	       WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? "true" : "false");
	dn_fd_clear(&fd);
	close(link[0]);
	close(link[1]);
}

static void set_up(Bench *bench)
{
	g_autofree char *name = g_strdup_printf("dnode-bench-%d", getpid());
	g_autoptr(GError) error = NULL;

	need(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0, "new namespaces, which root may make");
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "make mounts private");
	bench->directory = g_build_filename("/tmp", name, NULL);
	need(mkdir(bench->directory, 0700) == 0, "make a directory");
	need(mount("bpf", bench->directory, "bpf", 0, NULL) == 0, "mount a bpf file system");
	bench->instance = (DnInstance){
		.name = g_strdup(name),
		.bpf_dir = g_build_filename(bench->directory, "host", NULL),
		.cgroup_root = dn_cgroup_find_root(&error),
		.cgroup_parent = g_strdup(name),
	};
	need(bench->instance.cgroup_root != NULL, "find cgroup v2");
	g_autofree char *parent = g_build_filename(bench->instance.cgroup_root, name, NULL);
	bench->group = g_build_filename(parent, "node", NULL);
	need(mkdir(parent, 0755) == 0 && mkdir(bench->group, 0755) == 0, "make a group");
}

static void tear_down(Bench *bench)
{
	g_autofree char *parent = g_path_get_dirname(bench->group);

	for (int tries = 0; rmdir(bench->group) < 0 && errno == EBUSY && tries < 2000; tries++)
		g_usleep(1000);
	(void)rmdir(parent);
	(void)umount2(bench->directory, MNT_DETACH);
	(void)rmdir(bench->directory);
}

int main(int argc, char **argv)
{
	Bench bench = {0};
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 20;

	set_up(&bench);
	for (long round = 0; round < rounds; round++) {
		Way order[WAYS];

		for (int i = 0; i < WAYS; i++) {
			int j = g_random_int_range(0, i + 1);

			order[i] = order[j];
			order[j] = (Way)i;
		}
		for (int i = 0; i < WAYS; i++)
			try_way(&bench, order[i]);
	}
	try_nobody(true);
	try_nobody(false);
	tear_down(&bench);
	return 0;
}
