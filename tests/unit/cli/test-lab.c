/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "lab/command.h"
#include "lab/lock.h"
#include "lab/monitor-file.h"
#include "lab/record.h"
#include "support/suite.h"

static char *directory;

static void setup(void)
{
	directory = g_dir_make_tmp("dnode-lab-XXXXXX", NULL);
}

static void teardown(void)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_remove_tree(directory, &error));
	g_clear_pointer(&directory, g_free);
	dn_suite_end();
}

TestSuite(lab, .init = setup, .fini = teardown);

/* A lab whose files are below the test's directory. */
static DnLab *lab_here(unsigned n_hosts)
{
	g_autoptr(GError) error = NULL;
	DnLab *lab = dn_lab_new("test", n_hosts, &error);

	cr_assert_not_null(lab);
	char **paths[] = {&lab->lock, &lab->record, &lab->daemons, &lab->pids, &lab->monitor_pid};
	for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autofree char *base = g_path_get_basename(*paths[i]);
		g_free(*paths[i]);
		*paths[i] = g_build_filename(directory, base, NULL);
	}
	return lab;
}

/* A process that takes the lab's lock, says so on the pipe and lives until it is killed. */
static pid_t hold_lock(const DnLab *lab)
{
	g_autoptr(DnOutput) output = dn_output_new(stderr, stderr);
	int ends[2];
	char byte;

	cr_assert_eq(pipe(ends), 0);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		int fd = dn_lab_lock_take(lab, output, NULL);
		if (fd < 0 || write(ends[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	(void)close(ends[1]);
	cr_assert_eq(read(ends[0], &byte, 1), 1);
	(void)close(ends[0]);
	return pid;
}

Test(lab, the_lock_of_a_killed_command_is_free, .timeout = 20)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnLab) lab = lab_here(0);
	g_autoptr(DnOutput) output = dn_output_new(stderr, stderr);
	pid_t pid = hold_lock(lab);
	dn_autofd int probe = open(lab->lock, O_RDWR | O_CLOEXEC);

	cr_assert_geq(probe, 0);
	cr_assert_eq(flock(probe, LOCK_EX | LOCK_NB), -1);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	int fd = dn_lab_lock_take(lab, output, &error);
	cr_assert_geq(fd, 0);
	dn_lab_lock_give(lab, fd);
}

Test(lab, a_lock_leaves_no_file_and_is_not_taken_on_a_removed_one)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnLab) lab = lab_here(0);
	g_autoptr(DnOutput) output = dn_output_new(stderr, stderr);
	int first = dn_lab_lock_take(lab, output, &error);
	dn_autofd int waiting = open(lab->lock, O_RDWR | O_CLOEXEC);

	cr_assert_geq(first, 0);
	dn_lab_lock_give(lab, first);
	cr_assert_neq(access(lab->lock, F_OK), 0);
	/* Whoever waited on the removed file has its lock, but not the lab's. */
	cr_assert_eq(flock(waiting, LOCK_EX | LOCK_NB), 0);
	int second = dn_lab_lock_take(lab, output, &error);
	cr_assert_geq(second, 0);
	dn_lab_lock_give(lab, second);
}

Test(lab, how_often_a_daemon_was_started_anew_is_known_while_it_is_dead)
{
	static const char text[] = "{\"h1\":{\"pid\":0,\"restarts\":7}}";
	g_autoptr(GBytes) bytes = g_bytes_new_static(text, sizeof(text) - 1);
	g_autoptr(DnLab) lab = lab_here(1);
	unsigned restarts = 0;

	cr_assert(dn_file_replace(lab->pids, bytes, 0600, NULL));
	cr_assert_eq(dn_lab_pid(lab, "h1", &restarts), 0);
	cr_assert_eq(restarts, 7);
}

Test(lab, two_labs_share_no_name_and_no_path)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnLab) a = dn_lab_new("one", 2, &error);
	g_autoptr(DnLab) b = dn_lab_new("two", 2, &error);
	const DnLabHost *ah = a->hosts->pdata[1], *bh = b->hosts->pdata[1];

	cr_assert_str_neq(a->state_dir, b->state_dir);
	cr_assert_str_neq(a->run_dir, b->run_dir);
	cr_assert_str_neq(a->client_netns, b->client_netns);
	cr_assert_str_neq(ah->netns, bh->netns);
	cr_assert_str_neq(ah->cgroup_parent, bh->cgroup_parent);
	cr_assert_str_neq(ah->bpf_dir, bh->bpf_dir);
	cr_assert(g_str_has_prefix(ah->config, a->state_dir));
	cr_assert(g_str_has_prefix(ah->runtime_root, a->run_dir));
}

Test(lab, hosts_of_one_lab_share_no_address_and_no_uid)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(DnLab) lab = dn_lab_new(NULL, DN_LAB_HOSTS_LIMIT, &error);

	for (unsigned i = 1; i < lab->hosts->len; i++) {
		const DnLabHost *before = lab->hosts->pdata[i - 1], *host = lab->hosts->pdata[i];
		cr_assert_str_neq(before->address, host->address);
		cr_assert(host->uid_base >= before->uid_base + 250u * 65536u);
	}
}

Test(lab, a_name_that_could_leave_its_directory_is_refused)
{
	static const char *const bad[] = {"", "../x", "a/b", "Up", "a-very-long-name-of-a-lab"};

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;
		cr_assert_null(dn_lab_new(bad[i], 1, &error), "%s", bad[i]);
		cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
	g_autoptr(GError) error = NULL;
	cr_assert_null(dn_lab_new("x", DN_LAB_HOSTS_LIMIT + 1, &error));
}

Test(lab, what_was_made_is_remembered_until_it_is_undone)
{
	g_autoptr(DnLab) lab = lab_here(3);
	g_autoptr(GError) error = NULL;
	g_autoptr(DnLabRecord) empty = dn_lab_record_load(lab, &error);

	cr_assert_not_null(empty);
	cr_assert_eq(empty->n_hosts, 0u);
	empty->n_hosts = 3;
	g_ptr_array_add(empty->mounts, g_strdup("/sys/fs/bpf"));
	g_ptr_array_add(empty->enrolled, g_strdup("h2"));
	cr_assert(dn_lab_record_save(lab, empty, &error));

	g_autoptr(DnLabRecord) record = dn_lab_record_load(lab, &error);
	cr_assert_eq(record->n_hosts, 3u);
	cr_assert_eq(record->mounts->len, 1u);
	cr_assert_str_eq(record->mounts->pdata[0], "/sys/fs/bpf");
	cr_assert(dn_lab_record_has(record, "h2"));
	cr_assert_not(dn_lab_record_has(record, "h1"));
}

Test(lab, a_directory_that_is_no_labs_is_nobodys_to_take_down)
{
	g_autoptr(DnLab) lab = lab_here(1);
	g_autoptr(GError) error = NULL;

	g_free(lab->state_dir);
	lab->state_dir = g_build_filename(directory, "own", NULL);
	g_autofree char *key = g_build_filename(lab->state_dir, "agent.key", NULL);
	g_autoptr(DnLabRecord) nothing = dn_lab_record_load(lab, &error);
	cr_assert_not_null(nothing);
	cr_assert(dn_file_make_directory(lab->state_dir, 0700, &error));
	cr_assert(g_file_set_contents(key, "secret", -1, NULL));
	cr_assert_null(dn_lab_record_load(lab, &error));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	cr_assert_not_null(strstr(error->message, lab->state_dir));
	/* What is left when `up` was killed at its first step is a lab's. */
	g_clear_error(&error);
	cr_assert(dn_file_remove(key, NULL));
	g_autofree char *half = g_build_filename(lab->state_dir, "lab.json.tmp", NULL);
	cr_assert(g_file_set_contents(half, "{", -1, NULL));
	g_autoptr(DnLabRecord) begun = dn_lab_record_load(lab, &error);
	cr_assert_not_null(begun);
}

Test(lab, a_damaged_record_is_an_error_and_not_an_empty_lab)
{
	g_autoptr(DnLab) lab = lab_here(1);
	g_autoptr(GError) error = NULL;

	cr_assert(g_file_set_contents(lab->record, "{\"hosts\": \"many\"}", -1, NULL));
	cr_assert_null(dn_lab_record_load(lab, &error));
	cr_assert_not_null(error);
}

Test(lab, the_list_of_daemons_reads_back_as_it_was_written)
{
	g_autoptr(DnLab) lab = lab_here(1);
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) written =
		g_ptr_array_new_with_free_func((GDestroyNotify)dn_lab_daemon_free);
	const char *argv[] = {"/bin/prog", "--with", "a blank", NULL};

	g_ptr_array_add(written, dn_lab_daemon_new("h1", "test-h1", argv));
	cr_assert(dn_lab_daemons_save(lab, written, &error));
	g_autoptr(GPtrArray) read = dn_lab_daemons_load(lab, &error);
	cr_assert_eq(read->len, 1u);
	const DnLabDaemon *daemon = read->pdata[0];
	cr_assert_str_eq(daemon->netns, "test-h1");
	cr_assert(g_strv_equal((const char *const *)daemon->argv, argv));
}

Test(lab, there_is_one_monitor_a_lab)
{
	g_autofree char *path = g_build_filename(directory, "monitor.pid", NULL);
	g_autoptr(GError) error = NULL;

	cr_assert_eq(dn_monitor_file_owner(path), 0);
	int lock = dn_monitor_file_lock(path, &error);
	cr_assert(lock >= 0);
	cr_assert_eq(dn_monitor_file_owner(path), getpid());
	cr_assert_lt(dn_monitor_file_lock(path, &error), 0);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_CONFLICT));
	(void)close(lock);
	cr_assert_eq(dn_monitor_file_owner(path), 0);
}

Test(lab, a_command_that_fails_is_told_by_its_last_words)
{
	const char *argv[] = {"sh", "-c", "echo first; echo last words >&2; exit 3", NULL};
	const char *echo[] = {"cat", NULL};
	g_autoptr(GError) error = NULL;
	g_autofree char *said = NULL;

	cr_assert_not(dn_command_run(NULL, argv, NULL, NULL, &error));
	cr_assert_str_eq(error->message, "sh ended with 3: last words");
	g_clear_error(&error);
	cr_assert(dn_command_run(NULL, echo, "in and out", &said, &error));
	cr_assert_str_eq(said, "in and out");
}
