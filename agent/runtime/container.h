/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Nodes as OCI containers, through a runtime binary (crun) and its create, start, kill, delete
 * and state. Every call blocks and belongs on a worker thread, except the two marked "reflex".
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/instance.h"
#include "model/manifest.h"

typedef struct {
	const char *node;       /* container id and host name */
	uint32_t uid_base;      /* first host uid of the node */
	const char *root;       /* the node's idmapped read-only root */
	const char *netns;      /* /run/netns/… of the node */
	const char *hosts_file; /* mounted read-only at /etc/hosts */
	const DnManifest *manifest;
	/* run with the image's defaults filled in; args never NULL, uid never -1 */
	const DnRun *run;
	const char *log_dir; /* the node's log ring */
	int nice;            /* of the runtime while it creates; the node itself starts with 0 */
} DnContainerSpec;

typedef struct {
	pid_t pid;           /* the node's pid 1 as the host counts */
	uint64_t start_time; /* field 22 of /proc/PID/stat: with pid it names the process */
	uint64_t cgroup_id;  /* inode of its v2 cgroup */
	/* vm.memfd_noexec of its pid namespace as read back when it was made, or one of these. */
	int memfd_noexec;
} DnContainer;

enum { DN_MEMFD_NO_SYSCTL = -1, DN_MEMFD_NOT_READ = -2 };

typedef struct {
	char *version;   /* first line of --version, owned */
	bool fast_start; /* starting through the exec fifo was proved on a throw-away container */
} DnRuntimeAbility;

/* Write the bundle (config.json of DESIGN section 6) to RUN_DIR/bundles/NODE; pure part:
 * dn_oci_config(). */
bool dn_container_create_now(const DnInstance *instance, const DnContainerSpec *spec,
			     DnContainer *made, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Start a created container: by the fifo when @ability says so, else by the runtime's start. */
bool dn_container_start_now(const DnInstance *instance, const DnRuntimeAbility *ability,
			    const char *node, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Reflex: open the exec fifo of a created container ahead of time as an O_PATH descriptor, and
 * let it go later. Letting go opens for writing, unlinks, writes one byte: 1.6 ms to the first 200.
 */
int dn_container_hold_fifo(const DnInstance *instance, const char *node,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
/* Somebody has let it go already. */
bool dn_container_is_released(int fifo_fd);
bool dn_container_release_fifo(int fifo_fd); /* reflex: no allocation, no GError */

/* SIGNAL to pid 1 of the node; the kernel ignores one without a handler (pid_namespaces(7)). */
bool dn_container_kill_now(const DnInstance *instance, const char *node, int signal,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Kill everything in the node's cgroup and remove container, bundle and cgroups. Idempotent. */
bool dn_container_delete_now(const DnInstance *instance, const char *node,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* What the runtime has under its root: fills @nodes with char *; @found is read back per node. */
bool dn_container_list_now(const DnInstance *instance, GPtrArray *nodes,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_container_find_now(const DnInstance *instance, const char *node, DnContainer *found,
			   bool *created_only, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Create, start by fifo and delete a throw-away container from @root to learn what works here. */
bool dn_runtime_probe_now(const DnInstance *instance, DnRuntimeAbility *ability,
			  GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_runtime_ability_clear(DnRuntimeAbility *self);
