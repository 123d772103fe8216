/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The core's state, for the core's own files only. Pointers to a service, release or host stay
 * valid for the length of a step; nothing outside keeps one.
 */

#include "base/bucket.h"
#include "core/address.h"
#include "core/fleet.h"
#include "core/trouble.h"
#include "model/budget.h"

typedef struct {
	DnDeclaration *declaration; /* owned */
	GHashTable *shares;         /* char * host → DnShare *; no row: nothing */
	/* char *: digests of earlier manifests whose nodes go on as this one's, oldest first */
	GPtrArray *former;
} DnRelease;

typedef struct {
	char *name;
	char *vip;
	GPtrArray *releases; /* of DnRelease, the current one first */
	bool rolling;
	uint64_t roll_started_ns;  /* CLOCK_REALTIME */
	uint64_t roll_progress_ns; /* CLOCK_MONOTONIC of the last step forward */
	uint32_t roll_best;        /* most nodes of the current epoch that were ready */
	char *roll_error;
	int shown_state;                 /* DnServiceState that the last event spoke of, -1: none */
	bool told_no_room, told_expired; /* the event was sent */
	DnBudget drills;
	bool touched; /* something about it changed in this step */
} DnService;

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
	uint64_t asked_bytes;  /* of manifests that it was sent and has not answered */
	bool asked_waits;      /* more are to come when it has answered some */
	char *routes_sent;     /* what ROUTES last said, or NULL */
	uint64_t routes_retry_ns;
	GHashTable *complaints; /* char * → uint64_t *: what it refused, when people last heard */
	DnBucket events;        /* that it may still send */
	DnBucket changes;       /* of its nodes that people may still hear of */
	DnBucket sweeps;        /* of other hosts, for the incidents that it tells of */
	bool events_dropped, changes_dropped;
	uint64_t troubles_ns[DN_TROUBLE_N]; /* when people heard of each; 0: never */
} DnHost;

/* What is left in memory of an incident that only the store has. */
typedef struct {
	char *id, *host, *node;
	uint64_t event_time_ns;
} DnPast;

/* An order of the core's own that has not been answered. */
typedef struct {
	char *host;
	DnOrderKind kind;
	char *subject;     /* service or digest */
	uint64_t revision; /* of an assignment; of a manifest: its bytes */
} DnPending;

/* "Tell @host when all others have dropped @node": DN_STAGE_LB_OUT_ALL. */
typedef struct {
	char *incident;
	char *host;
	char *service;
	char *address;       /* of the node: the endpoint that has to be gone */
	GHashTable *waiting; /* char * host → uint64_t *: first revision without the endpoint */
} DnStampWait;

struct DnFleetCore {
	DnRange node_range, vip_range;
	GHashTable *services;  /* char * → DnService * */
	GHashTable *hosts;     /* char * → DnHost * */
	GHashTable *tokens;    /* char * hash → DnTokenRecord * */
	GHashTable *incidents; /* char * id → DnIncident * */
	GHashTable *pending;   /* uint64_t * tag → DnPending * */
	GPtrArray *stamps;     /* of DnStampWait */
	GHashTable *sweeps;    /* sweep.c: those under way, by incident */
	GHashTable *past; /* char * id → DnPast *: destroyed, and not in incidents any more */
	GHashTable *cut;  /* set of char *: nodes that an incident in force names */
	uint64_t last_tag;
	uint64_t last_revision;
	uint64_t started_ns;                /* CLOCK_MONOTONIC of the first step; 0: none yet */
	uint64_t troubles_ns[DN_TROUBLE_N]; /* of those who are no hosts */
};

DnHost *dn_state_host(const DnFleetCore *core, const char *name);
DnService *dn_state_service(const DnFleetCore *core, const char *name);
DnHost *dn_state_add_host(DnFleetCore *core, const DnHostRecord *record, DnRange range);
DnService *dn_state_add_service(DnFleetCore *core, const char *name, const char *vip);
/* Keys of @table in order, so that every run decides alike. Free the container with g_list_free. */
GList *dn_state_sorted(GHashTable *table);

DnRelease *dn_release_new(const DnDeclaration *declaration);
DnRelease *dn_service_current(const DnService *service);
DnRelease *dn_service_release(const DnService *service, const char *digest);
/* The current one, or one whose nodes the current one would make alike: they stay. */
bool dn_service_keeps(const DnService *service, const DnRelease *release);
/* Nodes of @earlier, and of those it took over itself, may go on as @release's. */
void dn_release_inherit(DnRelease *release, const DnRelease *earlier);
/* Whether a node of @digest on @host is one of @release's. */
bool dn_release_covers(const DnService *service, const DnRelease *release, const char *host,
		       const char *digest);
/* The share of @host, made when there is none. */
DnShare *dn_release_share(DnRelease *release, const char *host);
uint32_t dn_release_running(const DnRelease *release);
uint32_t dn_release_running_on(const DnRelease *release, const char *host);
/* The shares that are not nothing, sorted by host: for records. */
GPtrArray *dn_release_shares(const DnRelease *release);

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
/* The part of @assign for @digest, or NULL. */
const DnPart *dn_state_part(const DnAssign *assign, const char *digest);
/* Whether @host names any node of @digest. */
bool dn_host_has_digest(const DnHost *host, const char *digest);
DnHost *dn_state_host_of_node(const DnFleetCore *core, const char *node, DnNodeRecord **record);
bool dn_host_is_up(const DnHost *host);
/* Slots that no share and no quarantined node takes; below zero: so many shares have none. */
int64_t dn_state_spare(const DnFleetCore *core, const DnHost *host);
uint32_t dn_state_room(const DnFleetCore *core, const DnHost *host);

/* A new tag, remembered as the core's own with @subject; answered by dn_fleet_core_answered(). */
uint64_t dn_state_pending(DnFleetCore *core, const char *host, DnOrderKind kind,
			  const char *subject, uint64_t revision);
uint64_t dn_state_tag(DnFleetCore *core);
