/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The audit of real nodes: one made as the agent makes them has nothing to be found, and each of
 * those that are weaker in one point is found to be so, in that point and no other. The runtime of
 * the weak ones is a script that changes config.json before it becomes the real runtime.
 */

#include "stand.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "audit/audit.h"
#include "base/file.h"
#include "support/suite.h"

static char *wait_args[] = {(char *)"/inside", (char *)"wait", NULL};
static char *hold_args[] = {(char *)"/inside", (char *)"hold", NULL};
static char *serve_args[] = {(char *)"/inside", (char *)"serve", (char *)"9999", NULL};

TestSuite(audit, .fini = dn_suite_end, .timeout = 120);

/* What is done to config.json, and what must be found then. */
typedef struct {
	const char *change; /* Python, with the configuration as c; "": none */
	const char *shell;  /* before the runtime is executed, or NULL */
	const char *found;  /* ids, parted by blanks, in the order of the report */
	char **args;        /* NULL: it waits */
} Weakness;

static void write_runtime(Stand *stand, const Weakness *weak)
{
	char *path = g_build_filename(stand->directory, "runtime", NULL);
	g_autofree char *script =
		g_strdup_printf("#!/bin/sh\n"
				"D=%s\n"
				"case \" $* \" in\n"
				"*' create '*)\n"
				"  python3 - \"$D/run/bundles/%s/config.json\" <<'END' || exit 1\n"
				"import json, sys\n"
				"c = json.load(open(sys.argv[1]))\n"
				"%s\n"
				"json.dump(c, open(sys.argv[1], 'w'))\n"
				"END\n"
				"  %s\n"
				"  exec crun \"$@\";;\n"
				"*) exec crun \"$@\";;\n"
				"esac\n",
				stand->directory, stand->node, weak->change,
				weak->shell != NULL ? weak->shell : ":");

	cr_assert(g_file_set_contents(path, script, -1, NULL));
	cr_assert(eq(int, g_chmod(path, 0755), 0));
	g_free(stand->instance.runtime);
	stand->instance.runtime = path;
}

/* What a node has only at the host's pleasure. */
static void add_hosts_things(const Stand *stand)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	g_autofree char *mount_point = g_build_filename(stand->checkout, "mnt", NULL);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(eq(int, g_mkdir(mount_point, 0755), 0));
	(void)g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/host.sock",
			 stand->directory);
	cr_assert(eq(int, bind(fd, (struct sockaddr *)&address, sizeof(address)), 0));
	close(fd);
}

static GPtrArray *audit(const Stand *stand, const DnContainer *made, bool started)
{
	g_autoptr(GError) error = NULL;
	DnAuditNode node = {
		.node = stand->node,
		.pid = made->pid,
		.start_time = made->start_time,
		.uid_base = stand->spec.uid_base,
		.manifest = stand->manifest,
		.started = started,
		.memfd_noexec = made->memfd_noexec,
		.guarded = true,
		.watched = true,
	};
	GPtrArray *items = dn_audit_node_now(&stand->instance, &node, &error);

	cr_assert(ne(ptr, items, NULL), "%s", error != NULL ? error->message : "");
	return items;
}

/* The ids of @result, in the order of the report; what was seen goes to @why. */
static char *ids_of(const GPtrArray *items, DnAuditResult result, GString *why)
{
	GString *ids = g_string_new(NULL);

	for (guint i = 0; i < items->len; i++) {
		const DnAuditItem *item = g_ptr_array_index(items, i);

		if (item->result != result)
			continue;
		g_string_append_printf(ids, "%s%s", ids->len > 0 ? " " : "", item->id);
		g_string_append_printf(why, "\n  %s %s: %s", item->id, item->title, item->seen);
	}
	return g_string_free(ids, FALSE);
}

static void declare_health(Stand *stand)
{
	stand->manifest->health.kind = DN_PROBE_TCP;
	stand->manifest->health.every_ms = 1000;
}

static void wait_until_it_runs(const Stand *stand, const DnContainer *made, bool serves)
{
	g_autofree char *comm = g_strdup_printf("/proc/%d/comm", (int)made->pid);
	g_autofree char *tcp = g_strdup_printf("/proc/%d/net/tcp", (int)made->pid);

	for (unsigned i = 0; i < 5000; i++) {
		g_autofree char *name = dn_file_read_kernel(comm, 64, NULL);
		g_autofree char *table = dn_file_read_kernel(tcp, 1 << 20, NULL);

		if (name != NULL && strcmp(name, "inside\n") == 0 &&
		    (!serves || (table != NULL && strstr(table, ":270F ") != NULL)))
			return;
		g_usleep(2000);
	}
	cr_assert(false, "%s never ran", stand->node);
}

static void expect_found(const Weakness *weak)
{
	g_autoptr(GString) why = g_string_new(NULL);
	g_autoptr(GError) error = NULL;
	DnContainer made = {0};
	char **args = weak->args != NULL ? weak->args : wait_args;
	Stand stand;

	stand_open(&stand, args);
	add_hosts_things(&stand);
	declare_health(&stand);
	write_runtime(&stand, weak);
	stand_mount_root(&stand);
	if (!dn_container_create_now(&stand.instance, &stand.spec, &made, &error)) {
		stand_close(&stand);
		cr_assert(false, "%s:\n%s", weak->change, error->message);
	}
	stand_start(&stand);
	wait_until_it_runs(&stand, &made, args == serve_args);
	g_autoptr(GPtrArray) items = audit(&stand, &made, true);
	g_autofree char *found = ids_of(items, DN_AUDIT_FAIL, why);
	stand_close(&stand);
	cr_expect(strcmp(found, weak->found) == 0, "%s:\nfound '%s', not '%s'%s", weak->change,
		  found, weak->found, why->str);
}

Test(audit, a_node_made_as_the_agent_makes_them_has_nothing_to_be_found)
{
	g_autoptr(GString) why = g_string_new(NULL);
	Stand stand;

	stand_open(&stand, wait_args);
	declare_health(&stand);
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	wait_until_it_runs(&stand, &made, false);
	g_autoptr(GPtrArray) items = audit(&stand, &made, true);
	g_autofree char *failed = ids_of(items, DN_AUDIT_FAIL, why);
	g_autofree char *passed G_GNUC_UNUSED = ids_of(items, DN_AUDIT_PASS, why);
	stand_close(&stand);
	cr_expect(failed[0] == 0, "%s", why->str);
	cr_expect(ge(uint, dn_audit_count(items, DN_AUDIT_PASS), 40), "%s", why->str);
	cr_expect(dn_audit_broken(items) == NULL);
	cr_expect(items->len >= 45);
}

/* Of its first process, with and without memory that may become executable. */
Test(audit, what_a_node_holds_open_of_its_own_is_no_fault)
{
	for (int jit = 0; jit < 2; jit++) {
		g_autoptr(GString) why = g_string_new(NULL);
		Stand stand;

		stand_open(&stand, hold_args);
		declare_health(&stand);
		stand.manifest->run.jit = jit != 0;
		DnContainer made = stand_create(&stand);
		stand_start(&stand);
		g_free(stand_wait_for_log(&stand, "holding"));
		g_autoptr(GPtrArray) items = audit(&stand, &made, true);
		g_autofree char *failed = ids_of(items, DN_AUDIT_FAIL, why);
		stand_close(&stand);
		cr_expect(failed[0] == 0, "%s", why->str);
	}
}

Test(audit, a_created_node_is_judged_by_what_it_already_has)
{
	g_autoptr(GString) why = g_string_new(NULL);
	Stand stand;

	stand_open(&stand, wait_args);
	declare_health(&stand);
	DnContainer made = stand_create(&stand);
	g_autoptr(GPtrArray) items = audit(&stand, &made, false);
	g_autofree char *failed = ids_of(items, DN_AUDIT_FAIL, why);
	g_autofree char *waits = ids_of(items, DN_AUDIT_NOT_APPLICABLE, why);
	stand_close(&stand);
	cr_expect(failed[0] == 0, "%s", why->str);
	cr_expect(ne(ptr, strstr(waits, "5.22"), NULL), "%s", waits);
	cr_expect(eq(ptr, strstr(waits, "5.13"), NULL), "%s", waits);
}

Test(audit, a_node_that_ended_is_not_judged)
{
	g_autoptr(GError) error = NULL;
	Stand stand;

	stand_open(&stand, wait_args);
	DnContainer made = stand_create(&stand);
	stand_start(&stand);
	DnAuditNode node = {
		.node = stand.node,
		.pid = made.pid,
		.start_time = made.start_time + 1, /* of another process with the same number */
		.manifest = stand.manifest,
		.started = true,
	};
	g_autoptr(GPtrArray) items = dn_audit_node_now(&stand.instance, &node, &error);
	stand_close(&stand);
	cr_assert(eq(ptr, items, NULL));
	cr_expect(g_error_matches(error, DN_ERROR, DN_ERROR_UNAVAILABLE));
}

static void expect_each(const Weakness *weaknesses, size_t n)
{
	for (size_t i = 0; i < n; i++)
		expect_found(&weaknesses[i]);
}

#define LINUX "l = c['linux']; r = l['resources']; p = c['process']\n"

Test(audit, a_process_with_more_rights_than_it_may_have_is_found)
{
	static const Weakness weak[] = {
		{.change = LINUX "p['noNewPrivileges'] = False", .found = "5.26"},
		{.change = LINUX "p['capabilities']['bounding'] = ['CAP_NET_RAW']", .found = "5.4"},
		{.change = LINUX "p['capabilities'] = {k: ['CAP_SYS_ADMIN'] for k in "
				 "('bounding', 'permitted', 'effective')}",
		 .found = "5.4 5.5"},
		{.change = LINUX "del l['seccomp']", .found = "5.22"},
		{.change = LINUX "l['namespaces'] = [n for n in l['namespaces'] "
				 "if n['type'] != 'ipc']",
		 .found = "5.17"},
		{.change = LINUX "del c['hostname']; l['namespaces'] = "
				 "[n for n in l['namespaces'] if n['type'] != 'uts']",
		 .found = "5.21"},
		{.change = LINUX "l['namespaces'] = [n for n in l['namespaces'] "
				 "if n['type'] != 'cgroup']",
		 .found = "dnode-10"},
		{.change = LINUX "l['uidMappings'][0]['size'] = 65537", .found = "dnode-14"},
		{.change = LINUX "p['oomScoreAdj'] = 0", .found = "dnode-15"},
	};

	expect_each(weak, G_N_ELEMENTS(weak));
}

#define TMP "t = [m for m in c['mounts'] if m['destination'] == '/tmp'][0]\n"
#define BIND                                                                                       \
	"def bind(source, to, *more):\n"                                                           \
	"    c['mounts'].append({'type': 'bind', 'source': source, 'destination': to,\n"           \
	"        'options': ['bind', 'nosuid', 'nodev', *more]})\n"                                \
	"D = sys.argv[1].split('/run/')[0]\n"

Test(audit, a_file_system_that_is_more_open_than_it_may_be_is_found)
{
	static const Weakness weak[] = {
		{.change = BIND "bind('/usr/share', '/mnt', 'ro')", .found = "5.6"},
		{.change = BIND "bind(D + '/host.sock', '/data', 'ro')", .found = "5.6 5.32"},
		{.change = "c['root']['readonly'] = False",
		 .shell = "mount -o remount,bind,rw,nosuid,nodev \"$D/root\"",
		 .found = "5.13"},
		{.change = "c['linux']['rootfsPropagation'] = 'shared'", .found = "5.20"},
		{.change = TMP "t['options'].remove('noexec')", .found = "dnode-04"},
		{.change = TMP "t['options'].remove('nosuid')", .found = "dnode-04 dnode-05"},
		{.change = TMP "t['options'] = [o for o in t['options'] if 'size' not in o]",
		 .found = "dnode-04"},
		{.change = TMP "t['options'] = [o for o in t['options'] if 'inodes' not in o]"
			       " + ['nr_inodes=0']",
		 .found = "dnode-04"},
		{.change = "c['mounts'] = [m for m in c['mounts'] if m['destination'] != '/tmp']",
		 .found = "dnode-04"},
		{.change = "[m for m in c['mounts'] if m['destination'] == '/dev'][0]['options']"
			   ".remove('ro')",
		 .found = "dnode-04"},
		{.change = "c['linux']['maskedPaths'].remove('/proc/kallsyms')",
		 .found = "dnode-01"},
		{.change = "c['linux']['readonlyPaths'].remove('/proc/sys')", .found = "dnode-02"},
		{.change = BIND "bind('/dev/kmsg', '/dev/kmsg', 'ro')", .found = "5.6 5.18"},
	};

	expect_each(weak, G_N_ELEMENTS(weak));
}

Test(audit, a_limit_that_is_missing_is_found)
{
	static const Weakness weak[] = {
		{.change = LINUX "r['memory'] = {'limit': 1 << 30, 'swap': 1 << 30}",
		 .found = "5.11"},
		{.change = LINUX "r['memory']['swap'] *= 2", .found = "dnode-08"},
		{.change = LINUX "del r['pids']", .found = "5.29"},
		{.change = LINUX "del r['cpu']", .found = "5.12"},
		{.change = LINUX "r['devices'] = [{'allow': True, 'access': 'rwm'}]",
		 .found = "dnode-06"},
		{.change = LINUX "p['rlimits'] = [x for x in p['rlimits'] if 'CORE' in x['type']] "
				 "+ [{'type': 'RLIMIT_NOFILE', 'soft': 9999, 'hard': 9999}]",
		 .found = "5.19"},
		{.change = LINUX "p['rlimits'] = [x for x in p['rlimits'] if 'FILE' in x['type']] "
				 "+ [{'type': 'RLIMIT_CORE', 'soft': 9, 'hard': 9}]",
		 .found = "dnode-09"},
	};

	expect_each(weak, G_N_ELEMENTS(weak));
}

/* Options go before the container's name, which is the last argument. */
#define PRESERVE                                                                                   \
	"exec 3</etc; A=; for W; do A=\"$A $W\"; "                                                 \
	"[ $W = create ] && A=\"$A --preserve-fds 1\"; done; set -- $A"

/* CVE-2024-21626: a directory of the host is open, and the working directory leads through it. */
Test(audit, a_descriptor_or_a_directory_of_the_host_is_found)
{
	static const Weakness weak[] = {
		{.change = "", .shell = PRESERVE, .found = "dnode-11"},
		{.change = "c['process']['cwd'] = '/proc/self/fd/3'",
		 .shell = PRESERVE,
		 .found = "dnode-11 dnode-12"},
	};

	expect_each(weak, G_N_ELEMENTS(weak));
}

Test(audit, a_port_that_nobody_declared_is_found)
{
	static const Weakness weak = {.change = "", .found = "5.9", .args = serve_args};

	expect_found(&weak);
}
