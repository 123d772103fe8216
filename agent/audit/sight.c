/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/sight.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "audit/paths.h"
#include "audit/text.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

enum {
	TEXT_LIMIT = 64 * 1024,
	TABLE_LIMIT = 4 * 1024 * 1024,
	PROCESSES_LIMIT = 4096,
	FDS_LIMIT = 4096,
	DEVICES_LIMIT = 256,
};

static const char *const namespace_names[] = {
	[DN_SIGHT_CGROUP] = "cgroup", [DN_SIGHT_IPC] = "ipc", [DN_SIGHT_MNT] = "mnt",
	[DN_SIGHT_NET] = "net",       [DN_SIGHT_PID] = "pid", [DN_SIGHT_USER] = "user",
	[DN_SIGHT_UTS] = "uts",
};
_Static_assert(G_N_ELEMENTS(namespace_names) == DN_SIGHT_NAMESPACES, "every kind needs a name");

const char *dn_sight_namespace_name(unsigned kind)
{
	return namespace_names[kind];
}

/* ---- the value ---- */

static void free_process(gpointer data)
{
	DnSeenProcess *process = data;

	g_free(process->status);
	g_free(process->stat);
	g_free(process);
}

static void free_fd(gpointer data)
{
	DnSeenFd *fd = data;

	g_free(fd->target);
	g_free(fd);
}

static void free_device(gpointer data)
{
	DnSeenDevice *device = data;

	g_free(device->name);
	g_free(device);
}

DnSight *dn_sight_new(void)
{
	DnSight *self = g_new0(DnSight, 1);

	self->processes = g_ptr_array_new_with_free_func(free_process);
	self->fds = g_ptr_array_new_with_free_func(free_fd);
	self->masked = g_ptr_array_new_with_free_func(g_free);
	self->read_only = g_ptr_array_new_with_free_func(g_free);
	self->devices = g_ptr_array_new_with_free_func(free_device);
	self->sockets = g_ptr_array_new_with_free_func(g_free);
	self->resources.device_programs = -1;
	return self;
}

void dn_sight_free(DnSight *self)
{
	if (self == NULL)
		return;
	g_ptr_array_unref(self->processes);
	g_ptr_array_unref(self->fds);
	g_ptr_array_unref(self->masked);
	g_ptr_array_unref(self->read_only);
	g_ptr_array_unref(self->devices);
	g_ptr_array_unref(self->sockets);
	char *texts[] = {self->mounts, self->uid_map, self->gid_map, self->limits, self->oom,
			 self->tcp,    self->tcp6,    self->udp,     self->udp6,   self->raw,
			 self->raw6,   self->icmp,    self->packet,  self->label};
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(texts[i]);
	g_free(self->resources.path);
	g_free(self->resources.devices);
	g_free(self->resources.io);
	g_free(self);
}

DnSeenProcess *dn_sight_add_process(DnSight *self, pid_t pid)
{
	DnSeenProcess *process = g_new0(DnSeenProcess, 1);

	process->pid = pid;
	g_ptr_array_add(self->processes, process);
	return process;
}

DnSeenFd *dn_sight_add_fd(DnSight *self, unsigned number, const char *target, uint64_t mount)
{
	DnSeenFd *fd = g_new0(DnSeenFd, 1);

	fd->number = number;
	fd->target = g_strdup(target);
	fd->mount = mount;
	g_ptr_array_add(self->fds, fd);
	return fd;
}

/* ---- /proc/PID ---- */

static char *G_GNUC_PRINTF(2, 3) read_of(pid_t pid, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *name = g_strdup_vprintf(format, args);
	va_end(args);
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
	return dn_file_read_kernel(path, TABLE_LIMIT, NULL);
}

/* The mount that a link of /proc/PID leads into; 0 when it cannot be told. */
static uint64_t mount_of(pid_t pid, const char *link)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, link);
	struct statx info = {0};

	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_MNT_ID, &info) < 0 ||
	    (info.stx_mask & STATX_MNT_ID) == 0)
		return 0;
	return info.stx_mnt_id;
}

static void read_namespaces(const char *who, ino_t inodes[DN_SIGHT_NAMESPACES])
{
	for (unsigned i = 0; i < DN_SIGHT_NAMESPACES; i++) {
		g_autofree char *path = g_strdup_printf("/proc/%s/ns/%s", who, namespace_names[i]);
		struct stat info;

		inodes[i] = stat(path, &info) == 0 ? info.st_ino : 0;
	}
}

static void read_process(DnSight *self, pid_t pid)
{
	g_autofree char *status = read_of(pid, "status");
	g_autofree char *who = g_strdup_printf("%d", (int)pid);

	if (status == NULL)
		return; /* it has ended */
	DnSeenProcess *process = dn_sight_add_process(self, pid);
	process->status = g_steal_pointer(&status);
	process->stat = read_of(pid, "stat");
	read_namespaces(who, process->namespaces);
	process->cwd_mount = mount_of(pid, "cwd");
	process->root_mount = mount_of(pid, "root");
}

static void read_processes(DnSight *self, const DnInstance *instance, const DnAuditNode *node)
{
	g_autofree char *path = g_build_filename(instance->cgroup_root, instance->cgroup_parent,
						 node->node, "cgroup.procs", NULL);
	g_autofree char *text = dn_file_read_kernel(path, TEXT_LIMIT, NULL);
	g_auto(GStrv) lines = g_strsplit_set(text != NULL ? text : "", "\n", PROCESSES_LIMIT);
	uint64_t pid = 0;

	read_process(self, node->pid);
	for (guint i = 0; lines[i] != NULL; i++)
		if (dn_text_parse_u64(lines[i], G_MAXINT, &pid) && (pid_t)pid != node->pid)
			read_process(self, (pid_t)pid);
}

static void read_fds(DnSight *self, pid_t pid)
{
	g_autofree char *folder = g_strdup_printf("/proc/%d/fd", (int)pid);
	g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
	enum { MQUEUE = 0x19800202 };
	struct statfs system;
	const char *name = NULL;
	uint64_t number = 0;

	while (directory != NULL && self->fds->len < FDS_LIMIT &&
	       (name = g_dir_read_name(directory)) != NULL) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		g_autofree char *target = g_file_read_link(path, NULL);
		g_autofree char *info = read_of(pid, "fdinfo/%s", name);
		g_autofree char *mount = dn_status_value(info, "mnt_id");
		uint64_t id = 0;

		if (target == NULL || !dn_text_parse_u64(name, G_MAXINT, &number))
			continue;
		if (mount == NULL || !dn_text_parse_u64(mount, UINT64_MAX, &id))
			id = 0;
		DnSeenFd *fd = dn_sight_add_fd(self, (unsigned)number, target, id);
		fd->is_queue = statfs(path, &system) == 0 && system.f_type == MQUEUE;
	}
}

/* ---- through the node's root ---- */

/* No link of the node's leads anywhere: neither out of its root nor within. */
static int open_inside(int root_fd, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
}

static bool is_null_device(const struct stat *info)
{
	return S_ISCHR(info->st_mode) && info->st_rdev == makedev(1, 3);
}

static bool has_entries(int root_fd, const char *path)
{
	int fd = open_inside(root_fd, path, O_RDONLY | O_DIRECTORY);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	unsigned found = 0;

	if (directory == NULL) {
		dn_fd_clear(&fd);
		return false;
	}
	for (const struct dirent *entry = NULL; (entry = readdir(directory)) != NULL;)
		found += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	(void)closedir(directory);
	return found > 0;
}

/* Nothing is opened but as a path: some of these wait for readers, or lose what is read. */
static void look_at(GPtrArray *paths, int root_fd, const char *path)
{
	enum { PROC_SUPER = 0x9fa0 };
	DnSeenPath *seen = g_new0(DnSeenPath, 1);
	dn_autofd int fd = open_inside(root_fd, path, O_PATH);
	struct statfs system;
	struct stat info;

	seen->path = path;
	g_ptr_array_add(paths, seen);
	if (fd < 0 || fstatfs(fd, &system) < 0 || fstat(fd, &info) < 0)
		return;
	seen->there = true;
	seen->is_proc = system.f_type == PROC_SUPER;
	seen->read_only = ((unsigned long)system.f_flags & ST_RDONLY) != 0;
	if (seen->is_proc || is_null_device(&info))
		return;
	seen->has_bytes = S_ISDIR(info.st_mode) ? has_entries(root_fd, path) : info.st_size != 0;
}

static void read_devices(DnSight *self, int root_fd)
{
	int fd = open_inside(root_fd, "dev", O_RDONLY | O_DIRECTORY);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;

	if (directory == NULL) {
		dn_fd_clear(&fd);
		return;
	}
	for (const struct dirent *entry = NULL;
	     self->devices->len < DEVICES_LIMIT && (entry = readdir(directory)) != NULL;) {
		struct stat info;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		DnSeenDevice *device = g_new0(DnSeenDevice, 1);
		device->name = g_strdup(entry->d_name);
		device->mode = info.st_mode;
		device->device = info.st_rdev;
		g_ptr_array_add(self->devices, device);
	}
	(void)closedir(directory);
}

static void read_sockets(DnSight *self, int root_fd)
{
	g_autoptr(GPtrArray) mounts = dn_mounts_parse(self->mounts);

	for (guint i = 0; i < mounts->len; i++) {
		const DnMount *mount = g_ptr_array_index(mounts, i);
		dn_autofd int fd = open_inside(root_fd, mount->point, O_PATH);
		struct stat info;

		if (fd >= 0 && fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode))
			g_ptr_array_add(self->sockets, g_strdup(mount->point));
	}
}

static void read_inside(DnSight *self, pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/root", (int)pid);
	dn_autofd int root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root_fd < 0)
		return;
	for (size_t i = 0; dn_audit_masked_paths[i] != NULL; i++)
		look_at(self->masked, root_fd, dn_audit_masked_paths[i]);
	for (size_t i = 0; dn_audit_read_only_paths[i] != NULL; i++)
		look_at(self->read_only, root_fd, dn_audit_read_only_paths[i]);
	read_devices(self, root_fd);
	read_sockets(self, root_fd);
}

/* ---- all of it ---- */

static void read_network(DnSight *self, pid_t pid)
{
	self->tcp = read_of(pid, "net/tcp");
	self->tcp6 = read_of(pid, "net/tcp6");
	self->udp = read_of(pid, "net/udp");
	self->udp6 = read_of(pid, "net/udp6");
	self->raw = read_of(pid, "net/raw");
	self->raw6 = read_of(pid, "net/raw6");
	self->icmp = read_of(pid, "net/icmp");
	self->packet = read_of(pid, "net/packet");
}

static void read_label(DnSight *self, pid_t pid)
{
	g_autofree char *label = read_of(pid, "attr/current");

	if (label != NULL && g_strstrip(label)[0] != '\0')
		self->label = dn_text_printable(label, strlen(label));
	self->has_apparmor = g_file_test("/sys/kernel/security/apparmor", G_FILE_TEST_IS_DIR);
	self->has_selinux = g_file_test("/sys/fs/selinux/enforce", G_FILE_TEST_EXISTS);
}

/* Field 22, behind the name, which is in brackets and may hold anything. */
static bool has_started_at(const char *stat, uint64_t start_time)
{
	const char *rest = stat != NULL ? strrchr(stat, ')') : NULL;
	g_auto(GStrv) words = g_strsplit(rest != NULL ? rest : "", " ", -1);
	enum { START = 22 - 2 };
	uint64_t seen = 0;

	/* A zombie has neither descriptors nor mounts left. */
	return g_strv_length(words) > START && words[1][0] != 'Z' &&
	       dn_text_parse_u64(words[START], UINT64_MAX, &seen) && seen == start_time;
}

DnSight *dn_sight_read_now(const DnInstance *instance, const DnAuditNode *node, GError **error)
{
	g_autoptr(DnSight) self = dn_sight_new();

	self->mounts = read_of(node->pid, "mountinfo");
	self->uid_map = read_of(node->pid, "uid_map");
	self->gid_map = read_of(node->pid, "gid_map");
	self->limits = read_of(node->pid, "limits");
	self->oom = read_of(node->pid, "oom_score_adj");
	read_namespaces("1", self->host_namespaces);
	read_namespaces("self", self->own_namespaces);
	read_processes(self, instance, node);
	read_fds(self, node->pid);
	read_inside(self, node->pid);
	read_network(self, node->pid);
	read_label(self, node->pid);
	dn_sight_read_limits(instance, node, &self->resources);
	/* Last: had the number been given to another process, all of the above would be of that. */
	g_autofree char *stat = read_of(node->pid, "stat");
	if (self->processes->len > 0 && has_started_at(stat, node->start_time))
		return g_steal_pointer(&self);
	g_set_error(error, DN_ERROR, DN_ERROR_UNAVAILABLE, "node %s ended while it was looked at",
		    node->node);
	return NULL;
}
