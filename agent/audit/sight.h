/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the kernel shows of a node, as it was read: texts of proc(5) and cgroup files and the few
 * things that are no text. Members are NULL where the kernel has no such file. The node is
 * hostile: every text has a limit, and names in it are the node's own.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "audit/audit.h"

enum dn_sight_namespace {
	DN_SIGHT_CGROUP,
	DN_SIGHT_IPC,
	DN_SIGHT_MNT,
	DN_SIGHT_NET,
	DN_SIGHT_PID,
	DN_SIGHT_USER,
	DN_SIGHT_UTS,
	DN_SIGHT_NAMESPACES
};

const char *dn_sight_namespace_name(unsigned kind); /* as below /proc/PID/ns */

typedef struct {
	pid_t pid;
	char *status; /* /proc/PID/status */
	char *stat;   /* /proc/PID/stat */
	ino_t namespaces[DN_SIGHT_NAMESPACES];
	uint64_t cwd_mount, root_mount; /* mount ids; 0: could not be seen */
} DnSeenProcess;

typedef struct {
	unsigned number;
	char *target;   /* what /proc/PID/fd/N leads to */
	uint64_t mount; /* mnt_id of its fdinfo; 0: could not be seen */
	bool is_queue;  /* mq_overview(7): of its IPC namespace, in a mount that nobody sees */
} DnSeenFd;

/* A path of the node's /proc that must be covered or read-only. */
typedef struct {
	const char *path; /* static, without a leading slash */
	bool there;
	bool is_proc;   /* it shows the kernel's own file */
	bool has_bytes; /* of what is not the kernel's own: it is no null device and not empty */
	bool read_only;
} DnSeenPath;

typedef struct {
	char *name;
	mode_t mode;
	dev_t device;
} DnSeenDevice;

/* In bytes, threads, thousandths of a CPU; a limit that is not set is UINT64_MAX. */
typedef struct {
	bool memory, pids, cpu; /* the controller was found */
	uint64_t memory_bytes, swap_bytes, pids_max, cpu_milli;
	bool has_swap;       /* the kernel accounts swap */
	char *path;          /* of the node's cgroup in v2: what /proc/PID/cgroup says */
	char *devices;       /* v1: devices.list; NULL with v2 */
	int device_programs; /* v2: BPF programs that judge devices; -1: not asked */
	char *io;            /* io.max or the throttle files; "" when nothing is set */
} DnSeenLimits;

typedef struct {
	GPtrArray *processes; /* of DnSeenProcess: all of its cgroup; the first one is its pid 1 */
	GPtrArray *fds;       /* of DnSeenFd: of its pid 1 */
	GPtrArray *masked;    /* of DnSeenPath */
	GPtrArray *read_only; /* of DnSeenPath */
	GPtrArray *devices;   /* of DnSeenDevice: its /dev */
	GPtrArray *sockets;   /* of char *: mount points that are sockets */
	ino_t host_namespaces[DN_SIGHT_NAMESPACES], own_namespaces[DN_SIGHT_NAMESPACES];
	char *mounts; /* /proc/PID/mountinfo */
	char *uid_map, *gid_map, *limits, *oom;
	char *tcp, *tcp6, *udp, *udp6;    /* /proc/PID/net */
	char *raw, *raw6, *icmp, *packet; /* "" when there are none */
	char *label;                      /* of the security module, or NULL */
	bool has_apparmor, has_selinux;   /* this kernel */
	DnSeenLimits resources;
} DnSight;

/* Fails with DN_ERROR_UNAVAILABLE when the node ended before all was read. */
DnSight *dn_sight_read_now(const DnInstance *instance, const DnAuditNode *node,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;
DnSight *dn_sight_new(void); /* empty, for the judges' tests */
void dn_sight_free(DnSight *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnSight, dn_sight_free)

DnSeenProcess *dn_sight_add_process(DnSight *self, pid_t pid);
DnSeenFd *dn_sight_add_fd(DnSight *self, unsigned number, const char *target, uint64_t mount);

/* cgroup.c: part of dn_sight_read_now(). */
void dn_sight_read_limits(const DnInstance *instance, const DnAuditNode *node, DnSeenLimits *seen);
