/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "sensor.skel.h"
#include "sensor/lsm.h"

/* The last warning of libbpf; on its own an errno of the verifier's says nothing. */
static _Thread_local char last_words[256];

G_GNUC_PRINTF(2, 0)
static int listen_to_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN)
		(void)vsnprintf(last_words, sizeof(last_words), format, args);
	return 0;
}

void dn_load_quiet(void)
{
	last_words[0] = '\0';
	libbpf_set_print(listen_to_libbpf);
}

bool dn_load_throw(GError **error, int errsv, const char *doing, ...)
{
	va_list args;

	va_start(args, doing);
	g_autofree char *what = g_strdup_vprintf(doing, args);
	va_end(args);
	g_strdelimit(last_words, "\n", ' ');
	g_strchomp(last_words);
	if (errsv != EPERM && errsv != ENOTSUP && errsv != EINVAL && errsv != ENOSYS)
		return dn_throw_errno(error, errsv, "sensor: %s%s%s", what,
				      last_words[0] != '\0' ? ": " : "", last_words);
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "sensor: %s: %s (%s); needs root and Linux 6.1 or later with BTF", what,
		    g_strerror(errsv), last_words);
	return false;
}

/* FNV-1a: tells builds apart, no more. */
static uint64_t add_up(uint64_t sum, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
	return sum;
}

uint64_t dn_load_checksum(void)
{
	size_t size = 0, size_lsm = 0;
	const uint8_t *bytes = sensor_bpf__elf_bytes(&size), *lsm = dn_lsm_object(&size_lsm);

	return add_up(add_up(UINT64_C(0xcbf29ce484222325), bytes, size), lsm, size_lsm) | 1;
}

static bool pin_maps(const DnLoad *load, struct bpf_object *object, GError **error)
{
	for (size_t i = 0; i < load->n_maps; i++) {
		g_autofree char *path =
			g_build_filename(load->instance->bpf_dir, load->maps[i], NULL);
		struct bpf_map *map = bpf_object__find_map_by_name(object, load->maps[i]);

		g_assert(map != NULL);
		int rc = bpf_map__pin(map, path);
		if (rc < 0)
			return dn_load_throw(error, -rc, "pin map %s", path);
	}
	return true;
}

static bool pin_programs(const DnLoad *load, struct bpf_object *object, GError **error)
{
	for (size_t i = 0; i < load->n_programs; i++) {
		g_autofree char *path =
			g_build_filename(load->instance->bpf_dir, load->programs[i], NULL);
		struct bpf_program *program =
			bpf_object__find_program_by_name(object, load->programs[i]);

		g_assert(program != NULL);
		int rc = bpf_program__pin(program, path);
		if (rc < 0)
			return dn_load_throw(error, -rc, "pin program %s", path);
	}
	return true;
}

static bool attach_hooks(const DnLoad *load, struct bpf_object *object, GError **error)
{
	const DnInstance *instance = load->instance;
	g_autofree char *parent =
		g_build_filename(instance->cgroup_root, instance->cgroup_parent, NULL);
	dn_autofd int parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent_fd < 0)
		return dn_throw_errno(error, errno, "sensor: open %s", parent);
	for (size_t i = 0; i < load->n_hooks; i++) {
		const DnHook *hook = &load->hooks[i];
		g_autofree char *path = g_build_filename(instance->bpf_dir, hook->pin, NULL);
		struct bpf_program *program =
			bpf_object__find_program_by_name(object, hook->program);

		g_assert(program != NULL);
		struct bpf_link *link = hook->on_cgroup
						? bpf_program__attach_cgroup(program, parent_fd)
						: bpf_program__attach(program);
		if (link == NULL)
			return dn_load_throw(error, errno, "attach %s", hook->program);
		int rc = bpf_link__pin(link, path);
		(void)bpf_link__destroy(link); /* the pin holds it */
		if (rc < 0)
			return dn_load_throw(error, -rc, "pin link %s", path);
	}
	return true;
}

static bool fill_in(const DnLoad *load, struct sensor_bpf *skeleton, GError **error)
{
	uint32_t zero = 0;

	skeleton->rodata->node_level = load->abi->level + 1;
	if (!dn_failpoint("agent.bpf.load.before", error))
		return false;
	int rc = sensor_bpf__load(skeleton);
	if (rc < 0)
		return dn_load_throw(error, -rc, "load the programs");
	if (!dn_failpoint("agent.bpf.pin-maps.before", error) ||
	    !pin_maps(load, skeleton->obj, error) ||
	    !dn_failpoint("agent.bpf.pin-programs.before", error) ||
	    !pin_programs(load, skeleton->obj, error) ||
	    !dn_failpoint("agent.bpf.attach.before", error) ||
	    !attach_hooks(load, skeleton->obj, error) ||
	    !dn_failpoint("agent.bpf.abi.before", error))
		return false;
	rc = bpf_map__update_elem(skeleton->maps.abi, &zero, sizeof(zero), load->abi,
				  sizeof(*load->abi), BPF_ANY);
	return rc == 0 || dn_load_throw(error, -rc, "write map abi");
}

bool dn_load_and_pin(const DnLoad *load, GError **error)
{
	dn_load_quiet();
	struct sensor_bpf *skeleton = sensor_bpf__open();

	if (skeleton == NULL)
		return dn_load_throw(error, errno, "open the programs");
	bool done = fill_in(load, skeleton, error);
	sensor_bpf__destroy(skeleton);
	return done;
}
