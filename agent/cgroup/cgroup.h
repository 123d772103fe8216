/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The v2 cgroup of a node: CGROUP_ROOT/CGROUP_PARENT/NODE. Freezing, killing and the sensor
 * always go through v2, also where the controllers are mounted as v1 (cgroups(7), cgroup-v2.rst).
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/instance.h"

/* Find where cgroup v2 is mounted; fails with DN_ERROR_UNSUPPORTED when it is nowhere. */
char *dn_cgroup_find_root(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Where nodes are when agent.yaml does not say: with systemd and v2 alone below dnode.slice, so
 * that limits of the slice hold for them; elsewhere below a cgroup of the root's. systemd knows the
 * slice but not what is in it beside its units, and leaves that alone (docs/decisions/0003).
 */
const char *dn_cgroup_usual_parent(void);

/*
 * Make the instance's parent cgroup in v2 (and, on pure v2, delegate memory, pids and cpu to
 * it). @level is its depth below the root: bpf_get_current_ancestor_cgroup_id(level + 1) names
 * the node.
 */
bool dn_cgroup_prepare(const DnInstance *instance, unsigned *level,
		       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Remove the instance's parent in every hierarchy, with whatever empty cgroups are below. */
bool dn_cgroup_remove_parent(const DnInstance *instance, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * The first move of a process between cgroups in a while waits for a grace period of RCU, some
 * 8 ms and more on a busy machine; those that follow within moments do not (the kernel's
 * cgroup_threadgroup_rwsem, a percpu-rwsem). This pays it beside other work, on a thread of its
 * own, by moving this process to where it is. Nothing depends on it.
 */
void dn_cgroup_expect_moves(const DnInstance *instance);

/* Descriptors kept open for the reflex. */
typedef struct {
	int freeze_fd; /* cgroup.freeze, write */
	int events_fd; /* cgroup.events, read */
	uint64_t id;   /* inode number: what bpf_get_current_cgroup_id() returns */
} DnCgroup;

bool dn_cgroup_open(const DnInstance *instance, const char *node, DnCgroup *opened,
		    GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_cgroup_close(DnCgroup *self);

/* No allocation and no GError: these run on the reflex thread. False: errno says why. */
bool dn_cgroup_freeze(const DnCgroup *self);
bool dn_cgroup_thaw(const DnCgroup *self);
bool dn_cgroup_is_frozen(const DnCgroup *self);

/*
 * Evidence is not what the host is to give up first when its memory runs out, as it is of nodes
 * that serve and can be made anew: no weight of its own any more (oom_score_adj, proc(5)). For a
 * frozen cgroup, whose processes stay who they are. Blocks, some 10 us a process.
 */
void dn_cgroup_spare_now(const DnInstance *instance, const char *node);

/* True when no process is in the node's cgroup, or it is gone. */
bool dn_cgroup_is_empty(const DnInstance *instance, const char *node);
