/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/text.h"
#include "base/text.h"

/* What every process of a node is: its capabilities, its filter, its ids, its namespaces. */

static const DnSeenProcess *first_of(const DnAuditCase *all)
{
	return g_ptr_array_index(all->seen->processes, 0);
}

/* Names each process whose /proc/PID/status does not say @wanted behind @name. */
static DnAuditResult every_process(const DnAuditCase *all, GString *said, const char *name,
				   const char *wanted, const char *good)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);
		g_autofree char *value = dn_status_value(process->status, name);

		if (g_strcmp0(value, wanted) != 0)
			dn_audit_say(bad, "process %d has %s %s", (int)process->pid, name,
				     value != NULL ? value : "-");
	}
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_capabilities(const DnAuditCase *all, GString *said)
{
	static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"};
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);

		for (size_t set = 0; set < G_N_ELEMENTS(sets); set++) {
			g_autofree char *value = dn_status_value(process->status, sets[set]);

			if (value == NULL || strspn(value, "0") != strlen(value))
				dn_audit_say(bad, "process %d has %s %s", (int)process->pid,
					     sets[set], value != NULL ? value : "-");
		}
	}
	g_autofree char *good = g_strdup_printf("all five sets are empty, processes: %u",
						all->seen->processes->len);
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_no_new_privs(const DnAuditCase *all, GString *said)
{
	return every_process(all, said, "NoNewPrivs", "1", "set in every process");
}

static DnAuditResult judge_seccomp(const DnAuditCase *all, GString *said)
{
	g_autofree char *filters = dn_status_value(first_of(all)->status, "Seccomp_filters");
	g_autofree char *good = g_strdup_printf("every process has a filter (%s in its first)",
						filters != NULL ? filters : "some");

	return every_process(all, said, "Seccomp", "2", good);
}

/* What Docker's --privileged gives is worth nothing without CAP_SYS_ADMIN. */
static DnAuditResult judge_privileged(const DnAuditCase *all, GString *said)
{
	enum { SYS_ADMIN = 21 };
	g_autofree char *bounding = dn_status_value(first_of(all)->status, "CapBnd");
	bool may =
		bounding == NULL || ((g_ascii_strtoull(bounding, NULL, 16) >> SYS_ADMIN) & 1) != 0;

	g_string_append_printf(said, "bounding set %s", bounding != NULL ? bounding : "-");
	return may ? DN_AUDIT_FAIL : DN_AUDIT_PASS;
}

static DnAuditResult judge_label(const DnAuditCase *all, GString *said, bool has, const char *name)
{
	const char *label = all->seen->label;

	if (!has) {
		g_string_append_printf(said, "this kernel has no %s", name);
		return DN_AUDIT_INFO;
	}
	if (label == NULL || g_str_has_prefix(label, "unconfined")) {
		g_string_append_printf(said,
				       "%s is there, but does not confine this node: dnode "
				       "brings no policy for it",
				       name);
		return DN_AUDIT_INFO;
	}
	g_string_append_printf(said, "confined as %s", label);
	return DN_AUDIT_PASS;
}

static DnAuditResult judge_apparmor(const DnAuditCase *all, GString *said)
{
	return judge_label(all, said, all->seen->has_apparmor, "AppArmor");
}

static DnAuditResult judge_selinux(const DnAuditCase *all, GString *said)
{
	return judge_label(all, said, all->seen->has_selinux, "SELinux");
}

static DnAuditResult judge_sshd(const DnAuditCase *all, GString *said)
{
	static const char *const names[] = {"sshd", "dropbear", "sshd-session", "in.telnetd", NULL};
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);
		g_autofree char *name = dn_status_value(process->status, "Name");

		if (name != NULL && g_strv_contains(names, name))
			dn_audit_say(bad, "process %d is %s", (int)process->pid, name);
	}
	return dn_audit_unless(bad, said, "no remote shell is running");
}

/* ---- namespaces ---- */

static DnAuditResult own_namespace(const DnAuditCase *all, GString *said, unsigned kind)
{
	const char *name = dn_sight_namespace_name(kind);
	ino_t node = first_of(all)->namespaces[kind];
	ino_t host = all->seen->host_namespaces[kind];
	ino_t agent = all->seen->own_namespaces[kind];
	bool is_own = node != 0 && node != host && node != agent;

	g_string_append_printf(said, "%s:[%lu]%s", name, (unsigned long)node,
			       is_own      ? ""
			       : node == 0 ? " cannot be seen"
					   : ", which is the host's");
	return is_own ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

static DnAuditResult judge_net(const DnAuditCase *all, GString *said)
{
	return own_namespace(all, said, DN_SIGHT_NET);
}

static DnAuditResult judge_pid(const DnAuditCase *all, GString *said)
{
	return own_namespace(all, said, DN_SIGHT_PID);
}

static DnAuditResult judge_ipc(const DnAuditCase *all, GString *said)
{
	return own_namespace(all, said, DN_SIGHT_IPC);
}

static DnAuditResult judge_uts(const DnAuditCase *all, GString *said)
{
	return own_namespace(all, said, DN_SIGHT_UTS);
}

static DnAuditResult judge_user(const DnAuditCase *all, GString *said)
{
	return own_namespace(all, said, DN_SIGHT_USER);
}

static DnAuditResult judge_mnt_and_cgroup(const DnAuditCase *all, GString *said)
{
	DnAuditResult mnt = own_namespace(all, said, DN_SIGHT_MNT);

	g_string_append(said, ", ");
	DnAuditResult cgroup = own_namespace(all, said, DN_SIGHT_CGROUP);
	return mnt == DN_AUDIT_PASS ? cgroup : mnt;
}

static DnAuditResult judge_same_namespaces(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 1; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);

		for (unsigned kind = 0; kind < DN_SIGHT_NAMESPACES; kind++)
			if (process->namespaces[kind] != 0 &&
			    process->namespaces[kind] != first_of(all)->namespaces[kind])
				dn_audit_say(bad, "process %d has another %s namespace",
					     (int)process->pid, dn_sight_namespace_name(kind));
	}
	g_autofree char *good =
		g_strdup_printf("one set, processes: %u", all->seen->processes->len);
	return dn_audit_unless(bad, said, good);
}

/* ---- ids ---- */

/* One line, "0 BASE 65536", and nothing else. */
static bool is_whole_range(const char *map, uint32_t base)
{
	unsigned inside = 1;
	unsigned outside = 0;
	unsigned length = 0;
	int read = 0;

	return map != NULL && sscanf(map, "%u %u %u%n", &inside, &outside, &length, &read) == 3 &&
	       strspn(map + read, " \n") == strlen(map + read) && inside == 0 && outside == base &&
	       length == DN_UIDS_PER_NODE;
}

/* Every number of @ids ("1000 1000 1000 1000") is within the node's range. */
static bool are_own(const char *ids, uint32_t base)
{
	g_auto(GStrv) words = g_strsplit_set(ids != NULL ? ids : "-", " \t", -1);

	for (guint i = 0; words[i] != NULL; i++) {
		uint64_t id = 0;

		if (words[i][0] == '\0')
			continue;
		if (!dn_text_parse_u64(words[i], G_MAXUINT32, &id) || id < base ||
		    id - base >= DN_UIDS_PER_NODE)
			return false;
	}
	return true;
}

static DnAuditResult judge_ids(const DnAuditCase *all, GString *said)
{
	static const char *const names[] = {"Uid", "Gid", "Groups"};
	uint32_t base = all->node->uid_base;
	GString *bad = g_string_new(NULL);

	if (!is_whole_range(all->seen->uid_map, base) || !is_whole_range(all->seen->gid_map, base))
		dn_audit_say(bad, "uid_map '%s', gid_map '%s' are not 0 %u %u",
			     all->seen->uid_map != NULL ? all->seen->uid_map : "-",
			     all->seen->gid_map != NULL ? all->seen->gid_map : "-", base,
			     (unsigned)DN_UIDS_PER_NODE);
	for (guint i = 0; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);

		for (size_t n = 0; n < G_N_ELEMENTS(names); n++) {
			g_autofree char *value = dn_status_value(process->status, names[n]);

			if (!are_own(value, base))
				dn_audit_say(bad, "process %d has %s %s", (int)process->pid,
					     names[n], value != NULL ? value : "-");
		}
	}
	g_autofree char *good = g_strdup_printf("ids %u to %u are this node's alone", base,
						base + DN_UIDS_PER_NODE - 1);
	return dn_audit_unless(bad, said, good);
}

/* The node's own root user, or one that is no user of its. */
static bool is_root(const DnAuditCase *all, const DnSeenProcess *process)
{
	g_autofree char *ids = dn_status_value(process->status, "Uid");
	uint32_t base = all->node->uid_base;

	return !are_own(ids, base) || strtoul(ids, NULL, 10) == base;
}

/*
 * Whoever was put into a node from outside has a parent there, or none that can be seen. The set is
 * that of the listing, so that a parent which ended meanwhile still counts.
 */
static DnAuditResult entered(const DnAuditCase *all, GString *said, bool as_root, const char *good)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 1; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);
		g_autofree char *parent = dn_status_value(process->status, "PPid");
		bool is_born_here = false;
		uint64_t pid = 0;

		if (parent == NULL || !dn_text_parse_u64(parent, G_MAXINT, &pid))
			continue;
		for (guint k = 0; k < all->seen->processes->len && !is_born_here; k++) {
			const DnSeenProcess *other = g_ptr_array_index(all->seen->processes, k);

			is_born_here = other->pid == (pid_t)pid;
		}
		if (!is_born_here && (!as_root || is_root(all, process)))
			dn_audit_say(bad, "process %d is a child of %s, outside the node",
				     (int)process->pid, parent);
	}
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_entered(const DnAuditCase *all, GString *said)
{
	return entered(all, said, false, "every process comes from its first one");
}

static DnAuditResult judge_entered_root(const DnAuditCase *all, GString *said)
{
	return entered(all, said, true, "none was put in");
}

/* Field 7 of /proc/PID/stat: the terminal, 0 for none. */
static DnAuditResult judge_terminal(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	for (guint i = 0; i < all->seen->processes->len; i++) {
		const DnSeenProcess *process = g_ptr_array_index(all->seen->processes, i);
		const char *rest = process->stat != NULL ? strrchr(process->stat, ')') : NULL;
		int terminal = 0;

		if (rest != NULL && sscanf(rest, ") %*c %*d %*d %*d %d", &terminal) == 1 &&
		    terminal != 0)
			dn_audit_say(bad, "process %d has terminal %d", (int)process->pid,
				     terminal);
	}
	for (guint i = 0; i < all->seen->fds->len; i++) {
		const DnSeenFd *fd = g_ptr_array_index(all->seen->fds, i);

		if (g_str_has_prefix(fd->target, "/dev/pts/") ||
		    g_str_has_prefix(fd->target, "/dev/tty") ||
		    strcmp(fd->target, "/dev/console") == 0)
			dn_audit_say(bad, "descriptor %u is %s", fd->number, fd->target);
	}
	return dn_audit_unless(bad, said, "no process has one");
}

static DnAuditResult judge_memfd(const DnAuditCase *all, GString *said)
{
	int level = all->node->memfd_noexec;

	if (level == DN_AUDIT_MEMFD_UNKNOWN) {
		g_string_append(said, "vm.memfd_noexec was read back by an earlier agent, and "
				      "nobody enters a running node to ask again");
		return DN_AUDIT_INFO;
	}
	if (level < 0) {
		g_string_append(said, "this kernel has no vm.memfd_noexec; the filter refuses "
				      "memfd_create");
		return DN_AUDIT_NOT_APPLICABLE;
	}
	g_string_append_printf(said, "vm.memfd_noexec was %d before its first instruction", level);
	return level == 2 ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

const DnAuditRule dn_audit_process_rules[] = {
	{"5.2", "AppArmor confines it", false, false, judge_apparmor},
	{"5.3", "SELinux confines it", false, false, judge_selinux},
	{"5.4", "no capability in any set of any process", true, false, judge_capabilities},
	{"5.5", "it is not privileged", true, false, judge_privileged},
	{"5.7", "no remote shell runs in it", false, false, judge_sshd},
	{"5.10", "a network namespace of its own", true, true, judge_net},
	{"5.16", "a process namespace of its own", true, true, judge_pid},
	{"5.17", "an IPC namespace of its own", true, true, judge_ipc},
	{"5.21", "a host name namespace of its own", true, true, judge_uts},
	{"5.22", "every process runs under a system call filter", true, false, judge_seccomp},
	{"5.23", "no process was put into it from outside", false, true, judge_entered},
	{"5.24", "no process was put into it as root", false, true, judge_entered_root},
	{"5.26", "no process can gain privileges", true, false, judge_no_new_privs},
	{"5.31", "a user namespace of its own", true, true, judge_user},
	{"dnode-07", "no terminal", true, true, judge_terminal},
	{"dnode-10", "mount and cgroup namespaces of its own", true, true, judge_mnt_and_cgroup},
	{"dnode-13", "nothing made in memory can be executed", true, true, judge_memfd},
	{"dnode-14", "65,536 ids of its own, none of them the host's", true, false, judge_ids},
	{"dnode-20", "all processes share its namespaces", false, true, judge_same_namespaces},
	{NULL, NULL, false, false, NULL},
};
