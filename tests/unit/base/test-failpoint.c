/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "support/suite.h"

TestSuite(failpoint, .fini = dn_suite_end);

static bool first(GError **error)
{
	return dn_failpoint("test.first.before", error);
}

static bool second(GError **error)
{
	return dn_failpoint("test.second.before", error);
}

static void third(void)
{
	dn_failpoint_pass("test.third.before");
}

static void arm(const char *spec)
{
	g_autoptr(GError) error = NULL;

	bool armed = dn_failpoints_arm(spec, &error);
	cr_assert(armed, "%s", error != NULL ? error->message : "no error was set");
}

static char *refusal(const char *spec)
{
	g_autoptr(GError) error = NULL;

	bool armed = dn_failpoints_arm(spec, &error);
	cr_assert(not(armed), "%s was taken", spec);
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	return g_strdup(error->message);
}

static DnFailpoint find(const char *name)
{
	g_autoptr(GPtrArray) points = dn_failpoints_list();

	for (guint i = 0; i < points->len; i++) {
		const DnFailpoint *point = g_ptr_array_index(points, i);

		if (strcmp(point->name, name) == 0)
			return *point;
	}
	cr_assert(false, "%s is not in the list", name);
	return (DnFailpoint){0};
}

Test(failpoint, every_point_is_known_without_being_hit)
{
	g_autoptr(GPtrArray) points = dn_failpoints_list();

	cr_assert(eq(uint, points->len, 3));
	cr_assert(find("test.first.before").can_fail);
	cr_assert(not(find("test.third.before").can_fail));
}

Test(failpoint, an_unarmed_point_lets_everything_pass)
{
	g_autoptr(GError) error = NULL;

	cr_assert(first(&error));
	third();
	cr_assert(zero(ptr, error));
	cr_assert(zero(u64, find("test.first.before").hits));
}

Test(failpoint, an_error_comes_once_and_names_its_point)
{
	g_autoptr(GError) error = NULL;

	arm("test.first.before=error");
	cr_assert(second(NULL));
	cr_assert(not(first(&error)));
	cr_assert(eq(int, errno, EIO));
	cr_assert(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
	cr_assert_str_eq(error->message, "failpoint test.first.before");
	cr_assert(first(NULL), "it came twice");
	cr_assert(zero(int, dn_failpoints_active), "passing costs more than before");
}

Test(failpoint, an_error_can_be_what_a_full_disk_says)
{
	g_autoptr(GError) error = NULL;

	arm("test.first.before=error:ENOSPC");
	cr_assert(not(first(&error)));
	cr_assert(eq(int, errno, ENOSPC));
	cr_assert(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE));
}

Test(failpoint, a_number_says_which_hit_it_is)
{
	arm("test.first.before=error@3");
	cr_assert(first(NULL));
	cr_assert(first(NULL));
	cr_assert(not(first(NULL)));
	cr_assert(first(NULL));
	DnFailpoint point = find("test.first.before");
	cr_assert(eq(u64, point.taken, 1));
	cr_assert(eq(u64, point.hits, 3));
}

Test(failpoint, a_star_means_every_hit_until_it_is_off)
{
	arm("test.first.before=error*, test.second.before=error");
	for (unsigned i = 0; i < 5; i++)
		cr_assert(not(first(NULL)));
	cr_assert(not(second(NULL)));
	arm("test.first.before=off");
	cr_assert(first(NULL));
	arm("test.first.before=error*,test.second.before=error");
	arm("off");
	cr_assert(first(NULL) && second(NULL));
}

Test(failpoint, a_delay_goes_on_afterwards)
{
	gint64 began = g_get_monotonic_time();

	arm("test.third.before=delay:30");
	third();
	cr_assert(ge(i64, g_get_monotonic_time() - began, 30000));
}

Test(failpoint, hits_are_counted_when_asked_for)
{
	arm("count");
	third();
	third();
	cr_assert(eq(u64, find("test.third.before").hits, 2));
	arm("off");
	third();
	cr_assert(eq(u64, find("test.third.before").hits, 2));
}

Test(failpoint, a_crash_is_a_kill_that_nothing_survives)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		arm("test.third.before=crash");
		third();
		_exit(0);
	}
	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	cr_assert(killed);
}

Test(failpoint, an_unknown_name_is_refused_with_the_nearest)
{
	g_autofree char *message = refusal("test.first.before=error,test.frist.before=crash");

	cr_assert(strstr(message, "did you mean \"test.first.before\"?") != NULL, "%s", message);
	cr_assert(first(NULL), "half of a wrong line was carried out");
}

Test(failpoint, nonsense_is_refused)
{
	static const char *const wrong[] = {
		"test.first.before",
		"test.first.before=",
		"test.first.before=explode",
		"test.first.before=error@0",
		"test.first.before=error@x",
		"test.first.before=error@2*",
		"test.first.before=error:EWHAT",
		"test.first.before=delay:",
		"test.first.before=delay:9999999999",
		"test.third.before=error",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
		g_autofree char *message = refusal(wrong[i]);

		cr_assert(strchr(message, '\n') == NULL);
	}
}

Test(failpoint, what_a_run_directory_arms_holds_for_one_start)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = g_dir_make_tmp("dnode-failpoint-XXXXXX", &error);
	g_autofree char *path = g_build_filename(dir, DN_FAILPOINTS_FILE, NULL);
	g_autoptr(GBytes) text = g_bytes_new_static("test.first.before=error\n", 24);

	cr_assert(dn_file_replace(path, text, 0600, &error));
	g_setenv(DN_FAILPOINTS_VARIABLE, "test.second.before=error", TRUE);
	dn_failpoints_begin(dir);
	cr_assert(not(first(NULL)));
	cr_assert(not(second(NULL)));
	cr_assert(not(g_file_test(path, G_FILE_TEST_EXISTS)));
	g_unsetenv(DN_FAILPOINTS_VARIABLE);
	dn_failpoints_begin(dir);
	cr_assert(first(NULL));
	cr_assert(zero(int, g_rmdir(dir)));
}
