/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
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
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/members.h"
#include "cgroup/cgroup.h"

static void sweep(const char *cgroup)
{
	g_autofree char *kill_file = g_build_filename(cgroup, "cgroup.kill", NULL);
	g_autofree char *node = g_build_filename(cgroup, "n1", NULL);
	g_autofree char *procs = g_build_filename(node, "cgroup.procs", NULL);
	g_autofree char *group = g_strdup_printf("%s/n1", strrchr(cgroup, '/'));

	if (!dn_file_write_kernel(kill_file, "1", NULL))
		return;
	/* It does not reach a process whose first thread has left. */
	dn_members_kill(procs, group);
	for (int tries = 0; !dn_file_remove_directories(cgroup, NULL) && tries < 2000; tries++)
		g_usleep(1000);
}

/* Ends with the test process, however that ends, and sweeps up after it. */
static void leave_guardian(const Host *host)
{
	int alive[2];
	char byte;

	cr_assert(pipe2(alive, O_CLOEXEC) == 0);
	pid_t pid = fork();
	cr_assert(pid >= 0);
	if (pid > 0) {
		close(alive[0]); /* the writing end lives as long as this process */
		return;
	}
	setsid();
	close(alive[1]);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	while (read(alive[0], &byte, 1) < 0 && errno == EINTR)
		continue;
	sweep(host->cgroup);
	(void)umount2(host->directory, MNT_DETACH);
	(void)rmdir(host->directory);
	_exit(0);
}

static uint64_t device_of(int fd)
{
	struct stat info;

	cr_assert(fd >= 0 && fstat(fd, &info) == 0);
	return (uint64_t)major(info.st_dev) << 20 | minor(info.st_dev);
}

/*
 * A mount goes from every namespace when its mount point is removed in one, which others on this
 * machine do below their own directories: nodes are to have none of those.
 */
static void leave_the_mounts_of_others(void)
{
	static const char *const kept[] = {"/proc", "/sys", "/dev", NULL};
	g_autofree char *text = NULL;

	cr_assert(g_file_get_contents("/proc/self/mounts", &text, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line != NULL; line++) {
		g_auto(GStrv) words = g_strsplit(*line, " ", 3);
		bool is_kept = g_strv_length(words) < 2 || g_str_equal(words[1], "/");

		for (size_t i = 0; kept[i] != NULL; i++)
			is_kept = is_kept || g_str_has_prefix(words[1], kept[i]);
		if (!is_kept)
			(void)umount2(words[1], MNT_DETACH);
	}
}

static int open_actor(const char *variable)
{
	const char *path = g_getenv(variable);

	cr_assert(path != NULL, "run it through meson, which says where the program is");
	int fd = open(path, O_PATH | O_CLOEXEC);
	cr_assert(fd >= 0, "%s: %s", path, g_strerror(errno));
	return fd;
}

void host_set_up(Host *host)
{
	g_autofree char *name = g_strdup_printf("dni%d", getpid());
	g_autoptr(GError) error = NULL;
	g_autofree char *root = dn_cgroup_find_root(&error);

	cr_assert(root != NULL, "%s", error != NULL ? error->message : "no error was set");
	cr_assert(unshare(CLONE_NEWNS) == 0, "these tests need root");
	cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	host->actors[false] = open_actor("DNODE_TEST_ACTOR");
	host->actors[true] = open_actor("DNODE_TEST_ACTOR_STATIC");
	leave_the_mounts_of_others();
	host->directory = g_build_filename("/tmp", name, NULL);
	cr_assert(mkdir(host->directory, 0755) == 0);
	cr_assert(mount("tmpfs", host->directory, "tmpfs", 0, "mode=755") == 0);
	host->cgroup = g_build_filename(root, name, NULL);
	cr_assert(mkdir(host->cgroup, 0755) == 0);
	leave_guardian(host);
	dn_autofd int libraries_fd = open("/usr/lib", O_PATH | O_CLOEXEC);
	host->image[0] = device_of(libraries_fd);
	host->image[1] = device_of(host->actors[false]);
}

void host_tear_down(Host *host)
{
	sweep(host->cgroup);
	(void)umount2(host->directory, MNT_DETACH);
	(void)rmdir(host->directory);
	g_free(host->cgroup);
	g_free(host->directory);
	dn_fd_clear(&host->actors[false]);
	dn_fd_clear(&host->actors[true]);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
}

static enum dn_drift_class class_of(void *data, uint64_t dev, uint64_t ino, bool as_program)
{
	const Host *host = data;

	if (dev != host->image[0] && dev != host->image[1])
		return as_program ? DN_DRIFT_EXEC : DN_DRIFT_LIBRARY;
	return as_program && host->shell != 0 && ino == host->shell ? DN_DRIFT_SHELL
								    : DN_DRIFT_NONE;
}

typedef struct {
	const Node *node;
	const char *below; /* a cgroup below the node's, or NULL */
	unsigned oddities;
	bool is_first;
	const char *act, *argument;
	int ready_fd;
} Start;

static void let_everything_through(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {1, &allow};

	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
		_exit(71);
}

/* Become what the processes of a node are, and @start->act. */
static void become(const Start *start)
{
	unsigned odd = start->oddities;
	gid_t gid = odd & WITH_HOST_GID ? 100 : UID_BASE + 100;
	uid_t uid = odd & WITH_HOST_UID ? 100 : UID_BASE + 100;

	for (unsigned long i = 0; i < 64 && !(odd & WITH_CAPABILITIES); i++)
		if (prctl(PR_CAPBSET_DROP, i) < 0 && errno != EINVAL)
			_exit(72);
	if (!(odd & WITHOUT_SECCOMP))
		let_everything_through();
	if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 ||
	    setresuid(uid, uid, uid) != 0)
		_exit(73);
	if (!(odd & WITHOUT_NO_NEW_PRIVS) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		_exit(74);
	/* By descriptor: the tree may be where a node's user cannot go. */
	char *const arguments[] = {(char *)"actor", (char *)start->act, (char *)start->argument,
				   NULL};
	char *const environment[] = {NULL};
	syscall(SYS_execveat, start->node->host->actors[odd & IS_STATIC ? 1 : 0], "", arguments,
		environment, AT_EMPTY_PATH);
	_exit(75);
}

static void enter_cgroup(const Start *start)
{
	g_autofree char *path =
		g_build_filename(start->node->cgroup, start->below != NULL ? start->below : ".",
				 "cgroup.procs", NULL);
	dn_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "0", 1) != 1)
		_exit(76);
}

static void enter_namespaces(const Start *start)
{
	const int others = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

	if (start->is_first) {
		if (unshare(others | CLONE_NEWPID) != 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
			_exit(77);
		return;
	}
	dn_autofd int fd = (int)syscall(SYS_pidfd_open, start->node->pid1, 0);
	if (setns(fd, others | (start->oddities & IN_HOST_PID_NAMESPACE ? 0 : CLONE_NEWPID)) != 0)
		_exit(78);
}

/* In a process of its own: its child is in the namespaces, and a child of the test. */
static void start_child(const Start *start)
{
	if (!(start->oddities & OUTSIDE_OF_CGROUP))
		enter_cgroup(start);
	enter_namespaces(start);
	long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		if (start->ready_fd == READY_FD)
			(void)fcntl(READY_FD, F_SETFD, 0);
		else if (dup2(start->ready_fd, READY_FD) != READY_FD)
			_exit(79);
		become(start);
	}
	if (write(start->ready_fd, &(pid_t){(pid_t)pid}, sizeof(pid_t)) != sizeof(pid_t))
		_exit(80);
	_exit(pid < 0 ? 81 : 0);
}

/* The pid and the "r" come in either order, in one message each. */
static void read_messages(int fd, pid_t *pid)
{
	bool is_ready = false;

	*pid = 0;
	while (!is_ready || *pid == 0) {
		struct pollfd wait = {fd, POLLIN, 0};
		char message[sizeof(pid_t)];

		cr_assert(poll(&wait, 1, 20000) == 1, "the process is not ready after 20 s");
		ssize_t length = recv(fd, message, sizeof(message), 0);
		cr_assert(length > 0, "the process ended before it was ready");
		if (length == sizeof(pid_t))
			memcpy(pid, message, sizeof(pid_t));
		else
			is_ready = true;
	}
}

static pid_t start_now(Start *start)
{
	int ends[2], status = 0;
	pid_t pid = 0;

	cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	start->ready_fd = ends[1];
	pid_t helper = fork();
	cr_assert(helper >= 0);
	if (helper == 0)
		start_child(start);
	close(ends[1]);
	cr_assert(waitpid(helper, &status, 0) == helper);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the helper ended with %d",
		  WEXITSTATUS(status));
	read_messages(ends[0], &pid);
	close(ends[0]);
	return pid;
}

void node_start(Node *node, const Host *host, const char *name, unsigned oddities, const char *act,
		const char *argument)
{
	g_autoptr(GError) error = NULL;

	node->host = host;
	node->cgroup = g_build_filename(host->cgroup, name, NULL);
	cr_assert(mkdir(node->cgroup, 0755) == 0);
	Start start = {.node = node,
		       .oddities = oddities,
		       .is_first = true,
		       .act = act,
		       .argument = argument};
	node->pid1 = (uint32_t)start_now(&start);
	node->as_known = (DnInspectNode){.cgroup_dir = node->cgroup,
					 .pid1 = node->pid1,
					 .uid_base = UID_BASE,
					 .jit = oddities & WITH_JIT,
					 .class_of = class_of,
					 .data = (void *)host};
	node->baseline = dn_inspect_baseline_now(&node->as_known, &error);
	cr_assert(node->baseline != NULL, "%s",
		  error != NULL ? error->message : "no error was set");
}

void node_clear(Node *node)
{
	dn_inspect_baseline_free(node->baseline);
	g_free(node->cgroup);
	*node = (Node){0};
}

pid_t node_add(const Node *node, const char *below, unsigned oddities, const char *act,
	       const char *argument)
{
	Start start = {.node = node,
		       .below = below,
		       .oddities = oddities,
		       .act = act,
		       .argument = argument};

	return start_now(&start);
}

void node_look(const Node *node, bool plain, DnInspectLook *look)
{
	g_autoptr(GError) error = NULL;

	look->without_queries = plain;
	/* A machine that is taken away for moments counts them as this thread's. */
	if (look->budget_ns == 0)
		look->budget_ns = 5 * DN_NS_PER_S;
	bool looked = dn_inspect_node_now(node->baseline, look, &error);
	cr_assert(looked, "%s", error != NULL ? error->message : "no error was set");
	cr_assert(look->n_unread == 0, "%u unread: %s", look->n_unread,
		  g_strerror(look->unread_errno));
}

const DnInspectFinding *find(const DnInspectLook *look, enum dn_drift_class drift, pid_t pid)
{
	for (uint32_t i = 0; i < look->n_findings; i++)
		if (look->findings[i].class == drift && look->findings[i].pid == (uint32_t)pid)
			return &look->findings[i];
	return NULL;
}

static char *describe(const DnInspectLook *look)
{
	GString *text = g_string_new(NULL);

	for (uint32_t i = 0; i < look->n_findings; i++)
		g_string_append_printf(text, "[%d pid %u %s %s: %s] ", look->findings[i].class,
				       look->findings[i].pid, look->findings[i].comm,
				       look->findings[i].path, look->findings[i].detail);
	return g_string_free(text, FALSE);
}

const DnInspectFinding *only_finding(const DnInspectLook *look, enum dn_drift_class drift,
				     pid_t pid)
{
	const DnInspectFinding *finding = find(look, drift, pid);
	g_autofree char *all = describe(look);

	cr_assert(finding != NULL && look->n_findings == 1, "expected %d of %d alone, have %s",
		  drift, pid, all);
	return finding;
}

void assert_clean(const DnInspectLook *look)
{
	g_autofree char *all = describe(look);

	cr_assert(look->n_findings == 0, "%s", all);
	cr_assert(!look->incomplete);
}

uint64_t address_of(pid_t pid, const char *file, uint64_t offset, uint64_t *file_offset)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
	g_autofree char *maps = NULL;

	cr_assert(g_file_get_contents(path, &maps, NULL, NULL));
	g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
	for (char **line = lines; *line != NULL; line++) {
		unsigned long start = 0, from = 0;
		char permissions[5];

		if (!g_str_has_suffix(*line, file) ||
		    sscanf(*line, "%lx-%*x %4s %lx", &start, permissions, &from) != 3 ||
		    permissions[2] != 'x')
			continue;
		if (file_offset != NULL)
			*file_offset = from + offset;
		return start + offset;
	}
	cr_assert_fail("process %d executes nothing of %s", pid, file);
	return 0;
}

void patch(pid_t pid, uint64_t address)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/mem", pid);
	dn_autofd int fd = open(path, O_RDWR | O_CLOEXEC);
	unsigned char byte = 0;

	cr_assert(fd >= 0 && pread(fd, &byte, 1, (off_t)address) == 1);
	byte ^= 0x5a;
	cr_assert(pwrite(fd, &byte, 1, (off_t)address) == 1, "%s", g_strerror(errno));
}

void run(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *command = g_strdup_vprintf(format, args);
	va_end(args);
	int status = system(command);
	cr_assert(status == 0, "%s: status %d", command, status);
}
