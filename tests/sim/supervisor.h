/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Supervisors around dn_fleet_core, as supervisor/main is: what is decided is stored in batches,
 * what depends on it is said after. Two of them may run at once; the store knows one term only.
 */

#include "sim.h"

/* ---- the store: one, shared, durable; a write of an old term fails ---- */
SimStore *store_new(void);
void store_free(SimStore *self);
uint64_t store_epoch(const Sim *sim, const char *service); /* 0: no such service */
bool store_has_incident(const Sim *sim, const char *id);
uint64_t store_term(const Sim *sim);

/* ---- processes ---- */
SimSupervisor *supervisor_new(unsigned number);
void supervisor_free(SimSupervisor *self);
void supervisor_start(Sim *sim, unsigned who);
void supervisor_crash(Sim *sim, unsigned who, const char *why);
bool supervisor_is_up(const Sim *sim, unsigned who);
/* The one whose term is the store's, or SIM_SUPERVISORS. */
unsigned supervisor_leader(const Sim *sim);
void supervisor_jump(Sim *sim, unsigned who, int64_t by_ns);
size_t supervisor_backlog(const Sim *sim, unsigned who);

/* ---- links: @link is the number of a TCP connection ---- */
void supervisor_hello(Sim *sim, const Event *event); /* who: supervisor, whom: host */
void supervisor_hear(Sim *sim, const Event *event);
void supervisor_link_lost(Sim *sim, const Event *event);
/* An order that this supervisor has sent to @host lately, or NULL: for those who replay. */
Packet *supervisor_recent(const Sim *sim, unsigned who, uint64_t draw);

/* ---- requests of people; answered through people_answered() ---- */
void supervisor_apply(Sim *sim, unsigned who, DnManifest *manifest, uint64_t ticket);
void supervisor_drill(Sim *sim, unsigned who, const char *service, uint64_t ticket);
void supervisor_quarantine(Sim *sim, unsigned who, const char *node, uint64_t ticket);
void supervisor_destroy(Sim *sim, unsigned who, const char *incident, const char *statement,
			const char *signature, uint64_t ticket);
/* False: it does not know the host, and nobody will be answered. */
bool supervisor_cordon(Sim *sim, unsigned who, unsigned host, bool cordon, uint64_t ticket);
bool supervisor_has_cordoned(const Sim *sim, unsigned who, unsigned host);
/* A node or incident it knows of, or NULL; to be freed. */
char *supervisor_some_node(const Sim *sim, unsigned who, uint64_t draw);
char *supervisor_some_incident(const Sim *sim, unsigned who, uint64_t draw, char **host);

/* What @host should have of @service; @digests gets one char * for each node that should run. */
typedef struct {
	uint32_t running, standby;
	uint32_t everywhere; /* on all hosts */
	bool removed, stopped;
	uint32_t replicas;
} Wanted;
bool supervisor_wants(const Sim *sim, unsigned who, unsigned host, const char *service,
		      Wanted *wanted);
