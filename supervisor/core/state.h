/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The core's state, for the core's own files only. Pointers to a service, release or host stay
 * valid for the length of a step; nothing outside keeps one.
 */

#include "core/address.h"
#include "core/fleet.h"
#include "core/host.h"
#include "core/release.h"
#include "core/trouble.h"

/* What is left in memory of an incident that only the store has. */
typedef struct {
	char *id, *host, *node;
	uint64_t event_time_ns;
	unsigned rows; /* sockets and flows that the store has of it */
} DnPast;

/* An order of the core's own that has not been answered. */
typedef struct {
	char *host;
	DnOrderKind kind;
	char *subject;     /* service or digest */
	uint64_t revision; /* of an assignment or routes; of a manifest: its bytes */
} DnPending;

/* "Tell @host when all others have dropped @node", which was cut, or drains. */
typedef struct {
	char *incident; /* that cut it: its DN_STAGE_LB_OUT_ALL. NULL: it drains */
	char *node;
	char *host;
	char *service;
	char *address;       /* of the node: the endpoint that has to be gone */
	GHashTable *waiting; /* char * host → uint64_t *: first revision without the endpoint */
} DnDropWait;

struct DnFleetCore {
	DnRange node_range, vip_range;
	GHashTable *services;  /* char * → DnService * */
	GHashTable *hosts;     /* char * → DnHost * */
	GHashTable *tokens;    /* char * hash → DnTokenRecord * */
	GHashTable *incidents; /* char * id → DnIncident * */
	GHashTable *pending;   /* uint64_t * tag → DnPending * */
	GPtrArray *drops;      /* of DnDropWait */
	GHashTable *sweeps;    /* sweep.c: those under way, by incident */
	GHashTable *past; /* char * id → DnPast *: destroyed, and not in incidents any more */
	/* char * host → set of char *: its nodes that an incident of it in force names */
	GHashTable *cut;
	uint64_t last_tag;
	uint64_t last_revision;
	uint64_t routes_changes;            /* grows when a host is new, or at another address */
	uint64_t started_ns;                /* CLOCK_MONOTONIC of the first step; 0: none yet */
	uint64_t troubles_ns[DN_TROUBLE_N]; /* of those who are no hosts */
};

DnHost *dn_state_host(const DnFleetCore *core, const char *name);
DnService *dn_state_service(const DnFleetCore *core, const char *name);
DnHost *dn_state_add_host(DnFleetCore *core, const DnHostRecord *record, DnRange range);
DnService *dn_state_add_service(DnFleetCore *core, const char *name, const char *vip);
/* Keys of @table in order, so that every run decides alike. Free the container with g_list_free. */
GList *dn_state_sorted(GHashTable *table);

/* The part of @assign for @digest, or NULL. */
const DnPart *dn_state_part(const DnAssign *assign, const char *digest);
/* How good a host's word is that a node is its own. An address is always in its own range. */
typedef enum { DN_CLAIM_FENCED, DN_CLAIM_BARE, DN_CLAIM_ADDRESSED } DnClaim;

DnClaim dn_state_claim(const DnHost *host, const DnNodeRecord *node);
/* The one with the best claim to @node. */
DnHost *dn_state_host_of_node(const DnFleetCore *core, const char *node, DnNodeRecord **record);
/* The same among those that are not @but. */
DnHost *dn_state_rival(const DnFleetCore *core, const DnHost *but, const char *node,
		       DnNodeRecord **record);
/* Has every host that has nodes of @service reported, or had the time to, since the start? */
bool dn_state_knows_hosts(const DnFleetCore *core, const DnService *service, DnNow now);
/* Slots that no share and no quarantined node takes; below zero: so many shares have none. */
int64_t dn_state_spare(const DnFleetCore *core, const DnHost *host);
uint32_t dn_state_room(const DnFleetCore *core, const DnHost *host);

/* A new tag, remembered as the core's own with @subject; answered by dn_fleet_core_answered(). */
uint64_t dn_state_pending(DnFleetCore *core, const char *host, DnOrderKind kind,
			  const char *subject, uint64_t revision);
uint64_t dn_state_tag(DnFleetCore *core);
