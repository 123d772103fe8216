/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/oci-config.h"

#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "runtime/seccomp.h"

enum {
	OOM_SCORE = 500, /* before the agent and the rest of the host */
	UMASK = 022,
	CPU_PERIOD_US = 100000,
	BYTES_PER_INODE = 4096,
	/*
	 * No core file is that small, and a core_pattern that is a program is not started for it:
	 * the kernel takes it for the limit of such a program itself. 0 would start it.
	 */
	CORE_LIMIT = 1,
	LEAST_INODES = 64,
};

/* Nothing is mounted over these or below them, whoever signed it. */
static const char *const reserved[] = {"/proc", "/sys", "/dev", NULL};

static const char *const masked_paths[] = {"/proc/acpi",        "/proc/asound",
					   "/proc/bootconfig",  "/proc/config.gz",
					   "/proc/interrupts",  "/proc/kallsyms",
					   "/proc/kcore",       "/proc/keys",
					   "/proc/key-users",   "/proc/kmsg",
					   "/proc/kpagecgroup", "/proc/kpagecount",
					   "/proc/kpageflags",  "/proc/latency_stats",
					   "/proc/modules",     "/proc/sched_debug",
					   "/proc/scsi",        "/proc/slabinfo",
					   "/proc/timer_list",  "/proc/timer_stats",
					   "/proc/vmallocinfo", NULL};

static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

static const char *const namespaces[] = {"pid", "mount", "ipc", "uts", "cgroup", "user", NULL};

static const char *const capability_sets[] = {"bounding",  "effective", "inheritable",
					      "permitted", "ambient",   NULL};

static JsonArray *strings(const char *const *words)
{
	JsonArray *array = json_array_new();

	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		json_array_add_string_element(array, words[i]);
	return array;
}

/* True when @path is @parent or below it. */
static bool is_below(const char *path, const char *parent)
{
	size_t length = strlen(parent);

	return strncmp(path, parent, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool dn_oci_is_writable(const DnManifest *manifest, const char *path)
{
	for (guint i = 0; i < manifest->writable->len; i++)
		if (is_below(path, g_array_index(manifest->writable, DnWritable, i).path))
			return true;
	return false;
}

static bool is_ours(const char *variable)
{
	static const char *const ours[] = {
		"DNODE_NODE=", "DNODE_SERVICE=", "DNODE_IMAGE=", "DNODE_EPOCH=", NULL};

	for (size_t i = 0; ours[i] != NULL; i++)
		if (g_str_has_prefix(variable, ours[i]))
			return true;
	return false;
}

static void G_GNUC_PRINTF(2, 3) add_text(JsonArray *array, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	json_array_add_string_element(array, text);
}

static JsonArray *environment(const DnContainerSpec *spec)
{
	const DnManifest *manifest = spec->manifest;
	JsonArray *env = json_array_new();

	for (size_t i = 0; spec->run->env != NULL && spec->run->env[i] != NULL; i++)
		if (!is_ours(spec->run->env[i]))
			json_array_add_string_element(env, spec->run->env[i]);
	add_text(env, "DNODE_NODE=%s", spec->node);
	add_text(env, "DNODE_SERVICE=%s", manifest->service);
	add_text(env, "DNODE_IMAGE=%s@%s", manifest->image_ref, manifest->image_commit);
	add_text(env, "DNODE_EPOCH=%" G_GUINT64_FORMAT, manifest->epoch);
	return env;
}

static void add_rlimit(JsonArray *limits, const char *type, gint64 value)
{
	JsonObject *limit = json_object_new();

	json_object_set_string_member(limit, "type", type);
	json_object_set_int_member(limit, "hard", value);
	json_object_set_int_member(limit, "soft", value);
	json_array_add_object_element(limits, limit);
}

static JsonObject *user(gint64 uid)
{
	JsonObject *json = json_object_new();

	json_object_set_int_member(json, "uid", uid);
	json_object_set_int_member(json, "gid", uid);
	json_object_set_int_member(json, "umask", UMASK);
	json_object_set_array_member(json, "additionalGids", json_array_new());
	return json;
}

static JsonObject *process(const DnContainerSpec *spec)
{
	JsonObject *json = json_object_new();
	JsonObject *capabilities = json_object_new();
	JsonArray *limits = json_array_new();
	const char *cwd = spec->run->cwd != NULL ? spec->run->cwd : "/";

	for (size_t i = 0; capability_sets[i] != NULL; i++)
		json_object_set_array_member(capabilities, capability_sets[i], json_array_new());
	add_rlimit(limits, "RLIMIT_NOFILE", spec->manifest->files);
	add_rlimit(limits, "RLIMIT_CORE", CORE_LIMIT);
	json_object_set_boolean_member(json, "terminal", FALSE);
	json_object_set_object_member(json, "user", user(spec->run->uid));
	json_object_set_array_member(json, "args", strings((const char *const *)spec->run->args));
	json_object_set_array_member(json, "env", environment(spec));
	json_object_set_string_member(json, "cwd", cwd);
	json_object_set_object_member(json, "capabilities", capabilities);
	json_object_set_array_member(json, "rlimits", limits);
	json_object_set_boolean_member(json, "noNewPrivileges", TRUE);
	json_object_set_int_member(json, "oomScoreAdj", OOM_SCORE);
	return json;
}

/* The array of options, so that the caller can add what has numbers in it. */
static JsonArray *add_mount(JsonArray *mounts, const char *type, const char *source,
			    const char *destination, const char *const *options)
{
	JsonObject *mount = json_object_new();
	JsonArray *list = strings(options);

	json_object_set_string_member(mount, "destination", destination);
	json_object_set_string_member(mount, "type", type);
	json_object_set_string_member(mount, "source", source);
	json_object_set_array_member(mount, "options", list);
	json_array_add_object_element(mounts, mount);
	return list;
}

static bool check_writable(const DnWritable *writable, GError **error)
{
	const char *path = writable->path;
	bool plain = path[0] == '/' && path[1] != '\0' && strstr(path, "//") == NULL &&
		     strstr(path, "/../") == NULL && strstr(path, "/./") == NULL &&
		     !g_str_has_suffix(path, "/..") && !g_str_has_suffix(path, "/.") &&
		     !g_str_has_suffix(path, "/");

	if (!plain) {
		g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
			    "writable path '%s' is not absolute and plain", path);
		return false;
	}
	for (size_t i = 0; reserved[i] != NULL; i++)
		if (is_below(path, reserved[i]) && strcmp(path, "/dev/shm") != 0) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "writable path '%s' is in %s, where only /dev/shm may be one",
				    path, reserved[i]);
			return false;
		}
	return true;
}

static int by_path(gconstpointer a, gconstpointer b)
{
	return strcmp((*(const DnWritable *const *)a)->path, (*(const DnWritable *const *)b)->path);
}

/* A link of /proc to what somebody left open is how a working directory led out (CVE-2024-21626).
 */
static bool check_cwd(const DnRun *run, GError **error)
{
	for (size_t i = 0; run->cwd != NULL && reserved[i] != NULL; i++)
		if (is_below(run->cwd, reserved[i])) {
			g_set_error(error, DN_ERROR, DN_ERROR_INVALID,
				    "run.cwd '%s' is in %s, where no service works", run->cwd,
				    reserved[i]);
			return false;
		}
	return true;
}

/* In the order of their paths: a mount comes before what lies below it. */
static bool add_writables(JsonArray *mounts, const GArray *writable, GError **error)
{
	static const char *const options[] = {"nosuid", "nodev", "noexec", "mode=1777", NULL};
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (guint i = 0; i < writable->len; i++)
		g_ptr_array_add(sorted, &g_array_index(writable, DnWritable, i));
	g_ptr_array_sort(sorted, by_path);
	for (guint i = 0; i < sorted->len; i++) {
		const DnWritable *entry = g_ptr_array_index(sorted, i);
		guint64 inodes = MAX(entry->size_bytes / BYTES_PER_INODE, LEAST_INODES);

		if (!check_writable(entry, error))
			return false;
		JsonArray *list = add_mount(mounts, "tmpfs", "tmpfs", entry->path, options);
		add_text(list, "size=%" G_GUINT64_FORMAT, entry->size_bytes);
		add_text(list, "nr_inodes=%" G_GUINT64_FORMAT, inodes);
	}
	return true;
}

static void add_hosts(JsonArray *mounts, const DnOciInput *input)
{
	/* Private: where the host's root is shared, as systemd makes it, a bind would be too. */
	static const char *const bound[] = {"bind",   "ro",      "nosuid", "nodev",
					    "noexec", "private", NULL};
	static const char *const laid_over[] = {"ro", "nosuid", "nodev", NULL};

	if (input->spec->hosts_file == NULL)
		return;
	if (input->etc_overlay == NULL) {
		(void)add_mount(mounts, "bind", input->spec->hosts_file, "/etc/hosts", bound);
		return;
	}
	JsonArray *list = add_mount(mounts, "overlay", "overlay", "/etc", laid_over);
	add_text(list, "lowerdir=%s:%s/etc", input->etc_overlay, input->spec->root);
}

static JsonArray *mounts(const DnOciInput *input, GError **error)
{
	static const char *const proc[] = {"nosuid", "noexec", "nodev", NULL};
	static const char *const dev[] = {"nosuid",   "noexec",   "strictatime", "ro",
					  "mode=755", "size=64k", NULL};
	g_autoptr(JsonArray) list = json_array_new();

	(void)add_mount(list, "proc", "proc", "/proc", proc);
	/* The runtime fills it with null zero full random urandom tty, then makes it read-only. */
	(void)add_mount(list, "tmpfs", "tmpfs", "/dev", dev);
	if (!add_writables(list, input->spec->manifest->writable, error))
		return NULL;
	add_hosts(list, input);
	return g_steal_pointer(&list);
}

static JsonArray *namespace_list(const DnContainerSpec *spec)
{
	JsonArray *list = json_array_new();
	JsonObject *network = json_object_new();

	for (size_t i = 0; namespaces[i] != NULL; i++) {
		JsonObject *entry = json_object_new();

		json_object_set_string_member(entry, "type", namespaces[i]);
		json_array_add_object_element(list, entry);
	}
	json_object_set_string_member(network, "type", "network");
	if (spec->netns != NULL)
		json_object_set_string_member(network, "path", spec->netns);
	json_array_add_object_element(list, network);
	return list;
}

static JsonArray *id_map(uint32_t uid_base)
{
	JsonArray *map = json_array_new();
	JsonObject *range = json_object_new();

	json_object_set_int_member(range, "containerID", 0);
	json_object_set_int_member(range, "hostID", uid_base);
	json_object_set_int_member(range, "size", DN_UIDS_PER_NODE);
	json_array_add_object_element(map, range);
	return map;
}

static JsonObject *resources(const DnManifest *manifest)
{
	JsonObject *json = json_object_new();
	JsonObject *memory = json_object_new();
	JsonObject *pids = json_object_new();
	JsonObject *cpu = json_object_new();
	JsonObject *denied = json_object_new();
	JsonArray *devices = json_array_new();

	json_object_set_boolean_member(denied, "allow", FALSE);
	json_object_set_string_member(denied, "access", "rwm");
	json_array_add_object_element(devices, denied);
	/* "swap" is memory and swap together, so the same number means no swap. */
	json_object_set_int_member(memory, "limit", (gint64)manifest->memory_bytes);
	json_object_set_int_member(memory, "swap", (gint64)manifest->memory_bytes);
	json_object_set_int_member(pids, "limit", manifest->pids);
	json_object_set_int_member(cpu, "quota",
				   (gint64)manifest->cpu_milli * CPU_PERIOD_US / 1000);
	json_object_set_int_member(cpu, "period", CPU_PERIOD_US);
	json_object_set_array_member(json, "devices", devices);
	json_object_set_object_member(json, "memory", memory);
	json_object_set_object_member(json, "pids", pids);
	json_object_set_object_member(json, "cpu", cpu);
	return json;
}

static JsonObject *linux_part(const DnOciInput *input)
{
	const DnContainerSpec *spec = input->spec;
	JsonObject *json = json_object_new();
	g_autofree char *cgroup = g_strdup_printf("/%s/%s", input->cgroup_parent, spec->node);

	json_object_set_array_member(json, "namespaces", namespace_list(spec));
	json_object_set_array_member(json, "uidMappings", id_map(spec->uid_base));
	json_object_set_array_member(json, "gidMappings", id_map(spec->uid_base));
	json_object_set_string_member(json, "cgroupsPath", cgroup);
	json_object_set_object_member(json, "resources", resources(spec->manifest));
	json_object_set_array_member(json, "maskedPaths", strings(masked_paths));
	json_object_set_array_member(json, "readonlyPaths", strings(readonly_paths));
	json_object_set_string_member(json, "rootfsPropagation", "private");
	json_object_set_object_member(json, "seccomp",
				      dn_seccomp_profile(spec->run->jit, input->memfd_sealed));
	return json;
}

JsonObject *dn_oci_config(const DnOciInput *input, GError **error)
{
	g_autoptr(JsonArray) list =
		check_cwd(input->spec->run, error) ? mounts(input, error) : NULL;

	if (list == NULL)
		return NULL;
	JsonObject *json = json_object_new();
	JsonObject *root = json_object_new();
	json_object_set_string_member(root, "path", input->spec->root);
	json_object_set_boolean_member(root, "readonly", TRUE);
	json_object_set_string_member(json, "ociVersion", "1.0.0");
	json_object_set_string_member(json, "hostname", input->spec->node);
	json_object_set_object_member(json, "root", root);
	json_object_set_object_member(json, "process", process(input->spec));
	json_object_set_array_member(json, "mounts", g_steal_pointer(&list));
	json_object_set_object_member(json, "linux", linux_part(input));
	return json;
}
