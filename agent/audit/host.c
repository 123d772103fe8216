/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "audit/judge.h"
#include "base/file.h"
#include "base/mounts.h"

/* This host: what its kernel lets everybody do, and who may read and write what is the agent's. */

enum { TEXT_LIMIT = 4096, OTHERS = 022 };

static void add(GPtrArray *items, const char *id, const char *title, DnAuditResult result,
		GString *said)
{
	g_ptr_array_add(items, dn_audit_item_new(id, title, result, said->str));
	g_string_free(said, TRUE);
}

static GString *G_GNUC_PRINTF(1, 2) say(const char *format, ...)
{
	GString *said = g_string_new(NULL);
	va_list args;

	va_start(args, format);
	g_string_vprintf(said, format, args);
	va_end(args);
	return said;
}

/* ---- the kernel ---- */

/* From @least to @most; @least is what is advised. */
static const struct {
	const char *id, *title, *name;
	int least, most;
} sysctls[] = {
	{"host-02", "only root loads BPF programs", "kernel/unprivileged_bpf_disabled", 1, 2},
	{"host-03", "kernel addresses are hidden", "kernel/kptr_restrict", 1, 2},
	{"host-04", "the kernel's log is for root", "kernel/dmesg_restrict", 1, 1},
	{"host-05", "a process is traced by its parent at most (Yama)", "kernel/yama/ptrace_scope",
	 1, 3},
	{"host-06", "nothing is typed into a terminal by a program (TIOCSTI)",
	 "dev/tty/legacy_tiocsti", 0, 0},
	{"host-07", "no core of a program with privileges", "fs/suid_dumpable", 0, 0},
	{"host-08", "links in sticky directories are followed by their owner alone",
	 "fs/protected_symlinks", 1, 1},
	{"host-09", "hard links need the right to the file", "fs/protected_hardlinks", 1, 1},
	{"host-10", "performance events are for root", "kernel/perf_event_paranoid", 2, 4},
	{"host-11", "page faults in the kernel are handled by root alone",
	 "vm/unprivileged_userfaultfd", 0, 0},
	{"host-12", "addresses are random", "kernel/randomize_va_space", 2, 2},
};

static void judge_sysctls(GPtrArray *items)
{
	for (size_t i = 0; i < G_N_ELEMENTS(sysctls); i++) {
		g_autofree char *path = g_build_filename("/proc/sys", sysctls[i].name, NULL);
		g_autofree char *text = dn_file_read_kernel(path, TEXT_LIMIT, NULL);
		int value = text != NULL ? atoi(text) : 0;
		bool fits = value >= sysctls[i].least && value <= sysctls[i].most;

		if (text == NULL)
			add(items, sysctls[i].id, sysctls[i].title, DN_AUDIT_INFO,
			    say("this kernel has no %s", sysctls[i].name));
		else
			add(items, sysctls[i].id, sysctls[i].title,
			    fits ? DN_AUDIT_PASS : DN_AUDIT_FAIL,
			    fits ? say("%s is %d", sysctls[i].name, value)
				 : say("%s is %d; set %d in /etc/sysctl.d", sysctls[i].name, value,
				       sysctls[i].least));
	}
}

/* "none [integrity] confidentiality" */
static void judge_lockdown(GPtrArray *items)
{
	static const char title[] = "root cannot change the running kernel (lockdown)";
	g_autofree char *text =
		dn_file_read_kernel("/sys/kernel/security/lockdown", TEXT_LIMIT, NULL);

	if (text == NULL)
		add(items, "host-01", title, DN_AUDIT_INFO,
		    say("this kernel has no lockdown, or securityfs is not mounted"));
	else
		add(items, "host-01", title,
		    strstr(text, "[none]") == NULL ? DN_AUDIT_PASS : DN_AUDIT_INFO,
		    say("lockdown is %s", g_strchomp(text)));
}

static void judge_memfd(GPtrArray *items)
{
	bool can = g_file_test("/proc/sys/vm/memfd_noexec", G_FILE_TEST_EXISTS);

	add(items, "host-13", "nodes can be kept from executing memory",
	    can ? DN_AUDIT_PASS : DN_AUDIT_INFO,
	    say(can ? "vm.memfd_noexec is set in each node's namespace"
		    : "vm.memfd_noexec needs Linux 6.3"));
}

static void judge_cgroups(GPtrArray *items, const DnInstance *instance)
{
	g_auto(GStrv) v1 = dn_mounts_of_type("cgroup", NULL);
	struct stat info;
	bool there = stat(instance->cgroup_root, &info) == 0;
	bool unified = v1 != NULL && v1[0] == NULL;

	add(items, "host-14", "nodes can be frozen and limited",
	    there ? DN_AUDIT_PASS : DN_AUDIT_FAIL,
	    say("%s at %s, nodes below /%s", unified ? "cgroup v2 alone" : "cgroup v2 beside v1",
		instance->cgroup_root, instance->cgroup_parent));
}

/* ---- the agent's own ---- */

/* Root's, and nobody else may write; @mode: the bits that may be set. */
static DnAuditResult judge_mode(const char *path, mode_t mode, GString *said)
{
	struct stat info;

	if (lstat(path, &info) < 0) {
		dn_audit_say(said, "%s: %s", path, g_strerror(errno));
		return DN_AUDIT_FAIL;
	}
	dn_audit_say(said, "%s is %04o of %u", path, info.st_mode & 07777, info.st_uid);
	return info.st_uid == 0 && (info.st_mode & 07777 & ~mode) == 0 ? DN_AUDIT_PASS
								       : DN_AUDIT_FAIL;
}

static void judge_path(GPtrArray *items, const char *id, const char *title, const char *path,
		       mode_t mode)
{
	GString *said = g_string_new(NULL);
	DnAuditResult result = judge_mode(path, mode, said);

	add(items, id, title, result, said);
}

static void judge_keys(GPtrArray *items, const DnInstance *instance)
{
	g_autoptr(GDir) folder = g_dir_open(instance->state_dir, 0, NULL);
	DnAuditResult result = DN_AUDIT_PASS;
	GString *said = g_string_new(NULL);
	const char *name = NULL;

	while (folder != NULL && (name = g_dir_read_name(folder)) != NULL) {
		g_autofree char *path = g_build_filename(instance->state_dir, name, NULL);

		if (g_str_has_suffix(name, ".key") && judge_mode(path, 0600, said) == DN_AUDIT_FAIL)
			result = DN_AUDIT_FAIL;
	}
	if (said->len == 0) {
		g_string_append_printf(said, "no key is in %s", instance->state_dir);
		result = DN_AUDIT_FAIL;
	}
	add(items, "host-17", "the host's key is root's alone", result, said);
}

static unsigned count_entries(const char *path)
{
	g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
	unsigned count = 0;

	while (folder != NULL && g_dir_read_name(folder) != NULL)
		count++;
	return count;
}

static void judge_pins(GPtrArray *items, const DnInstance *instance)
{
	GString *said = g_string_new(NULL);
	DnAuditResult result = judge_mode(instance->bpf_dir, 0700, said);
	unsigned pins = count_entries(instance->bpf_dir);

	dn_audit_say(said, "%u pins", pins);
	add(items, "host-18", "the sensor outlives the agent, out of others' reach",
	    pins > 0 ? result : DN_AUDIT_FAIL, said);
}

static void judge_runtime(GPtrArray *items, const DnAuditHost *host)
{
	static const char title[] = "the OCI runtime has no known hole";
	const char *runtime = host->runtime != NULL ? host->runtime : "no runtime was found";

	if (host->runtime == NULL || host->holes == NULL)
		add(items, "host-20", title, DN_AUDIT_INFO, say("%s: not known here", runtime));
	else if (host->holes[0] == '\0')
		add(items, "host-20", title, DN_AUDIT_PASS, say("%s", runtime));
	else
		add(items, "host-20", title, DN_AUDIT_FAIL,
		    say("%s: %s, unless the distribution has repaired its own", runtime,
			host->holes));
}

static void free_item(gpointer item)
{
	dn_audit_item_free(item);
}

GPtrArray *dn_audit_host_now(const DnInstance *instance, const DnAuditHost *host)
{
	GPtrArray *items = g_ptr_array_new_with_free_func(free_item);
	g_autofree char *trust = g_build_filename(instance->state_dir, "trust.yaml", NULL);
	g_autofree char *socket = g_build_filename(instance->run_dir, "agent.sock", NULL);

	judge_lockdown(items);
	judge_sysctls(items);
	judge_memfd(items);
	judge_cgroups(items, instance);
	judge_path(items, "host-15", "the agent's state is root's alone", instance->state_dir,
		   0700);
	judge_path(items, "host-16", "only root changes whom the host trusts", trust,
		   0777 & ~OTHERS);
	judge_keys(items, instance);
	judge_pins(items, instance);
	judge_path(items, "host-19", "only root asks the agent", socket, 0600);
	judge_runtime(items, host);
	judge_path(items, "host-21", "only root changes what nodes are made of", instance->run_dir,
		   0711);
	return items;
}
