/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The states of a node and their names, which are a contract of the command line and the API. */

#include <stdbool.h>

typedef enum {
	DN_NODE_CREATING,    /* being built: network, root, container */
	DN_NODE_CREATED,     /* a standby whose service has not been started yet */
	DN_NODE_STANDBY,     /* a standby that runs and is healthy, outside the balancer */
	DN_NODE_STARTING,    /* started, not healthy yet */
	DN_NODE_READY,       /* healthy and in the balancer */
	DN_NODE_DRAINING,    /* out of the balancer, finishing what it has */
	DN_NODE_STOPPING,    /* told to stop */
	DN_NODE_STOPPED,     /* ended; its parts are being removed */
	DN_NODE_QUARANTINED, /* cut, frozen, kept */
	DN_NODE_DESTROYED,   /* a quarantined node that a responder let go */
	DN_NODE_FAILED,      /* could not be built, or ended by itself */
	DN_NODE_LOST,        /* its host does not answer (said by the supervisor) */
	DN_NODE_N_STATES
} DnNodeState;

const char *dn_node_state_name(DnNodeState state);
bool dn_node_state_parse(const char *name, DnNodeState *state);

/* What an agent keeps a node for. */
typedef enum { DN_ROLE_ACTIVE, DN_ROLE_STANDBY } DnRole;
