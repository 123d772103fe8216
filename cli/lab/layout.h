/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the parts of a lab are. A lab is a whole fleet on one machine: a supervisor, N hosts and
 * a client, each in a network namespace of its own, joined by a bridge in one more.
 *
 *     NAME-sw   bridge, the layer 2 that all share
 *     NAME-sup  10.88.0.1   dnode-supervisor
 *     NAME-client 10.88.0.2 from where VIPs can be tried: one route over every host
 *     NAME-hI   10.88.0.(10+I)  dnode-agent
 *
 * Every name and path derives from the lab's name, so that labs can stand side by side.
 */

#include <glib.h>
#include <stdint.h>

#include "base/error.h"

#define DN_LAB_NAME "dnode-lab"
#define DN_LAB_HOSTS_LIMIT 100
#define DN_LAB_SUPERVISOR_ADDRESS "10.88.0.1"
#define DN_LAB_CLIENT_ADDRESS "10.88.0.2"
#define DN_LAB_LINK_PORT 7443
#define DN_LAB_REPO_PORT 7480

typedef struct {
	unsigned index; /* from 1 */
	char *name;     /* h1 … */
	char *netns;
	char *address;
	char *config; /* agent.yaml */
	char *state_dir, *run_dir;
	char *cgroup_parent;
	char *bpf_dir;
	char *runtime_root;
	uint32_t uid_base;
} DnLabHost;

typedef struct {
	char *name;
	char *state_dir, *run_dir;
	char *home;        /* the cluster's directory */
	char *socket;      /* the supervisor's */
	char *libexec_dir; /* the agents' helpers */
	char *log_dir;
	char *lock;        /* held while a command makes or removes it */
	char *record;      /* lab.json: what `up` did and `down` must undo */
	char *daemons;     /* what the monitor is to keep running */
	char *pids;        /* what it runs */
	char *monitor_pid; /* its own pid, locked while it lives */
	char *switch_netns, *supervisor_netns, *client_netns;
	GPtrArray *hosts; /* of DnLabHost */
} DnLab;

/*
 * @name is a dn_text_is_name() of at most 24 letters (NULL: "dnode-lab"); @n_hosts is 0 to
 * DN_LAB_HOSTS_LIMIT. Only computes; DN_ERROR_INVALID otherwise.
 */
DnLab *dn_lab_new(const char *name, unsigned n_hosts, GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_lab_free(DnLab *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLab, dn_lab_free)

/* The daemons and helpers: beside this program in a build tree or below its prefix. */
typedef struct {
	char *dnode, *supervisor, *agent;
	char *log_helper, *drill_helper;
} DnLabPrograms;

/* DN_ERROR_UNSUPPORTED names the one that is missing. */
DnLabPrograms *dn_lab_programs_find(GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_lab_programs_free(DnLabPrograms *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnLabPrograms, dn_lab_programs_free)
