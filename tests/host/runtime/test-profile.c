/* SPDX-License-Identifier: Apache-2.0 */

/* What a node can do and say, seen from inside it. */

#include "stand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/bundle.h"
#include "support/suite.h"

static char *profile_args[] = {(char *)"/inside", (char *)"profile", NULL};
static char *wait_args[] = {(char *)"/inside", (char *)"wait", NULL};
static char *chatter_args[] = {(char *)"/inside", (char *)"chatter", NULL};

TestSuite(profile, .fini = dn_suite_end, .timeout = 60);

/* The value of NAME=VALUE on a line of its own in @log, or NULL. */
static char *value_of(const char *log, const char *name)
{
	g_autofree char *key = g_strdup_printf(" o %s=", name);
	const char *at = strstr(log, key);

	return at != NULL ? g_strndup(at + strlen(key), strcspn(at + strlen(key), "\n")) : NULL;
}

static void expect(const char *log, const char *name, const char *value)
{
	g_autofree char *got = value_of(log, name);

	cr_expect(g_strcmp0(got, value) == 0, "%s is '%s', not '%s'", name, got, value);
}

static void expect_all(const char *log, const char *value, const char *const *names)
{
	for (size_t i = 0; names[i] != NULL; i++)
		expect(log, names[i], value);
}

/* The log of a node that ran as @uid and tried everything. */
static char *profile_as(int64_t uid, bool jit)
{
	Stand stand;

	stand_open(&stand, profile_args);
	stand.manifest->run.uid = uid;
	stand.manifest->run.jit = jit;
	(void)stand_create(&stand);
	stand_start(&stand);
	char *log = stand_wait_for_log(&stand, " o end\n");
	stand_close(&stand);
	return log;
}

/* What no node may do, whoever it is. */
static const char *const refused[] = {"chmod-null",
				      "mmap-wx",
				      "mmap-anonymous-x",
				      "mmap-file-wx",
				      "mprotect-x",
				      "mprotect-high-bits",
				      "pkey-mprotect-x",
				      "shmat-x",
				      "personality",
				      "socket-raw",
				      "socket-ping",
				      "socket-mptcp",
				      "socket-packet",
				      "socket-alg",
				      "socket-vsock",
				      "socket-xfrm",
				      "unshare",
				      "clone-newuser",
				      "setns",
				      "ptrace",
				      "process-vm-readv",
				      "pidfd-getfd",
				      "mount",
				      "fsopen",
				      "open-tree",
				      "chroot",
				      "bpf",
				      "keyctl",
				      "userfaultfd",
				      "io-uring",
				      "perf",
				      "handle",
				      "tiocsti",
				      "tiocsti-high-bits",
				      "mknod-device",
				      "mmap-tmpfs-x",
				      "memfd",
				      "memfd-noexec",
				      "memfd-exec-flag",
				      NULL};

/* What holds for root in the node as for anybody else there. */
static void expect_profile(const char *log)
{
	static const char *const allowed[] = {
		"write-tmp",       "write-null",  "mmap-file-x", "shmat",
		"personality-ask", "socket-unix", "socket-udp",  "socket-inet6",
		"socket-route",    "mkfifo",      NULL};
	static const char *const read_only[] = {"write-root", "write-dev", "write-hosts", NULL};
	static const char *const missing[] = {"sys", "pts", "shm", NULL};
	static const char *const not_executable[] = {"exec-tmpfs", NULL};
	static const char *const no_capability[] = {"CapInh", "CapPrm", "CapEff",
						    "CapBnd", "CapAmb", NULL};

	expect_all(log, "EPERM", refused);
	expect_all(log, "ok", allowed);
	expect_all(log, "EROFS", read_only);
	expect_all(log, "ENOENT", missing);
	expect_all(log, "EACCES", not_executable);
	expect_all(log, "0000000000000000", no_capability);
	expect(log, "write-sysctl", "EACCES");
	expect(log, "clone3", "ENOSYS");
#ifdef __x86_64__
	expect(log, "entry-i386", "killed");
	expect(log, "entry-x32", "killed");
#endif
	expect(log, "NoNewPrivs", "1");
	expect(log, "Seccomp", "2");
	expect(log, "leaked-descriptors", "0");
	expect(log, "hosts", "10.0.0.1 db.service.dnode");
	expect(log, "passwd", "root:x:0:0");
	expect(log, "kallsyms", "");
	expect(log, "oom", "500");
	expect(log, "core", "1");
	expect(log, "files", "128");
	expect(log, "umask", "22");
	expect(log, "mode", "prod");
	expect(log, "epoch", "7");
	expect(log, "image", "apps/hello@c0ffee");
	cr_expect(eq(ptr, strstr(log, "foreign code has run"), NULL));
}

Test(profile, a_node_can_do_what_a_service_needs_and_nothing_else)
{
	g_autofree char *log = profile_as(1000, false);

	expect_profile(log);
	expect(log, "Uid", "1000\t1000\t1000\t1000");
	expect(log, "write-image", "EACCES");
}

Test(profile, root_in_the_node_can_do_no_more_than_anybody)
{
	g_autofree char *log = profile_as(0, false);

	expect_profile(log);
	expect(log, "Uid", "0\t0\t0\t0");
	expect(log, "write-image", "EROFS");
}

/* Its memory may become executable; a file that is not in the image may not, not even one in
 * memory.
 */
Test(profile, a_service_with_jit_still_executes_nothing_of_its_own)
{
	static const char *const allowed[] = {"memfd", "memfd-noexec", "mmap-memfd-x", "mprotect-x",
					      NULL};
	static const char *const not_executable[] = {"exec-memfd", "memfd-exec-flag", "exec-tmpfs",
						     NULL};

	if (!dn_memfd_can_be_sealed())
		cr_skip_test("this kernel has no vm.memfd_noexec");
	g_autofree char *log = profile_as(1000, true);
	expect_all(log, "ok", allowed);
	expect_all(log, "EACCES", not_executable);
	cr_expect(eq(ptr, strstr(log, "foreign code has run"), NULL));
}

Test(profile, an_image_with_hosts_gets_the_agents_bound_over_it)
{
	Stand stand;

	stand_open(&stand, profile_args);
	g_autofree char *hosts = g_build_filename(stand.checkout, "etc/hosts", NULL);
	cr_assert(g_file_set_contents(hosts, "image\n", -1, NULL));
	stand.manifest->run.uid = 0;
	(void)stand_create(&stand);
	stand_start(&stand);
	g_autofree char *log = stand_wait_for_log(&stand, " o end\n");
	stand_close(&stand);
	expect(log, "hosts", "10.0.0.1 db.service.dnode");
	expect(log, "write-hosts", "EACCES");
}

Test(profile, what_a_node_says_is_read_back_safe_to_print)
{
	Stand stand;

	stand_open(&stand, chatter_args);
	(void)stand_create(&stand);
	stand_start(&stand);
	g_autofree char *log = stand_wait_for_log(&stand, "no newline at the end");
	stand_close(&stand);
	cr_expect(ne(ptr, strstr(log, "Z o hello from stdout\n"), NULL), "%s", log);
	cr_expect(ne(ptr, strstr(log, "Z e hello from stderr\n"), NULL), "%s", log);
	cr_expect(ne(ptr, strstr(log, "bell\\x07 escape\\x1b[2J half \\xff\\xfe end\n"), NULL),
		  "%s", log);
}

Test(profile, limits_are_in_force)
{
	g_autofree char *memory = NULL;
	Stand stand;

	stand_open(&stand, wait_args);
	(void)stand_create(&stand);
	bool unified = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
	const char *base = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
	const char *file = unified ? "memory.max" : "memory.limit_in_bytes";
	g_autofree char *path =
		g_build_filename(base, stand.instance.cgroup_parent, stand.node, file, NULL);
	memory = dn_file_read_kernel(path, 64, NULL);
	cr_expect_str_eq(g_strstrip(memory), "67108864");

	base = unified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";
	g_autofree char *pids_path =
		g_build_filename(base, stand.instance.cgroup_parent, stand.node, "pids.max", NULL);
	g_autofree char *pids = dn_file_read_kernel(pids_path, 64, NULL);
	cr_expect_str_eq(g_strstrip(pids), "16");
	stand_close(&stand);
}
