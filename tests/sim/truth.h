/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What must always be true, and what a witness who sees everything has written down: nothing
 * here is ever lost in a crash.
 */

#include "sim.h"

typedef enum {
	TRUTH_EPOCH,
	TRUTH_QUARANTINE,
	TRUTH_ACKNOWLEDGED,
	TRUTH_ONE_INCIDENT,
	TRUTH_CHARGED_ONCE,
	TRUTH_BALANCER,
	TRUTH_CONVERGES,
	TRUTH_BUDGET,
	TRUTH_DRILLS,
	TRUTH_ENVELOPE,
	TRUTH_LEADER,
	TRUTH_ADDRESSEE,
	TRUTH_SIGNED,
	TRUTH_CORDON,
	TRUTH_BOUNDED,
	TRUTH_N
} TruthKind;

const char *truth_name(TruthKind kind);
const char *truth_sentence(TruthKind kind);

Truth *truth_new(void);
void truth_free(Truth *self);

/* The run is over: @kind does not hold. */
void truth_broken(Sim *sim, TruthKind kind, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* After every step. */
void truth_check(Sim *sim);
/* Nothing is on its way any more and everything is as people want it; else *@why, one line. */
bool truth_is_at_rest(Sim *sim, char **why);

/* ---- the witness's notes ---- */
uint64_t truth_epoch(const Sim *sim, unsigned host, const char *service);
void truth_saw_epoch(Sim *sim, unsigned host, const char *service, uint64_t epoch);
/*
 * alike.c: how many nodes of @share (char * digest → how many, or NULL) are @part's, or those of a
 * manifest up to its epoch that would make them just as they are.
 */
guint alike_nodes(const Sim *sim, GHashTable *share, const DnPart *part);

void truth_saw_assign(Sim *sim, unsigned host, const DnAssign *assign);
void truth_saw_term(Sim *sim, unsigned host, uint64_t term);
/* A host obeys @packet. */
void truth_saw_obeyed(Sim *sim, unsigned host, Packet *packet);
/* Supervisor @who, in its @life, has written in @term. */
void truth_saw_write(Sim *sim, uint64_t life, uint64_t term);

void truth_saw_mark(Sim *sim, const char *node);
bool truth_is_marked(const Sim *sim, const char *node);
/* The last trace of @node was removed from a running kernel. */
void truth_saw_removed(Sim *sim, const char *node);
void truth_saw_signed_destroy(Sim *sim, const char *incident);
void truth_saw_destroy(Sim *sim, const char *incident, const char *node);

/* What is paid for: a clean node in the place of @node, a drill. */
typedef struct {
	unsigned host;
	const char *service;
	uint32_t count;
	uint64_t within_ns;
	uint64_t now_ns;     /* of the world: no clock of a host may give anything back */
	uint64_t charged_ns; /* when what is charged happened */
} Spending;
void truth_saw_replaced(Sim *sim, const char *node, const Spending *spending);
void truth_saw_drill(Sim *sim, const Spending *spending);
void truth_saw_charges(Sim *sim, unsigned host, const char *service, guint charges);
void truth_saw_forgotten(Sim *sim, unsigned host, const char *service);
bool truth_was_replaced(const Sim *sim, const char *node);

/* Said to be safe: an epoch applied, an incident reported, a node quarantined by hand. */
void truth_acknowledge_epoch(Sim *sim, const char *service, uint64_t epoch);
void truth_acknowledge_incident(Sim *sim, const char *incident);
void truth_acknowledge_quarantine(Sim *sim, const char *node);
bool truth_is_acknowledged_quarantine(const Sim *sim, const char *node);
/* Nobody knows any more whether @host is cordoned; it is or is not, and had @had nodes of each. */
void truth_forget_cordon(Sim *sim, unsigned host);
void truth_acknowledge_cordon(Sim *sim, unsigned host, bool cordoned,
			      const uint32_t had[static SIM_SERVICES]);
