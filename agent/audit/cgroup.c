/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "audit/sight.h"
#include "audit/text.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

/* The limits of a node's cgroup, in a hierarchy of version 1 for each controller or in version 2.
 */

/* A host has a mount for each of its nodes. */
enum { TEXT_LIMIT = 4 * 1024 * 1024 };

typedef struct {
	const char *groups; /* /proc/PID/cgroup */
	GPtrArray *mounts;  /* of the agent */
} Hierarchies;

/* The path behind "ID:CONTROLLERS:" of the line that has @controller; "" names v2. */
static char *group_of(const char *groups, const char *controller)
{
	g_auto(GStrv) lines = g_strsplit_set(groups != NULL ? groups : "", "\n", -1);

	for (guint i = 0; lines[i] != NULL; i++) {
		g_auto(GStrv) parts = g_strsplit(lines[i], ":", 3);
		g_auto(GStrv) names =
			g_strv_length(parts) == 3 ? g_strsplit(parts[1], ",", -1) : NULL;

		if (names == NULL)
			continue;
		if (controller[0] == '\0' ? parts[1][0] == '\0'
					  : g_strv_contains((const char *const *)names, controller))
			return g_strdup(parts[2]);
	}
	return NULL;
}

/* The node's directory in the v1 hierarchy of @controller, or NULL: it is in v2, or nowhere. */
static char *directory_v1(const Hierarchies *all, const char *controller)
{
	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);
		g_autofree char *group = NULL;

		if (strcmp(mount->type, "cgroup") != 0 || !dn_mount_has(mount->super, controller))
			continue;
		group = group_of(all->groups, controller);
		return group != NULL ? g_build_filename(mount->point, group, NULL) : NULL;
	}
	return NULL;
}

static char *read_in(const char *directory, const char *file)
{
	g_autofree char *path = directory != NULL ? g_build_filename(directory, file, NULL) : NULL;
	char *text = path != NULL ? dn_file_read_kernel(path, TEXT_LIMIT, NULL) : NULL;

	return text != NULL ? g_strchomp(text) : NULL;
}

/* False when there is no such file. v1 has a number for "none" too: the largest of pages. */
static bool read_number(const char *directory, const char *file, uint64_t *value)
{
	enum { NONE_SHIFT = 62 };
	g_autofree char *text = read_in(directory, file);

	if (text == NULL)
		return false;
	if (!dn_text_parse_u64(text, UINT64_MAX, value) || *value >> NONE_SHIFT != 0)
		*value = UINT64_MAX;
	return true;
}

static void read_memory(const Hierarchies *all, const char *v2, DnSeenLimits *seen)
{
	g_autofree char *v1 = directory_v1(all, "memory");
	uint64_t both = 0;

	if (v1 == NULL) {
		seen->memory = read_number(v2, "memory.max", &seen->memory_bytes);
		seen->has_swap = read_number(v2, "memory.swap.max", &seen->swap_bytes);
		return;
	}
	seen->memory = read_number(v1, "memory.limit_in_bytes", &seen->memory_bytes);
	seen->has_swap = read_number(v1, "memory.memsw.limit_in_bytes", &both);
	if (seen->has_swap)
		seen->swap_bytes = both == UINT64_MAX ? both : both - MIN(both, seen->memory_bytes);
}

static void set_cpu(DnSeenLimits *seen, const char *quota, const char *period)
{
	uint64_t allowed_us = 0;
	uint64_t period_us = 0;

	seen->cpu = true;
	seen->cpu_milli = UINT64_MAX;
	if (dn_text_parse_u64(quota, G_MAXUINT32, &allowed_us) &&
	    dn_text_parse_u64(period, G_MAXUINT32, &period_us) && period_us > 0)
		seen->cpu_milli = allowed_us * 1000 / period_us;
}

static void read_cpu(const Hierarchies *all, const char *v2, DnSeenLimits *seen)
{
	g_autofree char *v1 = directory_v1(all, "cpu");
	g_autofree char *quota = read_in(v1, "cpu.cfs_quota_us"); /* "-1": none */
	g_autofree char *period = read_in(v1, "cpu.cfs_period_us");
	g_autofree char *max = v1 == NULL ? read_in(v2, "cpu.max") : NULL;
	g_auto(GStrv) words = g_strsplit(max != NULL ? max : "", " ", 2);

	if (quota != NULL && period != NULL)
		set_cpu(seen, quota, period);
	else if (g_strv_length(words) == 2)
		set_cpu(seen, words[0], words[1]);
}

/* In v2 a program decides, and what it decides is not to be read; that there is one is. */
static int count_device_programs(const char *v2)
{
	dn_autofd int fd = open(v2, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	union bpf_attr attr = {0};

	if (fd < 0)
		return -1;
	attr.query.target_fd = (unsigned)fd;
	attr.query.attach_type = BPF_CGROUP_DEVICE;
	attr.query.query_flags = BPF_F_QUERY_EFFECTIVE;
	if (syscall(SYS_bpf, BPF_PROG_QUERY, &attr, sizeof(attr)) < 0)
		return -1;
	return (int)attr.query.prog_cnt;
}

static void read_devices(const Hierarchies *all, const char *v2, DnSeenLimits *seen)
{
	g_autofree char *v1 = directory_v1(all, "devices");

	seen->devices = read_in(v1, "devices.list");
	seen->device_programs = v1 == NULL && v2 != NULL ? count_device_programs(v2) : -1;
}

static void read_io(const Hierarchies *all, const char *v2, DnSeenLimits *seen)
{
	static const char *const files[] = {
		"blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device",
		"blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device", NULL};
	g_autofree char *v1 = directory_v1(all, "blkio");
	GString *said = g_string_new(NULL);

	for (size_t i = 0; v1 != NULL && files[i] != NULL; i++) {
		g_autofree char *text = read_in(v1, files[i]);

		if (text != NULL && text[0] != '\0')
			g_string_append_printf(said, "%s%s: %s", said->len > 0 ? "; " : "",
					       files[i], text);
	}
	if (v1 == NULL) {
		g_autofree char *text = read_in(v2, "io.max");

		g_string_append(said, text != NULL ? text : "");
	}
	seen->io = g_string_free(said, FALSE);
}

void dn_sight_read_limits(const DnInstance *instance, const DnAuditNode *node, DnSeenLimits *seen)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cgroup", (int)node->pid);
	g_autofree char *groups = dn_file_read_kernel(path, TEXT_LIMIT, NULL);
	g_autofree char *own = dn_file_read_kernel("/proc/self/mountinfo", TEXT_LIMIT, NULL);
	g_autoptr(GPtrArray) mounts = dn_mounts_parse(own);
	Hierarchies all = {.groups = groups, .mounts = mounts};

	seen->path = group_of(groups, "");
	g_autofree char *v2 = seen->path != NULL
				      ? g_build_filename(instance->cgroup_root, seen->path, NULL)
				      : NULL;
	g_autofree char *pids = directory_v1(&all, "pids");
	read_memory(&all, v2, seen);
	seen->pids = read_number(pids != NULL ? pids : v2, "pids.max", &seen->pids_max);
	read_cpu(&all, v2, seen);
	read_devices(&all, v2, seen);
	read_io(&all, v2, seen);
}
