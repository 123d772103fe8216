/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether what the agent relies on is still as it left it: files it wrote for a node and the node's
 * root mount, the freezer of quarantined nodes, the firewall's table, its own program and its
 * trust. Only somebody with root's rights on this host can change any of that. It is put right
 * where that is possible, and always told.
 */

#include "main/agent.h"

/* What is kept of one node: its record, its runtime configuration, the mount of its root. */
typedef struct DnKept DnKept;

DnKept *dn_kept_new(const Agent *agent, const char *node);
void dn_kept_free(DnKept *self);

/* The agent itself has written the node's record. NULL is none. */
void dn_kept_written(DnKept *self);

/* Begin, once there are nodes to guard. */
void dn_guard_start(Agent *agent);

/* The firewall has just been opened: tell of changes by others from now on. */
void dn_guard_firewall(Agent *agent);

void dn_guard_stop(Agent *agent);
