/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/integrity.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "sensor/filters.h"
#include "sensor/private.h"

/* The first thing that is wrong is told; every one is put right. */
typedef struct {
	char *what; /* owned */
	bool repaired;
} Finding;

static G_GNUC_PRINTF(3, 4) void note(Finding *finding, bool repaired, const char *format, ...)
{
	va_list args;

	finding->repaired = finding->repaired && repaired;
	if (finding->what != NULL)
		return;
	va_start(args, format);
	finding->what = g_strdup_vprintf(format, args);
	va_end(args);
}

static char *take(Finding *finding, bool *repaired)
{
	*repaired = finding->repaired;
	return finding->what;
}

/* ---- pins ---- */

static uint32_t id_of_object(int fd, bool is_map)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info program;
	} info;
	uint32_t size = is_map ? sizeof(info.map) : sizeof(info.program);

	memset(&info, 0, sizeof(info));
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return 0;
	return is_map ? info.map.id : info.program.id;
}

static bool read_link(int fd, struct bpf_link_info *info)
{
	uint32_t size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, info, &size) == 0;
}

/* Asked twice: one call that fails for want of something is nobody's tampering. */
static int open_pin(const char *path)
{
	int fd = bpf_obj_get(path);

	return fd >= 0 ? fd : bpf_obj_get(path);
}

/* What is pinned at @path gives way to what @fd holds. */
static bool pin_again(int fd, const char *path)
{
	return (unlink(path) == 0 || errno == ENOENT) && bpf_obj_pin(fd, path) == 0;
}

static void check_pin(Finding *finding, int fd, const char *dir, const char *name, bool is_map)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);
	dn_autofd int pinned_fd = open_pin(path);

	if (id_of_object(pinned_fd, is_map) == id_of_object(fd, is_map))
		return;
	note(finding, pin_again(fd, path), "the pin %s was %s", path,
	     pinned_fd < 0 ? "removed" : "exchanged");
}

/* A link on the control group that somebody has detached is made anew from its program. */
static bool attach_again(int *fd, int program_fd, const struct bpf_link_info *info,
			 const DnInstance *instance)
{
	g_autofree char *parent =
		g_build_filename(instance->cgroup_root, instance->cgroup_parent, NULL);
	dn_autofd int parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent_fd < 0)
		return false;
	int link_fd = bpf_link_create(program_fd, parent_fd,
				      (enum bpf_attach_type)info->cgroup.attach_type, NULL);
	if (link_fd < 0)
		return false;
	dn_fd_clear(fd);
	*fd = link_fd;
	return true;
}

/* A link as it should be: under which name, and what it runs. */
typedef struct {
	const char *name;
	int *link_fd;
	int program_fd;
} Hook;

static void check_hook(Finding *finding, const Hook *hook, const DnInstance *instance)
{
	g_autofree char *path = g_build_filename(instance->bpf_dir, hook->name, NULL);
	dn_autofd int pinned_fd = open_pin(path);
	struct bpf_link_info info, pinned;

	if (!read_link(*hook->link_fd, &info)) {
		note(finding, false, "the link %s is gone", path);
		return;
	}
	if (info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == 0) {
		note(finding,
		     attach_again(hook->link_fd, hook->program_fd, &info, instance) &&
			     pin_again(*hook->link_fd, path),
		     "the link %s was detached", path);
		return;
	}
	uint32_t program = id_of_object(hook->program_fd, false);
	if (program != 0 && info.prog_id != program)
		note(finding, bpf_link_update(*hook->link_fd, hook->program_fd, NULL) == 0,
		     "the link %s was given another program", path);
	if (!read_link(pinned_fd, &pinned) || pinned.id != info.id)
		note(finding, pin_again(*hook->link_fd, path), "the pin %s was %s", path,
		     pinned_fd < 0 ? "removed" : "exchanged");
}

/* Who may enter the namespaces of nodes. */
static void check_agent(Finding *finding, DnSensor *self)
{
	int map = self->maps[DN_PIN_AGENT];
	uint32_t zero = 0, there = 0, own = (uint32_t)getpid();

	if (bpf_map_lookup_elem(map, &zero, &there) == 0 && there == own)
		return;
	note(finding, bpf_map_update_elem(map, &zero, &own, BPF_ANY) == 0,
	     "process %u was let into the namespaces of nodes", there);
}

char *dn_sensor_check_hooks(DnSensor *self, const DnInstance *instance, bool *repaired)
{
	Finding finding = {.repaired = true};

	for (unsigned i = 0; i < DN_PIN_N_HOOKS; i++)
		check_hook(&finding,
			   &(Hook){dn_pins_hook_name(i), &self->links[i], self->hooked[i]},
			   instance);
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++)
		if (self->lsm.links[i] >= 0)
			check_hook(&finding,
				   &(Hook){dn_lsm_hook_name(i), &self->lsm.links[i],
					   self->lsm.hooked[i]},
				   instance);
	check_agent(&finding, self);
	for (DnPinnedMap map = 0; map < DN_PIN_N_MAPS; map++)
		check_pin(&finding, self->maps[map], instance->bpf_dir, dn_pins_map_name(map),
			  true);
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++)
		check_pin(&finding, self->programs[i], instance->bpf_dir, dn_pins_program_name(i),
			  false);
	return take(&finding, repaired);
}

/* ---- images ---- */

/* Under the lock. */
static char *check_image(DnSensor *self, uint32_t image, bool *repaired)
{
	const GArray *expected = g_hash_table_lookup(self->images, GUINT_TO_POINTER(image));
	int map = self->maps[DN_PIN_ALLOW];
	Finding finding = {.repaired = true};

	*repaired = true;
	if (expected == NULL)
		return NULL;
	g_autoptr(GArray) there = dn_nodes_files_of(self, image);
	size_t found = 0;
	for (guint i = 0; i < expected->len; i++) {
		const DnSensorProgram *file = &g_array_index(expected, DnSensorProgram, i);
		struct dn_sensor_file key = {.dev = file->dev, .ino = file->ino, .image = image};
		uint32_t flags = 0;
		bool known = bpf_map_lookup_elem(map, &key, &flags) == 0;

		found += known;
		if (!known || flags != file->flags)
			note(&finding, bpf_map_update_elem(map, &key, &file->flags, BPF_ANY) == 0,
			     "what inode %" G_GUINT64_FORMAT " of image %u may be used for was "
			     "changed",
			     file->ino, image);
	}
	if (there->len == found)
		return take(&finding, repaired);
	g_autoptr(GHashTable) wanted = dn_nodes_files_set(expected, image);
	for (guint i = 0; i < there->len; i++) {
		const struct dn_sensor_file *key = &g_array_index(there, struct dn_sensor_file, i);

		if (!g_hash_table_contains(wanted, key))
			note(&finding, bpf_map_delete_elem(map, key) == 0,
			     "inode %" G_GUINT64_FORMAT " was added to what image %u may use",
			     (guint64)key->ino, image);
	}
	return take(&finding, repaired);
}

char *dn_sensor_check_images(DnSensor *self, bool *repaired)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	GHashTableIter iter;
	gpointer image = NULL;
	char *first = NULL;

	*repaired = true;
	g_hash_table_iter_init(&iter, self->images);
	while (g_hash_table_iter_next(&iter, &image, NULL)) {
		bool right = true;
		char *what = check_image(self, GPOINTER_TO_UINT(image), &right);

		*repaired = *repaired && right;
		if (first == NULL)
			first = what;
		else
			g_free(what);
	}
	return first;
}

/* ---- nodes ---- */

/* Asked twice, as pins are. */
static void check_filters(Finding *finding, DnSensor *self, uint32_t ifindex)
{
	if (dn_filters_fault(ifindex, self->programs) == NULL)
		return;
	const char *fault = dn_filters_fault(ifindex, self->programs);
	if (fault != NULL)
		note(finding, dn_filters_repair(ifindex, self->programs), "%s", fault);
}

static void check_entry(Finding *finding, DnSensor *self, const DnSensorNode *node)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	struct dn_sensor_node wanted = dn_nodes_entry(node), there = {0};
	int map = self->maps[DN_PIN_NODE];

	wanted.guest = dn_sensor_guest(self, node->cgroup_id);
	if (bpf_map_lookup_elem(map, &node->cgroup_id, &there) == 0 &&
	    memcmp(&wanted, &there, sizeof(wanted)) == 0)
		return;
	note(finding, bpf_map_update_elem(map, &node->cgroup_id, &wanted, BPF_ANY) == 0,
	     "its entry in the sensor was changed");
}

/* Has the node's first process this namespace, with its end not begun? */
static bool lives_in(uint32_t pid1, const char *name, uint32_t space)
{
	enum { PF_EXITING = 4, FLAGS_AFTER_NAME = 7, STAT_LIMIT = 4096 };
	g_autofree char *link = g_strdup_printf("/proc/%u/ns/%s", pid1, name);
	g_autofree char *path = g_strdup_printf("/proc/%u/stat", pid1);
	g_autofree char *text = dn_file_read_kernel(path, STAT_LIMIT, NULL);
	const char *after = text != NULL ? strrchr(text, ')') : NULL;
	struct stat info = {0};

	if (after == NULL)
		return false;
	g_auto(GStrv) words = g_strsplit(after, " ", FLAGS_AFTER_NAME + 2);
	return g_strv_length(words) > FLAGS_AFTER_NAME &&
	       (strtoul(words[FLAGS_AFTER_NAME], NULL, 10) & PF_EXITING) == 0 &&
	       stat(link, &info) == 0 && info.st_ino == space;
}

/*
 * The kernel programs take a namespace out when the last thread of its node's first process ends,
 * which has begun to before. One that is not there while the process has not was taken out by
 * others; so the map is asked first.
 */
static void check_spaces(Finding *finding, DnSensor *self, const DnSensorNode *node)
{
	static const char *const names[G_N_ELEMENTS(node->spaces)] = {"pid", "mnt"};
	int map = self->maps[DN_PIN_SPACE];

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		const uint32_t *space = &node->spaces[i];
		uint64_t owner = 0;

		if (*space == 0 ||
		    (bpf_map_lookup_elem(map, space, &owner) == 0 && owner == node->cgroup_id))
			continue;
		if (lives_in(node->pid1, names[i], *space))
			note(finding,
			     bpf_map_update_elem(map, space, &node->cgroup_id, BPF_ANY) == 0,
			     "its %s namespace was taken out of the sensor", names[i]);
	}
}

static void check_link_entry(Finding *finding, DnSensor *self, const DnSensorNode *node)
{
	uint32_t slot = 0;
	int map = self->maps[DN_PIN_LINK];

	if (bpf_map_lookup_elem(map, &node->ifindex, &slot) == 0 && slot == node->slot)
		return;
	note(finding, bpf_map_update_elem(map, &node->ifindex, &node->slot, BPF_ANY) == 0,
	     "its interface was taken out of the sensor");
}

/* One that is cut may have lost its link to the agent itself: where the cut could not be verified.
 */
static bool has_link(uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	return if_indextoname(ifindex, name) != NULL || errno != ENXIO;
}

char *dn_sensor_check_node(DnSensor *self, const DnSensorNode *node, bool marked, bool *repaired)
{
	Finding finding = {.repaired = true};

	g_return_val_if_fail(node->slot < DN_SENSOR_SLOTS, NULL);
	if (!marked || has_link(node->ifindex)) {
		check_filters(&finding, self, node->ifindex);
		check_link_entry(&finding, self, node);
	}
	check_entry(&finding, self, node);
	check_spaces(&finding, self, node);
	if (marked && !dn_sensor_is_marked(self, node->slot))
		note(&finding,
		     dn_sensor_mark(self, node->slot, DN_DRIFT_SENSOR, "its mark was cleared", 0),
		     "its mark was cleared");
	/* @marked is said of what is cut; what is isolated is not said to be. */
	if (marked && dn_sensor_is_isolated(self, node->slot)) {
		dn_sensor_end_isolation(self, node->slot);
		note(&finding, true, "its mark was changed to let clients in again");
	}
	return take(&finding, repaired);
}
