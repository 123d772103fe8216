/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/judge.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "audit/paths.h"
#include "audit/text.h"

/* What a node can reach as files: its mounts, its /dev, its /proc, what it holds open. */

/* Devices that every program may have; their mounts are of one file each. */
static const struct {
	const char *name;
	unsigned major, minor;
} harmless[] = {
	{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
	{"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static bool is_harmless(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(harmless); i++)
		if (strcmp(harmless[i].name, name) == 0)
			return true;
	return false;
}

static bool is_device_mount(const DnMount *mount)
{
	return g_str_has_prefix(mount->point, "/dev/") &&
	       is_harmless(mount->point + strlen("/dev/"));
}

/* @paths are without their leading slash. */
static bool is_one_of(const char *point, const char *const *paths)
{
	return point[0] == '/' && g_strv_contains(paths, point + 1);
}

static const DnWritable *declared_at(const DnAuditCase *all, const char *point)
{
	const GArray *writable = all->node->manifest->writable;

	for (guint i = 0; i < writable->len; i++)
		if (strcmp(g_array_index(writable, DnWritable, i).path, point) == 0)
			return &g_array_index(writable, DnWritable, i);
	return NULL;
}

static const DnMount *mount_at(const DnAuditCase *all, const char *point)
{
	const DnMount *found = NULL;

	/* The last one covers those before it. */
	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);

		if (strcmp(mount->point, point) == 0)
			found = mount;
	}
	return found;
}

static bool has_mount(const DnAuditCase *all, uint64_t id)
{
	for (guint i = 0; i < all->mounts->len; i++)
		if (((const DnMount *)g_ptr_array_index(all->mounts, i))->id == id)
			return true;
	return false;
}

/* ---- mounts ---- */

static bool is_expected(const DnAuditCase *all, const DnMount *mount)
{
	static const char *const own[] = {"/", "/proc", "/dev", "/etc", "/etc/hosts", NULL};

	return g_strv_contains(own, mount->point) || is_device_mount(mount) ||
	       is_one_of(mount->point, dn_audit_masked_paths) ||
	       is_one_of(mount->point, dn_audit_read_only_paths) ||
	       declared_at(all, mount->point) != NULL;
}

static DnAuditResult judge_host_directories(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);

		if (!is_expected(all, mount))
			dn_audit_say(bad, "%s is mounted (%s %s)", mount->point, mount->type,
				     mount->root);
	}
	if (all->mounts->len == 0)
		dn_audit_say(bad, "its mounts cannot be seen");
	g_autofree char *good =
		g_strdup_printf("%u mounts, all of them its own or declared", all->mounts->len);
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_root(const DnAuditCase *all, GString *said)
{
	const DnMount *root = mount_at(all, "/");

	if (root == NULL) {
		g_string_append(said, "its root cannot be seen");
		return DN_AUDIT_FAIL;
	}
	g_string_append_printf(said, "/ is %s", root->options);
	return dn_mount_has(root->options, "ro") ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

/*
 * Runtimes bind the host's devices: over what they mask of /proc, and, in a user namespace, as the
 * node's own; as slaves of the host's /dev where that is shared. A mount of one device file that
 * only receives could receive what somebody mounts over that very file: on the host, as root there.
 */
static bool is_device_slave(const DnMount *mount)
{
	static const char *const devices[] = {"/null",    "/zero", "/full", "/random",
					      "/urandom", "/tty",  NULL};

	return g_strv_contains(devices, mount->root) &&
	       g_str_has_prefix(mount->shared, "master:") && strchr(mount->shared, ' ') == NULL;
}

static DnAuditResult judge_propagation(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);

		if (mount->shared[0] != '\0' && strcmp(mount->shared, "unbindable") != 0 &&
		    !is_device_slave(mount))
			dn_audit_say(bad, "%s is %s", mount->point, mount->shared);
	}
	return dn_audit_unless(bad, said, "every mount is private");
}

static DnAuditResult judge_runtime_socket(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->sockets->len; i++)
		dn_audit_say(bad, "%s is a socket",
			     (const char *)g_ptr_array_index(all->seen->sockets, i));
	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);

		if (g_str_has_suffix(mount->root, ".sock"))
			dn_audit_say(bad, "%s is %s", mount->point, mount->root);
	}
	return dn_audit_unless(bad, said, "no mount is a socket");
}

static DnAuditResult judge_kernel_systems(const DnAuditCase *all, GString *said)
{
	static const char *const systems[] = {
		"sysfs",    "cgroup", "cgroup2",     "debugfs",  "tracefs", "securityfs", "bpf",
		"configfs", "devpts", "binfmt_misc", "efivarfs", "pstore",  "fusectl",    NULL};
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);

		if (g_strv_contains(systems, mount->type))
			dn_audit_say(bad, "%s is %s", mount->point, mount->type);
	}
	return dn_audit_unless(bad, said, "none but proc");
}

/* A declared path is tmpfs of at most its size, and of no more inodes than it has blocks. */
static void judge_writable_mount(const DnWritable *declared, const DnMount *mount, GString *bad)
{
	static const char *const needed[] = {"nosuid", "nodev", "noexec", NULL};
	g_autofree char *size = dn_mount_value(mount->super, "size");
	g_autofree char *inodes = dn_mount_value(mount->super, "nr_inodes");
	uint64_t bytes = size != NULL ? dn_mount_size(size) : 0;
	enum { PAGE = 65536 }; /* the largest page a kernel rounds up to */

	for (size_t i = 0; needed[i] != NULL; i++)
		if (!dn_mount_has(mount->options, needed[i]))
			dn_audit_say(bad, "%s lacks %s", mount->point, needed[i]);
	if (strcmp(mount->type, "tmpfs") != 0)
		dn_audit_say(bad, "%s is %s", mount->point, mount->type);
	if (declared == NULL)
		dn_audit_say(bad, "%s is writable and not declared", mount->point);
	else if (bytes == 0 || bytes > declared->size_bytes + PAGE)
		dn_audit_say(bad, "%s has size %s", mount->point,
			     size != NULL ? size : "without end");
	if (inodes == NULL || strcmp(inodes, "0") == 0)
		dn_audit_say(bad, "%s has inodes without end", mount->point);
}

static DnAuditResult judge_writable(const DnAuditCase *all, GString *said)
{
	const GArray *writable = all->node->manifest->writable;
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);
		bool is_writable = dn_mount_has(mount->options, "rw") &&
				   strcmp(mount->type, "proc") != 0 && !is_device_mount(mount) &&
				   !is_one_of(mount->point, dn_audit_masked_paths);

		/* Of a read-only root something else says so. */
		if (is_writable && strcmp(mount->point, "/") != 0)
			judge_writable_mount(declared_at(all, mount->point), mount, bad);
	}
	for (guint i = 0; i < writable->len; i++) {
		const char *path = g_array_index(writable, DnWritable, i).path;

		if (mount_at(all, path) == NULL)
			dn_audit_say(bad, "%s is declared and not mounted", path);
	}
	g_autofree char *good =
		g_strdup_printf("%u declared paths: nosuid, nodev, noexec, bounded", writable->len);
	return dn_audit_unless(bad, said, good);
}

/*
 * Runtimes cover parts of /proc by themselves, and crun below 1.9 drops the flags of what it makes
 * read-only. Nothing is lost: proc(5) has no set-id files, and its superblock refuses devices and
 * execution whatever a mount says (SB_I_NODEV, SB_I_NOEXEC).
 */
static bool is_part_of_proc(const DnMount *mount)
{
	return strcmp(mount->type, "proc") == 0 && strcmp(mount->point, "/proc") != 0;
}

static DnAuditResult judge_flags(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(all->mounts, i);

		if (is_device_mount(mount) || is_part_of_proc(mount) ||
		    is_one_of(mount->point, dn_audit_masked_paths))
			continue; /* one harmless device each: see 5.18 and dnode-01 */
		if (!dn_mount_has(mount->options, "nosuid") ||
		    (!dn_mount_has(mount->options, "nodev") && strcmp(mount->point, "/dev") != 0))
			dn_audit_say(bad, "%s is %s", mount->point, mount->options);
	}
	return dn_audit_unless(bad, said, "nosuid and nodev everywhere");
}

/* ---- /proc and /dev ---- */

static DnAuditResult judge_masked(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);
	unsigned there = 0;

	for (guint i = 0; i < all->seen->masked->len; i++) {
		const DnSeenPath *path = g_ptr_array_index(all->seen->masked, i);

		there += path->there;
		if (path->there && (path->is_proc || path->has_bytes))
			dn_audit_say(bad, "/%s shows %s", path->path,
				     path->is_proc ? "the kernel's own" : "something");
	}
	g_autofree char *good =
		g_strdup_printf("%u are covered, this kernel lacks the others", there);
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_read_only(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->read_only->len; i++) {
		const DnSeenPath *path = g_ptr_array_index(all->seen->read_only, i);

		if (path->there && !path->read_only)
			dn_audit_say(bad, "/%s is writable", path->path);
	}
	return dn_audit_unless(bad, said, "bus, fs, irq, sys, sysrq-trigger are read-only");
}

static bool is_expected_in_dev(const DnSeenDevice *entry)
{
	static const char *const links[] = {"fd",   "stdin", "stdout", "stderr",
					    "core", "ptmx",  NULL};
	static const char *const folders[] = {"shm", NULL};

	if (S_ISLNK(entry->mode))
		return g_strv_contains(links, entry->name);
	if (S_ISDIR(entry->mode))
		return g_strv_contains(folders, entry->name);
	for (size_t i = 0; S_ISCHR(entry->mode) && i < G_N_ELEMENTS(harmless); i++)
		if (strcmp(entry->name, harmless[i].name) == 0)
			return entry->device == makedev(harmless[i].major, harmless[i].minor);
	return false;
}

static DnAuditResult judge_devices(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);
	GString *good = g_string_new(NULL);

	for (guint i = 0; i < all->seen->devices->len; i++) {
		const DnSeenDevice *entry = g_ptr_array_index(all->seen->devices, i);

		if (!is_expected_in_dev(entry))
			dn_audit_say(bad, "/dev/%s (%u:%u)", entry->name, major(entry->device),
				     minor(entry->device));
		else if (S_ISCHR(entry->mode))
			dn_audit_say(good, "%s", entry->name);
	}
	DnAuditResult result = dn_audit_unless(bad, said, good->str);
	g_string_free(good, TRUE);
	return result;
}

/* ---- what is held open ---- */

/* "net:[4026531840]": one of the node's own namespaces. */
static bool is_own_namespace(const DnAuditCase *all, const char *target)
{
	const DnSeenProcess *first = g_ptr_array_index(all->seen->processes, 0);
	const char *bracket = strstr(target, ":[");
	unsigned long inode = 0;

	if (target[0] == '/' || bracket == NULL || sscanf(bracket, ":[%lu]", &inode) != 1)
		return false;
	for (unsigned i = 0; i < DN_SIGHT_NAMESPACES; i++)
		if (first->namespaces[i] == inode)
			return true;
	return false;
}

/* The kernel's own names have no slash in front; a file's has one. */
static bool is_without_file(const char *target)
{
	return g_str_has_prefix(target, "pipe:[") || g_str_has_prefix(target, "socket:[") ||
	       g_str_has_prefix(target, "anon_inode:") ||
	       (g_str_has_prefix(target, "/memfd:") && g_str_has_suffix(target, " (deleted)"));
}

static DnAuditResult judge_fds(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->fds->len; i++) {
		const DnSeenFd *fd = g_ptr_array_index(all->seen->fds, i);

		/* 0: closed while it was looked at. */
		if (fd->mount != 0 && !fd->is_queue && !has_mount(all, fd->mount) &&
		    !is_without_file(fd->target) && !is_own_namespace(all, fd->target))
			dn_audit_say(bad, "descriptor %u is %s, in no mount of the node",
				     fd->number, fd->target);
	}
	g_autofree char *good =
		g_strdup_printf("%u descriptors, none of the host's", all->seen->fds->len);
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_cwd(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);

		if (process->cwd_mount != 0 && !has_mount(all, process->cwd_mount))
			dn_audit_say(bad, "process %d works outside", (int)process->pid);
		if (process->root_mount != 0 && !has_mount(all, process->root_mount))
			dn_audit_say(bad, "process %d has its root outside", (int)process->pid);
	}
	return dn_audit_unless(bad, said, "every process works and has its root in its mounts");
}

const DnAuditRule dn_audit_mount_rules[] = {
	{"5.6", "nothing of the host's is mounted", true, true, judge_host_directories},
	{"5.13", "its root is read-only", true, true, judge_root},
	{"5.18", "its /dev has only harmless devices", true, true, judge_devices},
	{"5.20", "no mount event passes in or out", true, true, judge_propagation},
	{"5.32", "no socket of a runtime is mounted", true, true, judge_runtime_socket},
	{"dnode-01", "what /proc tells of the host is covered", true, true, judge_masked},
	{"dnode-02", "what /proc changes on the host is read-only", true, true, judge_read_only},
	{"dnode-03", "no /sys, no cgroup and no other file system of the kernel", true, true,
	 judge_kernel_systems},
	{"dnode-04", "what is writable is declared, bounded and executes nothing", true, true,
	 judge_writable},
	{"dnode-05", "no mount gives rights by mode or device", true, true, judge_flags},
	{"dnode-11", "no descriptor of the host's is open in it", true, false, judge_fds},
	{"dnode-12", "no process works outside its root", true, false, judge_cwd},
	{NULL, NULL, false, false, NULL},
};
