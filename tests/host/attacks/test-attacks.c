/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The ways out of a container that docs/threat-model.md lists, tried from inside a node made as
 * the agent makes them, as an ordinary user of it and as its root. What each attempt must end with
 * is said exactly: a refusal for another reason is a wall that nobody knows of.
 */

#include "runtime/stand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib/gstdio.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "runtime/bundle.h"
#include "support/suite.h"

TestSuite(attacks, .fini = dn_suite_end, .timeout = 120);

enum { PROGRAM_BYTES = 64 << 20 };

typedef struct {
	const char *name, *result;
} Expected;

#define N(rows_) rows_, G_N_ELEMENTS(rows_)

/* The log of a node that ran as @uid and tried @group. */
static char *attack(const char *group, int64_t uid, bool jit)
{
	char *args[] = {(char *)"/inside", (char *)group, NULL};
	Stand stand;

	stand_open(&stand, args);
	stand.manifest->run.uid = uid;
	stand.manifest->run.jit = jit;
	(void)stand_create(&stand);
	stand_start(&stand);
	char *log = stand_wait_for_log(&stand, " o end\n");
	stand_close(&stand);
	return log;
}

/* @wanted is one result, or several that are parted by "|": kernels differ in what they have. */
static bool is_one_of(const char *value, size_t length, const char *wanted)
{
	g_auto(GStrv) words = g_strsplit(wanted, "|", -1);
	g_autofree char *word = g_strndup(value, length);

	return words[0] == NULL ? word[0] == '\0'
				: g_strv_contains((const char *const *)words, word);
}

static void expect_row(const char *log, const char *who, const Expected *row)
{
	g_autofree char *key = g_strdup_printf(" o %s=", row->name);
	const char *at = strstr(log, key);
	const char *value = at != NULL ? at + strlen(key) : "(not tried)\n";
	size_t length = strcspn(value, "\n");

	cr_expect(is_one_of(value, length, row->result), "%s: %s is '%.*s', not '%s'", who,
		  row->name, (int)length, value, row->result);
}

/* As an ordinary user of the node and as its root. */
static void expect(const char *group, const Expected *rows, size_t n)
{
	g_autofree char *user = attack(group, 1000, false);
	g_autofree char *root = attack(group, 0, false);

	for (size_t i = 0; i < n; i++) {
		expect_row(user, "user", &rows[i]);
		expect_row(root, "root", &rows[i]);
	}
}

/* A socket of the host's own network namespace, as containerd had one (CVE-2020-15257). */
static int listen_abstract(void)
{
	static const char name[] = "dnode-attack";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path + 1, name, sizeof(name) - 1);
	(void)bind(fd, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(name)));
	(void)listen(fd, 1);
	return fd;
}

Test(attacks, sockets_of_other_families_and_protocols_cannot_be_made)
{
	static const Expected rows[] = {
		{"alg", "EPERM"},
		{"vsock", "EPERM"},
		{"packet", "EPERM"},
		{"packet-datagram", "EPERM"},
		{"rds", "EPERM"},
		{"smc", "EPERM"},
		{"key", "EPERM"},
		{"xfrm", "EPERM"},
		{"netfilter", "EPERM"},
		{"audit", "EPERM"},
		{"diag", "EPERM"},
		{"raw", "EPERM"},
		{"raw6", "EPERM"},
		{"ping", "EPERM"},
		{"ping6", "EPERM"},
		{"mptcp", "EPERM"},
		{"udplite", "EPERM"},
		{"sctp", "EPERM"},
		{"sctp-many", "EPERM"},
		{"dccp", "EPERM"},
		{"unix-seqpacket", "EPERM"},
		{"pair-inet", "EPERM"},
		{"other-families", ""},
		{"other-netlinks", ""},
		{"tcp", "ok"},
		{"udp6", "ok"},
		{"route", "ok"},
	};

	expect("sockets", N(rows));
}

Test(attacks, a_socket_of_the_hosts_without_a_file_is_out_of_reach)
{
	static const Expected rows[] = {{"hosts-abstract-socket", "ECONNREFUSED"}};
	int fd = listen_abstract();

	expect("sockets", N(rows));
	close(fd);
}

Test(attacks, system_calls_that_no_service_needs_are_refused)
{
	static const char *const names[] = {"add_key",
					    "acct",
					    "bpf",
					    "chroot",
					    "clock_adjtime",
					    "clock_settime",
					    "delete_module",
					    "fanotify_init",
					    "finit_module",
					    "fsconfig",
					    "fsmount",
					    "fsopen",
					    "fspick",
					    "init_module",
					    "io_uring_enter",
					    "io_uring_register",
					    "io_uring_setup",
					    "kcmp",
					    "kexec_file_load",
					    "kexec_load",
					    "keyctl",
					    "mbind",
					    "memfd_create",
					    "memfd_secret",
					    "migrate_pages",
					    "mount",
					    "mount_setattr",
					    "move_mount",
					    "move_pages",
					    "name_to_handle_at",
					    "open_by_handle_at",
					    "open_tree",
					    "perf_event_open",
					    "pidfd_getfd",
					    "pivot_root",
					    "process_madvise",
					    "process_vm_readv",
					    "process_vm_writev",
					    "ptrace",
					    "quotactl",
					    "reboot",
					    "remap_file_pages",
					    "request_key",
					    "set_mempolicy",
					    "sethostname",
					    "setdomainname",
					    "setns",
					    "settimeofday",
					    "swapoff",
					    "swapon",
					    "syslog",
					    "umount2",
					    "userfaultfd",
					    "vhangup",
#ifdef __x86_64__
					    "ioperm",
					    "iopl",
					    "modify_ldt",
					    "sysfs",
					    "uselib",
					    "ustat",
#endif
					    "open_tree_attr",
					    "listmount",
					    "statmount",
					    "map_shadow_stack",
					    "lsm_set_self_attr",
					    "newest"};
	Expected rows[G_N_ELEMENTS(names)];

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		rows[i] = (Expected){names[i], "EPERM"};
	expect("calls", N(rows));
}

Test(attacks, no_namespace_is_made_or_entered)
{
	static const Expected rows[] = {
		{"unshare-mnt", "EPERM"},  {"clone-mnt", "EPERM"},   {"unshare-cgroup", "EPERM"},
		{"clone-cgroup", "EPERM"}, {"unshare-uts", "EPERM"}, {"clone-uts", "EPERM"},
		{"unshare-ipc", "EPERM"},  {"clone-ipc", "EPERM"},   {"unshare-user", "EPERM"},
		{"clone-user", "EPERM"},   {"unshare-pid", "EPERM"}, {"clone-pid", "EPERM"},
		{"unshare-net", "EPERM"},  {"clone-net", "EPERM"},   {"unshare-time", "EPERM"},
		{"clone3", "ENOSYS"},      {"setns-own", "EPERM"},
	};

	expect("namespaces", N(rows));
}

Test(attacks, memory_that_was_written_is_never_executed)
{
	static const Expected rows[] = {
		{"rwx", "EPERM"},
		{"anonymous-x", "EPERM"},
		{"shared-x", "EPERM"},
		{"mprotect-x", "EPERM"},
		{"mprotect-rwx", "EPERM"},
		{"mprotect-zero-x", "EPERM"},
		{"zero-shared-x", "EPERM"},
		{"own-shared-x", "EPERM"},
		{"own-x", "ok"},
		{"pkey-x", "EPERM"},
		{"shm-x", "EPERM"},
		{"tmpfs-twice", "EPERM"},
		{"no-randomize", "EPERM"},
		{"read-implies-exec", "EPERM"},
		{"exec-flag-memfd", "EPERM"},
		{"sealed-memfd", "EPERM"},
	};

	expect("memory", N(rows));
}

Test(attacks, a_program_that_is_not_of_the_image_does_not_run)
{
	static const Expected rows[] = {
		{"exec-tmpfs", "EACCES"}, {"exec-descriptor", "EACCES"},
		{"map-tmpfs-x", "EPERM"}, {"exec-pipe", "EACCES"},
		{"suid-bit", "ok"},       {"suid-kept-out", "EACCES"},
	};
	g_autofree char *log = attack("programs", 1000, true);

	expect("programs", N(rows));
	cr_expect(eq(ptr, strstr(log, "foreign code has run"), NULL));
}

Test(attacks, no_process_gets_rights_that_its_node_has_not)
{
	static const Expected both[] = {
		{"setgroups", "EPERM"},
		{"more-files", "EPERM"},
		{"capset", "EPERM"},
		{"nice", "EACCES"},
		{"device", "EPERM"},
		{"device-memory", "EPERM"},
		{"device-plain", "EPERM"},
		{"tiocsti", "EPERM"},
		{"tiocsti-high-bits", "EPERM"},
		{"tiocsctty", "EPERM"},
		{"tioclinux", "EPERM"},
		{"ns-get-parent", "EPERM"},
		{"immutable", "EPERM"},
		{"oom-protect", "EACCES"},
	};
	static const Expected user[] = {
		{"setuid-root", "EPERM"}, {"setresuid-root", "EPERM"}, {"setgid-root", "EPERM"}};
	static const Expected root[] = {{"setuid-other", "EPERM"}};
	g_autofree char *as_user = attack("rights", 1000, false);
	g_autofree char *as_root = attack("rights", 0, false);

	expect("rights", N(both));
	for (size_t i = 0; i < G_N_ELEMENTS(user); i++)
		expect_row(as_user, "user", &user[i]);
	expect_row(as_root, "root", &root[0]);
}

Test(attacks, what_would_change_the_host_cannot_be_written)
{
	static const Expected rows[] = {
		{"uevent-helper", "ENOENT"}, {"release-agent", "ENOENT"}, {"own-cgroup", "ENOENT"},
		{"binfmt", "ENOENT"},        {"root-remount", "EPERM"},   {"write-root", "EROFS"},
		{"write-dev", "EROFS"},      {"replace-null", "EROFS"},
	};
	/* To root the mount says no, to others the file's mode does. */
	static const Expected user[] = {{"core-pattern", "EACCES"},
					{"modprobe", "EACCES|ENOENT"},
					{"sysrq", "EACCES|ENOENT"}};
	g_autofree char *as_user = attack("files", 1000, false);
	g_autofree char *as_root = attack("files", 0, false);

	expect("files", N(rows));
	for (size_t i = 0; i < G_N_ELEMENTS(user); i++) {
		expect_row(as_user, "user", &user[i]);
		expect_row(as_root, "root", &user[i]);
	}
}

Test(attacks, what_would_tell_of_the_host_cannot_be_read)
{
	static const Expected rows[] = {
		{"kcore", "empty|ENOENT"},
		{"kmsg", "empty|ENOENT"},
		{"keys", "empty|ENOENT"},
		{"kallsyms", "empty|ENOENT"},
		{"interrupts", "empty|ENOENT"},
		{"config", "empty|ENOENT"},
		{"timers", "empty|ENOENT"},
		{"slabs", "empty|ENOENT"},
		{"btf", "ENOENT"},
		{"disk", "ENOENT"},
		{"memory", "ENOENT"},
		{"kernel-log", "ENOENT"},
		{"shadow", "ENOENT"},
		{"host-by-root", "ENOENT"},
		{"host-by-cwd", "ENOENT"},
		{"docker", "ENOENT"},
		{"containerd", "ENOENT"},
	};

	expect("files", N(rows));
}

Test(attacks, nothing_of_the_hosts_is_left_open_and_no_path_leads_above_the_root)
{
	static const Expected rows[] = {
		{"leaked", ""},      {"stdio-0", "pipe"},    {"stdio-1", "pipe"},
		{"stdio-2", "pipe"}, {"above-root", "root"}, {"first-process", "itself"},
	};

	expect("descriptors", N(rows));
}

Test(attacks, an_entry_of_another_architecture_kills)
{
	static const Expected rows[] = {
#ifdef __x86_64__
		{"i386", "SIGSYS"},
		{"socketcall", "SIGSYS"},
		{"x32", "SIGSYS"},
#endif
		{"core", "none"},
	};

	expect("entries", N(rows));
}

Test(attacks, a_node_uses_up_what_is_its_own_and_no_more)
{
	static const Expected rows[] = {
		{"fill", "ENOSPC"},
		{"inodes", "ENOSPC"},
		{"forks", "EAGAIN"},
		{"descriptors", "EMFILE"},
	};
	static const Expected eaten[] = {{"eat", "SIGKILL"}};

	expect("limits", N(rows));
	expect("eat", N(eaten));
}

/* ---- what an image tries while a node is made of it ---- */

static char *digest_of_runtime(void)
{
	g_autofree char *path = g_find_program_in_path("crun");
	g_autoptr(GBytes) bytes = dn_file_read(path, PROGRAM_BYTES, NULL);

	cr_assert(bytes != NULL);
	return g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, bytes);
}

/* CVE-2019-5736: what is executed leads back to the runtime, which then could be written. */
Test(attacks, an_image_that_executes_the_runtime_itself_does_not_change_it)
{
	char *args[] = {(char *)"/self", (char *)"--version", NULL};
	g_autoptr(GError) error = NULL;
	g_autofree char *before = digest_of_runtime();
	DnContainer made = {0};
	Stand stand;

	stand_open(&stand, args);
	g_autofree char *link = g_build_filename(stand.checkout, "self", NULL);
	cr_assert(symlink("/proc/self/exe", link) == 0);
	stand_mount_root(&stand);
	if (dn_container_create_now(&stand.instance, &stand.spec, &made, &error)) {
		stand_start(&stand);
		stand_wait_for_end(&made);
	}
	stand_close(&stand);
	g_autofree char *after = digest_of_runtime();
	cr_expect_str_eq(after, before);
}

/* CVE-2026-47766, CVE-2019-16884, CVE-2021-30465: what is mounted lands where a link leads. */
Test(attacks, an_image_whose_directories_are_links_reaches_nothing_of_the_host)
{
	static const char *const names[] = {"dev", "proc", "tmp", "etc"};
	char *args[] = {(char *)"/inside", (char *)"descriptors", NULL};

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(GError) error = NULL;
		DnContainer made = {0};
		Stand stand;

		stand_open(&stand, args);
		g_autofree char *victim = g_build_filename(stand.directory, "victim", NULL);
		g_autofree char *path = g_build_filename(stand.checkout, names[i], NULL);
		cr_assert(g_mkdir(victim, 0755) == 0 && dn_file_remove_tree(path, NULL) &&
			  symlink(victim, path) == 0);
		stand_mount_root(&stand);
		bool created = dn_container_create_now(&stand.instance, &stand.spec, &made, &error);
		g_autoptr(GDir) folder = g_dir_open(victim, 0, NULL);
		const char *found = g_dir_read_name(folder);
		cr_expect(created == false, "an image whose /%s is a link was started", names[i]);
		cr_expect(found == NULL, "%s appeared on the host", found);
		stand_close(&stand);
	}
}
