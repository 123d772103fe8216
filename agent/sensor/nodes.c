/* SPDX-License-Identifier: Apache-2.0 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "sensor/filters.h"
#include "sensor/load.h"
#include "sensor/private.h"

/* Nobody else writes to a slot that no map names; others may look whether it is marked. */
static void clear_mark(volatile struct dn_sensor_mark *mark)
{
	volatile uint64_t *words = (volatile uint64_t *)mark;

	_Static_assert(sizeof(*mark) % sizeof(*words) == 0, "whole words");
	for (size_t i = 0; i < sizeof(*mark) / sizeof(*words); i++)
		__atomic_store_n(&words[i], 0, __ATOMIC_RELAXED);
}

/* What the last node of the slot said too much is not this one's. */
static void clear_pace(int map, uint32_t slot)
{
	const struct dn_sensor_pace none = {0};

	for (uint32_t key = slot * DN_PACES; key < (slot + 1) * DN_PACES; key++)
		(void)bpf_map_update_elem(map, &key, &none, BPF_ANY);
}

static void set_ports(volatile struct dn_sensor_mark *mark, const DnSensorNode *node)
{
	for (size_t i = 0; i < node->n_ports; i++)
		mark->ports[i] = node->ports[i];
	for (size_t i = 0; i < node->n_udp; i++)
		mark->udp[i] = node->udp[i];
	__atomic_store_n(&mark->n_ports, (uint32_t)node->n_ports, __ATOMIC_RELEASE);
	__atomic_store_n(&mark->n_udp, (uint32_t)node->n_udp, __ATOMIC_RELEASE);
}

struct dn_sensor_node dn_nodes_entry(const DnSensorNode *node)
{
	struct dn_sensor_node entry = {
		.slot = node->slot,
		.image = node->image,
		.service = node->service,
		.phase = DN_PHASE_ARMED,
		.pid1 = node->pid1,
		.uid_base = node->uid_base,
		.jit = node->jit,
	};

	for (unsigned i = 0; i < DN_DRIFT_LIMIT; i++)
		entry.answer[i] = (uint8_t)node->answer[i];
	return entry;
}

/* Nobody is let into it yet, or any more. */
static void forget_guest(DnSensor *self, uint64_t cgroup_id)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);

	g_hash_table_remove(self->guests, &cgroup_id);
}

static bool enter_spaces(DnSensor *self, const DnSensorNode *node, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(node->spaces); i++)
		if (node->spaces[i] != 0 &&
		    bpf_map_update_elem(self->maps[DN_PIN_SPACE], &node->spaces[i],
					&node->cgroup_id, BPF_ANY) < 0)
			return dn_load_throw(error, errno, "register namespace %u",
					     node->spaces[i]);
	return true;
}

bool dn_sensor_add_node(DnSensor *self, const DnSensorNode *node, GError **error)
{
	g_return_val_if_fail(node->slot < DN_SENSOR_SLOTS, false);
	g_return_val_if_fail(node->n_ports <= DN_SENSOR_PORTS, false);
	struct dn_sensor_node value = dn_nodes_entry(node);

	if (!dn_failpoint("agent.tc.attach.before", error) ||
	    !dn_filters_attach(node->ifindex, self->programs, error) ||
	    !dn_failpoint("agent.tc.attach.after", error))
		return false;
	if (!node->keep_mark) {
		clear_mark(&self->marks[node->slot]);
		clear_pace(self->maps[DN_PIN_PACE], node->slot);
	}
	set_ports(&self->marks[node->slot], node);
	dn_sensor_set_mode(self, node->slot, node->mode);
	if (bpf_map_update_elem(self->maps[DN_PIN_LINK], &node->ifindex, &node->slot, BPF_ANY) < 0)
		return dn_load_throw(error, errno, "register interface %u", node->ifindex);
	forget_guest(self, node->cgroup_id);
	if (!enter_spaces(self, node, error) || !dn_failpoint("agent.bpf.node.before", error))
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

/* The namespaces of a node go with it, and their numbers are used again. */
static void leave_spaces(int map, uint64_t cgroup_id)
{
	uint32_t keys[DN_SENSOR_SPACES], key = 0;
	uint64_t owner = 0;
	size_t n = 0;

	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (n < DN_SENSOR_SPACES && bpf_map_lookup_elem(map, &key, &owner) == 0 &&
		    owner == cgroup_id)
			keys[n++] = key;
	while (n > 0)
		(void)bpf_map_delete_elem(map, &keys[--n]);
}

bool dn_sensor_remove_node(DnSensor *self, const DnSensorNode *node, GError **error)
{
	g_return_val_if_fail(node->slot < DN_SENSOR_SLOTS, false);

	if (!dn_failpoint("agent.bpf.forget.before", error) ||
	    !forget(self->maps[DN_PIN_NODE], &node->cgroup_id, error) ||
	    !forget(self->maps[DN_PIN_LINK], &node->ifindex, error))
		return false;
	forget_guest(self, node->cgroup_id);
	leave_spaces(self->maps[DN_PIN_SPACE], node->cgroup_id);
	dn_filters_detach(node->ifindex, self->programs);
	clear_mark(&self->marks[node->slot]);
	return true;
}

/*
 * An interface goes with its node, and its number is used again: so the filters are gone, and only
 * entries are left to remove. Collected first, since a map must not change while it is walked.
 */
static void sweep_nodes(int map, int spaces, const bool taken[DN_SENSOR_SLOTS])
{
	uint64_t keys[DN_SENSOR_SLOTS], key = 0;
	struct dn_sensor_node node;
	size_t n = 0;

	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (n < DN_SENSOR_SLOTS && bpf_map_lookup_elem(map, &key, &node) == 0 &&
		    (node.slot >= DN_SENSOR_SLOTS || !taken[node.slot]))
			keys[n++] = key;
	while (n > 0) {
		(void)bpf_map_delete_elem(map, &keys[--n]);
		leave_spaces(spaces, keys[n]);
	}
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
	sweep_nodes(self->maps[DN_PIN_NODE], self->maps[DN_PIN_SPACE], taken);
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
/* Where @file is among those lent to drills; their number: nowhere. */
static guint find_lent(const DnSensor *self, const struct dn_sensor_file *file)
{
	guint i = 0;

	while (i < self->lent->len && memcmp(&g_array_index(self->lent, struct dn_sensor_file, i),
					     file, sizeof(*file)) != 0)
		i++;
	return i;
}

GArray *dn_nodes_files_of(DnSensor *self, uint32_t image)
{
	GArray *files = g_array_new(FALSE, FALSE, sizeof(struct dn_sensor_file));
	struct dn_sensor_file key = {0};
	int map = self->maps[DN_PIN_ALLOW];

	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (key.image == image && find_lent(self, &key) == self->lent->len)
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

GHashTable *dn_nodes_files_set(const GArray *programs, uint32_t image)
{
	GHashTable *set = g_hash_table_new_full(hash_file, same_file, g_free, NULL);

	for (guint i = 0; i < programs->len; i++) {
		const DnSensorProgram *file = &g_array_index(programs, DnSensorProgram, i);
		struct dn_sensor_file *key = g_new0(struct dn_sensor_file, 1);

		*key = (struct dn_sensor_file){.dev = file->dev, .ino = file->ino, .image = image};
		g_hash_table_add(set, key);
	}
	return set;
}

static bool allow_file(DnSensor *self, uint32_t image, const DnSensorProgram *file, GError **error)
{
	struct dn_sensor_file key = {.dev = file->dev, .ino = file->ino, .image = image};

	if (bpf_map_update_elem(self->maps[DN_PIN_ALLOW], &key, &file->flags, BPF_ANY) == 0)
		return true;
	if (errno != E2BIG && errno != ENOSPC)
		return dn_load_throw(error, errno, "allow a file of image %u", image);
	g_set_error(error, DN_ERROR, DN_ERROR_EXHAUSTED,
		    "sensor: no room for the files of image %u, at most %d on a host; name the "
		    "programs in run.may_exec",
		    image, DN_SENSOR_ALLOW);
	return false;
}

bool dn_sensor_allow(DnSensor *self, uint32_t image, const DnSensorProgram *files, size_t n_files,
		     GError **error)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	g_autoptr(GArray) before = dn_nodes_files_of(self, image);
	GArray *kept = g_array_sized_new(FALSE, FALSE, sizeof(DnSensorProgram), (guint)n_files);

	g_array_append_vals(kept, files, (guint)n_files);
	g_hash_table_replace(self->images, GUINT_TO_POINTER(image), kept);
	g_autoptr(GHashTable) keep = dn_nodes_files_set(kept, image);
	if (!dn_failpoint("agent.bpf.allow.before", error))
		return false;
	/* Additions first: a node that runs must not lose a file that stays. */
	for (size_t i = 0; i < n_files; i++)
		if (!allow_file(self, image, &files[i], error))
			return false;
	return forget_files(self, before, keep, error);
}

bool dn_sensor_forget_image(DnSensor *self, uint32_t image, GError **error)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	g_autoptr(GArray) files = dn_nodes_files_of(self, image);

	g_hash_table_remove(self->images, GUINT_TO_POINTER(image));
	return forget_files(self, files, NULL, error);
}

static bool has_number(const GArray *numbers, uint32_t number)
{
	for (guint i = 0; i < numbers->len; i++)
		if (g_array_index(numbers, uint32_t, i) == number)
			return true;
	return false;
}

void dn_sensor_sweep_images(DnSensor *self, const GArray *taken)
{
	g_autoptr(GArray) left = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	struct dn_sensor_file key = {0};
	int map = self->maps[DN_PIN_ALLOW];

	/* Collected first, since a map must not change while it is walked. */
	for (bool more = bpf_map_get_next_key(map, NULL, &key) == 0; more;
	     more = bpf_map_get_next_key(map, &key, &key) == 0)
		if (!has_number(taken, key.image) && !has_number(left, key.image))
			g_array_append_val(left, key.image);
	for (guint i = 0; i < left->len; i++) {
		uint32_t image = g_array_index(left, uint32_t, i);
		g_autoptr(GError) error = NULL;

		if (!dn_sensor_forget_image(self, image, &error))
			g_warning("programs of image %u: %s", image, error->message);
	}
}

uint32_t dn_sensor_flags_of(DnSensor *self, uint32_t image, uint64_t dev, uint64_t ino)
{
	struct dn_sensor_file key = {.dev = dev, .ino = ino, .image = image};
	uint32_t flags = 0;

	return bpf_map_lookup_elem(self->maps[DN_PIN_ALLOW], &key, &flags) == 0 ? flags : 0;
}

/* Noted first, for a look at the map takes what is not expected there for the work of others. */
bool dn_sensor_pass_as_shell(DnSensor *self, uint32_t image, const struct stat *info,
			     GError **error)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	const struct dn_sensor_file key = dn_sensor_file(info, image);
	const uint32_t flags = DN_FILE_SHELL;

	g_array_append_val(self->lent, key);
	if (bpf_map_update_elem(self->maps[DN_PIN_ALLOW], &key, &flags, BPF_ANY) == 0)
		return true;
	g_array_remove_index(self->lent, find_lent(self, &key));
	return dn_load_throw(error, errno, "let a file pass as a shell of image %u", image);
}

bool dn_sensor_pass_no_more(DnSensor *self, uint32_t image, const struct stat *info, GError **error)
{
	g_autoptr(GMutexLocker) locked G_GNUC_UNUSED = g_mutex_locker_new(&self->lock);
	const struct dn_sensor_file key = dn_sensor_file(info, image);
	guint at = find_lent(self, &key);

	if (at < self->lent->len)
		g_array_remove_index(self->lent, at);
	/* Another node of the image may be drilled at the same time. */
	return find_lent(self, &key) < self->lent->len ||
	       forget(self->maps[DN_PIN_ALLOW], &key, error);
}
