/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the simulated host share. Names follow agent/main, which does the same. */

#include "core/custody.h"
#include "core/envelope.h"
#include "core/epoch.h"
#include "core/life.h"
#include "core/plan.h"
#include "core/respawn.h"
#include "core/share.h"
#include "host.h"
#include "model/budget.h"
#include "plant.h"
#include "truth.h"

#define SIM_CLUSTER "00000000000000aa"

/* A service in the agent's memory or, its first members, on disk. */
typedef struct {
	char *name;
	DnAssign *assign;
	DnBudget budget, drills;
	GPtrArray *held, *held_standby; /* of char * */
	GPtrArray *owed;                /* of char *; memory only */
	DnBackoffs *backoffs;           /* memory only */
} Service;

/* What the kernel and the run directory have in one slot; lost when the host boots. */
typedef struct {
	char *id; /* NULL: nothing is there */
	uint64_t life;
	DnManifest *manifest;
	bool whole;   /* else half built */
	bool created; /* waits for its start */
	bool running;
	bool sick, mute;  /* answers no probes; never will */
	uint64_t mark_ns; /* 0: none */
	bool drilled, by_hand;
	bool unplugged; /* its network is given back: only destruction may do that */
	bool balanced;  /* in this host's balancer */
	/* RUN_DIR/nodes/ID.json */
	bool saved;
	DnNodeState saved_state;
	bool saved_standby, saved_healthy;
	char *saved_incident;
} Kernel;

/* The agent's memory of a node. */
typedef struct {
	char *id;
	unsigned slot;
	DnManifest *manifest;
	DnNodeState state;
	DnRole role;
	bool healthy, built, busy, cut_taken, finished, drill, entered, dropped;
	uint64_t made_ns, started_ns, drain_until_ns, sick_since_ns;
	char *replaces, *incident;
} Node;

/* STATE_DIR. What is in @late is not durable yet. */
typedef struct {
	uint64_t term;
	bool network;
	GHashTable *epochs;    /* as DnEpoch */
	GHashTable *manifests; /* char * → DnManifest * */
	GHashTable *services;  /* char * → Service * */
	GHashTable *incidents; /* char * → DnIncident * */
} Disk;

struct SimHost {
	unsigned number;
	bool up, linked, settling;
	uint64_t life;
	uint64_t boot_ns; /* of the world when it booted */
	int64_t skew_ns;
	unsigned crash_after; /* durable writes; 0: never */

	Kernel kernel[SIM_SLOTS];
	GHashTable *remote; /* char * service → GPtrArray of char * addresses, in the balancer */
	Disk disk;
	GArray *late; /* of Late */

	/* the agent's memory: of a dead one it stays until the next starts, and nobody looks at it
	 */
	DnEnvelope envelope;
	GHashTable *epochs, *manifests, *services, *incidents;
	Node *slots[SIM_SLOTS];

	/* its link */
	uint64_t link; /* 0: none that it knows of */
	unsigned peer;
	bool broken; /* nothing passes any more, but nobody has noticed */
	uint64_t clear_ns;
	uint64_t partitioned_ns; /* no new link before */

	/* of the witness */
	guint incidents_seen;
	uint64_t checked_life;
};

static inline SimHost *host_of(const Sim *sim, unsigned host)
{
	return sim->host[host];
}

uint64_t host_monotonic(const Sim *sim, const SimHost *self);
uint64_t host_realtime(const Sim *sim, const SimHost *self);

/* host-disk.c: false when the agent died at it; then nothing more may be done. */
void disk_init(SimHost *self);
void disk_clear(SimHost *self);
void disk_carry_budgets_over(SimHost *self);
bool disk_save_term(Sim *sim, SimHost *self, uint64_t term);
bool disk_save_epochs(Sim *sim, SimHost *self);
bool disk_save_manifest(Sim *sim, SimHost *self, DnManifest *manifest);
bool disk_save_service(Sim *sim, SimHost *self, const Service *service);
bool disk_forget_service(Sim *sim, SimHost *self, const char *name);
bool disk_save_incident(Sim *sim, SimHost *self, const DnIncident *incident);
void disk_save_service_soon(Sim *sim, SimHost *self, const Service *service);
void disk_save_incident_soon(Sim *sim, SimHost *self, const DnIncident *incident);
bool disk_flush(Sim *sim, SimHost *self);
void disk_lose(Sim *sim, SimHost *self); /* the agent is dead: what was late may be lost */
void memory_load(SimHost *self);
void memory_clear(SimHost *self);
Service *service_new(const char *name);
void service_free(Service *self);
Service *service_get(SimHost *self, const char *name);

/* host.c */
void host_say(Sim *sim, SimHost *self, DnFact *fact); /* takes it */
void host_report(Sim *sim, SimHost *self);

DnNodeRecord *node_record(const SimHost *self, const Node *node);

/* host-orders.c */
void host_take_order(Sim *sim, const Event *event);

/* host-node.c */
Node *node_find(SimHost *self, const char *id);
void node_free(SimHost *self, Node *node);
void node_become(Sim *sim, SimHost *self, Node *node, DnNodeState state);
void node_save(SimHost *self, const Node *node);
void node_report(Sim *sim, SimHost *self, const Node *node);
void node_create(Sim *sim, SimHost *self, Service *service, const DnAct *act);
void node_start(Sim *sim, SimHost *self, Node *node);
void node_promote(Sim *sim, SimHost *self, Node *node);
void node_drain(Sim *sim, SimHost *self, Node *node);
bool node_dropped(SimHost *self, const DnOrder *order);
void node_stop(Sim *sim, SimHost *self, Node *node);
void node_remove(Sim *sim, SimHost *self, Node *node);
char *node_address(const SimHost *self, unsigned slot);
void host_adopt(Sim *sim, SimHost *self);
void kernel_clear(Kernel *self);

/* host-service.c */
void host_balance(Sim *sim, SimHost *self);
void host_settle(Sim *sim, SimHost *self);
void host_settle_service(Sim *sim, SimHost *self, Service *service);

/* host-cut.c */
void host_look_for_marks(Sim *sim, SimHost *self);
void kernel_mark(Sim *sim, SimHost *self, Kernel *kernel, bool drilled, bool by_hand);
void incident_open(Sim *sim, SimHost *self, Node *node);
void incident_adopt(Sim *sim, SimHost *self, Node *node);
void incidents_release(Sim *sim, SimHost *self);
void incident_replaced(Sim *sim, SimHost *self, Node *node);
void incident_report(Sim *sim, SimHost *self, const DnIncident *incident);
bool order_quarantine(Sim *sim, SimHost *self, const DnOrder *order, GError **error);
bool order_drill(Sim *sim, SimHost *self, const DnOrder *order, GError **error);
bool order_destroy(Sim *sim, SimHost *self, const DnOrder *order, GError **error);
bool order_stamp(Sim *sim, SimHost *self, const DnOrder *order, GError **error);
