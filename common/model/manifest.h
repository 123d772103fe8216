/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a manifest says, as plain values: the result of manifest/manifest.h, which is the only
 * place that makes one. Defaults are filled in; every string is owned by the struct.
 * Reference counted and immutable once made, so it may be shared between threads.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "model/drift.h"

#define DN_EPOCH_LIMIT ((UINT64_C(1) << 53) - 1) /* what a JSON number holds exactly */
#define DN_EPOCH_STEP UINT64_C(1000000)          /* how far one manifest may move the epoch */

typedef enum { DN_PROTOCOL_TCP, DN_PROTOCOL_UDP } DnProtocol;

const char *dn_protocol_name(DnProtocol protocol); /* tcp, udp */
bool dn_protocol_parse(const char *name, DnProtocol *protocol) G_GNUC_WARN_UNUSED_RESULT;

typedef struct {
	uint16_t port; /* in the node */
	DnProtocol protocol;
	uint16_t expose;   /* the VIP's port */
	bool publish_host; /* bind the host's addresses too */
} DnListen;

/* Either a service (by its VIP and exposed ports) or an address range. */
typedef struct {
	char *service; /* or NULL */
	char *cidr;    /* or NULL: IPv4 or IPv6 ADDRESS/PREFIX */
	uint16_t port; /* 0: every port */
	DnProtocol protocol;
} DnEgress;

typedef struct {
	char *path; /* absolute, plain */
	uint64_t size_bytes;
} DnWritable;

typedef enum { DN_PROBE_NONE, DN_PROBE_HTTP, DN_PROBE_TCP } DnProbeKind;

typedef struct {
	DnProbeKind kind;
	char *path;    /* of an http probe */
	uint16_t port; /* 0: the first listen port */
	uint32_t every_ms, timeout_ms;
	uint32_t rise, fall;
	uint32_t replace_after_ms;
} DnHealthPolicy;

/*
 * What the manifest says of run. Members that are unset (NULL, -1, false in has_*) take the
 * image's default; dn_run_effective() of manifest/effective.h does that key by key.
 */
typedef struct {
	char **args;     /* NULL-terminated, or NULL */
	char **env;      /* NAME=VALUE, sorted, NULL-terminated, or NULL */
	char *cwd;       /* or NULL */
	int64_t uid;     /* in the node, -1: unset; the group is the same number */
	char **may_exec; /* paths in the image; NULL: everything executable in the image */
	bool jit;
	int stop_signal;
	uint32_t stop_grace_ms;
	uint32_t start_deadline_ms;
} DnRun;

/* Free what a DnRun owns and unset it. */
void dn_run_clear(DnRun *self);
void dn_run_copy(const DnRun *self, DnRun *copy);

typedef struct {
	int refs; /* atomic */

	char *digest; /* SHA-256 of the exact bytes, hexadecimal */
	char *service;
	uint64_t epoch;
	bool removed;                   /* state: removed */
	uint64_t valid_until_ns;        /* CLOCK_REALTIME; 0: without end */
	char *image_ref, *image_commit; /* NULL when removed */
	uint64_t restart;               /* raised to have nodes replaced that are as before */

	DnRun run;
	uint32_t replicas;
	uint32_t standby; /* a host at most */
	bool standby_started;
	GArray *listen; /* of DnListen */
	GArray *egress; /* of DnEgress */
	uint64_t memory_bytes;
	uint32_t cpu_milli; /* thousandths of one CPU */
	uint32_t pids, files;
	GArray *writable; /* of DnWritable */
	DnHealthPolicy health;
	DnAnswer drift[DN_DRIFT_LIMIT]; /* by enum dn_drift_class */
	uint32_t respawn_count;
	uint32_t respawn_within_ms;
	bool respawn_isolates; /* past: isolate; else hold */
	uint32_t roll_surge;
	uint32_t roll_drain_ms;
	uint32_t roll_deadline_ms;
	bool spread_host;
} DnManifest;

DnManifest *dn_manifest_new(void); /* every default of docs/formats/manifest.md */
DnManifest *dn_manifest_ref(DnManifest *self);
void dn_manifest_unref(DnManifest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnManifest, dn_manifest_unref)

/*
 * Whether it is past its valid_until when the time is @realtime_ns. A removal never is: it places
 * nothing, and what has expired must still be possible to end.
 */
bool dn_manifest_is_expired(const DnManifest *self, uint64_t realtime_ns);

/*
 * Whether a node of @a is what a node of @b would be, so that it may go on under @b: they differ at
 * most in how many there are, where, until when, and how they are rolled and replaced.
 */
bool dn_manifest_makes_same_nodes(const DnManifest *a, const DnManifest *b);
