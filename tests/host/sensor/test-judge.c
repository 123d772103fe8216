/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Refused execs: what is seen of them, and which ones are proof. The node here has a root of
 * its own (a tmpfs that plays the image), a noexec tmpfs on /tmp and a proc.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "fixture.h"
#include "support/suite.h"

static Host host;
static DnSensorNode node;
static char *root; /* of the node, as the host sees it before the node enters it */

static void setup(void)
{
	host_set_up(&host);
	root = g_build_filename(host.directory, "root", NULL);
	cr_assert(mkdir(root, 0755) == 0);
	cr_assert(mount("image", root, "tmpfs", 0, "mode=755") == 0);
	run("cd '%s' && mkdir -p bin etc tmp proc && touch etc/data bin/tool && chmod 644 etc/data "
	    "bin/tool && ln -s /tmp/evil bin/link && ln -s ../etc/data bin/inside",
	    root);
	node = host_add_node(&host, "n0", 0, DN_ANSWER_QUARANTINE);
}

static void teardown(void)
{
	g_free(root);
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(judge, .init = setup, .fini = teardown, .timeout = 60);

static void must(bool done)
{
	if (!done)
		_exit(73);
}

/* What crun does: a mount namespace whose root is the image. */
static void enter_root(void)
{
	g_autofree char *tmp = g_build_filename(root, "tmp", NULL);
	g_autofree char *proc = g_build_filename(root, "proc", NULL);

	must(unshare(CLONE_NEWNS) == 0);
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	must(mount("tmp", tmp, "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, NULL) == 0);
	must(mount("proc", proc, "proc", 0, NULL) == 0);
	must(chdir(root) == 0 && syscall(SYS_pivot_root, ".", ".") == 0);
	must(umount2(".", MNT_DETACH) == 0 && chdir("/") == 0);
	int evil = open("/tmp/evil", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	must(evil >= 0 && write(evil, "\177ELF", 4) == 4);
	close(evil);
}

static void try_exec(const char *path)
{
	char name[] = "x", *const arguments[] = {name, NULL}, *const environment[] = {NULL};

	(void)execve(path, arguments, environment);
}

static void try_execveat(int fd, const char *path, int flags)
{
	char name[] = "x", *const arguments[] = {name, NULL}, *const environment[] = {NULL};

	(void)syscall(SYS_execveat, fd, path, arguments, environment, flags);
}

/* In the node: enter the root, make the attempt of the test, stay to be looked at. */
static void attempt(const Host *self, void *data)
{
	void (*make)(void) = data;

	enter_root();
	make();
	(void)!write(3, "t", 1);
	for (;;)
		pause();
}

typedef enum { NOTHING_SEEN, FOREIGN, NOT_FOREIGN } Verdict;

/* @make makes its attempts in the node; how was the last one judged, of the @told that were told?
 */
static Verdict judge(void (*make)(void), unsigned told)
{
	char byte;
	dn_autofd int pipe_fd = -1;
	pid_t pid = host_spawn_in(&host, "n0", attempt, make, &pipe_fd);

	cr_assert(read(pipe_fd, &byte, 1) == 1, "the node could not make its attempt");
	volatile struct dn_sensor_mark *mark = &dn_sensor_marks(host.sensor)[0];
	Seen seen = host_drain(&host);
	bool foreign = seen.count > 0 &&
		       dn_sensor_refused_is_foreign(host.sensor, 1, &seen.last, (uint32_t)pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	cr_assert(le(u32, seen.count, told));
	/* What a descriptor names the kernel judges itself. */
	if (mark->event_ns != 0) {
		cr_assert(eq(u32, mark->class, DN_DRIFT_EXEC));
		cr_assert(mark->result == -EACCES || mark->result == -EPERM);
		return FOREIGN;
	}
	if (seen.count == 0)
		return NOTHING_SEEN;
	cr_assert(eq(u32, seen.count, told));
	cr_assert(eq(u32, seen.last.kind, DN_SEEN_REFUSED));
	cr_assert(seen.last.result == -EACCES || seen.last.result == -EPERM);
	return foreign ? FOREIGN : NOT_FOREIGN;
}

#define JUDGED(make_, verdict_) cr_assert(eq(int, (int)judge(make_, 1), verdict_))

static void exec_on_tmp(void)
{
	try_exec("/tmp/evil");
}

Test(judge, a_file_on_a_noexec_tmpfs_is_foreign)
{
	JUDGED(exec_on_tmp, FOREIGN);
}

static void exec_by_link(void)
{
	try_exec("/bin/link");
}

Test(judge, a_link_in_the_image_does_not_hide_a_foreign_file)
{
	JUDGED(exec_by_link, FOREIGN);
}

static void exec_relative(void)
{
	must(chdir("/tmp") == 0);
	try_exec("../tmp/./evil");
}

Test(judge, a_relative_path_is_resolved_from_the_working_directory)
{
	JUDGED(exec_relative, FOREIGN);
}

static void exec_at_directory(void)
{
	try_execveat(open("/tmp", O_PATH | O_CLOEXEC), "evil", 0);
}

Test(judge, a_path_below_a_directory_descriptor_is_resolved_from_there)
{
	JUDGED(exec_at_directory, FOREIGN);
}

static void exec_descriptor(void)
{
	try_execveat(open("/tmp/evil", O_RDONLY | O_CLOEXEC), "", AT_EMPTY_PATH);
}

Test(judge, an_open_file_is_judged_by_itself)
{
	JUDGED(exec_descriptor, FOREIGN);
}

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static void exec_memory(void)
{
	try_execveat(memfd_create("m", MFD_CLOEXEC | MFD_NOEXEC_SEAL), "", AT_EMPTY_PATH);
}

Test(judge, memory_is_foreign)
{
	JUDGED(exec_memory, FOREIGN);
}

static void exec_memory_by_name(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d",
		       memfd_create("m", MFD_CLOEXEC | MFD_NOEXEC_SEAL));
	try_exec(path);
}

Test(judge, memory_is_foreign_by_its_name_in_proc_too)
{
	JUDGED(exec_memory_by_name, FOREIGN);
}

/* Before anybody looks. */
static void exec_and_close(void)
{
	int fd = open("/tmp/evil", O_RDONLY | O_CLOEXEC);

	try_execveat(fd, "", AT_EMPTY_PATH);
	close(fd);
}

Test(judge, a_descriptor_that_is_closed_at_once_was_judged)
{
	JUDGED(exec_and_close, FOREIGN);
}

static void exec_by_number_and_close(void)
{
	char path[64];
	int fd = memfd_create("m", MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	try_exec(path);
	close(fd);
}

Test(judge, a_descriptor_by_its_name_that_is_closed_at_once_was_judged)
{
	JUDGED(exec_by_number_and_close, FOREIGN);
}

static void exec_descriptor_of_image(void)
{
	try_execveat(open("/etc/data", O_RDONLY | O_CLOEXEC), "", AT_EMPTY_PATH);
}

Test(judge, a_descriptor_of_the_image_is_not_foreign)
{
	JUDGED(exec_descriptor_of_image, NOT_FOREIGN);
}

static void exec_beside_descriptor(void)
{
	try_execveat(open("/etc/data", O_RDONLY | O_CLOEXEC), "/tmp/evil", AT_EMPTY_PATH);
}

Test(judge, a_descriptor_of_the_image_hides_no_path)
{
	JUDGED(exec_beside_descriptor, FOREIGN);
}

static void exec_by_working_directory(void)
{
	must(chdir("/tmp") == 0);
	try_exec("/proc/self/cwd/evil");
}

static void exec_by_root(void)
{
	try_exec("/proc/thread-self/root/tmp/evil");
}

/* Kept open by another process than the one that tries. */
static void exec_by_other(void)
{
	char path[64];
	int fd = open("/tmp/evil", O_RDONLY | O_CLOEXEC);

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	pid_t pid = fork();
	if (pid == 0) {
		close(fd);
		try_exec(path);
		_exit(0);
	}
	must(waitpid(pid, NULL, 0) == pid);
}

static void exec_by_links(void)
{
	must(chdir("/tmp") == 0 && symlink("/proc/self/cwd", "/tmp/here") == 0 &&
	     symlink("here/../tmp/evil", "/tmp/there") == 0);
	try_exec("/tmp/there");
}

static void exec_data_by_root(void)
{
	must(chdir("/tmp") == 0);
	try_exec("/proc/self/cwd/../proc/self/root/etc/data");
}

Test(judge, links_of_proc_hide_no_foreign_file)
{
	JUDGED(exec_by_working_directory, FOREIGN);
	JUDGED(exec_by_root, FOREIGN);
	JUDGED(exec_by_other, FOREIGN);
	JUDGED(exec_by_links, FOREIGN);
	JUDGED(exec_data_by_root, NOT_FOREIGN);
}

/* ---- the same path again ---- */

static void exec_what_becomes_a_file(void)
{
	must(mkdir("/tmp/x", 0755) == 0);
	try_exec("/tmp/x");
	must(rmdir("/tmp/x") == 0 && rename("/tmp/evil", "/tmp/x") == 0);
	try_exec("/tmp/x");
}

Test(judge, a_path_that_was_harmless_a_moment_ago_is_told_again)
{
	cr_assert(eq(int, (int)judge(exec_what_becomes_a_file, 2), FOREIGN));
}

/* One attempt at a time, whenever the test says so: of a file of the image, or a directory. */
static void exec_again_and_again(const Host *self, void *data)
{
	char byte;
	const int *ends = data;

	enter_root();
	(void)!write(3, "t", 1);
	while (read(ends[1], &byte, 1) == 1) {
		try_exec(byte == 'i' ? "/etc/data" : "/tmp");
		(void)!write(3, "t", 1);
	}
	_exit(0);
}

Test(judge, what_cannot_change_is_told_once_and_what_can_be_put_there_each_time)
{
	static const struct {
		char which;
		unsigned again;
	} rows[] = {{'i', 0}, {'t', 1}};
	g_autoptr(GError) error = NULL;
	dn_autofd int pipe_fd = -1;
	int ends[2];
	char byte;

	cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	pid_t pid = host_spawn_in(&host, "n0", exec_again_and_again, ends, &pipe_fd);
	cr_assert(read(pipe_fd, &byte, 1) == 1);
	node.pid1 = (uint32_t)pid;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "no error was set");
	(void)host_drain(&host);
	for (unsigned i = 0; i < 2 * G_N_ELEMENTS(rows); i++) {
		cr_assert(write(ends[0], &rows[i / 2].which, 1) == 1 &&
			  read(pipe_fd, &byte, 1) == 1);
		Seen seen = host_drain(&host);
		cr_assert(eq(u32, seen.count, i % 2 == 0 ? 1 : rows[i / 2].again), "try %u", i);
		if (i % 2 == 0)
			dn_sensor_refused_in_vain(host.sensor, &seen.last, (uint32_t)pid);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ends[0]);
	close(ends[1]);
}

static void exec_data(void)
{
	try_exec("/etc/data");
}

Test(judge, a_file_of_the_image_that_is_not_executable_is_not_foreign)
{
	JUDGED(exec_data, NOT_FOREIGN);
}

static void exec_inside_link(void)
{
	try_exec("/bin/inside");
}

Test(judge, a_link_within_the_image_is_not_foreign)
{
	JUDGED(exec_inside_link, NOT_FOREIGN);
}

static void exec_directory(void)
{
	try_exec("/tmp");
}

Test(judge, a_directory_is_not_foreign)
{
	JUDGED(exec_directory, NOT_FOREIGN);
}

static void search_path(void)
{
	try_exec("/sbin/tool");
	try_exec("/usr/local/bin/tool");
	try_exec("/bin/nothing");
}

Test(judge, a_search_for_a_program_that_is_missing_is_not_even_seen)
{
	JUDGED(search_path, NOTHING_SEEN);
}

static void exec_escape(void)
{
	try_exec("/../../../../etc/data");
}

Test(judge, a_path_cannot_climb_out_of_the_root)
{
	JUDGED(exec_escape, NOT_FOREIGN);
}

static void exec_long(void)
{
	char path[1024] = "/tmp";

	while (strlen(path) < 300)
		strcat(path, "/../tmp");
	strcat(path, "/evil");
	try_exec(path);
}

Test(judge, a_path_that_was_cut_off_is_no_proof)
{
	JUDGED(exec_long, NOT_FOREIGN);
}

static void forbid_execveat(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {G_N_ELEMENTS(filter), filter};

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	try_execveat(AT_FDCWD, "/tmp/evil", 0);
}

Test(judge, an_attempt_that_seccomp_refuses_is_seen_too)
{
	JUDGED(forbid_execveat, FOREIGN);
}

/* A child makes the attempt and is gone, reaped, before anybody looks. */
static void exec_and_go(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		try_exec("/tmp/evil");
		_exit(0);
	}
	must(waitpid(pid, NULL, 0) == pid);
}

Test(judge, an_absolute_path_is_judged_though_the_process_has_gone)
{
	JUDGED(exec_and_go, FOREIGN);
}

static void exec_relative_and_go(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		must(chdir("/tmp") == 0);
		try_exec("evil");
		_exit(0);
	}
	must(waitpid(pid, NULL, 0) == pid);
}

Test(judge, a_relative_path_of_a_process_that_has_gone_is_no_proof)
{
	JUDGED(exec_relative_and_go, NOT_FOREIGN);
}
