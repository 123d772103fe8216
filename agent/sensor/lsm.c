/* SPDX-License-Identifier: Apache-2.0 */
#include "sensor/lsm.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "lsm.skel.h"
#include "sensor/load.h"

#define HOOK(name_, program_)                                                                      \
	{                                                                                          \
		"bpf_lsm_" name_, program_, "link_lsm_" name_                                      \
	}

static const struct {
	const char *function; /* of the kernel, which a program replaces */
	const char *program;
	const char *pin;
} hooks[] = {
	HOOK("bprm_check_security", "deny_exec"),
	HOOK("mmap_file", "deny_mapping"),
	HOOK("file_mprotect", "deny_protection"),
	HOOK("file_open", "deny_memory"),
	HOOK("sb_mount", "deny_mount"),
	HOOK("sb_umount", "deny_umount"),
	HOOK("sb_pivotroot", "deny_pivot"),
	HOOK("move_mount", "deny_move"),
	HOOK("ptrace_access_check", "deny_ptrace"),
	HOOK("ptrace_traceme", "deny_traceme"),
	HOOK("bpf", "deny_bpf"),
	HOOK("kernel_load_data", "deny_load"),
	HOOK("kernel_read_file", "deny_read"),
	HOOK("userns_create", "deny_namespace"),
};
_Static_assert(G_N_ELEMENTS(hooks) == DN_LSM_HOOKS, "every hook needs a row");

#undef HOOK

const char *dn_lsm_hook_name(unsigned hook)
{
	return hooks[hook].pin;
}

const void *dn_lsm_object(size_t *size)
{
	return lsm_bpf__elf_bytes(size);
}

/* Which hooks has this kernel? */
static bool find_hooks(bool there[DN_LSM_HOOKS], GError **error)
{
	struct btf *kernel = btf__load_vmlinux_btf();
	bool any = false;

	if (kernel == NULL)
		return dn_load_throw(error, errno, "read the kernel's types");
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++) {
		there[i] = btf__find_by_name_kind(kernel, hooks[i].function, BTF_KIND_FUNC) > 0;
		any = any || there[i];
	}
	btf__free(kernel);
	if (!any)
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "this kernel was built without CONFIG_BPF_LSM");
	return any;
}

static bool load(struct lsm_bpf *skeleton, const int *maps, const bool there[DN_LSM_HOOKS],
		 GError **error)
{
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++)
		(void)bpf_program__set_autoload(
			bpf_object__find_program_by_name(skeleton->obj, hooks[i].program),
			there[i]);
	for (DnPinnedMap map = 0; maps != NULL && map < DN_PIN_N_MAPS; map++) {
		int rc = bpf_map__reuse_fd(
			bpf_object__find_map_by_name(skeleton->obj, dn_pins_map_name(map)),
			maps[map]);

		if (rc < 0)
			return dn_load_throw(error, -rc, "share map %s", dn_pins_map_name(map));
	}
	int rc = lsm_bpf__load(skeleton);
	return rc == 0 || dn_load_throw(error, -rc, "load the programs of security hooks");
}

/*
 * Attach to the hooks that are @there. A kernel whose list of security modules lacks "bpf" takes
 * them and calls none; so one is called.
 */
static bool attach(struct lsm_bpf *skeleton, const bool there[DN_LSM_HOOKS],
		   struct bpf_link *links[DN_LSM_HOOKS], GError **error)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);

	for (unsigned i = 0; i < DN_LSM_HOOKS; i++) {
		if (!there[i])
			continue;
		links[i] = bpf_program__attach(
			bpf_object__find_program_by_name(skeleton->obj, hooks[i].program));
		if (links[i] == NULL)
			return dn_load_throw(error, errno, "attach to %s", hooks[i].function);
	}
	(void)bpf_obj_get_info_by_fd(bpf_map__fd(skeleton->maps.node), &info, &size);
	if (__atomic_load_n(&skeleton->bss->heard, __ATOMIC_ACQUIRE) != 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "the kernel does not call them; add bpf to lsm= on its command line, see "
		    "/sys/kernel/security/lsm");
	return false;
}

static void detach(struct bpf_link *links[DN_LSM_HOOKS])
{
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++)
		(void)bpf_link__destroy(links[i]);
}

/* Attached programs without pins; *@skeleton and @links are the caller's whatever happens. */
static bool try_now(struct lsm_bpf **skeleton, const int *maps, unsigned level,
		    struct bpf_link *links[DN_LSM_HOOKS], GError **error)
{
	bool there[DN_LSM_HOOKS] = {false};

	dn_load_quiet();
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_LSM, NULL) <= 0) {
		g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
			    "the kernel refuses programs of its security hooks");
		return false;
	}
	if (!find_hooks(there, error))
		return false;
	*skeleton = lsm_bpf__open();
	if (*skeleton == NULL)
		return dn_load_throw(error, errno, "open the programs of security hooks");
	(*skeleton)->rodata->node_level = level + 1;
	return load(*skeleton, maps, there, error) && attach(*skeleton, there, links, error);
}

bool dn_lsm_probe_now(GError **error)
{
	struct bpf_link *links[DN_LSM_HOOKS] = {0};
	struct lsm_bpf *skeleton = NULL;
	bool can = try_now(&skeleton, NULL, 0, links, error);

	detach(links);
	lsm_bpf__destroy(skeleton);
	return can;
}

static void unpin_all(const char *dir)
{
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++) {
		g_autofree char *path = g_build_filename(dir, hooks[i].pin, NULL);

		if (unlink(path) < 0 && errno != ENOENT)
			g_warning("sensor: remove %s: %s", path, g_strerror(errno));
	}
}

/* What was pinned before goes only now that the new ones are attached. */
static bool pin(DnLsm *self, const char *dir, struct bpf_link *links[DN_LSM_HOOKS], GError **error)
{
	unpin_all(dir);
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++) {
		g_autofree char *path = g_build_filename(dir, hooks[i].pin, NULL);

		if (links[i] == NULL)
			continue;
		int rc = bpf_link__pin(links[i], path);
		if (rc < 0)
			return dn_load_throw(error, -rc, "pin link %s", path);
		self->links[i] = bpf_obj_get(path);
		self->hooked[i] = dn_pins_open_hooked(self->links[i]);
		if (self->links[i] < 0 || self->hooked[i] < 0)
			return dn_load_throw(error, errno, "open link %s", path);
	}
	return true;
}

static void close_links(DnLsm *self)
{
	for (unsigned i = 0; i < DN_LSM_HOOKS; i++) {
		dn_fd_clear(&self->links[i]);
		dn_fd_clear(&self->hooked[i]);
	}
}

static bool load_and_pin(DnLsm *self, const DnInstance *instance, unsigned level, const int *maps,
			 GError **error)
{
	struct bpf_link *links[DN_LSM_HOOKS] = {0};
	struct lsm_bpf *skeleton = NULL;
	bool done = dn_failpoint("agent.bpf.lsm.before", error) &&
		    try_now(&skeleton, maps, level, links, error) &&
		    pin(self, instance->bpf_dir, links, error);

	detach(links); /* but what is pinned */
	lsm_bpf__destroy(skeleton);
	if (!done) {
		close_links(self);
		unpin_all(instance->bpf_dir);
	}
	return done;
}

static bool take_over(DnLsm *self, const char *dir)
{
	bool there[DN_LSM_HOOKS] = {false};
	bool complete = find_hooks(there, NULL);

	for (unsigned i = 0; i < DN_LSM_HOOKS && complete; i++) {
		g_autofree char *path = g_build_filename(dir, hooks[i].pin, NULL);

		self->links[i] = there[i] ? bpf_obj_get(path) : -1;
		self->hooked[i] = there[i] ? dn_pins_open_hooked(self->links[i]) : -1;
		complete = !there[i] || (self->links[i] >= 0 && self->hooked[i] >= 0);
	}
	if (!complete)
		close_links(self);
	return complete;
}

static char *count_hooks(const DnLsm *self)
{
	unsigned n = 0;

	for (unsigned i = 0; i < DN_LSM_HOOKS; i++)
		n += self->links[i] >= 0;
	return g_strdup_printf("drift is denied before it has an effect, at %u of %u hooks", n,
			       (unsigned)DN_LSM_HOOKS);
}

void dn_lsm_open(DnLsm *self, const DnInstance *instance, unsigned level,
		 const int maps[DN_PIN_N_MAPS], bool same_build)
{
	g_autoptr(GError) error = NULL;

	dn_load_quiet();
	self->active = (same_build && take_over(self, instance->bpf_dir)) ||
		       load_and_pin(self, instance, level, maps, &error);
	self->why = self->active ? count_hooks(self) : g_strdup(error->message);
}

void dn_lsm_close(DnLsm *self)
{
	close_links(self);
	g_clear_pointer(&self->why, g_free);
}
