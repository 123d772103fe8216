/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/command.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

int dn_command_open_netns(const char *netns, GError **error)
{
	g_autofree char *path = g_build_filename("/run/netns", netns, NULL);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		dn_throw_errno(error, errno, "open %s", path);
	return fd;
}

bool dn_command_need_root(GError **error)
{
	if (geteuid() == 0)
		return true;
	g_set_error_literal(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "a lab is made of namespaces, mounts and cgroups: run it as root");
	return false;
}

/* Runs between fork and exec: only calls that are safe there. */
static void enter(gpointer data)
{
	const int *netns_fd = data;

	if (setns(*netns_fd, CLONE_NEWNET) != 0)
		_exit(127);
}

void dn_command_enter(GSubprocessLauncher *launcher, const int *netns_fd)
{
	g_subprocess_launcher_set_child_setup(launcher, enter, (gpointer)netns_fd, NULL);
}

/* The last line of what a program said, for a message of one line. */
static char *last_line(const char *text)
{
	g_autofree char *copy = g_strdup(text != NULL ? text : "");

	g_strchomp(copy);
	const char *feed = strrchr(copy, '\n');
	return g_strdup(feed != NULL ? feed + 1 : copy);
}

static bool judge(GSubprocess *process, const char *program, const char *said, GError **error)
{
	g_autofree char *line = last_line(said);

	if (g_subprocess_get_if_exited(process) && g_subprocess_get_exit_status(process) == 0)
		return true;
	if (g_subprocess_get_if_exited(process))
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED, "%s ended with %d: %s", program,
			    g_subprocess_get_exit_status(process), line);
	else
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED, "%s was ended by signal %d: %s",
			    program, g_subprocess_get_term_sig(process), line);
	return false;
}

bool dn_command_run(const char *netns, const char *const *argv, const char *input, char **output,
		    GError **error)
{
	GSubprocessFlags flags = G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_MERGE;
	dn_autofd int netns_fd = -1;

	if (input != NULL)
		flags |= G_SUBPROCESS_FLAGS_STDIN_PIPE;
	g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(flags);
	if (netns != NULL) {
		netns_fd = dn_command_open_netns(netns, error);
		if (netns_fd < 0)
			return false;
		dn_command_enter(launcher, &netns_fd);
	}
	g_autoptr(GSubprocess) process = g_subprocess_launcher_spawnv(launcher, argv, error);
	if (process == NULL)
		return false;
	g_autofree char *said = NULL;
	if (!g_subprocess_communicate_utf8(process, input, NULL, &said, NULL, error)) {
		g_prefix_error(error, "%s: ", argv[0]);
		return false;
	}
	if (!judge(process, argv[0], said, error))
		return false;
	if (output != NULL)
		*output = g_steal_pointer(&said);
	return true;
}
