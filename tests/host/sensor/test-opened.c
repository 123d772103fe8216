/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Files that a node opens, and what it makes executable: judged by what the kernel has, not by what
 * the caller's memory says when the call is over.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fixture.h"
#include "support/suite.h"

enum { SLOT = 5, PAGE = 4096 };

static Host host;

static void setup(void)
{
	host_set_up(&host);
}

static void teardown(void)
{
	host_tear_down(&host);
	dn_suite_end();
}

TestSuite(opened, .init = setup, .fini = teardown, .timeout = 60);

/* A node in which @drift is answered with @answer; all else is observed. */
static void add_node(enum dn_drift_class drift, DnAnswer answer)
{
	g_autoptr(GError) error = NULL;
	DnSensorNode node = host_add_node(&host, "n0", SLOT, DN_ANSWER_OBSERVE);

	host.answers[SLOT][drift] = answer;
	cr_assert(dn_sensor_add_node(host.sensor, &node, &error), "%s",
		  error != NULL ? error->message : "no error was set");
}

static volatile struct dn_sensor_mark *mark(void)
{
	return &dn_sensor_marks(host.sensor)[SLOT];
}

static bool was_killed(Result result)
{
	return WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL && !result.ran;
}

static void must(bool done)
{
	if (!done)
		_exit(73);
}

/* ---- memory of processes ---- */

/*
 * The kernel has copied the flags when it asks for the path, whose page is not there: time enough
 * for another thread to write other flags.
 */
typedef struct {
	int faults_fd;
	char *path;
	struct open_how how;
} Late;

static void *change_flags_then_give_path(void *data)
{
	static const char name[PAGE] __attribute__((aligned(PAGE))) = "/proc/self/mem";
	Late *late = data;
	struct pollfd asked = {.fd = late->faults_fd, .events = POLLIN};
	struct uffd_msg message;
	struct uffdio_copy copy = {
		.dst = (uintptr_t)late->path, .src = (uintptr_t)name, .len = PAGE};

	must(poll(&asked, 1, -1) == 1 &&
	     read(late->faults_fd, &message, sizeof(message)) == sizeof(message));
	late->how.flags = O_RDONLY;
	must(ioctl(late->faults_fd, UFFDIO_COPY, &copy) == 0);
	return NULL;
}

static void open_memory_unseen(const Host *at, void *data)
{
	struct uffdio_api api = {.api = UFFD_API};
	Late late = {.faults_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC),
		     .how = {.flags = O_RDWR}};
	pthread_t other;

	late.path = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {.range = {(uintptr_t)late.path, PAGE},
					.mode = UFFDIO_REGISTER_MODE_MISSING};
	must(late.faults_fd >= 0 && ioctl(late.faults_fd, UFFDIO_API, &api) == 0 &&
	     ioctl(late.faults_fd, UFFDIO_REGISTER, &range) == 0 &&
	     pthread_create(&other, NULL, change_flags_then_give_path, &late) == 0);
	long fd = syscall(SYS_openat2, AT_FDCWD, late.path, &late.how, sizeof(late.how));
	must(fd >= 0);
	(void)!write(3, "o", 1);
	_exit(0);
}

static void open_memory(const Host *at, void *data)
{
	const uint64_t *flags = data;
	struct open_how how = {.flags = *flags};

	must(syscall(SYS_openat2, AT_FDCWD, "/proc/self/mem", &how, sizeof(how)) >= 0);
	(void)!write(3, "o", 1);
	_exit(0);
}

Test(opened, memory_that_is_opened_to_be_written_is_seen)
{
	uint64_t flags = O_RDWR;

	add_node(DN_DRIFT_TEXT, DN_ANSWER_DENY);
	cr_assert(was_killed(host_run_in(&host, "n0", open_memory, &flags)));
}

Test(opened, flags_that_are_changed_meanwhile_hide_no_memory)
{
	add_node(DN_DRIFT_TEXT, DN_ANSWER_DENY);
	Result result = host_run_in(&host, "n0", open_memory_unseen, NULL);
	cr_assert(was_killed(result), "status %x", (unsigned)result.status);
}

Test(opened, memory_that_is_opened_to_be_read_is_nobodys_business)
{
	uint64_t flags = O_RDONLY;

	add_node(DN_DRIFT_TEXT, DN_ANSWER_QUARANTINE);
	Result result = host_run_in(&host, "n0", open_memory, &flags);
	cr_assert(result.ran);
	cr_assert(zero(u64, mark()->event_ns));
}

/* ---- what becomes executable ---- */

enum { EXISTING = 0644 };

/* A file that a test makes, or that exists, by the name that all of them use. */
static char *file_of(const Host *at)
{
	return g_build_filename(at->directory, "file", NULL);
}

static void make_file(mode_t mode)
{
	g_autofree char *path = file_of(&host);

	cr_assert(g_file_set_contents(path, "text", -1, NULL) && chmod(path, mode) == 0);
}

/* An access list of five entries: @mask for everybody who is named or in a group. */
static size_t fill_list(uint8_t *list, uint8_t owner, uint8_t mask)
{
	const uint8_t entries[][2] = {{1, owner}, {2, mask}, {4, 0}, {0x10, mask}, {0x20, 0}};
	size_t n = 0;

	memset(list, 0, 4 + 8 * G_N_ELEMENTS(entries));
	list[n] = 2; /* POSIX_ACL_XATTR_VERSION */
	n += 4;
	for (size_t i = 0; i < G_N_ELEMENTS(entries); i++, n += 8) {
		list[n] = entries[i][0];
		list[n + 2] = entries[i][1];
		memset(&list[n + 4], entries[i][0] == 2 ? 0 : 0xff, 4);
	}
	return n;
}

typedef enum { BY_PATH, BY_LINK, BY_DESCRIPTOR } How;

static void set_list(const Host *at, How how, uint8_t owner)
{
	static const char name[] = "system.posix_acl_access";
	g_autofree char *path = file_of(at);
	uint8_t list[64];
	size_t size = fill_list(list, owner, owner);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0);
	must((how == BY_PATH   ? setxattr(path, name, list, size, 0)
	      : how == BY_LINK ? lsetxattr(path, name, list, size, 0)
			       : fsetxattr(fd, name, list, size, 0)) == 0);
}

static void set_executable_list(const Host *at, void *data)
{
	set_list(at, *(const How *)data, 7);
	_exit(0);
}

static void set_harmless_list(const Host *at, void *data)
{
	set_list(at, *(const How *)data, 6);
	_exit(0);
}

static void set_other_attribute(const Host *at, void *data)
{
	g_autofree char *path = file_of(at);

	must(setxattr(path, "trusted.note", "x", 1, 0) == 0);
	_exit(0);
}

typedef struct {
	int flags;
	mode_t mode, umask;
	bool by_openat2;
} Opening;

static void open_file(const Host *at, void *data)
{
	const Opening *opening = data;
	g_autofree char *path = file_of(at);
	struct open_how how = {.flags = (uint64_t)opening->flags, .mode = opening->mode};

	(void)umask(opening->umask);
	if (opening->flags & __O_TMPFILE)
		*strrchr(path, '/') = '\0';
	must((opening->by_openat2 ? syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how))
				  : open(path, opening->flags, opening->mode)) >= 0);
	_exit(0);
}

static void change_mode_and_close(const Host *at, void *data)
{
	g_autofree char *path = file_of(at);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && fchmod(fd, 0755) == 0 && close(fd) == 0 && unlink(path) == 0);
	_exit(0);
}

static void change_mode_of_directory(const Host *at, void *data)
{
	int fd = open(at->directory, O_RDONLY | O_CLOEXEC);

	must(fd >= 0 && fchmod(fd, 0755) == 0);
	_exit(0);
}

typedef struct {
	unsigned all, judged; /* by the kernel */
	struct dn_sensor_observation last;
} Written;

static void count_written(const struct dn_sensor_observation *seen, void *data)
{
	Written *written = data;

	if (seen->class != DN_DRIFT_WRITE_EXEC)
		return;
	written->all++;
	written->judged += seen->kind == DN_SEEN_DRIFT;
	written->last = *seen;
}

static Written written_by(Act act, void *data)
{
	Written written = {0};
	Result result = host_run_in(&host, "n0", act, data);

	cr_assert(zero(int, result.status), "status %x", (unsigned)result.status);
	while (!dn_sensor_drain_observations(host.sensor, count_written, &written))
		;
	return written;
}

Test(opened, a_list_that_makes_a_file_executable_is_told)
{
	How by_path = BY_PATH, by_link = BY_LINK, by_descriptor = BY_DESCRIPTOR;

	make_file(EXISTING);
	add_node(DN_DRIFT_WRITE_EXEC, DN_ANSWER_OBSERVE);
	Written written = written_by(set_executable_list, &by_path);
	cr_assert(eq(u32, written.all, 1));
	cr_assert(eq(u32, written.last.kind, DN_SEEN_WRITTEN));
	cr_assert(eq(u32, written_by(set_executable_list, &by_link).all, 1));
	cr_assert(eq(u32, written_by(set_executable_list, &by_descriptor).judged, 1));
}

Test(opened, other_attributes_and_lists_make_nothing_executable)
{
	How by_descriptor = BY_DESCRIPTOR;

	make_file(EXISTING);
	add_node(DN_DRIFT_WRITE_EXEC, DN_ANSWER_OBSERVE);
	cr_assert(zero(u32, written_by(set_other_attribute, NULL).all));
	cr_assert(zero(u32, written_by(set_harmless_list, &by_descriptor).all));
}

Test(opened, a_file_that_is_made_executable_is_drift_by_whatever_call)
{
	static Opening openings[] = {
		{O_CREAT | O_RDWR, 0755, 022, false},  {O_CREAT | O_RDONLY, 0100, 0, false},
		{O_CREAT | O_WRONLY, 0755, 022, true}, {O_TMPFILE | O_WRONLY, 0700, 0, false},
		{O_TMPFILE | O_RDWR, 0700, 0, true},
	};
	g_autofree char *path = file_of(&host);

	add_node(DN_DRIFT_WRITE_EXEC, DN_ANSWER_OBSERVE);
	for (size_t i = 0; i < G_N_ELEMENTS(openings); i++) {
		Written written = written_by(open_file, &openings[i]);
		cr_assert(eq(u32, written.judged, 1), "row %zu: told %u times", i, written.all);
		(void)unlink(path);
	}
}

Test(opened, to_open_what_exists_or_is_not_executable_is_no_drift_whatever_mode_is_named)
{
	static Opening openings[] = {
		{O_CREAT | O_RDWR, 0777, 0, false},
		{O_CREAT | O_RDWR, 0777, 0, true},
		{O_CREAT | O_TRUNC | O_WRONLY, 0755, 022, false},
	};
	static Opening masked = {O_CREAT | O_RDWR, 0777, 0177, false};
	g_autofree char *path = file_of(&host);

	make_file(EXISTING);
	add_node(DN_DRIFT_WRITE_EXEC, DN_ANSWER_QUARANTINE);
	for (size_t i = 0; i < G_N_ELEMENTS(openings); i++)
		cr_assert(zero(u32, written_by(open_file, &openings[i]).all));
	cr_assert(chmod(path, 0755) == 0);
	cr_assert(zero(u32, written_by(open_file, &openings[0]).all));
	cr_assert(unlink(path) == 0);
	cr_assert(zero(u32, written_by(open_file, &masked).all));
	cr_assert(zero(u64, mark()->event_ns));
}

Test(opened, a_descriptor_is_judged_before_it_is_closed_and_only_when_it_is_a_file)
{
	make_file(EXISTING);
	add_node(DN_DRIFT_WRITE_EXEC, DN_ANSWER_OBSERVE);
	cr_assert(eq(u32, written_by(change_mode_and_close, NULL).judged, 1));
	cr_assert(zero(u32, written_by(change_mode_of_directory, NULL).all));
}
