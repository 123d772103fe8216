/* SPDX-License-Identifier: Apache-2.0 */
#include "stand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "health/probe.h"
#include "runtime/program.h"
#include "runtime/root.h"
#include "support/suite.h"

enum { PORT = 8080 };

static char *serve_args[] = {(char *)"/inside", (char *)"serve", (char *)"8080", NULL};
static char *wait_args[] = {(char *)"/inside", (char *)"wait", NULL};
static char *chatter_args[] = {(char *)"/inside", (char *)"chatter", NULL};

TestSuite(container, .fini = dn_suite_end, .timeout = 60);

static bool answers(const Stand *stand, unsigned timeout_ms)
{
	DnHealthPolicy policy = {
		.kind = DN_PROBE_HTTP, .path = (char *)"/", .timeout_ms = timeout_ms};
	dn_autofd int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	dn_autofd int there = open(stand->netns, O_RDONLY | O_CLOEXEC);

	cr_assert(eq(int, setns(there, CLONE_NEWNET), 0));
	bool answered = dn_probe_now(&policy, "127.0.0.1", PORT);
	cr_assert(eq(int, setns(home, CLONE_NEWNET), 0));
	return answered;
}

static bool comes_to_answer(const Stand *stand)
{
	uint64_t deadline_ns = dn_clock_monotonic_ns() + 10 * DN_NS_PER_S;

	while (dn_clock_monotonic_ns() < deadline_ns) {
		if (answers(stand, 500))
			return true;
		g_usleep(1000);
	}
	return false;
}

static void expect_found(const Stand *stand, const DnContainer *made, bool created_only)
{
	g_autoptr(GError) error = NULL;
	DnContainer found = {0};
	bool created = !created_only;

	cr_expect(dn_container_find_now(&stand->instance, stand->node, &found, &created, &error),
		  "%s", error != NULL ? error->message : "");
	cr_expect(eq(int, found.pid, made->pid));
	cr_expect(found.start_time == made->start_time && found.start_time > 0);
	cr_expect(found.cgroup_id == made->cgroup_id && found.cgroup_id > 0);
	cr_expect(created == created_only);
}

/* Nothing of the node is left in any place where something of it could be. */
static void expect_nothing_left(const Stand *stand)
{
	static const char *const controllers[] = {"unified", "memory", "pids", "cpu",
						  "devices", "",       NULL};
	g_autofree char *bundle =
		g_build_filename(stand->instance.run_dir, "bundles", stand->node, NULL);
	g_autofree char *state = g_build_filename(stand->instance.runtime_root, stand->node, NULL);

	cr_expect(ne(int, access(bundle, F_OK), 0), "%s is left", bundle);
	cr_expect(ne(int, access(state, F_OK), 0), "%s is left", state);
	for (size_t i = 0; controllers[i] != NULL; i++) {
		g_autofree char *cgroup =
			g_build_filename("/sys/fs/cgroup", controllers[i],
					 stand->instance.cgroup_parent, stand->node, NULL);

		cr_expect(ne(int, access(cgroup, F_OK), 0), "%s is left", cgroup);
	}
}

Test(container, a_created_node_waits_and_its_fifo_starts_it)
{
	Stand stand;

	stand_open(&stand, serve_args);
	DnContainer made = stand_create(&stand);
	expect_found(&stand, &made, true);
	cr_expect(not(answers(&stand, 50)));

	stand_start(&stand);
	cr_expect(comes_to_answer(&stand));
	expect_found(&stand, &made, false);
	cr_expect(dn_container_delete_now(&stand.instance, stand.node, NULL));
	cr_expect(not(answers(&stand, 50)));
	expect_nothing_left(&stand);
	stand_close(&stand);
}

Test(container, a_node_has_no_priority_whatever_made_it)
{
	Stand stand;

	stand_open(&stand, serve_args);
	stand.spec.nice = -5;
	cr_assert(eq(int, setpriority(PRIO_PROCESS, 0, -5), 0));
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	cr_expect(comes_to_answer(&stand));
	cr_expect(eq(int, getpriority(PRIO_PROCESS, (id_t)made.pid), 0));
	stand_close(&stand);
}

Test(container, the_runtimes_own_start_does_as_well)
{
	const DnRuntimeAbility slow = {.fast_start = false};
	g_autoptr(GError) error = NULL;
	Stand stand;

	stand_open(&stand, serve_args);
	DnContainer made = stand_create(&stand);
	cr_expect(dn_container_start_now(&stand.instance, &slow, stand.node, &error), "%s",
		  error != NULL ? error->message : "");
	cr_expect(comes_to_answer(&stand));
	expect_found(&stand, &made, false);
	stand_close(&stand);
}

Test(container, a_held_fifo_starts_one_node_once_and_a_dead_one_never)
{
	Stand stand;

	stand_open(&stand, wait_args);
	DnContainer made = stand_create(&stand);
	dn_autofd int fifo = dn_container_hold_fifo(&stand.instance, stand.node, NULL);
	cr_assert(fifo >= 0);
	cr_expect(dn_container_release_fifo(fifo));
	expect_found(&stand, &made, false);
	cr_expect(eq(int, dn_container_hold_fifo(&stand.instance, stand.node, NULL), -1));
	cr_expect(dn_container_delete_now(&stand.instance, stand.node, NULL));
	cr_expect(not(dn_container_release_fifo(fifo)));

	made = stand_create(&stand);
	dn_autofd int other = dn_container_hold_fifo(&stand.instance, stand.node, NULL);
	cr_expect(dn_container_kill_now(&stand.instance, stand.node, SIGKILL, NULL));
	stand_wait_for_end(&made);
	errno = 0;
	cr_expect(not(dn_container_release_fifo(other)), "nobody reads this fifo");
	cr_expect(eq(int, errno, ENXIO));
	stand_close(&stand);
}

Test(container, a_frozen_node_is_silent_until_it_is_thawed)
{
	DnCgroup cgroup;
	Stand stand;

	stand_open(&stand, serve_args);
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	cr_assert(comes_to_answer(&stand));
	cr_assert(dn_cgroup_open(&stand.instance, stand.node, &cgroup, NULL));
	cr_expect(cgroup.id == made.cgroup_id);
	cr_expect(not(dn_cgroup_is_frozen(&cgroup)));

	cr_expect(dn_cgroup_freeze(&cgroup));
	while (!dn_cgroup_is_frozen(&cgroup))
		g_usleep(20);
	cr_expect(not(answers(&stand, 100)));
	cr_expect(dn_cgroup_thaw(&cgroup));
	cr_expect(comes_to_answer(&stand));
	cr_expect(not(dn_cgroup_is_frozen(&cgroup)));

	cr_expect(not(dn_cgroup_is_empty(&stand.instance, stand.node)));
	cr_expect(dn_container_kill_now(&stand.instance, stand.node, SIGKILL, NULL));
	stand_wait_for_end(&made);
	cr_expect(dn_cgroup_is_empty(&stand.instance, stand.node));
	dn_cgroup_close(&cgroup);
	stand_close(&stand);
}

static bool first_thread_has_left(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
	g_autofree char *text = NULL;

	cr_assert(g_file_get_contents(path, &text, NULL, NULL));
	const char *after = strrchr(text, ')');
	return after != NULL && after[2] == 'Z';
}

static void freeze_and_delete(Stand *stand)
{
	DnCgroup cgroup;
	g_autoptr(GError) error = NULL;

	cr_assert(dn_cgroup_open(&stand->instance, stand->node, &cgroup, NULL));
	cr_expect(dn_cgroup_freeze(&cgroup));
	while (!dn_cgroup_is_frozen(&cgroup))
		g_usleep(20);
	dn_cgroup_close(&cgroup);
	cr_expect(dn_container_delete_now(&stand->instance, stand->node, &error), "%s",
		  error != NULL ? error->message : "");
	expect_nothing_left(stand);
}

Test(container, a_frozen_node_is_deleted_whole)
{
	Stand stand;

	stand_open(&stand, serve_args);
	(void)stand_create(&stand);
	stand_start(&stand);
	cr_assert(comes_to_answer(&stand));
	freeze_and_delete(&stand);
	stand_close(&stand);
}

/* cgroup.kill does not reach the threads that such a process still has. */
Test(container, a_frozen_node_whose_first_thread_has_left_is_deleted_whole)
{
	static char *leave_args[] = {(char *)"/inside", (char *)"leave", NULL};
	Stand stand;

	stand_open(&stand, leave_args);
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	while (!first_thread_has_left(made.pid))
		g_usleep(1000);
	freeze_and_delete(&stand);
	stand_close(&stand);
}

Test(container, a_half_made_node_is_deleted_whole_and_nothing_at_all_is_no_error)
{
	static const char *const places[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", NULL};
	g_autoptr(GError) error = NULL;
	Stand stand;

	stand_open(&stand, wait_args);
	cr_expect(dn_container_delete_now(&stand.instance, stand.node, &error), "%s",
		  error != NULL ? error->message : "");

	/* What crun leaves that was killed before it wrote its status. */
	g_autofree char *state = g_build_filename(stand.instance.runtime_root, stand.node, NULL);
	g_autofree char *bundle =
		g_build_filename(stand.instance.run_dir, "bundles", stand.node, NULL);
	g_autofree char *v2 = g_build_filename(stand.instance.cgroup_root,
					       stand.instance.cgroup_parent, stand.node, NULL);
	cr_assert(dn_file_make_directory(state, 0700, NULL));
	cr_assert(dn_file_make_directory(bundle, 0711, NULL));
	cr_assert(dn_file_make_directory(v2, 0755, NULL));
	for (size_t i = 0; places[i] != NULL; i++) {
		g_autofree char *v1 =
			g_build_filename(places[i], stand.instance.cgroup_parent, stand.node, NULL);

		if (access(places[i], F_OK) == 0)
			cr_assert(dn_file_make_directory(v1, 0755, NULL));
	}
	cr_expect(dn_container_delete_now(&stand.instance, stand.node, &error), "%s",
		  error != NULL ? error->message : "");
	expect_nothing_left(&stand);
	stand_close(&stand);
}

Test(container, a_node_of_the_same_name_is_refused_and_left_alone)
{
	g_autoptr(GError) error = NULL;
	DnContainer again;
	Stand stand;

	stand_open(&stand, serve_args);
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	cr_assert(comes_to_answer(&stand));
	cr_expect(not(dn_container_create_now(&stand.instance, &stand.spec, &again, &error)));
	cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	expect_found(&stand, &made, false);
	cr_expect(answers(&stand, 500));
	stand_close(&stand);
}

Test(container, a_recycled_process_number_is_not_taken_for_the_node)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = NULL;
	DnContainer found;
	bool created;
	Stand stand;

	stand_open(&stand, wait_args);
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	g_autofree char *path =
		g_build_filename(stand.instance.runtime_root, stand.node, "status", NULL);
	g_autofree char *mine = g_strdup_printf("%lu", (unsigned long)made.start_time);
	g_autofree char *other = g_strdup_printf("%lu", (unsigned long)made.start_time - 1);
	cr_assert(g_file_get_contents(path, &text, NULL, NULL));
	g_auto(GStrv) parts = g_strsplit(text, mine, -1);
	cr_assert(g_strv_length(parts) >= 2, "crun writes the start time:\n%s", text);
	g_autofree char *forged = g_strjoinv(other, parts);
	cr_assert(g_file_set_contents(path, forged, -1, NULL));

	cr_expect(
		not(dn_container_find_now(&stand.instance, stand.node, &found, &created, &error)));
	cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	cr_expect(not(dn_container_kill_now(&stand.instance, stand.node, SIGKILL, NULL)));
	cr_expect(not(dn_cgroup_is_empty(&stand.instance, stand.node)));
	cr_assert(g_file_set_contents(path, text, -1, NULL));
	stand_close(&stand);
}

static void expect_refused(Stand *stand, DnErrorCode code, const char *word)
{
	g_autoptr(GError) error = NULL;
	DnContainer made;

	stand_mount_root(stand);
	cr_expect(not(dn_container_create_now(&stand->instance, &stand->spec, &made, &error)));
	cr_expect(g_error_matches(error, DN_ERROR, (int)code), "%s", error->message);
	cr_expect(ne(ptr, strstr(error->message, word), NULL), "%s", error->message);
	expect_nothing_left(stand);
}

Test(container, an_image_without_the_mount_point_is_refused_by_its_name)
{
	DnWritable data = {.path = g_strdup("/var/data"), .size_bytes = 1 << 20};
	Stand stand;

	stand_open(&stand, wait_args);
	g_array_append_val(stand.manifest->writable, data);
	expect_refused(&stand, DN_ERROR_INVALID, "/var/data");
	stand_close(&stand);
}

Test(container, a_mount_point_that_is_a_link_is_refused)
{
	Stand stand;

	stand_open(&stand, wait_args);
	g_autofree char *tmp = g_build_filename(stand.checkout, "tmp", NULL);
	cr_assert(eq(int, rmdir(tmp), 0));
	cr_assert(eq(int, symlink("/etc", tmp), 0));
	expect_refused(&stand, DN_ERROR_INVALID, "/tmp");
	stand_close(&stand);
}

Test(container, a_program_that_is_not_there_is_named_and_leaves_nothing)
{
	char *args[] = {(char *)"/missing", NULL};
	Stand stand;

	stand_open(&stand, args);
	expect_refused(&stand, DN_ERROR_UNAVAILABLE, "/missing");
	stand_close(&stand);
}

Test(container, a_node_and_its_log_outlive_the_agent_that_made_them)
{
	g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func(g_free);
	DnContainer made = {0};
	int ends[2];
	Stand stand;

	stand_open(&stand, chatter_args);
	cr_assert(eq(int, pipe(ends), 0));
	pid_t agent = fork();
	if (agent == 0) {
		made = stand_create(&stand);
		(void)!write(ends[1], &made, sizeof(made));
		(void)raise(SIGKILL);
	}
	cr_assert(eq(int, waitpid(agent, NULL, 0), agent));
	cr_assert(eq(int, (int)read(ends[0], &made, sizeof(made)), (int)sizeof(made)));
	(void)close(ends[0]);
	(void)close(ends[1]);

	cr_expect(dn_container_list_now(&stand.instance, nodes, NULL));
	cr_assert(eq(int, (int)nodes->len, 1));
	cr_expect_str_eq(g_ptr_array_index(nodes, 0), stand.node);
	expect_found(&stand, &made, true);
	stand_start(&stand);
	g_autofree char *log = stand_wait_for_log(&stand, "no newline at the end");
	cr_expect(ne(ptr, strstr(log, "hello from stdout"), NULL));
	stand_close(&stand);
}

Test(container, the_probe_of_the_runtime_learns_that_the_fifo_works_and_leaves_nothing)
{
	g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL;
	DnRuntimeAbility ability = {0};
	Stand stand;

	stand_open(&stand, wait_args);
	cr_expect(dn_runtime_probe_now(&stand.instance, &ability, &error), "%s",
		  error != NULL ? error->message : "");
	cr_expect(ability.fast_start);
	cr_expect(g_str_has_prefix(ability.version, "crun version "), "%s", ability.version);
	cr_expect(eq(ptr, strchr(ability.version, '\n'), NULL));
	dn_runtime_ability_clear(&ability);
	cr_expect(dn_container_list_now(&stand.instance, nodes, NULL));
	cr_expect(eq(int, (int)nodes->len, 0));
	stand_close(&stand);
}

/* Debian mounts /run so. */
Test(container, the_runtime_is_probed_where_no_program_may_run_from_the_run_directory)
{
	g_autoptr(GError) error = NULL;
	DnRuntimeAbility ability = {0};
	Stand stand;

	stand_open(&stand, wait_args);
	cr_assert(eq(int,
		     mount("tmpfs", stand.instance.run_dir, "tmpfs",
			   MS_NOEXEC | MS_NOSUID | MS_NODEV, "mode=711"),
		     0));
	cr_expect(dn_runtime_probe_now(&stand.instance, &ability, &error), "%s",
		  error != NULL ? error->message : "");
	cr_expect(ability.fast_start);
	dn_runtime_ability_clear(&ability);
	cr_expect(eq(int, umount2(stand.instance.run_dir, MNT_DETACH), 0));
	stand_close(&stand);
}

Test(container, a_root_shows_the_images_owners_shifted_and_cannot_be_written)
{
	struct stat info;
	Stand stand;

	stand_open(&stand, wait_args);
	g_autofree char *passwd = g_build_filename(stand.root, "etc/passwd", NULL);
	/* Twice: what a dead agent left mounted does not pile up. */
	for (int i = 0; i < 2; i++)
		stand_mount_root(&stand);
	cr_assert(eq(int, stat(passwd, &info), 0));
	cr_expect(info.st_uid == stand.spec.uid_base && info.st_gid == stand.spec.uid_base);
	cr_expect(eq(int, open(passwd, O_WRONLY), -1));
	cr_expect(eq(int, errno, EROFS));
	cr_expect(dn_root_unmount_now(stand.root, NULL));
	cr_expect(ne(int, access(stand.root, F_OK), 0));
	cr_expect(dn_root_unmount_now(stand.root, NULL), "a second time is no error");
	stand_close(&stand);
}

Test(container, the_hosts_own_null_device_stays_the_hosts)
{
	struct stat before;
	struct stat after;
	Stand stand;

	stand_open(&stand, wait_args);
	cr_assert(eq(int, stat("/dev/null", &before), 0));
	(void)stand_create(&stand);
	cr_assert(eq(int, stat("/dev/null", &after), 0));
	stand_close(&stand);
	cr_expect(before.st_uid == after.st_uid && before.st_mode == after.st_mode);
	cr_expect(eq(int, (int)after.st_uid, 0));
}

Test(container, the_cgroup_of_a_node_is_one_level_below_its_parents)
{
	unsigned level = 0;
	Stand stand;

	stand_open(&stand, wait_args);
	cr_expect(dn_cgroup_prepare(&stand.instance, &level, NULL), "a second time is no error");
	cr_expect(eq(int, (int)level, 2));
	DnContainer made = stand_create(&stand);
	g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", (int)made.pid);
	g_autofree char *text = dn_file_read_kernel(path, 65536, NULL);
	g_autofree char *wanted =
		g_strdup_printf("0::/%s/%s\n", stand.instance.cgroup_parent, stand.node);
	cr_expect(ne(ptr, strstr(text, wanted), NULL), "%s", text);
	stand_close(&stand);
}
