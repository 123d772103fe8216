/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "sensor/load.h"

static const struct {
	const char *name;
	uint32_t type, key, value, entries;
} maps[] = {
	[DN_PIN_NODE] = {"node", BPF_MAP_TYPE_HASH, 8, sizeof(struct dn_sensor_node),
			 DN_SENSOR_SLOTS},
	[DN_PIN_LINK] = {"link", BPF_MAP_TYPE_HASH, 4, 4, DN_SENSOR_SLOTS},
	[DN_PIN_SPACE] = {"space", BPF_MAP_TYPE_HASH, 4, 8, DN_SENSOR_SPACES},
	[DN_PIN_ALLOW] = {"allow", BPF_MAP_TYPE_HASH, sizeof(struct dn_sensor_file), 4,
			  DN_SENSOR_ALLOW},
	[DN_PIN_MARK] = {"mark", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct dn_sensor_mark),
			 DN_SENSOR_SLOTS},
	[DN_PIN_VERDICTS] = {"verdicts", BPF_MAP_TYPE_RINGBUF, 0, 0, 4096},
	[DN_PIN_OBSERVATIONS] = {"observations", BPF_MAP_TYPE_RINGBUF, 0, 0, 524288},
	[DN_PIN_SEQUENCE] = {"sequence", BPF_MAP_TYPE_ARRAY, 4, 8, DN_SENSOR_SLOTS},
	[DN_PIN_PACE] = {"pace", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct dn_sensor_pace),
			 DN_SENSOR_SLOTS *DN_PACES},
	[DN_PIN_TRIED] = {"tried", BPF_MAP_TYPE_LRU_HASH, sizeof(struct dn_sensor_tried), 8,
			  DN_SENSOR_TRIED},
	[DN_PIN_AGENT] = {"agent", BPF_MAP_TYPE_ARRAY, 4, 4, 1},
	[DN_PIN_LOSS] = {"loss", BPF_MAP_TYPE_ARRAY, 4, 8, DN_LOSSES},
	[DN_PIN_ABI] = {"abi", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct dn_sensor_abi), 1},
};
_Static_assert(G_N_ELEMENTS(maps) == DN_PIN_N_MAPS, "every map needs a row");

static const char *const programs[] = {
	[DN_PIN_TO_NODE] = "tc_to_node",
	[DN_PIN_FROM_NODE] = "tc_from_node",
};
_Static_assert(G_N_ELEMENTS(programs) == DN_PIN_N_PROGRAMS, "every program needs a name");

static const DnHook hooks[] = {
	[DN_PIN_EXEC] = {"on_exec", "link_exec", false},
	[DN_PIN_SYS_EXIT] = {"on_sys_exit", "link_sys_exit", false},
	[DN_PIN_ATTACH] = {"on_attach", "link_attach", false},
	[DN_PIN_FORK] = {"on_fork", "link_fork", false},
	[DN_PIN_EXIT] = {"on_exit", "link_exit", false},
	[DN_PIN_CGROUP_IN] = {"on_cgroup_in", "link_cgroup_in", true},
	[DN_PIN_CGROUP_OUT] = {"on_cgroup_out", "link_cgroup_out", true},
};
_Static_assert(G_N_ELEMENTS(hooks) == DN_PIN_N_HOOKS, "every hook needs a row");

const char *dn_pins_map_name(DnPinnedMap map)
{
	return maps[map].name;
}

const char *dn_pins_program_name(unsigned program)
{
	return programs[program];
}

const char *dn_pins_hook_name(unsigned hook)
{
	return hooks[hook].pin;
}

static int open_pin(const char *dir, const char *name)
{
	g_autofree char *path = g_build_filename(dir, name, NULL);

	return bpf_obj_get(path);
}

int dn_pins_open_map(const char *dir, DnPinnedMap map)
{
	return open_pin(dir, maps[map].name);
}

int dn_pins_open_program(const char *dir, unsigned program)
{
	return open_pin(dir, programs[program]);
}

int dn_pins_open_hook(const char *dir, unsigned hook)
{
	return open_pin(dir, hooks[hook].pin);
}

int dn_pins_open_hooked(int link_fd)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	return link_fd < 0 || bpf_obj_get_info_by_fd(link_fd, &info, &size) < 0
		       ? -1
		       : bpf_prog_get_fd_by_id(info.prog_id);
}

/* Is the nearest existing ancestor of @dir, or @dir itself, on a bpf file system? */
static bool is_on_bpffs(const char *dir)
{
	g_autofree char *path = g_strdup(dir);
	struct statfs info = {0};

	while (statfs(path, &info) < 0) {
		if (errno != ENOENT || g_str_equal(path, "/"))
			return false;
		char *parent = g_path_get_dirname(path);
		g_free(path);
		path = parent;
	}
	return info.f_type == BPF_FS_MAGIC;
}

bool dn_pins_make_directory(const char *dir, GError **error)
{
	if (!is_on_bpffs(dir)) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "%s is not on a bpf file system; run: mount -t bpf bpf /sys/fs/bpf",
			    dir);
		return false;
	}
	return dn_file_make_directory(dir, 0700, error);
}

bool dn_pins_remove(const char *dir, GError **error)
{
	g_autofree char *parent = g_path_get_dirname(dir);

	if (access(dir, F_OK) < 0)
		return errno == ENOENT || dn_throw_errno(error, errno, "look for %s", dir);
	if (!dn_file_remove_tree(dir, error))
		return false;
	/* rmdir() refuses what is not empty, and the mount itself as busy. */
	while (is_on_bpffs(parent) && rmdir(parent) == 0) {
		char *above = g_path_get_dirname(parent);
		g_free(parent);
		parent = above;
	}
	return true;
}

bool dn_pins_expect(const DnInstance *instance, unsigned level, struct dn_sensor_abi *abi,
		    GError **error)
{
	g_autofree char *parent =
		g_build_filename(instance->cgroup_root, instance->cgroup_parent, NULL);
	struct stat info = {0};

	if (stat(parent, &info) < 0)
		return dn_throw_errno(error, errno, "look for the parent cgroup %s", parent);
	*abi = (struct dn_sensor_abi){
		.version = DN_SENSOR_ABI,
		.level = level,
		.parent_id = info.st_ino,
		.programs = dn_load_checksum(),
	};
	return true;
}

static bool map_is_as_expected(const char *dir, DnPinnedMap map)
{
	dn_autofd int fd = dn_pins_open_map(dir, map);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
	       info.type == maps[map].type && info.key_size == maps[map].key &&
	       info.value_size == maps[map].value && info.max_entries == maps[map].entries;
}

/* A link on a cgroup that was removed stays pinned and names cgroup 0. */
static bool hook_is_attached(const char *dir, const DnHook *hook, uint64_t parent_id)
{
	dn_autofd int fd = open_pin(dir, hook->pin);
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		return false;
	if (hook->on_cgroup)
		return info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == parent_id;
	return info.type == BPF_LINK_TYPE_RAW_TRACEPOINT;
}

static bool read_abi(const char *dir, struct dn_sensor_abi *abi)
{
	dn_autofd int fd = -1;
	uint32_t zero = 0;

	if (!map_is_as_expected(dir, DN_PIN_ABI))
		return false;
	fd = dn_pins_open_map(dir, DN_PIN_ABI);
	return fd >= 0 && bpf_map_lookup_elem(fd, &zero, abi) == 0;
}

bool dn_pins_are_usable(const char *dir, const struct dn_sensor_abi *wanted)
{
	struct dn_sensor_abi abi = {0};

	if (!read_abi(dir, &abi) || abi.version != wanted->version || abi.level != wanted->level ||
	    abi.parent_id != wanted->parent_id)
		return false;
	for (DnPinnedMap map = 0; map < DN_PIN_N_MAPS; map++)
		if (!map_is_as_expected(dir, map))
			return false;
	for (size_t i = 0; i < G_N_ELEMENTS(hooks); i++)
		if (!hook_is_attached(dir, &hooks[i], wanted->parent_id))
			return false;
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		dn_autofd int fd = dn_pins_open_program(dir, i);

		if (fd < 0)
			return false;
	}
	return true;
}

uint64_t dn_pins_programs(const char *dir)
{
	struct dn_sensor_abi abi = {0};

	return read_abi(dir, &abi) ? abi.programs : 0;
}

/* cgroup ids are kernfs file handles, so the id alone tells whether its cgroup exists. */
static bool cgroup_exists(int root_fd, uint64_t id)
{
	enum { FILEID_KERNFS = 0xfe };
	struct {
		struct file_handle handle;
		uint64_t id;
	} name = {.handle = {.handle_bytes = sizeof(id), .handle_type = FILEID_KERNFS}, .id = id};

	_Static_assert(offsetof(typeof(name), id) == sizeof(struct file_handle), "no padding");
	dn_autofd int fd = open_by_handle_at(root_fd, &name.handle, O_PATH | O_CLOEXEC);

	return fd >= 0 || (errno != ESTALE && errno != ENOENT);
}

int dn_pins_count_nodes(const DnInstance *instance)
{
	dn_autofd int map_fd = dn_pins_open_map(instance->bpf_dir, DN_PIN_NODE);
	dn_autofd int root_fd = open(instance->cgroup_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	uint64_t id = 0;
	int nodes = 0;

	/* node is pinned first: without it no loading has got as far as a node. */
	if (map_fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (root_fd < 0 || bpf_obj_get_info_by_fd(map_fd, &info, &size) < 0 ||
	    info.key_size != sizeof(id))
		return -1;
	for (bool more = bpf_map_get_next_key(map_fd, NULL, &id) == 0; more;
	     more = bpf_map_get_next_key(map_fd, &id, &id) == 0)
		if (cgroup_exists(root_fd, id))
			nodes++;
	return nodes;
}

bool dn_pins_load(const DnInstance *instance, const struct dn_sensor_abi *abi, GError **error)
{
	const char *map_names[DN_PIN_N_MAPS];

	for (DnPinnedMap map = 0; map < DN_PIN_N_MAPS; map++)
		map_names[map] = maps[map].name;
	DnLoad load = {
		.instance = instance,
		.abi = abi,
		.maps = map_names,
		.n_maps = DN_PIN_N_MAPS,
		.programs = programs,
		.n_programs = DN_PIN_N_PROGRAMS,
		.hooks = hooks,
		.n_hooks = G_N_ELEMENTS(hooks),
	};
	return dn_load_and_pin(&load, error);
}
