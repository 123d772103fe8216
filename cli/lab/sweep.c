/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/sweep.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mounts.h"
#include "base/text.h"

#define EVENTS_LIMIT 4096
#define PID_LIMIT (UINT64_C(1) << 22)
#define WAIT_NS (5 * DN_NS_PER_S)
#define POLL_US (10 * 1000)

static bool is_populated(const char *group)
{
	g_autofree char *path = g_build_filename(group, "cgroup.events", NULL);
	g_autofree char *text = dn_file_read_kernel(path, EVENTS_LIMIT, NULL);

	return text != NULL && strstr(text, "populated 1") != NULL;
}

/* Killing works on frozen groups too; it is the kernel that walks the children. */
static bool kill_group(const char *group, GError **error)
{
	g_autofree char *path = g_build_filename(group, "cgroup.kill", NULL);
	uint64_t deadline = dn_clock_monotonic_ns() + WAIT_NS;

	if (!is_populated(group))
		return true;
	if (!dn_file_write_kernel(path, "1", error))
		return false;
	while (is_populated(group)) {
		if (dn_clock_monotonic_ns() > deadline) {
			g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE,
				    "%s: processes in it do not end", group);
			return false;
		}
		g_usleep(POLL_US);
	}
	return true;
}

static void kill_helpers(const DnLab *lab)
{
	g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
	g_autofree char *prefix = g_strconcat(lab->libexec_dir, "/", NULL);
	const char *name;
	uint64_t pid;

	while (proc != NULL && (name = g_dir_read_name(proc)) != NULL) {
		if (!dn_text_parse_u64(name, PID_LIMIT, &pid))
			continue;
		g_autofree char *link = g_build_filename("/proc", name, "exe", NULL);
		g_autofree char *program = g_file_read_link(link, NULL);
		if (program != NULL && g_str_has_prefix(program, prefix))
			(void)kill((pid_t)pid, SIGKILL);
	}
}

bool dn_lab_sweep(const DnLab *lab, GError **error)
{
	g_auto(GStrv) points = dn_mounts_of_type("cgroup2", error);

	if (points == NULL)
		return false;
	for (unsigned i = 0; points[i] != NULL; i++) {
		g_autofree char *group = g_build_filename(points[i], lab->name, NULL);
		if (!kill_group(group, error))
			return false;
	}
	kill_helpers(lab);
	return true;
}
