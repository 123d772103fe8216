/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A host as the core knows it: what it reported, what it was told, and what it may still send. For
 * the core's own files only.
 */

#include "base/bucket.h"
#include "core/address.h"
#include "core/fleet.h"
#include "core/release.h"
#include "core/trouble.h"

/* What a host was told about one service since it connected. */
typedef struct {
	DnAssign *sent;    /* or NULL */
	uint64_t revision; /* of sent; grows from one to the next */
	uint64_t acked;    /* the highest revision the host has answered */
	uint64_t retry_ns; /* after a failure: not before this time */
	bool forgotten;    /* FORGET was sent */
} DnTold;

typedef enum { DN_HELD_ASKED = 1, DN_HELD_ACCEPTED, DN_HELD_REFUSED } DnHeld;

typedef struct {
	char *name;
	uint8_t key[DN_PUBLIC_KEY_BYTES];
	char *cidr;
	DnRange range;
	char *address; /* or NULL */
	bool connected, reported, lost;
	bool known;            /* it has enrolled or reported since this supervisor started */
	bool cordoned;         /* by a person: no new node is placed here */
	char *suspect;         /* why it is not trusted with new nodes, until a person says so */
	char *fenced;          /* why it is shut out, or NULL; then it is lost, too */
	char *spool;           /* name of its spool of facts, or NULL */
	uint64_t stored;       /* number of the last fact of it that was taken */
	uint64_t seen_ns;      /* CLOCK_MONOTONIC */
	uint64_t last_seen_ns; /* CLOCK_REALTIME */
	char *version, *kernel;
	GHashTable *capabilities;
	uint32_t slots;
	GHashTable *epochs;    /* char * → uint64_t *: what it reported, and accepted since */
	GHashTable *nodes;     /* char * id → DnNodeRecord * */
	GHashTable *told;      /* char * service → DnTold * */
	GHashTable *manifests; /* char * digest → DnHeld */
	GHashTable *failed;    /* char * digest → uint64_t *: REFUSED, to be asked again then */
	uint64_t asked_bytes;  /* of manifests that it was sent and has not answered */
	bool asked_waits;      /* more are to come when it has answered some */
	char *routes_sent;     /* what ROUTES last said, or NULL */
	uint64_t routes_revision; /* of that; grows from one to the next */
	uint64_t routes_seen;     /* the core's routes_changes when it was told or needed nothing */
	uint64_t routes_retry_ns;
	GHashTable *complaints; /* char * → uint64_t *: what it refused, when people last heard */
	DnBucket events;        /* that it may still send */
	DnBucket changes;       /* of its nodes that people may still hear of */
	DnBucket sweeps;        /* of other hosts, for the incidents that it tells of */
	bool events_dropped, changes_dropped;
	uint64_t troubles_ns[DN_TROUBLE_N]; /* when people heard of each; 0: never */
} DnHost;

DnHost *dn_host_new(const DnHostRecord *record, DnRange range) G_GNUC_WARN_UNUSED_RESULT;
void dn_host_free(DnHost *host);

/* Everything said to @host is unknown again. */
void dn_host_forget_told(DnHost *host);
DnTold *dn_host_told(DnHost *host, const char *service);
/* In its host's balancer: a node that is ready but unhealthy is not. */
bool dn_node_serves(const DnNodeRecord *node);
/*
 * It has refused the manifest of @service and accepted none before: it takes no share of it, not
 * even one of no nodes, and balances none.
 */
bool dn_host_is_outside(const DnHost *host, const DnService *service);
/* May new nodes be placed on it? */
bool dn_host_takes_new(const DnHost *host);
/* Clean nodes of @release that serve on @host; none while the host is lost. */
uint32_t dn_host_ready(const DnService *service, const DnRelease *release, const DnHost *host);
/* Whether @host names any node of @digest. */
bool dn_host_has_digest(const DnHost *host, const char *digest);
bool dn_host_is_up(const DnHost *host);
