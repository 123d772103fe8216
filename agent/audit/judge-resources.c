/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/judge.h"

#include <stdio.h>
#include <string.h>

#include "audit/text.h"
#include "base/text.h"

/* How much a node can use, and whom it can talk to. */

enum {
	PRIVILEGED_PORTS = 1024,
	FIRST_EPHEMERAL_PORT = 32768,
	LEAST_OOM_SCORE = 500,
	CORE_LIMIT = 1, /* no file is so small, and no program of core_pattern is started for it */
};

/* @seen against what the manifest declares; UINT64_MAX is "no limit". */
static DnAuditResult at_most(GString *said, bool found, uint64_t seen, uint64_t declared,
			     const char *unit)
{
	if (!found) {
		g_string_append(said, "its controller cannot be seen");
		return DN_AUDIT_FAIL;
	}
	if (seen == UINT64_MAX)
		g_string_append(said, "no limit");
	else
		g_string_append_printf(said, "%" G_GUINT64_FORMAT " %s", seen, unit);
	if (seen > declared)
		g_string_append_printf(said, ", declared are %" G_GUINT64_FORMAT, declared);
	return seen > declared ? DN_AUDIT_FAIL : DN_AUDIT_PASS;
}

static DnAuditResult judge_memory(const DnAuditCase *all, GString *said)
{
	const DnSeenLimits *seen = &all->seen->resources;

	return at_most(said, seen->memory, seen->memory_bytes, all->node->manifest->memory_bytes,
		       "bytes");
}

static DnAuditResult judge_swap(const DnAuditCase *all, GString *said)
{
	const DnSeenLimits *seen = &all->seen->resources;

	if (!seen->has_swap) {
		g_string_append(said, "this kernel does not account swap by cgroup");
		return DN_AUDIT_INFO;
	}
	return at_most(said, true, seen->swap_bytes, 0, "bytes");
}

static DnAuditResult judge_cpu(const DnAuditCase *all, GString *said)
{
	const DnSeenLimits *seen = &all->seen->resources;

	return at_most(said, seen->cpu, seen->cpu_milli, all->node->manifest->cpu_milli,
		       "thousandths of a CPU");
}

static DnAuditResult judge_pids(const DnAuditCase *all, GString *said)
{
	const DnSeenLimits *seen = &all->seen->resources;

	return at_most(said, seen->pids, seen->pids_max, all->node->manifest->pids, "tasks");
}

static DnAuditResult judge_files(const DnAuditCase *all, GString *said)
{
	uint64_t files = 0;
	bool found = dn_limit_of(all->seen->limits, "Max open files", &files);

	return at_most(said, found, files, all->node->manifest->files, "descriptors");
}

static DnAuditResult judge_core(const DnAuditCase *all, GString *said)
{
	uint64_t bytes = 0;
	bool found = dn_limit_of(all->seen->limits, "Max core file size", &bytes);

	if (found && bytes == 0) {
		g_string_append(said,
				"0 bytes: no file; if core_pattern of the host is a program "
				"(|…), it is started all the same, which a limit of 1 forbids");
		return DN_AUDIT_INFO;
	}
	return at_most(said, found, bytes, CORE_LIMIT, "bytes");
}

/* "/PARENT/NODE", in v2 and by that in every hierarchy. */
static DnAuditResult judge_cgroup(const DnAuditCase *all, GString *said)
{
	g_autofree char *own = g_strconcat("/", all->node->node, NULL);
	const char *path = all->seen->resources.path;

	g_string_append(said, path != NULL ? path : "no cgroup can be seen");
	return path != NULL && g_str_has_suffix(path, own) ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

static DnAuditResult judge_oom(const DnAuditCase *all, GString *said)
{
	int score = 0;

	if (all->seen->oom == NULL || sscanf(all->seen->oom, "%d", &score) != 1) {
		g_string_append(said, "cannot be seen");
		return DN_AUDIT_FAIL;
	}
	g_string_append_printf(said, "oom_score_adj %d", score);
	return score >= LEAST_OOM_SCORE || all->node->is_evidence ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

/* What opens nothing of the host's: see below. Memory of the host is 1:1, 1:2 and 1:4. */
static bool is_harmless_device(char kind, const char *number)
{
	static const char *const memory[] = {"1:1", "1:2", "1:4", "1:*", NULL};
	static const char *const added[] = {"1:", "5:", "136:", NULL};

	if (kind != 'c' || g_strv_contains(memory, number))
		return false;
	for (size_t i = 0; added[i] != NULL; i++)
		if (g_str_has_prefix(number, added[i]))
			return true;
	return strcmp(number, "10:200") == 0;
}

/*
 * devices.list of v1, one rule a line: "c 1:3 rwm". Making a node ("m") alone opens nothing.
 * Runtimes add rules of their own that no configuration takes away: 1 for memory devices, 5 and
 * 136 for terminals, of which a node has none, and runc 10:200, which is /dev/net/tun: a node has
 * no such file, cannot make one, and lacks the capability that all its calls ask for.
 */
static DnAuditResult judge_device_rules(const DnAuditCase *all, GString *said)
{
	const DnSeenLimits *seen = &all->seen->resources;
	g_auto(GStrv) lines = g_strsplit_set(seen->devices != NULL ? seen->devices : "", "\n", -1);
	GString *bad = g_string_new(NULL);

	if (seen->devices == NULL && seen->device_programs == 0)
		dn_audit_say(bad, "nothing restricts devices");
	for (guint i = 0; lines[i] != NULL; i++) {
		char kind = 0;
		char number[16] = "";
		char access[8] = "";

		if (sscanf(lines[i], "%c %15s %7s", &kind, number, access) == 3 &&
		    strcmp(access, "m") != 0 && !is_harmless_device(kind, number))
			dn_audit_say(bad, "%s is allowed", lines[i]);
	}
	if (seen->devices == NULL && seen->device_programs < 0) {
		g_string_free(bad, TRUE);
		g_string_append(said, "the kernel does not tell what programs the cgroup has");
		return DN_AUDIT_INFO;
	}
	g_autofree char *good =
		seen->devices != NULL
			? g_strdup_printf("%u rules, none for a device of the host's",
					  g_strv_length(lines))
			: g_strdup_printf("%d programs judge devices", seen->device_programs);
	return dn_audit_unless(bad, said, good);
}

static DnAuditResult judge_io(const DnAuditCase *all, GString *said)
{
	const char *io = all->seen->resources.io;

	if (io != NULL && io[0] != '\0') {
		g_string_append(said, io);
		return DN_AUDIT_PASS;
	}
	g_string_append(said,
			"no limit: a node writes to memory alone, and its output is a ring of "
			"fixed size; what it reads of its image is cached");
	return DN_AUDIT_INFO;
}

/* ---- ports ---- */

static bool is_declared(const DnAuditCase *all, uint16_t port, DnProtocol protocol)
{
	const GArray *listen = all->node->manifest->listen;

	for (guint i = 0; i < listen->len; i++) {
		const DnListen *row = &g_array_index(listen, DnListen, i);

		if (row->port == port && row->protocol == protocol)
			return true;
	}
	return false;
}

/* An unconnected UDP socket on a port the kernel gives out may be a client that asks. */
static void judge_table(const DnAuditCase *all, const char *table, DnProtocol protocol,
			GString *bad)
{
	g_autoptr(GArray) bound = dn_bound_sockets(table, protocol == DN_PROTOCOL_TCP);

	for (guint i = 0; i < bound->len; i++) {
		const DnBound *one = &g_array_index(bound, DnBound, i);

		if (one->loopback || is_declared(all, one->port, protocol) ||
		    (protocol == DN_PROTOCOL_UDP && one->port >= FIRST_EPHEMERAL_PORT))
			continue;
		dn_audit_say(bad, "%s port %u is open", dn_protocol_name(protocol), one->port);
	}
}

static DnAuditResult judge_ports(const DnAuditCase *all, GString *said)
{
	GString *bad = g_string_new(NULL);

	judge_table(all, all->seen->tcp, DN_PROTOCOL_TCP, bad);
	judge_table(all, all->seen->tcp6, DN_PROTOCOL_TCP, bad);
	judge_table(all, all->seen->udp, DN_PROTOCOL_UDP, bad);
	judge_table(all, all->seen->udp6, DN_PROTOCOL_UDP, bad);
	return dn_audit_unless(bad, said, "only declared ports are open");
}

static DnAuditResult judge_published(const DnAuditCase *all, GString *said, bool privileged,
				     const char *good)
{
	const GArray *listen = all->node->manifest->listen;

	for (guint i = 0; i < listen->len; i++) {
		const DnListen *row = &g_array_index(listen, DnListen, i);

		if (row->publish_host && (!privileged || row->expose < PRIVILEGED_PORTS))
			dn_audit_say(said,
				     "port %u of every address of the host, by the signed "
				     "manifest",
				     row->expose);
	}
	if (said->len > 0)
		return DN_AUDIT_INFO;
	g_string_append(said, good);
	return DN_AUDIT_PASS;
}

static DnAuditResult judge_privileged_ports(const DnAuditCase *all, GString *said)
{
	return judge_published(all, said, true, "no port of the host below 1024 leads to it");
}

static DnAuditResult judge_bind_address(const DnAuditCase *all, GString *said)
{
	return judge_published(all, said, false, "it is reached by its service's address alone");
}

static DnAuditResult judge_raw(const DnAuditCase *all, GString *said)
{
	const struct {
		const char *name, *table;
	} tables[] = {{"raw", all->seen->raw},
		      {"raw6", all->seen->raw6},
		      {"ping", all->seen->icmp},
		      {"packet", all->seen->packet}};
	GString *bad = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		if (dn_table_rows(tables[i].table) > 0)
			dn_audit_say(bad, "%u %s sockets", dn_table_rows(tables[i].table),
				     tables[i].name);
	return dn_audit_unless(bad, said, "none");
}

/* ---- the rest of the host's part ---- */

static DnAuditResult judge_restart(const DnAuditCase *all, GString *said)
{
	const DnManifest *manifest = all->node->manifest;

	g_string_append_printf(said,
			       "never restarted: replaced, %u within %u s when it was cut, with "
			       "growing pauses when it ended",
			       manifest->respawn_count, manifest->respawn_within_ms / 1000);
	return manifest->respawn_count > 0 ? DN_AUDIT_PASS : DN_AUDIT_INFO;
}

static DnAuditResult judge_health(const DnAuditCase *all, GString *said)
{
	const DnHealthPolicy *health = &all->node->manifest->health;

	if (health->kind == DN_PROBE_NONE) {
		g_string_append(said, "health: is not declared");
		return DN_AUDIT_FAIL;
	}
	g_string_append_printf(said, "%s every %u ms",
			       health->kind == DN_PROBE_HTTP ? "http" : "tcp", health->every_ms);
	return DN_AUDIT_PASS;
}

static DnAuditResult judge_firewall(const DnAuditCase *all, GString *said)
{
	g_string_append(said, all->node->guarded
				      ? "its rules are in force: declared ports in, declared peers "
					"out, all else dropped"
				      : "the firewall that is in force does not name it");
	return all->node->guarded ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

static DnAuditResult judge_sensor(const DnAuditCase *all, GString *said)
{
	g_string_append(said, all->node->watched ? "its cgroup and link are in the sensor's map"
						 : "the sensor does not know it");
	return all->node->watched ? DN_AUDIT_PASS : DN_AUDIT_FAIL;
}

const DnAuditRule dn_audit_resource_rules[] = {
	{"5.8", "no port of the host below 1024 is bound", false, true, judge_privileged_ports},
	{"5.9", "only declared ports are open", false, false, judge_ports},
	{"5.11", "memory is limited", true, true, judge_memory},
	{"5.12", "CPU is limited", true, true, judge_cpu},
	{"5.14", "no address of the host is bound", false, true, judge_bind_address},
	{"5.15", "how often it is replaced is bounded", false, true, judge_restart},
	{"5.19", "open files are limited", true, false, judge_files},
	{"5.25", "a cgroup of its own", true, true, judge_cgroup},
	{"5.27", "its health is probed", false, true, judge_health},
	{"5.29", "the number of tasks is limited", true, true, judge_pids},
	{"dnode-06", "its cgroup opens no device of the host", true, true, judge_device_rules},
	{"dnode-08", "no swap", true, true, judge_swap},
	{"dnode-09", "no core dumps", true, false, judge_core},
	{"dnode-15", "the kernel ends it before the host's own", true, false, judge_oom},
	{"dnode-16", "whom it talks to is denied by default", true, true, judge_firewall},
	{"dnode-17", "it is watched", true, true, judge_sensor},
	{"dnode-18", "no raw, ping or packet socket", false, false, judge_raw},
	{"dnode-19", "what it reads and writes is limited", false, true, judge_io},
	{NULL, NULL, false, false, NULL},
};
