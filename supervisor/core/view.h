/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What people are shown of the fleet: copies, so that a view outlives the step that follows. */

#include "core/fleet.h"

typedef enum {
	DN_SERVICE_RUNNING,
	DN_SERVICE_ROLLING,
	DN_SERVICE_DEGRADED, /* fewer nodes ready than wanted, or a roll has stopped */
	DN_SERVICE_REMOVING,
	DN_SERVICE_REMOVED,
	DN_SERVICE_N_STATES
} DnServiceState;

const char *dn_service_state_name(DnServiceState state);

typedef struct {
	char *name;
	char *vip;
	DnDeclaration *current; /* owned */
	uint32_t ready;         /* nodes of every epoch */
	uint32_t standby;
	DnServiceState state;
	bool rolling;             /* or stopped half-way: roll_error says why */
	uint32_t roll_ready;      /* nodes of the current epoch */
	uint64_t roll_started_ns; /* CLOCK_REALTIME */
	char *roll_error;         /* or NULL */
	char *why;                /* it is degraded, or being removed for long; one line, or NULL */
} DnServiceView;

void dn_service_view_free(DnServiceView *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnServiceView, dn_service_view_free)

typedef enum {
	DN_HOST_NEW,
	DN_HOST_UP,
	DN_HOST_LOST,
	DN_HOST_SUSPECT, /* up, and not trusted with new nodes: it reported tampering */
	DN_HOST_FENCED,  /* shut out by a person */
	DN_HOST_N_STATES
} DnHostState;

const char *dn_host_state_name(DnHostState state);

typedef struct {
	char *name, *cidr;
	char *address; /* or NULL */
	DnHostState state;
	bool cordoned;            /* nothing new is placed there */
	char *suspect;            /* nor there, and why; or NULL */
	char *fenced;             /* why it is shut out; or NULL */
	char *version, *kernel;   /* or NULL */
	GHashTable *capabilities; /* char * → char * */
	uint32_t nodes, incidents;
	uint64_t last_seen_ns; /* CLOCK_REALTIME; 0: never */
} DnHostView;

void dn_host_view_free(DnHostView *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnHostView, dn_host_view_free)

/* Lists are sorted by name or id; free with g_ptr_array_unref(). */
GPtrArray *dn_fleet_core_services(const DnFleetCore *self); /* of DnServiceView */
DnServiceView *dn_fleet_core_service(const DnFleetCore *self, const char *name); /* or NULL */
GPtrArray *dn_fleet_core_hosts(const DnFleetCore *self);                         /* of DnHostView */
/* @service may be NULL: all. Nodes of a lost host are shown as lost. */
GPtrArray *dn_fleet_core_nodes(const DnFleetCore *self, const char *service);
bool dn_fleet_core_has_node(const DnFleetCore *self, const char *id);
/*
 * A host that has told nothing of its nodes since this supervisor started, or NULL: what is not
 * known may be there.
 */
const char *dn_fleet_core_silent_host(const DnFleetCore *self);
/* @service and @node may be NULL: all. Newest first. */
GPtrArray *dn_fleet_core_incidents(const DnFleetCore *self, const char *service,
				   const char *node); /* of DnIncident */
/* How many more there are of those, which are past and in the store alone. */
unsigned dn_fleet_core_past_incidents(const DnFleetCore *self, const char *service,
				      const char *node);
