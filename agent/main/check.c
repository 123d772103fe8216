/* SPDX-License-Identifier: Apache-2.0 */
#include "main/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/id.h"
#include "base/mounts.h"
#include "base/text.h"
#include "cgroup/cgroup.h"
#include "firewall/firewall.h"
#include "runtime/container.h"
#include "runtime/holes.h"
#include "runtime/root.h"
#include "sensor/probe.h"
#include "wire/json.h"

enum { KERNEL_MAJOR = 6, KERNEL_MINOR = 1, CORE_PATTERN = 4096 };

static void free_check(gpointer data)
{
	DnCheck *check = data;

	g_free(check->why);
	g_free(check);
}

/* Takes @why. */
static void add(GPtrArray *checks, const char *name, bool required, bool can, char *why)
{
	DnCheck *check = g_new0(DnCheck, 1);

	check->name = name;
	check->required = required;
	check->can = can;
	check->why = why;
	g_ptr_array_add(checks, check);
}

/* The row of a probe that has ended: @error is its reason when it failed, and is freed. */
static void add_probed(GPtrArray *checks, const char *name, bool required, const char *good,
		       GError *error)
{
	add(checks, name, required, error == NULL, g_strdup(error != NULL ? error->message : good));
	g_clear_error(&error);
}

static void check_kernel(GPtrArray *checks)
{
	struct utsname host = {0};
	unsigned major = 0, minor = 0;

	(void)uname(&host);
	bool told = sscanf(host.release, "%u.%u", &major, &minor) == 2;
	bool can =
		told && (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR));
	add(checks, "kernel", true, can,
	    g_strdup_printf("%s%s", host.release, can ? "" : ", 6.1 or later is needed"));
	can = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
	add(checks, "btf", true, can,
	    g_strdup(can ? "the kernel describes its types"
			 : "/sys/kernel/btf/vmlinux: the kernel needs CONFIG_DEBUG_INFO_BTF"));
}

static void check_bpf(GPtrArray *checks, const DnInstance *instance)
{
	static const struct {
		const char *name, *what;
		bool required;
	} rows[DN_PROBE_N] = {
		[DN_PROBE_RAW_TRACEPOINT] = {"bpf-raw-tracepoint", "drift is seen", true},
		[DN_PROBE_TRACEPOINT] = {"bpf-tracepoint", "refused execs are seen", true},
		[DN_PROBE_CGROUP_SKB] = {"bpf-cgroup-skb", "the cut inside the node", true},
		[DN_PROBE_SCHED_CLS] = {"bpf-tc", "the cut outside the node", true},
		[DN_PROBE_RING_BUFFER] = {"bpf-ring-buffer", "verdicts are told at once", true},
		[DN_PROBE_LSM] = {"lsm", "drift can be denied before it has an effect", false},
	};
	struct statfs at = {0};

	for (unsigned i = 0; i < DN_PROBE_N; i++) {
		GError *error = NULL;
		(void)!dn_sensor_probe_now(i, &error);
		add_probed(checks, rows[i].name, rows[i].required, rows[i].what, error);
	}
	g_autofree char *above = g_path_get_dirname(instance->bpf_dir);
	bool can = statfs(above, &at) == 0 && at.f_type == BPF_FS_MAGIC;
	add(checks, "bpf-pins", true, can,
	    can ? g_strdup_printf("%s is a bpf file system", above)
		: g_strdup_printf("%s is no bpf file system; run: mount -t bpf bpf %s", above,
				  above));
}

static void check_fanotify(GPtrArray *checks)
{
	dn_autofd int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY | O_CLOEXEC);

	add(checks, "fanotify", false, fd >= 0,
	    fd >= 0 ? g_strdup("permission events; an extra")
		    : g_strdup_printf("permission events: %s", g_strerror(errno)));
}

static void check_cgroup(GPtrArray *checks)
{
	GError *error = NULL;
	g_autofree char *root = dn_cgroup_find_root(&error);
	g_auto(GStrv) v1 = root != NULL ? dn_mounts_of_type("cgroup", &error) : NULL;

	add_probed(checks, "cgroup", true,
		   v1 == NULL || v1[0] == NULL ? "v2 alone" : "hybrid: v2 beside v1", error);
}

static void check_network(GPtrArray *checks)
{
	GError *error = NULL;

	(void)!dn_firewall_probe_now(&error);
	add_probed(checks, "nft", true, "nftables answers", error);
	bool can = access("/proc/sys/net/netfilter/nf_conntrack_max", F_OK) == 0;
	/* As a module it was loaded for the probe. */
	add(checks, "conntrack", false, can,
	    g_strdup(can ? "connections are tracked" : "not loaded; run: modprobe nf_conntrack"));
}

/* Mount a directory of the state's file system as a node's root would be. */
static bool try_idmapped(const DnInstance *instance, int owner_fd, GError **error)
{
	g_autofree char *id = dn_id_new(4);
	g_autofree char *name = g_strconcat("check-", id, NULL);
	g_autofree char *source = g_build_filename(instance->state_dir, name, NULL);
	g_autofree char *target = g_build_filename(instance->run_dir, name, NULL);
	g_autoptr(GError) second = NULL;

	if (!dn_file_make_directory(instance->run_dir, 0711, error) ||
	    !dn_file_make_directory(source, 0755, error))
		return false;
	bool can = dn_root_mount_now(source, target, owner_fd, error);
	if (!dn_root_unmount_now(target, &second) || !dn_file_remove_tree(source, NULL))
		g_warning("clean up after a check: %s", second != NULL ? second->message : source);
	return can;
}

static void check_users(GPtrArray *checks, const DnInstance *instance)
{
	GError *error = NULL;
	dn_autofd int owner_fd =
		dn_root_owner_now(instance->uid_base + DN_SLOTS * DN_UIDS_PER_NODE, &error);

	add_probed(checks, "user-namespace", true, "nodes have uids of their own",
		   g_steal_pointer(&error));
	if (owner_fd < 0) {
		add(checks, "idmapped-mount", true, false, g_strdup("needs a user namespace"));
		return;
	}
	(void)!try_idmapped(instance, owner_fd, &error);
	add_probed(checks, "idmapped-mount", true, "images are shared by nodes",
		   g_steal_pointer(&error));
}

static void check_memfd(GPtrArray *checks)
{
	bool can = access("/proc/sys/vm/memfd_noexec", F_OK) == 0;

	add(checks, "memfd-noexec", false, can,
	    g_strdup(can ? "programs in memory are refused"
			 : "needs Linux 6.3: a node can make programs in memory, which drift is "
			   "seen of all the same"));
}

/*
 * A process of a node may lower its own limit to 0, and then die as it likes: that starts a program
 * of the host with its memory. A socket (Linux 6.16) no limit keeps away.
 */
static void check_core(GPtrArray *checks)
{
	g_autofree char *pattern =
		dn_file_read_kernel("/proc/sys/kernel/core_pattern", CORE_PATTERN, NULL);
	bool can = pattern != NULL && pattern[0] != '|' && pattern[0] != '@';

	add(checks, "core-pattern", false, can,
	    can ? g_strdup("core dumps are files, of which nodes leave none")
		: g_strdup_printf("core dumps go to %s, which a node's process can have started "
				  "with its own; set kernel.core_pattern to a file",
				  pattern != NULL ? g_strchomp(pattern) : "(cannot be read)"));
}

GPtrArray *dn_checks_now(const DnInstance *instance)
{
	GPtrArray *checks = g_ptr_array_new_with_free_func(free_check);

	check_kernel(checks);
	check_bpf(checks, instance);
	check_fanotify(checks);
	check_cgroup(checks);
	check_users(checks, instance);
	check_memfd(checks);
	check_core(checks);
	check_network(checks);
	return checks;
}

void dn_checks_set_lsm(GPtrArray *checks, bool can, const char *why)
{
	for (unsigned i = 0; i < checks->len; i++) {
		DnCheck *check = checks->pdata[i];

		if (!g_str_equal(check->name, "lsm"))
			continue;
		check->can = can;
		g_free(check->why);
		check->why = g_strdup(why);
	}
}

void dn_checks_add_holes(GPtrArray *checks, const char *version)
{
	g_autoptr(GPtrArray) holes = dn_runtime_holes(version);
	GString *why = g_string_new(NULL);

	if (holes == NULL)
		g_string_printf(why, "holes of \"%s\" are not known here", version);
	else if (holes->len == 0)
		g_string_append(why, "none is known of this version");
	for (unsigned i = 0; holes != NULL && i < holes->len; i++) {
		const DnHole *hole = holes->pdata[i];
		g_string_append_printf(why, "%s%s (fixed in %s)", i > 0 ? ", " : "", hole->cve,
				       hole->fixed);
	}
	if (holes != NULL && holes->len > 0)
		g_string_append(why, "; unless the distribution has repaired its own");
	add(checks, "runtime-holes", false, holes != NULL && holes->len == 0,
	    g_string_free(why, FALSE));
}

void dn_checks_add_runtime_now(GPtrArray *checks, const DnInstance *instance)
{
	DnRuntimeAbility ability = {0};
	g_autoptr(GError) error = NULL;

	if (!dn_file_make_directory(instance->run_dir, 0711, &error) ||
	    !dn_file_make_directory(instance->runtime_root, 0711, &error) ||
	    !dn_runtime_probe_now(instance, &ability, &error)) {
		add(checks, "runtime", true, false, g_strdup(error->message));
		return;
	}
	add(checks, "runtime", true, true, g_strdup(ability.version));
	dn_checks_add_holes(checks, ability.version);
	add(checks, "fast-start", false, ability.fast_start,
	    g_strdup(ability.fast_start ? "created containers start by one write"
					: "created containers start by the runtime, a bit later"));
	dn_runtime_ability_clear(&ability);
}

static void print_rows(GPtrArray *checks)
{
	for (unsigned i = 0; i < checks->len; i++) {
		const DnCheck *check = checks->pdata[i];
		g_autofree char *why = dn_text_printable(check->why, strlen(check->why));
		printf("%-20s %-4s %s%s\n", check->name, check->can ? "yes" : "no",
		       !check->can && check->required ? "(required) " : "", why);
	}
}

static bool print_json(GPtrArray *checks, GError **error)
{
	JsonObject *document = dn_json_document();
	JsonArray *rows = json_array_new();

	for (unsigned i = 0; i < checks->len; i++) {
		const DnCheck *check = checks->pdata[i];
		JsonObject *row = json_object_new();
		dn_json_set_string(row, "name", check->name);
		json_object_set_boolean_member(row, "can", check->can);
		json_object_set_boolean_member(row, "required", check->required);
		dn_json_set_string(row, "why", check->why);
		json_array_add_object_element(rows, row);
	}
	json_object_set_array_member(document, "checks", rows);
	g_autofree char *text = dn_json_print_pretty(document);
	if (puts(text) >= 0)
		return true;
	return dn_throw_errno(error, errno, "write");
}

bool dn_agent_check(const DnInstance *instance, bool json, GError **error)
{
	g_autoptr(GPtrArray) checks = dn_checks_now(instance);
	g_autoptr(GString) missing = g_string_new(NULL);

	dn_checks_add_runtime_now(checks, instance);
	if (!json)
		print_rows(checks);
	else if (!print_json(checks, error))
		return false;
	for (unsigned i = 0; i < checks->len; i++) {
		const DnCheck *check = checks->pdata[i];
		if (check->required && !check->can)
			g_string_append_printf(missing, "%s%s", missing->len > 0 ? ", " : "",
					       check->name);
	}
	if (missing->len == 0)
		return true;
	g_set_error(error, DN_ERROR, DN_ERROR_UNSUPPORTED,
		    "this host cannot run nodes, it lacks: %s%s", missing->str,
		    geteuid() != 0 ? "; ask again as root" : "");
	return false;
}
