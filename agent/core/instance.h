/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One agent instance: everything that keeps two agents on one kernel apart. All paths of the
 * agent derive from here; there is no path constant anywhere else. Made by main from
 * agent.yaml, then immutable and shared by every thread.
 */

#include <glib.h>
#include <stdint.h>

typedef struct {
	char *name;          /* host name in the cluster: a dn_text_is_name() */
	char *state_dir;     /* survives a reboot: keys, epochs, manifests, repo, incidents */
	char *run_dir;       /* does not: bundles, node roots, sockets; o+x up to here */
	char *cgroup_parent; /* below the cgroup root, no leading slash: dnode or dnode-lab/h1 */
	char *cgroup_root;   /* where cgroup v2 is mounted: /sys/fs/cgroup or …/unified */
	char *bpf_dir;       /* pins: /sys/fs/bpf/dnode */
	char *runtime;       /* OCI runtime binary */
	char *runtime_root;  /* its --root */
	uint32_t uid_base;   /* node in slot i owns [uid_base + i * 65536, … + 65535] */
	char *uplink;        /* interface towards the other hosts */
	char *libexec_dir;   /* where the helpers dnode-log and dnode-drill are */
	char *supervisor_address; /* HOST:PORT of the link */
} DnInstance;

enum {
	DN_SLOTS = 250, /* nodes a host at most; slot i has address .1+i of the host's /24 */
	DN_UIDS_PER_NODE = 65536,
};
