/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Is a running node, or this host, as the product promises? Judged by what the kernel shows from
 * outside: never by the bundle's config.json, never by a word of the node's own, and nothing of
 * ours enters its namespaces.
 *
 * sight.h reads, judge*.c decides. An item that follows section 5 of the CIS Docker Benchmark has
 * its number ("5.4"), one of the product's own is called "dnode-NN", one about the host "host-NN".
 * docs/audit.md says what each means.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/instance.h"
#include "model/manifest.h"

typedef enum {
	DN_AUDIT_PASS,
	DN_AUDIT_FAIL,
	DN_AUDIT_NOT_APPLICABLE, /* the manifest, or this kind of node, has nothing to judge */
	DN_AUDIT_INFO,           /* this kernel cannot show it, or a person has to judge */
	DN_AUDIT_N
} DnAuditResult;

const char *dn_audit_result_name(DnAuditResult result); /* pass, fail, not-applicable, info */

typedef struct {
	const char *id;    /* static */
	const char *title; /* static: what holds when it passes */
	bool must;         /* a node that fails it may not serve */
	DnAuditResult result;
	char *seen; /* one printable line: what was observed; owned */
} DnAuditItem;

void dn_audit_item_free(DnAuditItem *self);

/* What is expected of a node, and what only the caller can ask the kernel for. */
typedef struct {
	const char *node;
	pid_t pid;           /* its pid 1, as the host counts */
	uint64_t start_time; /* of that process: field 22 of /proc/PID/stat */
	uint32_t uid_base;
	const DnManifest *manifest;
	bool is_evidence; /* quarantined: to be kept */
	bool started;     /* false: the runtime still waits in it, most of it cannot be judged */
	int memfd_noexec; /* of its pid namespace when it was made, or one of those below */
	bool guarded;     /* its rules are in the firewall that is in force */
	bool watched;     /* the sensor has it */
} DnAuditNode;

enum { DN_AUDIT_MEMFD_NONE = -1, DN_AUDIT_MEMFD_UNKNOWN = -2 };

/*
 * Every item of @node, of DnAuditItem. Blocking, some milliseconds: a worker's. Fails with
 * DN_ERROR_UNAVAILABLE when the node ended meanwhile.
 */
GPtrArray *dn_audit_node_now(const DnInstance *instance, const DnAuditNode *node,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What only the caller knows of a host. */
typedef struct {
	const char *runtime; /* its version, or NULL */
	const char *holes;   /* known ones of it, one line; "": none; NULL: not known */
} DnAuditHost;

/* Every item of this host. Blocking. */
GPtrArray *dn_audit_host_now(const DnInstance *instance,
			     const DnAuditHost *host) G_GNUC_WARN_UNUSED_RESULT;

/* The first item that must pass and does not, or NULL. */
const DnAuditItem *dn_audit_broken(const GPtrArray *items);

/* How many have @result. */
unsigned dn_audit_count(const GPtrArray *items, DnAuditResult result);
