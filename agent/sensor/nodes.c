/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "sensor/load.h"
#include "sensor/private.h"

/* One filter each way, always the same one, so that attaching again replaces it. */
enum { TC_HANDLE = 1, TC_PRIORITY = 1 };

static const enum bpf_tc_attach_point points[DN_PIN_N_PROGRAMS] = {
	[DN_PIN_TO_NODE] = BPF_TC_EGRESS,
	[DN_PIN_FROM_NODE] = BPF_TC_INGRESS,
};

static bool attach(DnSensor *self, uint32_t ifindex, GError **error)
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
			    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	int rc = bpf_tc_hook_create(&hook);

	if (rc < 0 && rc != -EEXIST)
		return dn_load_throw(error, -rc, "add clsact to interface %u", ifindex);
	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, filter, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY, .prog_fd = self->programs[i],
				    .flags = BPF_TC_F_REPLACE);

		hook.attach_point = points[i];
		rc = bpf_tc_attach(&hook, &filter);
		if (rc < 0)
			return dn_load_throw(error, -rc, "attach to interface %u", ifindex);
	}
	return true;
}

static uint32_t program_id(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.id : 0;
}

/* An interface number may have been given to another interface since; ask whose filter it is. */
void dn_nodes_detach(uint32_t ifindex, const int programs[DN_PIN_N_PROGRAMS])
{
	DECLARE_LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex);
	bool ours = false;

	for (unsigned i = 0; i < DN_PIN_N_PROGRAMS; i++) {
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, found, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY);
		DECLARE_LIBBPF_OPTS(bpf_tc_opts, filter, .handle = TC_HANDLE,
				    .priority = TC_PRIORITY);

		hook.attach_point = points[i];
		if (bpf_tc_query(&hook, &found) < 0 || found.prog_id == 0 ||
		    found.prog_id != program_id(programs[i]))
			continue;
		ours = true;
		(void)bpf_tc_detach(&hook, &filter);
	}
	if (!ours)
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	(void)bpf_tc_hook_destroy(&hook);
}

/* Nobody else writes to a slot that no map names; others may look whether it is marked. */
static void clear_mark(volatile struct dn_sensor_mark *mark)
{
	volatile uint64_t *words = (volatile uint64_t *)mark;

	_Static_assert(sizeof(*mark) % sizeof(*words) == 0, "whole words");
	for (size_t i = 0; i < sizeof(*mark) / sizeof(*words); i++)
		__atomic_store_n(&words[i], 0, __ATOMIC_RELAXED);
}

static void set_ports(volatile struct dn_sensor_mark *mark, const DnSensorNode *node)
{
	for (size_t i = 0; i < node->n_ports; i++)
		mark->ports[i] = node->ports[i];
	__atomic_store_n(&mark->n_ports, (uint32_t)node->n_ports, __ATOMIC_RELEASE);
}

bool dn_sensor_add_node(DnSensor *self, const DnSensorNode *node, GError **error)
{
	g_return_val_if_fail(node->slot < DN_SENSOR_SLOTS, false);
	g_return_val_if_fail(node->n_ports <= DN_SENSOR_PORTS, false);
	struct dn_sensor_node value = {
		.slot = node->slot,
		.image = node->image,
		.service = node->service,
		.phase = DN_PHASE_ARMED,
		.exec = node->exec,
		.pid1 = node->pid1,
	};

	if (!dn_failpoint("agent.tc.attach.before", error) || !attach(self, node->ifindex, error) ||
	    !dn_failpoint("agent.tc.attach.after", error))
		return false;
	if (!node->keep_mark)
		clear_mark(&self->marks[node->slot]);
	set_ports(&self->marks[node->slot], node);
	if (bpf_map_update_elem(self->maps[DN_PIN_LINK], &node->ifindex, &node->slot, BPF_ANY) < 0)
		return dn_load_throw(error, errno, "register interface %u", node->ifindex);
	if (!dn_failpoint("agent.bpf.node.before", error))
		return false;
	if (bpf_map_update_elem(self->maps[DN_PIN_NODE], &node->cgroup_id, &value, BPF_ANY) < 0)
		return dn_load_throw(error, errno, "register the node in slot %u", node->slot);
	return true;
}

static bool forget(int map, const void *key, GError **error)
{
	if (bpf_map_delete_elem(map, key) == 0 || errno == ENOENT)
		return true;
	return dn_load_throw(error, errno, "forget a node");
}

bool dn_sensor_remove_node(DnSensor *self, const DnSensorNode *node, GError **error)
{
	g_return_val_if_fail(node->slot < DN_SENSOR_SLOTS, false);

	if (!dn_failpoint("agent.bpf.forget.before", error) ||
	    !forget(self->maps[DN_PIN_NODE], &node->cgroup_id, error) ||
	    !forget(self->maps[DN_PIN_LINK], &node->ifindex, error))
		return false;
	dn_nodes_detach(node->ifindex, self->programs);
	clear_mark(&self->marks[node->slot]);
	return true;
}

/*
 * An interface goes with its node, and its number is used again: so the filters are gone, and only
 * entries are left to remove. Collected first, since a map must not change while it is walked.
 */
static void sweep_nodes(int map, const bool taken[DN_SENSOR_SLOTS])
{
	uint64_t keys[DN_SENSOR_SLOTS], key = 0;
	struct dn_sensor_node node;
	size_t n = 0;

	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (n < DN_SENSOR_SLOTS && bpf_map_lookup_elem(map, &key, &node) == 0 &&
		    (node.slot >= DN_SENSOR_SLOTS || !taken[node.slot]))
			keys[n++] = key;
	while (n > 0)
		(void)bpf_map_delete_elem(map, &keys[--n]);
}

static void sweep_links(int map, const bool taken[DN_SENSOR_SLOTS])
{
	uint32_t keys[DN_SENSOR_SLOTS], key = 0, slot = 0;
	size_t n = 0;

	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (n < DN_SENSOR_SLOTS && bpf_map_lookup_elem(map, &key, &slot) == 0 &&
		    (slot >= DN_SENSOR_SLOTS || !taken[slot]))
			keys[n++] = key;
	while (n > 0)
		(void)bpf_map_delete_elem(map, &keys[--n]);
}

void dn_sensor_sweep(DnSensor *self, const bool taken[DN_SENSOR_SLOTS])
{
	sweep_nodes(self->maps[DN_PIN_NODE], taken);
	sweep_links(self->maps[DN_PIN_LINK], taken);
	for (uint32_t slot = 0; slot < DN_SENSOR_SLOTS; slot++)
		if (!taken[slot])
			clear_mark(&self->marks[slot]);
}

struct dn_sensor_file dn_sensor_file(const struct stat *info, uint32_t image)
{
	return (struct dn_sensor_file){
		.dev = (uint64_t)major(info->st_dev) << 20 | minor(info->st_dev),
		.ino = info->st_ino,
		.image = image,
	};
}

/* The keys of @image, so that the map is not changed while it is walked. */
static GArray *files_of(DnSensor *self, uint32_t image)
{
	GArray *files = g_array_new(FALSE, FALSE, sizeof(struct dn_sensor_file));
	struct dn_sensor_file key = {0};
	int map = self->maps[DN_PIN_ALLOW];

	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (key.image == image)
			g_array_append_val(files, key);
	return files;
}

static guint hash_file(gconstpointer key)
{
	const struct dn_sensor_file *file = key;

	return (guint)(file->ino ^ file->ino >> 32 ^ file->dev << 16 ^ file->image << 24);
}

static gboolean same_file(gconstpointer a, gconstpointer b)
{
	const struct dn_sensor_file *one = a, *other = b;

	return one->ino == other->ino && one->dev == other->dev && one->image == other->image;
}

static bool forget_files(DnSensor *self, const GArray *files, GHashTable *keep, GError **error)
{
	for (guint i = 0; i < files->len; i++) {
		struct dn_sensor_file *file = &g_array_index(files, struct dn_sensor_file, i);

		if (keep != NULL && g_hash_table_contains(keep, file))
			continue;
		if (!forget(self->maps[DN_PIN_ALLOW], file, error))
			return false;
	}
	return true;
}

bool dn_sensor_allow(DnSensor *self, uint32_t image, const struct dn_sensor_file *files,
		     size_t n_files, GError **error)
{
	g_autoptr(GArray) before = files_of(self, image);
	g_autofree struct dn_sensor_file *keys = g_new0(struct dn_sensor_file, n_files);
	g_autoptr(GHashTable) keep = g_hash_table_new(hash_file, same_file);
	uint32_t yes = 1;

	if (!dn_failpoint("agent.bpf.allow.before", error))
		return false;
	/* Additions first: a node that runs must not lose a file that stays. */
	for (size_t i = 0; i < n_files; i++) {
		keys[i].dev = files[i].dev;
		keys[i].ino = files[i].ino;
		keys[i].image = image;
		g_hash_table_add(keep, &keys[i]);
		if (bpf_map_update_elem(self->maps[DN_PIN_ALLOW], &keys[i], &yes, BPF_ANY) == 0)
			continue;
		if (errno != E2BIG && errno != ENOSPC)
			return dn_load_throw(error, errno, "allow a file of image %u", image);
		g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
			    "sensor: no room for the files of image %u, at most %d on a host; "
			    "name the programs in run.may_exec",
			    image, DN_SENSOR_ALLOW);
		return false;
	}
	return forget_files(self, before, keep, error);
}

bool dn_sensor_forget_image(DnSensor *self, uint32_t image, GError **error)
{
	g_autoptr(GArray) files = files_of(self, image);

	return forget_files(self, files, NULL, error);
}
