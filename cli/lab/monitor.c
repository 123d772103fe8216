/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "lab/command.h"
#include "lab/monitor-file.h"
#include "lab/record.h"
#include "wire/json.h"

#define RESTART_MS 100
#define RESTART_LIMIT_MS 5000
#define SHORT_LIFE_NS DN_NS_PER_S
#define SHORT_LIVES_FREE 5
#define STOP_S 10
#define LOG_LIMIT (16 << 20)

typedef struct Monitor Monitor;

typedef struct {
	Monitor *monitor; /* borrowed */
	DnLabDaemon *daemon;
	GSubprocess *process; /* NULL: waits to be started again */
	uint64_t started_ns;
	unsigned restarts, short_lives;
	unsigned timer;
} Charge;

struct Monitor {
	const DnLab *lab; /* borrowed */
	GMainLoop *loop;
	GPtrArray *charges; /* of Charge */
	bool stopping;
	unsigned deadline;
};

static void charge_free(Charge *charge)
{
	if (charge->timer != 0)
		g_source_remove(charge->timer);
	g_clear_object(&charge->process);
	dn_lab_daemon_free(charge->daemon);
	g_free(charge);
}

/* What `lab status` reads. Losing it is no reason to lose the fleet: only said in the log. */
static void write_pids(Monitor *self)
{
	g_autoptr(GError) error = NULL;
	JsonObject *document = json_object_new();

	for (unsigned i = 0; i < self->charges->len; i++) {
		const Charge *charge = self->charges->pdata[i];
		const char *pid = charge->process != NULL
					  ? g_subprocess_get_identifier(charge->process)
					  : NULL;
		JsonObject *item = json_object_new();
		json_object_set_int_member(item, "pid",
					   pid != NULL ? g_ascii_strtoll(pid, NULL, 10) : 0);
		json_object_set_int_member(item, "restarts", charge->restarts);
		json_object_set_object_member(document, charge->daemon->name, item);
	}
	g_autoptr(GBytes) bytes = dn_json_print(document);
	if (!dn_file_replace(self->lab->pids, bytes, 0644, &error))
		g_warning("%s", error->message);
}

/* The daemon's own log file, begun anew when it has grown large. */
static int open_log(const DnLab *lab, const char *name, GError **error)
{
	g_autofree char *file = g_strconcat(name, ".log", NULL);
	g_autofree char *path = g_build_filename(lab->log_dir, file, NULL);
	struct stat info;

	if (stat(path, &info) == 0 && info.st_size > LOG_LIMIT) {
		g_autofree char *old = g_strconcat(path, ".old", NULL);
		(void)rename(path, old);
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		dn_throw_errno(error, errno, "open %s", path);
	return fd;
}

/* Between fork and exec. Daemons end with their monitor, also when that is killed. */
static void enter(gpointer data)
{
	const int *netns_fd = data;

	if (setns(*netns_fd, CLONE_NEWNET) != 0 || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
		_exit(127);
}

static GSubprocess *spawn(Monitor *self, const DnLabDaemon *daemon, GError **error)
{
	dn_autofd int netns_fd = dn_command_open_netns(daemon->netns, error);
	dn_autofd int log_fd = netns_fd >= 0 ? open_log(self->lab, daemon->name, error) : -1;

	if (log_fd < 0)
		return NULL;
	g_autoptr(GSubprocessLauncher) launcher =
		g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDERR_MERGE);
	g_subprocess_launcher_take_stdout_fd(launcher, g_steal_fd(&log_fd));
	g_subprocess_launcher_set_child_setup(launcher, enter, &netns_fd, NULL);
	return g_subprocess_launcher_spawnv(launcher, (const char *const *)daemon->argv, error);
}

static gboolean start(gpointer data);

/* 100 ms, as an init would; a daemon that cannot live is tried less and less often. */
static unsigned delay_ms(const Charge *charge)
{
	unsigned delay = RESTART_MS;

	for (unsigned i = SHORT_LIVES_FREE; i < charge->short_lives && delay < RESTART_LIMIT_MS;
	     i++)
		delay *= 2;
	return MIN(delay, RESTART_LIMIT_MS);
}

static bool is_any_alive(const Monitor *self)
{
	for (unsigned i = 0; i < self->charges->len; i++)
		if (((const Charge *)self->charges->pdata[i])->process != NULL)
			return true;
	return false;
}

static void again(Charge *charge)
{
	bool short_life = dn_clock_monotonic_ns() - charge->started_ns < SHORT_LIFE_NS;

	charge->short_lives = short_life ? charge->short_lives + 1 : 0;
	charge->restarts++;
	charge->timer = g_timeout_add(delay_ms(charge), start, charge);
}

static void on_ended(GObject *source, GAsyncResult *result, gpointer data)
{
	Charge *charge = data;
	GSubprocess *process = G_SUBPROCESS(source);

	(void)g_subprocess_wait_finish(process, result, NULL);
	g_message("%s ended, status 0x%x", charge->daemon->name, g_subprocess_get_status(process));
	g_clear_object(&charge->process);
	if (!charge->monitor->stopping)
		again(charge);
	write_pids(charge->monitor);
	if (charge->monitor->stopping && !is_any_alive(charge->monitor))
		g_main_loop_quit(charge->monitor->loop);
}

static gboolean start(gpointer data)
{
	Charge *charge = data;
	g_autoptr(GError) error = NULL;

	charge->timer = 0;
	charge->started_ns = dn_clock_monotonic_ns();
	charge->process = spawn(charge->monitor, charge->daemon, &error);
	if (charge->process == NULL) {
		g_warning("start %s: %s", charge->daemon->name, error->message);
		again(charge);
		return G_SOURCE_REMOVE;
	}
	g_message("started %s, pid %s", charge->daemon->name,
		  g_subprocess_get_identifier(charge->process));
	g_subprocess_wait_async(charge->process, NULL, on_ended, charge);
	write_pids(charge->monitor);
	return G_SOURCE_REMOVE;
}

static bool is_charged(const Monitor *self, const char *name)
{
	for (unsigned i = 0; i < self->charges->len; i++)
		if (g_str_equal(((const Charge *)self->charges->pdata[i])->daemon->name, name))
			return true;
	return false;
}

/* Take on the daemons that are new in the list. */
static bool reload(Monitor *self, GError **error)
{
	g_autoptr(GPtrArray) daemons = dn_lab_daemons_load(self->lab, error);

	if (daemons == NULL)
		return false;
	for (unsigned i = 0; i < daemons->len; i++) {
		const DnLabDaemon *daemon = daemons->pdata[i];
		if (is_charged(self, daemon->name))
			continue;
		Charge *charge = g_new0(Charge, 1);
		charge->monitor = self;
		charge->daemon = dn_lab_daemon_new(daemon->name, daemon->netns,
						   (const char *const *)daemon->argv);
		g_ptr_array_add(self->charges, charge);
		start(charge);
	}
	return true;
}

static gboolean on_hangup(gpointer data)
{
	g_autoptr(GError) error = NULL;

	if (!reload(data, &error))
		g_warning("%s", error->message);
	return G_SOURCE_CONTINUE;
}

static void signal_all(Monitor *self, int number)
{
	for (unsigned i = 0; i < self->charges->len; i++) {
		Charge *charge = self->charges->pdata[i];
		if (charge->process != NULL)
			g_subprocess_send_signal(charge->process, number);
		if (charge->timer != 0)
			g_source_remove(charge->timer);
		charge->timer = 0;
	}
}

static gboolean on_deadline(gpointer data)
{
	Monitor *self = data;

	self->deadline = 0;
	g_warning("daemons did not end within %d s: killed", STOP_S);
	signal_all(self, SIGKILL);
	return G_SOURCE_REMOVE;
}

static gboolean on_terminate(gpointer data)
{
	Monitor *self = data;

	if (self->stopping)
		return G_SOURCE_CONTINUE;
	self->stopping = true;
	signal_all(self, SIGTERM);
	self->deadline = g_timeout_add_seconds(STOP_S, on_deadline, self);
	if (!is_any_alive(self))
		g_main_loop_quit(self->loop);
	return G_SOURCE_CONTINUE;
}

static void keep(Monitor *self, GError **error)
{
	guint hangup = g_unix_signal_add(SIGHUP, on_hangup, self);
	guint terminate = g_unix_signal_add(SIGTERM, on_terminate, self);
	guint interrupt = g_unix_signal_add(SIGINT, on_terminate, self);

	if (reload(self, error))
		g_main_loop_run(self->loop);
	g_source_remove(hangup);
	g_source_remove(terminate);
	g_source_remove(interrupt);
	if (self->deadline != 0)
		g_source_remove(self->deadline);
}

bool dn_lab_monitor_run(const DnLab *lab, GError **error)
{
	/* From here on others can find us: no SIGHUP may come before its handler. */
	(void)signal(SIGHUP, SIG_IGN);
	dn_autofd int lock_fd = dn_monitor_file_lock(lab->monitor_pid, error);
	GError *cause = NULL;

	if (lock_fd < 0)
		return false;
	Monitor self = {
		.lab = lab,
		.loop = g_main_loop_new(NULL, FALSE),
		.charges = g_ptr_array_new_with_free_func((GDestroyNotify)charge_free),
	};
	keep(&self, &cause);
	g_ptr_array_unref(self.charges);
	g_main_loop_unref(self.loop);
	if (cause == NULL)
		return true;
	g_propagate_error(error, cause);
	return false;
}
