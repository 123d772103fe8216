/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <criterion/criterion.h>
#include <gio/gio.h>
#include <glib/gstdio.h>

#include "base/file.h"
#include "support/suite.h"

char *program_home;
const char *program_home_named;
const char *program_supervisor = "unix:/nonexistent/sock";

void program_init(void)
{
	program_home = g_dir_make_tmp("dnode-home-XXXXXX", NULL);
}

void program_clear(void)
{
	g_autoptr(GError) error = NULL;

	cr_assert(dn_file_remove_tree(program_home, &error));
	g_clear_pointer(&program_home, g_free);
	dn_suite_end();
}

int program_run(const char *line, char **said)
{
	g_auto(GStrv) parts = g_strsplit(line, "HOME", -1);
	g_autofree char *quoted_home = g_shell_quote(program_home);
	g_autofree char *quoted_dnode = g_shell_quote(DNODE);
	g_autofree char *whole = g_strjoinv(quoted_home, parts);
	g_autofree char *command = g_strconcat(quoted_dnode, " ", whole, NULL);
	g_auto(GStrv) argv = NULL;
	g_autoptr(GError) error = NULL;
	g_autofree char *all = NULL;

	cr_assert(g_shell_parse_argv(command, NULL, &argv, &error));
	g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
		G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE);
	g_subprocess_launcher_setenv(launcher, "DNODE_SUPERVISOR", program_supervisor, TRUE);
	g_subprocess_launcher_unsetenv(launcher, "DNODE_HOME");
	if (program_home_named != NULL)
		g_subprocess_launcher_setenv(launcher, "DNODE_HOME", program_home_named, TRUE);
	g_autoptr(GSubprocess) process =
		g_subprocess_launcher_spawnv(launcher, (const char *const *)argv, &error);
	cr_assert_not_null(process);
	cr_assert(g_subprocess_communicate_utf8(process, NULL, NULL, &all, NULL, &error));
	if (said != NULL)
		*said = g_steal_pointer(&all);
	return g_subprocess_get_exit_status(process);
}

void program_write(const char *name, const char *text)
{
	g_autofree char *path = g_build_filename(program_home, name, NULL);

	cr_assert(g_file_set_contents(path, text, -1, NULL));
}

void program_remove(const char *name)
{
	g_autofree char *path = g_build_filename(program_home, name, NULL);

	cr_assert_eq(g_unlink(path), 0, "%s", name);
}

char *program_read(const char *name)
{
	g_autofree char *path = g_build_filename(program_home, name, NULL);
	char *text = NULL;

	cr_assert(g_file_get_contents(path, &text, NULL, NULL), "%s", name);
	return text;
}
