/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A cluster in one process: the core, and hosts that obey it as agents do. Time passes only when
 * world_step() is called. What the core asks to be said is kept for the tests to look at.
 */

#include "core/fleet.h"
#include "core/view.h"

typedef struct World World;

World *world_new(void);
/* Of hosts a, b and c, each with room for ten nodes. */
World *world_new_of_three(void);
void world_free(World *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(World, world_free)

DnFleetCore *world_core(World *self);
DnNow world_now(const World *self);
/* Never the same twice: for names and addresses. */
unsigned world_next_number(World *self);

/* Enrol and connect host NAME with room for @slots nodes; it reports at once. */
void world_add_host(World *self, const char *name, uint32_t slots);
void world_disconnect(World *self, const char *host);
void world_connect(World *self, const char *host);

/* A supervisor that knows what the store had takes the place of this one: nobody is connected. */
void world_restart(World *self);

/* Nodes made from now on by @host never get ready. */
void world_break(World *self, const char *host, bool broken);
/* Nodes of @epoch are not ready any more, on any host, and never will be. */
void world_break_epoch(World *self, uint64_t epoch);
/* @host cannot write manifests down, for a while. */
void world_fail(World *self, const char *host, bool fails);
/* @host refuses manifests with DN_ERROR_UNTRUSTED. */
void world_refuse(World *self, const char *host);
/* By the clock of @host every manifest has expired that it has accepted. */
void world_set_ahead(World *self, const char *host);
/* @host takes orders but does not answer until it is told to again. */
void world_mute(World *self, const char *host, bool mute);

/* @host answers sweeps so from now on. */
void world_find(World *self, const char *host, uint32_t looked, uint32_t found);

/* A manifest as it comes out of the parser. */
DnDeclaration *world_declare(const char *service, uint64_t epoch, uint32_t replicas,
			     uint32_t standby);
/* Whose nodes are like those of epoch @like, so that they stay; "SERVICE-EPOCH~LIKE". */
DnDeclaration *world_declare_as(const char *service, uint64_t epoch, uint64_t like,
				uint32_t replicas, uint32_t standby);
/* Apply it; the code of the error, or 0. */
int world_apply(World *self, DnDeclaration *taken);
/* Apply one of "web", which must be taken, and settle. */
void world_deploy(World *self, uint64_t epoch, uint32_t replicas, uint32_t standby);

/* Let every host obey what it was told and report, then let @ms pass. */
void world_step(World *self, unsigned ms);
/* Steps until nothing changes any more, 200 at most. */
void world_settle(World *self);

/* Say @fact for @host, which may be a lie. */
void world_say(World *self, const char *host, const DnFact *fact);
/* Cut one ready node of @service on @host, as a reflex does; its id and the incident's. */
char *world_cut(World *self, const char *host, const char *service, char **incident);

/* Ready nodes of @service by what hosts really have, and on one host. */
unsigned world_ready(const World *self, const char *service);
unsigned world_ready_on(const World *self, const char *host, const char *service, uint64_t epoch);
/* The fewest ready nodes that any step since the last call has seen. */
unsigned world_fewest_ready(World *self, const char *service);
/* The most nodes, ready or not, that were asked for at once since the start. */
unsigned world_most_asked(const World *self, const char *service);

/* How often an order of @kind went to @host; and how many endpoints its last ASSIGN names. */
unsigned world_orders(const World *self, const char *host, DnOrderKind kind);
unsigned world_endpoints(const World *self, const char *host, const char *service);
const DnAssign *world_assign(const World *self, const char *host, const char *service);
/* How many assignments hosts had to refuse. */
unsigned world_refusals(const World *self);
/* How often an event of this kind was told, and whether it was. */
unsigned world_count(const World *self, const char *kind);
bool world_heard(const World *self, const char *kind);
/* Hand @acts to the hosts. */
void world_carry_out(World *self, DnActs *acts);
