/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/error.h"
#include "runtime/oci-config.h"
#include "runtime/seccomp.h"
#include "support/suite.h"
#include "wire/json.h"

static DnManifest *manifest;
static DnContainerSpec spec;
static DnOciInput input;

static void add_writable(const char *path)
{
	DnWritable writable = {.path = g_strdup(path), .size_bytes = 8 << 20};

	g_array_append_val(manifest->writable, writable);
}

static void setup(void)
{
	manifest = dn_manifest_new();
	manifest->service = g_strdup("web");
	manifest->epoch = 7;
	manifest->image_ref = g_strdup("apps/hello");
	manifest->image_commit = g_strdup("c0ffee");
	manifest->memory_bytes = 64 << 20;
	manifest->cpu_milli = 500;
	manifest->pids = 32;
	manifest->files = 256;
	manifest->run.args = g_strsplit("/bin/httpd -p 8080", " ", -1);
	manifest->run.env = g_strsplit("DNODE_EPOCH=9 MODE=prod", " ", -1);
	manifest->run.uid = 1000;
	spec = (DnContainerSpec){
		.node = "web-1",
		.uid_base = 1000000,
		.root = "/run/dnode/roots/web-1",
		.netns = "/run/netns/h1-web-1",
		.hosts_file = "/run/dnode/hosts",
		.manifest = manifest,
		.run = &manifest->run,
	};
	input = (DnOciInput){.spec = &spec, .cgroup_parent = "dnode-lab/h1", .memfd_sealed = true};
}

static void teardown(void)
{
	g_clear_pointer(&manifest, dn_manifest_unref);
	dn_suite_end();
}

TestSuite(oci_config, .init = setup, .fini = teardown);

/* The configuration as a runtime reads it: printed and parsed again. */
static JsonObject *build(void)
{
	g_autoptr(GError) error = NULL;
	JsonObject *config = dn_oci_config(&input, &error);

	cr_assert(ne(ptr, config, NULL), "%s", error != NULL ? error->message : "");
	g_autoptr(GBytes) text = dn_json_print(config);
	JsonObject *parsed = dn_json_parse(text, 1 << 20, &error);
	cr_assert(ne(ptr, parsed, NULL), "%s", error != NULL ? error->message : "");
	return parsed;
}

/* The member at a path of names, "linux.resources.memory". */
static JsonNode *at(JsonObject *object, const char *path)
{
	g_auto(GStrv) names = g_strsplit(path, ".", -1);
	JsonNode *node = NULL;

	for (size_t i = 0; names[i] != NULL; i++) {
		node = object != NULL ? json_object_get_member(object, names[i]) : NULL;
		cr_assert(ne(ptr, node, NULL), "there is no %s", path);
		object = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
	}
	return node;
}

static void expect_int(JsonObject *config, const char *path, gint64 value)
{
	gint64 got = json_node_get_int(at(config, path));

	cr_expect(got == value, "%s is %ld, not %ld", path, (long)got, (long)value);
}

static void expect_text(JsonObject *config, const char *path, const char *value)
{
	cr_expect_str_eq(json_node_get_string(at(config, path)), value, "%s", path);
}

static bool has_text(JsonArray *array, const char *text)
{
	for (guint i = 0; i < json_array_get_length(array); i++)
		if (g_strcmp0(json_array_get_string_element(array, i), text) == 0)
			return true;
	return false;
}

static JsonObject *mount_on(JsonObject *config, const char *destination)
{
	JsonArray *mounts = json_node_get_array(at(config, "mounts"));

	for (guint i = 0; i < json_array_get_length(mounts); i++) {
		JsonObject *mount = json_array_get_object_element(mounts, i);

		if (g_strcmp0(json_object_get_string_member(mount, "destination"), destination) ==
		    0)
			return mount;
	}
	return NULL;
}

static void expect_options(JsonObject *config, const char *destination, const char *options)
{
	JsonObject *mount = mount_on(config, destination);
	g_auto(GStrv) words = g_strsplit(options, ",", -1);

	cr_assert(ne(ptr, mount, NULL), "nothing is mounted on %s", destination);
	for (size_t i = 0; words[i] != NULL; i++)
		cr_expect(has_text(json_object_get_array_member(mount, "options"), words[i]),
			  "%s lacks %s", destination, words[i]);
}

Test(oci_config, all_five_capability_sets_are_there_and_empty)
{
	static const char *const sets[] = {"bounding",  "effective", "inheritable",
					   "permitted", "ambient",   NULL};
	g_autoptr(JsonObject) config = build();
	JsonObject *capabilities = json_node_get_object(at(config, "process.capabilities"));

	for (size_t i = 0; sets[i] != NULL; i++)
		cr_expect(eq(int,
			     (int)json_array_get_length(
				     json_object_get_array_member(capabilities, sets[i])),
			     0));
	cr_expect(eq(int, (int)json_object_get_size(capabilities), 5));
	cr_expect(json_node_get_boolean(at(config, "process.noNewPrivileges")));
	cr_expect(not(json_node_get_boolean(at(config, "process.terminal"))));
	cr_expect(json_node_get_boolean(at(config, "root.readonly")));
}

Test(oci_config, every_namespace_is_new_but_the_networks_which_has_a_path)
{
	static const char *const wanted[] = {"pid",    "mount", "ipc",     "uts",
					     "cgroup", "user",  "network", NULL};
	g_autoptr(JsonObject) config = build();
	JsonArray *list = json_node_get_array(at(config, "linux.namespaces"));

	cr_assert(eq(int, (int)json_array_get_length(list), 7));
	for (guint i = 0; i < 7; i++) {
		JsonObject *entry = json_array_get_object_element(list, i);
		const char *type = json_object_get_string_member(entry, "type");

		cr_expect(g_strv_contains(wanted, type));
		cr_expect(json_object_has_member(entry, "path") == g_str_equal(type, "network"));
	}
	JsonArray *ids = json_node_get_array(at(config, "linux.uidMappings"));
	JsonObject *range = json_array_get_object_element(ids, 0);
	cr_assert(eq(int, (int)json_array_get_length(ids), 1));
	expect_int(range, "containerID", 0);
	expect_int(range, "hostID", 1000000);
	expect_int(range, "size", 65536);
}

Test(oci_config, limits_are_the_manifests_and_there_is_no_swap)
{
	g_autoptr(JsonObject) config = build();

	expect_int(config, "linux.resources.memory.limit", 64 << 20);
	expect_int(config, "linux.resources.memory.swap", 64 << 20);
	expect_int(config, "linux.resources.pids.limit", 32);
	expect_int(config, "linux.resources.cpu.quota", 50000);
	expect_int(config, "linux.resources.cpu.period", 100000);
	expect_text(config, "linux.cgroupsPath", "/dnode-lab/h1/web-1");
	expect_text(config, "hostname", "web-1");
	expect_text(config, "linux.rootfsPropagation", "private");
	expect_int(config, "process.user.uid", 1000);
	expect_int(config, "process.user.gid", 1000);
	JsonArray *limits = json_node_get_array(at(config, "process.rlimits"));
	cr_assert(eq(int, (int)json_array_get_length(limits), 2));
	expect_int(json_array_get_object_element(limits, 0), "hard", 256);
	expect_text(json_array_get_object_element(limits, 1), "type", "RLIMIT_CORE");
	expect_int(json_array_get_object_element(limits, 1), "hard", 1);
	expect_int(json_array_get_object_element(limits, 1), "soft", 1);
}

Test(oci_config, what_the_agent_says_of_the_node_cannot_be_forged_by_the_manifest)
{
	g_autoptr(JsonObject) config = build();
	JsonArray *env = json_node_get_array(at(config, "process.env"));

	cr_expect(has_text(env, "MODE=prod"));
	cr_expect(has_text(env, "DNODE_NODE=web-1"));
	cr_expect(has_text(env, "DNODE_SERVICE=web"));
	cr_expect(has_text(env, "DNODE_IMAGE=apps/hello@c0ffee"));
	cr_expect(has_text(env, "DNODE_EPOCH=7"));
	cr_expect(not(has_text(env, "DNODE_EPOCH=9")));
	expect_text(config, "process.cwd", "/");
}

Test(oci_config, every_mount_is_hardened_and_what_is_not_declared_is_not_there)
{
	add_writable("/var/data/cache");
	add_writable("/var/data");
	g_autoptr(JsonObject) config = build();
	JsonArray *mounts = json_node_get_array(at(config, "mounts"));

	cr_expect(eq(int, (int)json_array_get_length(mounts), 5));
	expect_options(config, "/proc", "nosuid,noexec,nodev");
	expect_options(config, "/dev", "nosuid,noexec,ro");
	expect_options(config, "/var/data",
		       "nosuid,nodev,noexec,mode=1777,size=8388608,nr_inodes=2048");
	expect_options(config, "/etc/hosts", "bind,ro,nosuid,nodev,noexec");
	cr_expect(eq(ptr, mount_on(config, "/sys"), NULL));
	cr_expect(eq(ptr, mount_on(config, "/dev/shm"), NULL));
	cr_expect(eq(ptr, mount_on(config, "/dev/pts"), NULL));
	/* The outer one first, or it would hide the inner one. */
	expect_text(json_array_get_object_element(mounts, 2), "destination", "/var/data");
	expect_text(json_array_get_object_element(mounts, 3), "destination", "/var/data/cache");
}

Test(oci_config, an_image_without_hosts_gets_it_laid_over_etc)
{
	input.etc_overlay = "/run/dnode/bundles/web-1/etc";
	g_autoptr(JsonObject) config = build();

	cr_expect(eq(ptr, mount_on(config, "/etc/hosts"), NULL));
	expect_options(config, "/etc",
		       "ro,nosuid,nodev,"
		       "lowerdir=/run/dnode/bundles/web-1/etc:/run/dnode/roots/web-1/etc");
}

Test(oci_config, nothing_writable_lands_on_what_the_kernel_or_the_runtime_fills)
{
	static const char *const refused[] = {
		"/",        "/proc",      "/proc/sys", "/sys",  "/sys/x", "/dev", "/dev/pts",
		"relative", "/a/../proc", "/a/..",     "/a//b", "/a/",    "/./a", NULL};

	for (size_t i = 0; refused[i] != NULL; i++) {
		g_autoptr(GError) error = NULL;

		g_array_set_size(manifest->writable, 0);
		add_writable(refused[i]);
		cr_expect(eq(ptr, dn_oci_config(&input, &error), NULL), "%s", refused[i]);
		cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
	g_array_set_size(manifest->writable, 0);
	add_writable("/dev/shm");
	add_writable("/process");
	g_autoptr(JsonObject) config = build();
	expect_options(config, "/dev/shm", "nosuid,nodev,noexec");
}

Test(oci_config, no_service_works_in_what_the_kernel_fills)
{
	static const char *const refused[] = {"/proc/self/fd/3", "/proc", "/sys/fs", "/dev"};

	for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
		g_autoptr(GError) error = NULL;

		manifest->run.cwd = (char *)refused[i];
		g_autoptr(JsonObject) config = dn_oci_config(&input, &error);
		manifest->run.cwd = NULL;
		cr_expect(config == NULL, "%s", refused[i]);
		cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_INVALID));
	}
}

Test(oci_config, secrets_of_the_kernel_are_masked)
{
	static const char *const masked[] = {"/proc/kcore",
					     "/proc/keys",
					     "/proc/timer_list",
					     "/proc/sched_debug",
					     "/proc/latency_stats",
					     "/proc/interrupts",
					     "/proc/acpi",
					     "/proc/scsi",
					     "/proc/kallsyms",
					     "/proc/config.gz",
					     NULL};
	static const char *const read_only[] = {"/proc/sys", "/proc/bus",           "/proc/fs",
						"/proc/irq", "/proc/sysrq-trigger", NULL};
	g_autoptr(JsonObject) config = build();

	for (size_t i = 0; masked[i] != NULL; i++)
		cr_expect(has_text(json_node_get_array(at(config, "linux.maskedPaths")), masked[i]),
			  "%s", masked[i]);
	for (size_t i = 0; read_only[i] != NULL; i++)
		cr_expect(has_text(json_node_get_array(at(config, "linux.readonlyPaths")),
				   read_only[i]),
			  "%s", read_only[i]);
}

/* How the profile answers a call: -1 when it is not allowed at all, else an errno or 0. */
static int answer(JsonObject *profile, const char *name, const uint64_t arguments[6])
{
	JsonArray *calls = json_object_get_array_member(profile, "syscalls");
	int verdict = -1;

	for (guint i = 0; i < json_array_get_length(calls); i++) {
		JsonObject *call = json_array_get_object_element(calls, i);
		bool matches = has_text(json_object_get_array_member(call, "names"), name);
		JsonArray *args = json_object_has_member(call, "args")
					  ? json_object_get_array_member(call, "args")
					  : NULL;

		for (guint j = 0; matches && args != NULL && j < json_array_get_length(args); j++) {
			JsonObject *arg = json_array_get_object_element(args, j);
			gint64 index = json_object_get_int_member(arg, "index");
			uint64_t mask = (uint64_t)json_object_get_int_member(arg, "value");

			matches = (arguments[index] & mask) ==
				  (uint64_t)json_object_get_int_member(arg, "valueTwo");
		}
		if (matches)
			verdict = (int)json_object_get_int_member_with_default(call, "errnoRet", 0);
	}
	return verdict;
}

#define ANSWER(profile_, name_, ...) answer(profile_, name_, (uint64_t[6]){__VA_ARGS__})

Test(oci_config, the_profile_refuses_by_default_and_knows_one_architecture)
{
	static const char *const refused[] = {"mount",
					      "umount2",
					      "unshare",
					      "setns",
					      "pivot_root",
					      "chroot",
					      "ptrace",
					      "bpf",
					      "keyctl",
					      "add_key",
					      "io_uring_setup",
					      "userfaultfd",
					      "perf_event_open",
					      "kexec_load",
					      "init_module",
					      "finit_module",
					      "process_vm_readv",
					      "process_vm_writev",
					      "name_to_handle_at",
					      "open_by_handle_at",
					      "pidfd_getfd",
					      "fsopen",
					      "fsconfig",
					      "fsmount",
					      "open_tree",
					      "move_mount",
					      "mount_setattr",
					      "reboot",
					      "swapon",
					      "iopl",
					      "ioperm",
					      "modify_ldt",
					      "memfd_secret",
					      "kcmp",
					      "syslog",
					      "acct",
					      "quotactl",
					      "sethostname",
					      "settimeofday",
					      "remap_file_pages",
					      NULL};
	g_autoptr(JsonObject) profile = dn_seccomp_profile(false, true);

	cr_expect_str_eq(json_object_get_string_member(profile, "defaultAction"), "SCMP_ACT_ERRNO");
	expect_int(profile, "defaultErrnoRet", 1);
	cr_expect(eq(
		int,
		(int)json_array_get_length(json_object_get_array_member(profile, "architectures")),
		1));
	for (size_t i = 0; refused[i] != NULL; i++)
		cr_expect(eq(int, ANSWER(profile, refused[i], 0), -1), "%s", refused[i]);
	cr_expect(eq(int, ANSWER(profile, "clone3", 0), 38));
	cr_expect(eq(int, ANSWER(profile, "read", 0), 0));
}

/* Sealed against exec, its pages can still be mapped executable. */
Test(oci_config, only_jit_where_the_sysctl_is_has_memfds)
{
	static const struct {
		bool jit, sealed;
		int answer;
	} cases[] = {{false, false, -1}, {false, true, -1}, {true, false, -1}, {true, true, 0}};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(JsonObject) profile = dn_seccomp_profile(cases[i].jit, cases[i].sealed);

		cr_expect(eq(int, ANSWER(profile, "memfd_create", 0), cases[i].answer), "%zu", i);
	}
}

Test(oci_config, memory_is_writable_or_executable_but_for_jit)
{
	const uint64_t high = UINT64_C(1) << 32;
	g_autoptr(JsonObject) strict = dn_seccomp_profile(false, true);
	g_autoptr(JsonObject) jit = dn_seccomp_profile(true, true);

	cr_expect(eq(int, ANSWER(strict, "mmap", 0, 0, PROT_READ | PROT_WRITE, MAP_ANONYMOUS), 0));
	cr_expect(eq(int, ANSWER(strict, "mmap", 0, 0, PROT_READ | PROT_EXEC, MAP_PRIVATE), 0));
	cr_expect(eq(int, ANSWER(strict, "mmap", 0, 0, PROT_EXEC, MAP_ANONYMOUS), -1));
	cr_expect(eq(int, ANSWER(strict, "mmap", 0, 0, PROT_WRITE | PROT_EXEC, MAP_PRIVATE), -1));
	cr_expect(eq(int, ANSWER(strict, "mprotect", 0, 0, PROT_READ), 0));
	cr_expect(eq(int, ANSWER(strict, "mprotect", 0, 0, high | PROT_EXEC), -1));
	cr_expect(eq(int, ANSWER(strict, "pkey_mprotect", 0, 0, PROT_EXEC), -1));
	cr_expect(eq(int, ANSWER(strict, "shmat", 0, 0, 0100000), -1));
	cr_expect(eq(int, ANSWER(jit, "mmap", 0, 0, PROT_WRITE | PROT_EXEC, MAP_ANONYMOUS), 0));
	cr_expect(eq(int, ANSWER(jit, "mprotect", 0, 0, PROT_EXEC), 0));
	cr_expect(eq(int, ANSWER(jit, "shmat", 0, 0, 0100000), 0));
}

Test(oci_config, sockets_are_of_three_families_and_the_routing_netlink)
{
	const uint64_t garbage = UINT64_C(0xdead) << 32;
	g_autoptr(JsonObject) profile = dn_seccomp_profile(false, true);

	for (int family = 0; family < AF_MAX; family++) {
		bool ours = family == AF_UNIX || family == AF_INET || family == AF_INET6;
		int got = ANSWER(profile, "socket", (uint64_t)family, SOCK_STREAM, 0);

		cr_expect(eq(int, got, ours ? 0 : -1), "family %d", family);
	}
	cr_expect(eq(int,
		     ANSWER(profile, "socket", garbage | AF_INET,
			    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 6),
		     0));
	cr_expect(eq(int, ANSWER(profile, "socket", AF_INET, SOCK_DGRAM, 17), 0));
	cr_expect(eq(int, ANSWER(profile, "socket", AF_INET, SOCK_DGRAM, 1), -1), "ping");
	cr_expect(eq(int, ANSWER(profile, "socket", AF_INET, SOCK_DGRAM, 136), -1), "udplite");
	cr_expect(eq(int, ANSWER(profile, "socket", AF_INET, SOCK_STREAM, 262), -1), "mptcp");
	cr_expect(eq(int, ANSWER(profile, "socket", AF_INET, SOCK_STREAM, 132), -1), "sctp");
	cr_expect(eq(int, ANSWER(profile, "socket", AF_INET, SOCK_RAW, 255), -1));
	cr_expect(eq(int, ANSWER(profile, "socket", AF_NETLINK, SOCK_RAW, 0), 0));
	cr_expect(eq(int, ANSWER(profile, "socket", AF_NETLINK, SOCK_RAW, 9), -1), "audit");
	cr_expect(eq(int, ANSWER(profile, "socket", AF_NETLINK, SOCK_RAW, 6), -1), "xfrm");
}

Test(oci_config, arguments_that_make_a_harmless_call_harmful_are_seen)
{
	const uint64_t garbage = UINT64_C(1) << 32;
	static const uint64_t namespaces[] = {CLONE_NEWNS,  CLONE_NEWCGROUP, CLONE_NEWUTS,
					      CLONE_NEWIPC, CLONE_NEWUSER,   CLONE_NEWPID,
					      CLONE_NEWNET};
	g_autoptr(JsonObject) profile = dn_seccomp_profile(false, true);

	for (size_t i = 0; i < G_N_ELEMENTS(namespaces); i++)
		cr_expect(eq(int, ANSWER(profile, "clone", namespaces[i] | CLONE_VM), -1));
	cr_expect(eq(int, ANSWER(profile, "clone", CLONE_VM | CLONE_THREAD | CLONE_SETTLS), 0));
	cr_expect(eq(int, ANSWER(profile, "ioctl", 0, 0x5401), 0), "TCGETS");
	cr_expect(eq(int, ANSWER(profile, "ioctl", 0, 0x5412), -1), "TIOCSTI");
	cr_expect(eq(int, ANSWER(profile, "ioctl", 0, garbage | 0x5412), -1), "TIOCSTI");
	cr_expect(eq(int, ANSWER(profile, "ioctl", 0, 0x541c), -1), "TIOCLINUX");
	cr_expect(eq(int, ANSWER(profile, "personality", 0), 0));
	cr_expect(eq(int, ANSWER(profile, "personality", 0x0400000), -1));
	cr_expect(eq(int, ANSWER(profile, "mknodat", 0, 0, 0010644), 0), "a fifo");
	cr_expect(eq(int, ANSWER(profile, "mknodat", 0, 0, 0020644), -1), "a device");
}

Test(oci_config, no_call_is_both_plain_and_conditional)
{
	g_autoptr(GHashTable) plain = g_hash_table_new(g_str_hash, g_str_equal);

	for (size_t i = 0; dn_seccomp_plain[i] != NULL; i++)
		cr_expect(g_hash_table_add(plain, (gpointer)dn_seccomp_plain[i]), "%s stands twice",
			  dn_seccomp_plain[i]);
	for (size_t i = 0; i < dn_seccomp_n_rules; i++)
		cr_expect(not(g_hash_table_contains(plain, dn_seccomp_rules[i].names[0])), "%s",
			  dn_seccomp_rules[i].names[0]);
	for (size_t i = 0; i < dn_seccomp_n_wx; i++)
		cr_expect(not(g_hash_table_contains(plain, dn_seccomp_wx[i].names[0])), "%s",
			  dn_seccomp_wx[i].names[0]);
	cr_expect(not(g_hash_table_contains(plain, "ioctl")));
}
