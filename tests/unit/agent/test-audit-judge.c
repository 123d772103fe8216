/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The judges, on sights that no test may make on a real host: a node without a process or network
 * namespace, with a terminal, with a process that was put into it.
 */

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "audit/judge.h"
#include "support/suite.h"

enum { BASE = 100000, PID = 500, MOUNT = 36 };

static DnSight *seen;
static DnManifest *manifest;
static DnAuditNode node;

static const char good_status[] = "Name:\thello\nPPid:\t1\n"
				  "Uid:\t101000\t101000\t101000\t101000\n"
				  "Gid:\t101000\t101000\t101000\t101000\nGroups:\t \n"
				  "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
				  "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
				  "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n"
				  "Seccomp_filters:\t1\n";

static DnSeenProcess *add_process(pid_t pid, const char *status)
{
	DnSeenProcess *process = dn_sight_add_process(seen, pid);

	process->status = g_strdup(status);
	process->stat = g_strdup_printf("%d (hello) S 1 1 1 0 -1", (int)pid);
	process->cwd_mount = process->root_mount = MOUNT;
	for (unsigned i = 0; i < DN_SIGHT_NAMESPACES; i++)
		process->namespaces[i] = 1000 + i;
	return process;
}

static void set_limits(DnSeenLimits *limits)
{
	limits->memory = limits->pids = limits->cpu = limits->has_swap = true;
	limits->memory_bytes = manifest->memory_bytes;
	limits->pids_max = manifest->pids;
	limits->cpu_milli = manifest->cpu_milli;
	limits->path = g_strdup("/dnode/web-01234567");
	limits->devices = g_strdup("c 1:3 rwm\nc 5:0 rwm\nb *:* m");
	limits->io = g_strdup("");
}

static void setup(void)
{
	DnWritable tmp = {.path = g_strdup("/tmp"), .size_bytes = 8 << 20};

	manifest = dn_manifest_new();
	g_array_append_val(manifest->writable, tmp);
	manifest->memory_bytes = 64 << 20;
	manifest->pids = 32;
	manifest->files = 256;
	manifest->cpu_milli = 500;
	manifest->health.kind = DN_PROBE_HTTP;
	seen = dn_sight_new();
	(void)add_process(PID, good_status);
	for (unsigned i = 0; i < DN_SIGHT_NAMESPACES; i++)
		seen->host_namespaces[i] = seen->own_namespaces[i] = 1 + i;
	seen->mounts = g_strdup("36 1 8:0 / / ro,nosuid,nodev - ext4 d ro\n"
				"37 36 0:1 / /proc rw,nosuid,nodev,noexec - proc p rw\n"
				"38 36 0:2 / /dev ro,nosuid,noexec - tmpfs t rw,size=64k\n"
				"39 36 0:3 / /tmp rw,nosuid,nodev,noexec - tmpfs t "
				"rw,size=8192k,nr_inodes=2048\n");
	seen->uid_map = g_strdup("         0     100000      65536\n");
	seen->gid_map = g_strdup(seen->uid_map);
	seen->limits = g_strdup("Max core file size        1       1       bytes\n"
				"Max open files            256     256     files\n");
	seen->oom = g_strdup("500\n");
	dn_sight_add_fd(seen, 0, "pipe:[77]", 9);
	set_limits(&seen->resources);
	node = (DnAuditNode){.node = "web-01234567",
			     .pid = PID,
			     .uid_base = BASE,
			     .manifest = manifest,
			     .started = true,
			     .memfd_noexec = 2,
			     .guarded = true,
			     .watched = true};
}

static void teardown(void)
{
	dn_sight_free(seen);
	dn_manifest_unref(manifest);
	dn_suite_end();
}

TestSuite(audit_judge, .init = setup, .fini = teardown);

/* The ids of what fails are @wanted, and no others. */
static void expect(const char *wanted)
{
	g_autoptr(GPtrArray) items = dn_audit_judge(&node, seen);
	g_autoptr(GString) found = g_string_new(NULL);
	g_autoptr(GString) why = g_string_new(NULL);

	for (guint i = 0; i < items->len; i++) {
		const DnAuditItem *item = g_ptr_array_index(items, i);

		if (item->result != DN_AUDIT_FAIL)
			continue;
		g_string_append_printf(found, "%s%s", found->len > 0 ? " " : "", item->id);
		g_string_append_printf(why, "\n%s: %s", item->id, item->seen);
	}
	cr_expect(strcmp(found->str, wanted) == 0, "'%s' failed, not '%s'%s", found->str, wanted,
		  why->str);
}

static DnAuditResult result_of(const char *id)
{
	g_autoptr(GPtrArray) items = dn_audit_judge(&node, seen);

	for (guint i = 0; i < items->len; i++) {
		const DnAuditItem *item = g_ptr_array_index(items, i);

		if (strcmp(item->id, id) == 0)
			return item->result;
	}
	cr_assert(false, "there is no item %s", id);
	return DN_AUDIT_N;
}

static void replace(char **text, const char *with)
{
	g_free(*text);
	*text = g_strdup(with);
}

static DnSeenProcess *first(void)
{
	return g_ptr_array_index(seen->processes, 0);
}

Test(audit_judge, a_node_as_it_should_be_fails_nothing)
{
	expect("");
}

Test(audit_judge, each_namespace_of_the_hosts_is_found)
{
	static const struct {
		unsigned kind;
		const char *id;
	} rows[] = {{DN_SIGHT_NET, "5.10"},       {DN_SIGHT_PID, "5.16"},
		    {DN_SIGHT_IPC, "5.17"},       {DN_SIGHT_UTS, "5.21"},
		    {DN_SIGHT_USER, "5.31"},      {DN_SIGHT_MNT, "dnode-10"},
		    {DN_SIGHT_CGROUP, "dnode-10"}};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		ino_t own = first()->namespaces[rows[i].kind];

		first()->namespaces[rows[i].kind] = seen->host_namespaces[rows[i].kind];
		expect(rows[i].id);
		first()->namespaces[rows[i].kind] = 0;
		expect(rows[i].id);
		first()->namespaces[rows[i].kind] = own;
	}
}

Test(audit_judge, the_agents_namespace_is_the_hosts_too)
{
	seen->own_namespaces[DN_SIGHT_NET] = first()->namespaces[DN_SIGHT_NET];
	expect("5.10");
}

Test(audit_judge, one_process_of_many_is_enough_to_fail)
{
	g_autofree char *child = g_strdup_printf("%s", good_status);

	*strstr(child, "PPid:\t1") = 'p';
	DnSeenProcess *process = add_process(501, child);
	expect("");
	replace(&process->status, "CapInh:\t0\n");
	expect("5.4 5.22 5.26 dnode-14");
}

Test(audit_judge, a_process_from_outside_is_found_and_one_born_inside_is_not)
{
	g_autofree char *inside =
		g_strdup_printf("PPid:\t%d\n%s", PID, strchr(good_status, '\n') + 1 + 8);
	g_autofree char *outside = g_strdup_printf("PPid:\t4242\n%s", strstr(good_status, "Uid"));

	(void)add_process(501, inside);
	expect("");
	(void)add_process(502, outside);
	expect("5.23");
	DnSeenProcess *root = add_process(503, outside);
	g_autofree char *as_root =
		g_strdup_printf("PPid:\t4242\nUid:\t100000\t100000\t100000\t100000\n%s",
				strstr(good_status, "Gid"));
	replace(&root->status, as_root);
	expect("5.23 5.24");
	root->namespaces[DN_SIGHT_PID] = 4;
	expect("5.23 5.24 dnode-20");
}

Test(audit_judge, a_terminal_is_found_at_a_process_or_in_a_descriptor)
{
	replace(&first()->stat, "500 (a) b) S 1 1 1 34816 -1");
	expect("dnode-07");
	replace(&first()->stat, "500 (hello) S 1 1 1 0 -1");
	dn_sight_add_fd(seen, 1, "/dev/pts/0", MOUNT);
	expect("dnode-07");
}

Test(audit_judge, memory_that_can_be_executed_is_found_and_what_is_not_known_is_said)
{
	node.memfd_noexec = 1;
	expect("dnode-13");
	node.memfd_noexec = DN_AUDIT_MEMFD_NONE;
	cr_expect(eq(int, result_of("dnode-13"), DN_AUDIT_NOT_APPLICABLE));
	node.memfd_noexec = DN_AUDIT_MEMFD_UNKNOWN;
	cr_expect(eq(int, result_of("dnode-13"), DN_AUDIT_INFO));
}

Test(audit_judge, a_range_of_ids_is_whole_and_its_own)
{
	static const char *const maps[] = {"0 100000 65537\n",
					   "0 0 65536\n",
					   "1 100000 65536\n",
					   "0 100000 65536\n65536 0 1\n",
					   "",
					   "0 165536 65536\n"};

	for (size_t i = 0; i < G_N_ELEMENTS(maps); i++) {
		replace(&seen->uid_map, maps[i]);
		expect("dnode-14");
	}
}

Test(audit_judge, descriptors_are_known_by_their_mount_and_not_by_their_name)
{
	dn_sight_add_fd(seen, 3, "/tmp/data", 39);
	dn_sight_add_fd(seen, 4, "socket:[5]", 9);
	dn_sight_add_fd(seen, 5, "anon_inode:[eventpoll]", 9);
	dn_sight_add_fd(seen, 6, "net:[1003]", 9);
	dn_sight_add_fd(seen, 7, "/gone", 0);
	expect("");
	dn_sight_add_fd(seen, 8, "net:[4]", 9);
	expect("dnode-11");
}

Test(audit_judge, a_file_of_the_hosts_is_found_whatever_it_is_called)
{
	dn_sight_add_fd(seen, 3, "/tmp/pipe:[3]", 99);
	expect("dnode-11");
}

Test(audit_judge, a_directory_outside_is_found)
{
	first()->cwd_mount = 99;
	expect("dnode-12");
	first()->cwd_mount = MOUNT;
	first()->root_mount = 99;
	expect("dnode-12");
}

Test(audit_judge, mounts_that_cannot_be_seen_are_no_good_mounts)
{
	replace(&seen->mounts, "");
	expect("5.6 5.13 dnode-04 dnode-12");
}

Test(audit_judge, a_file_system_of_the_kernel_is_found)
{
	g_autofree char *mounts =
		g_strconcat(seen->mounts, "40 36 0:9 / /sys ro,nosuid,nodev - sysfs s ro\n", NULL);

	replace(&seen->mounts, mounts);
	expect("5.6 dnode-03");
}

Test(audit_judge, a_device_is_known_by_its_number)
{
	DnSeenDevice *null = g_new0(DnSeenDevice, 1);

	null->name = g_strdup("null");
	null->mode = S_IFCHR | 0666;
	null->device = makedev(1, 3);
	g_ptr_array_add(seen->devices, null);
	expect("");
	null->device = makedev(1, 1);
	expect("5.18");
	null->device = makedev(1, 3);
	null->mode = S_IFBLK | 0666;
	expect("5.18");
}

Test(audit_judge, rules_for_devices_are_read_one_by_one)
{
	static const char *const bad[] = {"a *:* rwm",    "b 8:0 r",  "c 1:1 rw",
					  "c 10:229 rwm", "c *:* rw", "c 1:* r"};

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		replace(&seen->resources.devices, bad[i]);
		expect("dnode-06");
	}
	g_clear_pointer(&seen->resources.devices, g_free);
	cr_expect(eq(int, result_of("dnode-06"), DN_AUDIT_INFO));
	seen->resources.device_programs = 0;
	expect("dnode-06");
	seen->resources.device_programs = 1;
	expect("");
}

Test(audit_judge, a_limit_that_is_missing_or_wider_than_declared_is_found)
{
	DnSeenLimits *limits = &seen->resources;

	limits->memory_bytes = UINT64_MAX;
	limits->pids_max++;
	limits->cpu_milli++;
	limits->swap_bytes = 1;
	expect("5.11 5.12 5.29 dnode-08");
	limits->memory = limits->pids = limits->cpu = limits->has_swap = false;
	expect("5.11 5.12 5.29");
	cr_expect(eq(int, result_of("dnode-08"), DN_AUDIT_INFO));
}

Test(audit_judge, ports_are_judged_by_number_and_protocol)
{
	DnListen listen = {.port = 8080, .protocol = DN_PROTOCOL_TCP, .expose = 80};

	g_array_append_val(manifest->listen, listen);
	seen->tcp = g_strdup("title\n 0: 00000000:1F90 00000000:0000 0A 0\n");
	expect("");
	seen->udp = g_strdup("title\n 0: 00000000:C350 00000000:0000 07 0\n");
	expect("");
	replace(&seen->udp, "title\n 0: 00000000:1F90 00000000:0000 07 0\n");
	expect("5.9");
}

Test(audit_judge, what_is_published_on_the_host_is_said_and_no_fault)
{
	DnListen listen = {.port = 8080, .expose = 80, .publish_host = true};

	g_array_append_val(manifest->listen, listen);
	expect("");
	cr_expect(eq(int, result_of("5.8"), DN_AUDIT_INFO));
	cr_expect(eq(int, result_of("5.14"), DN_AUDIT_INFO));
}

Test(audit_judge, security_modules_are_told_of_honestly)
{
	cr_expect(eq(int, result_of("5.2"), DN_AUDIT_INFO));
	seen->has_apparmor = true;
	seen->label = g_strdup("unconfined");
	cr_expect(eq(int, result_of("5.2"), DN_AUDIT_INFO));
	replace(&seen->label, "dnode-node (enforce)");
	cr_expect(eq(int, result_of("5.2"), DN_AUDIT_PASS));
}

Test(audit_judge, what_only_the_agent_knows_counts)
{
	node.guarded = false;
	node.watched = false;
	manifest->health.kind = DN_PROBE_NONE;
	seen->packet = g_strdup("title\nsocket\n");
	expect("5.27 dnode-16 dnode-17 dnode-18");
}

Test(audit_judge, names_that_a_node_chose_are_made_printable)
{
	dn_sight_add_fd(seen, 3, "/tmp/\033[2J\nnode-ok", 99);
	g_autoptr(GPtrArray) items = dn_audit_judge(&node, seen);
	const DnAuditItem *broken = dn_audit_broken(items);

	cr_assert(broken != NULL);
	cr_expect_str_eq(broken->id, "dnode-11");
	cr_expect_null(strchr(broken->seen, '\033'));
	cr_expect_null(strchr(broken->seen, '\n'));
}

Test(audit_judge, a_limit_of_core_dumps_keeps_programs_away_too_only_at_one)
{
	replace(&seen->limits, "Max core file size        0       0       bytes\n"
			       "Max open files            256     256     files\n");
	expect("");
	cr_expect(eq(int, result_of("dnode-09"), DN_AUDIT_INFO));
	replace(&seen->limits, "Max core file size        1       2       bytes\n"
			       "Max open files            256     256     files\n");
	expect("dnode-09");
}
