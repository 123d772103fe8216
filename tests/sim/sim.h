/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A whole fleet in one process and in virtual time: dn_fleet_core of the supervisor and the cores
 * of the agent run unchanged; what is simulated is everything around them.
 *
 *   sim.c         time, chance, the queue of what happens next     trace.c   what is printed
 *   host.c …      agents: disk, run directory, kernel, reflex      truth.c   the invariants
 *   supervisor.c  supervisors: store, term, sessions, batches      people.c  what people ask for
 *   faults.c      what goes wrong                                  main.c    seeds and workers
 *
 * Everything follows from the seed: two runs of one seed are the same to the byte.
 *
 * The two programs may not see each other's headers, and do not here either: host*.c are compiled
 * against the agent, supervisor*.c against the supervisor, everything else against model/ alone.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"
#include "model/fleet.h"

enum {
	SIM_HOSTS = 4,
	SIM_SUPERVISORS = 2,
	SIM_SERVICES = 3,
	SIM_SLOTS = 12,
	SIM_FAULTS_S = 20, /* how long things go wrong */
	SIM_QUIET_S = 90,  /* and how long the fleet then has to come to rest */
	SIM_QUEUE_LIMIT = 20000,
};

#define SIM_MS DN_NS_PER_MS
#define SIM_S DN_NS_PER_S
#define SIM_REALTIME UINT64_C(1800000000000000000)
#define SIM_NODE_CIDR "10.77.0.0/16"
#define SIM_VIP_CIDR "10.78.0.0/24"

typedef struct Sim Sim;
typedef struct SimHost SimHost;
typedef struct SimSupervisor SimSupervisor;
typedef struct SimStore SimStore;
typedef struct Truth Truth;
typedef struct People People;
typedef struct Trace Trace;

/* ---- packets: what a link carries. Shared and counted, so that it can be delivered twice ---- */
typedef struct {
	int refs;
	DnFact *fact;
	DnOrder *order;
	DnAnswerTo *answer;
	unsigned addressee; /* the host an order was meant for */
	bool obeyed;        /* once already */
} Packet;

Packet *packet_new(void);
Packet *packet_ref(Packet *self);
void packet_unref(Packet *self);

/* ---- what happens next ---- */
typedef struct Event Event;
typedef void (*SimCall)(Sim *sim, const Event *event);

struct Event {
	uint64_t at_ns, order;
	SimCall call;
	unsigned who, whom; /* hosts or supervisors, as the call has it */
	uint64_t life;      /* of the one it is for: a dead one hears nothing */
	uint64_t tag;
	Packet *packet; /* owned, or NULL */
};

struct Sim {
	uint64_t seed, chance;
	uint64_t now_ns; /* CLOCK_MONOTONIC of the world */
	uint64_t order;
	GArray *queue; /* of Event: a binary heap */
	bool faulty;   /* things still go wrong */
	bool orderly;  /* this seed's network loses whole links, but orders nothing anew */
	unsigned hosts, services;
	SimHost *host[SIM_HOSTS];
	SimSupervisor *supervisor[SIM_SUPERVISORS];
	SimStore *store;
	GHashTable *signed_manifests; /* char * digest → DnManifest *: what people have signed */
	uint64_t links;               /* made so far */
	uint64_t ids;
	uint64_t steps;
	Truth *truth;
	People *people;
	Trace *trace;
	char *failure; /* NAME: what was broken; the run is over */
};

Sim *sim_new(uint64_t seed, bool trace);
void sim_free(Sim *self);
/* True: every invariant held and the fleet came to rest. */
bool sim_run(Sim *self);

/* The next random number; below @limit; true in @of of a thousand. */
uint64_t sim_draw(Sim *self);
uint64_t sim_below(Sim *self, uint64_t limit);
bool sim_chance(Sim *self, unsigned of_thousand);
/* @chance, but only while things go wrong. */
bool sim_mishap(Sim *self, unsigned of_thousand);

/* Let @event happen @after_ns from now; its other times are filled in. */
void sim_later(Sim *self, uint64_t after_ns, Event event);

/* ---- trace.c ---- */
void sim_say(Sim *self, const char *actor, const char *format, ...) G_GNUC_PRINTF(3, 4);
void trace_print(const Trace *self);
Trace *trace_new(bool all);
void trace_free(Trace *self);

/* ---- faults.c, people.c ---- */
void faults_begin(Sim *self);
void people_begin(Sim *self);
void people_free(People *self);
/* A supervisor has answered request @ticket: 0 done, else a DnErrorCode. */
void people_answered(Sim *self, uint64_t ticket, int code);
const DnManifest *people_manifest(const Sim *self, unsigned service); /* last signed, or NULL */
bool people_is_signed_destroy(const DnOrder *order, const char *host, const char *incident);
