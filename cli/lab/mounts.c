/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/mounts.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mounts.h"

#define MOUNTINFO_LIMIT (4u << 20)
#define MOUNT_POINT_FIELD 4
#define CONTROLLERS_LIMIT (64u << 10)
#define HUGETLB "/sys/fs/cgroup/hugetlb"
#define BPF "/sys/fs/bpf"
#define NETNS "/run/netns"

static bool is_wanted_hugetlb(bool *wanted, GError **error)
{
	g_auto(GStrv) v1 = dn_mounts_of_type("cgroup", error);
	g_autofree char *controllers = NULL;

	*wanted = false;
	if (v1 == NULL)
		return false;
	if (v1[0] == NULL)
		return true;
	controllers = dn_file_read_kernel("/proc/cgroups", CONTROLLERS_LIMIT, error);
	if (controllers == NULL)
		return false;
	/* "hugetlb<TAB>HIERARCHY…": hierarchy 0 is v2, or nowhere. */
	*wanted = strstr(controllers, "\nhugetlb\t0\t") != NULL;
	return true;
}

static bool is_wanted_bpf(bool *wanted, GError **error)
{
	g_auto(GStrv) points = dn_mounts_of_type("bpf", error);

	*wanted = points != NULL && !g_strv_contains((const char *const *)points, BPF);
	return points != NULL;
}

/* The mount points in mount order. */
static GPtrArray *mount_points(GError **error)
{
	g_autofree char *text = dn_file_read_kernel("/proc/self/mountinfo", MOUNTINFO_LIMIT, error);

	if (text == NULL)
		return NULL;
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	GPtrArray *points = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; lines[i] != NULL; i++) {
		g_auto(GStrv) fields = g_strsplit(lines[i], " ", MOUNT_POINT_FIELD + 2);
		if (g_strv_length(fields) > MOUNT_POINT_FIELD)
			g_ptr_array_add(points, g_strcompress(fields[MOUNT_POINT_FIELD]));
	}
	return points;
}

static bool is_wanted_netns(bool *wanted, GError **error)
{
	g_autoptr(GPtrArray) points = mount_points(error);

	*wanted = points != NULL &&
		  !g_ptr_array_find_with_equal_func(points, NETNS, g_str_equal, NULL);
	return points != NULL;
}

static bool mount_filesystem(const char *path, const char *type, const char *options,
			     GError **error)
{
	if (!dn_file_make_directory(path, 0755, error))
		return false;
	if (mount("none", path, type, 0, options) != 0)
		return dn_throw_errno(error, errno, "mount %s at %s", type, path);
	return true;
}

static bool mount_hugetlb(GError **error)
{
	return mount_filesystem(HUGETLB, "cgroup", "hugetlb", error);
}

static bool mount_bpf(GError **error)
{
	return mount_filesystem(BPF, "bpf", NULL, error);
}

/* As ip(8) would do it with its first namespace; done here so that it is known who did. */
static bool mount_netns(GError **error)
{
	if (!dn_file_make_directory(NETNS, 0755, error))
		return false;
	if (mount(NETNS, NETNS, "none", MS_BIND | MS_REC, NULL) != 0 ||
	    mount("", NETNS, "none", MS_SHARED | MS_REC, NULL) != 0)
		return dn_throw_errno(error, errno, "mount %s over itself", NETNS);
	return true;
}

static const struct {
	const char *path;
	bool (*is_wanted)(bool *wanted, GError **error);
	bool (*mount)(GError **error);
} mounts[] = {
	{HUGETLB, is_wanted_hugetlb, mount_hugetlb},
	{BPF, is_wanted_bpf, mount_bpf},
	{NETNS, is_wanted_netns, mount_netns},
};

bool dn_lab_mounts_plan(GPtrArray *plan, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(mounts); i++) {
		bool wanted = false;
		if (!mounts[i].is_wanted(&wanted, error))
			return false;
		if (wanted &&
		    !g_ptr_array_find_with_equal_func(plan, mounts[i].path, g_str_equal, NULL))
			g_ptr_array_add(plan, g_strdup(mounts[i].path));
	}
	return true;
}

bool dn_lab_mounts_make(const GPtrArray *plan, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(mounts); i++) {
		bool wanted = false;
		if (!g_ptr_array_find_with_equal_func((GPtrArray *)plan, mounts[i].path,
						      g_str_equal, NULL))
			continue;
		if (!mounts[i].is_wanted(&wanted, error))
			return false;
		if (wanted && !mounts[i].mount(error))
			return false;
	}
	return true;
}

/* What the kernel itself puts where @point is mounted: all files of cgroupfs, two of bpffs. */
static bool is_kernels(const char *point, const char *name)
{
	g_autofree char *entry = g_build_filename(point, name, NULL);

	if (strcmp(point, HUGETLB) == 0)
		return !g_file_test(entry, G_FILE_TEST_IS_DIR);
	return strcmp(point, BPF) == 0 &&
	       (strcmp(name, "maps.debug") == 0 || strcmp(name, "progs.debug") == 0);
}

/* Entries that somebody made: groups, pins, files of ip(8). */
static bool is_used(const char *path)
{
	g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
	const char *name;

	while (directory != NULL && (name = g_dir_read_name(directory)) != NULL)
		if (!is_kernels(path, name))
			return true;
	return false;
}

bool dn_lab_mounts_undo(const GPtrArray *plan, GPtrArray *kept, GError **error)
{
	for (unsigned i = plan->len; i > 0; i--) {
		const char *path = plan->pdata[i - 1];
		if (is_used(path)) {
			g_ptr_array_add(kept, g_strdup(path));
			continue;
		}
		if (umount2(path, UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
			return dn_throw_errno(error, errno, "unmount %s", path);
		/* Not in /sys/fs/bpf, which the kernel made; an rmdir that fails loses nothing. */
		(void)rmdir(path);
	}
	return true;
}

static bool is_below(const char *point, const char *path)
{
	size_t length = strlen(path);

	return strncmp(point, path, length) == 0 && (point[length] == '\0' || point[length] == '/');
}

bool dn_lab_mounts_detach_below(const char *path, GError **error)
{
	g_autoptr(GPtrArray) points = mount_points(error);

	if (points == NULL)
		return false;
	for (unsigned i = points->len; i > 0; i--) {
		const char *point = points->pdata[i - 1];
		if (!is_below(point, path))
			continue;
		if (umount2(point, MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL)
			return dn_throw_errno(error, errno, "unmount %s", point);
	}
	return true;
}
