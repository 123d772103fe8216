/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "lab/monitor-file.h"
#include "lab/monitor.h"

#define START_NS (5 * DN_NS_PER_S)
#define STOP_NS (20 * DN_NS_PER_S)
#define POLL_US (20 * 1000)

pid_t dn_lab_monitor_pid(const DnLab *lab)
{
	return dn_monitor_file_owner(lab->monitor_pid);
}

static void detach(gpointer data)
{
	(void)data;
	(void)setsid();
}

bool dn_lab_monitor_start(const DnLab *lab, const char *program, GError **error)
{
	const char *argv[] = {program, "lab", "monitor", "--name", lab->name, NULL};
	g_autofree char *log = g_build_filename(lab->log_dir, "monitor.log", NULL);
	dn_autofd int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (log_fd < 0)
		return dn_throw_errno(error, errno, "open %s", log);
	g_autoptr(GSubprocessLauncher) launcher =
		g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_MERGE);
	g_subprocess_launcher_take_stdout_fd(launcher, g_steal_fd(&log_fd));
	g_subprocess_launcher_set_child_setup(launcher, detach, NULL, NULL);
	g_subprocess_launcher_set_cwd(launcher, "/");
	g_autoptr(GSubprocess) process = g_subprocess_launcher_spawnv(launcher, argv, error);
	if (process == NULL)
		return false;
	uint64_t deadline = dn_clock_monotonic_ns() + START_NS;
	while (dn_lab_monitor_pid(lab) == 0 && dn_clock_monotonic_ns() < deadline)
		g_usleep(POLL_US);
	if (dn_lab_monitor_pid(lab) != 0)
		return true;
	g_subprocess_force_exit(process);
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
		    "the lab's monitor did not start; see %s", log);
	return false;
}

bool dn_lab_monitor_reload(const DnLab *lab, GError **error)
{
	pid_t pid = dn_lab_monitor_pid(lab);

	if (pid > 0 && kill(pid, SIGHUP) == 0)
		return true;
	g_set_error_literal(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
			    "the lab's monitor is gone; run 'dnode "
			    "lab down', then 'dnode lab up'");
	return false;
}

bool dn_lab_monitor_stop(const DnLab *lab, GError **error)
{
	uint64_t deadline = dn_clock_monotonic_ns() + STOP_NS;
	pid_t pid = dn_lab_monitor_pid(lab);

	if (pid <= 0)
		return true;
	if (kill(pid, SIGTERM) != 0 && errno != ESRCH)
		return dn_throw_errno(error, errno, "end the lab's monitor, pid %d", (int)pid);
	while (dn_lab_monitor_pid(lab) != 0) {
		if (dn_clock_monotonic_ns() > deadline)
			(void)kill(pid, SIGKILL);
		if (dn_clock_monotonic_ns() > deadline + STOP_NS) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "the lab's monitor, pid %d, does not end", (int)pid);
			return false;
		}
		g_usleep(POLL_US);
	}
	return true;
}
