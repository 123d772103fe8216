/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a host has to do so that its nodes of one service become its share of it. Pure and
 * level-triggered: (share, nodes, now) → acts. Carrying out an act changes the nodes, and the
 * next call starts from what is there then.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/backoff.h"
#include "model/fleet.h"

/* A node as the plan sees it. */
typedef struct {
	const char *id;
	const char *digest;
	uint64_t epoch;
	DnNodeState state;
	DnRole role;
	bool hopeless;    /* unhealthy for replace_after, or its start deadline has passed */
	bool marked;      /* evidence: it may be cut, never drained or stopped */
	bool drained;     /* draining: no connection is left, or the drain time is over */
	uint64_t made_ns; /* CLOCK_MONOTONIC: the youngest goes first */
} DnPlanNode;

/* One service. */
typedef struct {
	const DnAssign *assign;
	const DnPlanNode *nodes;
	size_t n_nodes;
	/* Cut nodes that the budget does not let us replace: so many fewer run. */
	uint32_t held;
	/* Cut standbys of the same kind: so many fewer wait. */
	uint32_t held_standby;
	const DnBackoffs *backoffs; /* no new node of a manifest before it says; NULL: at once */
	uint64_t now_ns;
	uint32_t free_slots;
} DnPlanInput;

typedef enum {
	DN_ACT_CREATE,  /* a node of @digest for @role */
	DN_ACT_PROMOTE, /* standby @node becomes active */
	DN_ACT_DRAIN,   /* take @node out of the balancer, let it finish */
	DN_ACT_STOP,    /* stop @node (politely, then by force) */
	DN_ACT_REMOVE,  /* take @node's parts away */
	DN_ACT_CUT,     /* @node is evidence that still serves (isolation.h), and is not needed */
} DnActKind;

typedef struct {
	DnActKind kind;
	const char *node;   /* borrowed from the input */
	const char *digest; /* borrowed from the input */
	DnRole role;
} DnAct;

/* GArray of DnAct, in the order to carry them out. */
GArray *dn_plan(const DnPlanInput *input) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Does the share lack a node of @digest for @role? Asked once a node of it was cut: not while there
 * are as many as are wanted without it.
 */
bool dn_plan_lacks(const DnPlanInput *input, const char *digest, DnRole role);
