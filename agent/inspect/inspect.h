/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the processes of one node are, seen from outside through /proc, compared with what its image
 * and its manifest allow. The half of drift that no kernel hook tells: it finds what has come to
 * be, however it was done, and finds it as long as it lasts.
 *
 * A baseline says what the node is expected to be: its namespaces and mounts, which are there when
 * the runtime has created it. A look walks the processes of the node's v2 cgroup and of the cgroups
 * below. The first process is passed over while it is the runtime's program still:
 *
 *   exec, shell      the program is none that the node may execute, or has been deleted
 *   library          an executable mapping of a file that is not one of the image's
 *   exec-memory      executable memory without a file (also memfd, shm), or writable and executable
 *                    at once; neither counts where the manifest says jit
 *   text             a page of code of the image, or of the vDSO, was written in this process: the
 *                    page tables hold a copy of the process's own in place of the file's page
 *   ptrace           a thread is traced
 *   uid              one of the four user or group numbers of a thread is outside of the node's
 *   capability       a thread has a capability in any of the five sets
 *   syscall          a thread has no seccomp filter, or may gain privileges by an exec
 *   process-foreign  the process is of another pid namespace than the node's
 *   namespace        a thread is in another namespace than the node's first process was
 *   mount            the mount table of the first process is not what it was; a process with mounts
 *                    of its own is in another namespace, and is told as that
 *
 * What is told as one thing is not told as another beside that: of a process of another pid
 * namespace nothing else is, and a program that may not be executed is no library of its process.
 *
 * A finding is a state, never an attempt: nothing that was declared gets there, so it is proof also
 * where its class is of the signal tier. An administrator's uprobe or debugger changes code and
 * traces too, and is told like everybody else's.
 *
 * Everything below /proc/PID is written by the node as far as it can be, and is read so: bounded,
 * into memory of a fixed size. /proc/PID is opened once, and that descriptor names the process and
 * never its number's next owner. What ends meanwhile is counted in @gone and is no drift. A copied
 * page is judged twice, its mapping before and after, since a process may exec in between.
 *
 * Who the processes are (all of the above but what is mapped) is judged of all of them before the
 * mappings of any, in a part of the look of its own. A look ends after @budget_ns of its thread's
 * CPU, or ten times that by the clock where it has to wait, and says so (@incomplete): the next one
 * goes on at the numbers from there on, so a node with a great many processes or mappings delays
 * what is found. Where a process had ended before its turn came, those that have come since are
 * looked at, as soon as they are listed. To hide something a node has to make more all the time
 * than can be looked at, or to hand it on from process to process faster than these can be; that
 * shows in @n_looks and @n_fled, and a node that is frozen can neither (core/hold.h). Of each
 * process DN_INSPECT_THREADS threads are looked at, others the next time; of the cgroups below,
 * which only the host can make, at most 64 and 8 levels.
 *
 * Wants root, CAP_SYS_PTRACE and CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the first user
 * namespace. Uses PROCMAP_QUERY (Linux 6.11) and PAGEMAP_SCAN (6.7). Where they are not there it
 * reads pagemap and the text of maps, which can be read from its beginning alone: a look that goes
 * on within a process pays that way, of up to 65,530 lines, beside its budget. proc(5),
 * Documentation/admin-guide/mm/pagemap.rst.
 */

#include <dnode/drift.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
	DN_INSPECT_FINDINGS = 16, /* more than there are classes to be told once */
	DN_INSPECT_THREADS = 64,
	DN_INSPECT_PATH = 256,
	DN_INSPECT_DETAIL = 160,
	DN_INSPECT_COMM = 64, /* 15 bytes, each of which may have become "\xNN" */
};
#define DN_INSPECT_BUDGET_NS UINT64_C(20000000)

/*
 * The class of drift that it is to map the file as code, or, @as_program, to execute it;
 * DN_DRIFT_NONE: the node may. @dev is the kernel's dev_t, major << 20 | minor, as in
 * dn_sensor_file(). Called on the looking thread, often.
 */
typedef enum dn_drift_class (*DnInspectClassOf)(void *data, uint64_t dev, uint64_t ino,
						bool as_program);

/* What the caller knows of a node. */
typedef struct {
	const char *cgroup_dir; /* the node's v2 cgroup */
	uint32_t pid1;          /* the node's first process */
	uint64_t start_time;    /* of pid1, field 22 of /proc/PID/stat; 0: not known */
	const char *mounts;     /* what dn_inspect_baseline_mounts() said once; NULL: not known */
	uint32_t uid_base;      /* user and group numbers: this one and the 65535 after it */
	bool jit;
	bool is_created; /* and not started: what pid1 executes now is the runtime's */
	uint32_t once;   /* classes, as 1 << class, of which one process a look is enough to know */
	DnInspectClassOf class_of;
	void *data; /* borrowed, for @class_of; lives as long as the baseline */
} DnInspectNode;

typedef struct DnInspectBaseline DnInspectBaseline;

/*
 * What @node is now is what it is expected to stay, but for its mounts, where they are known.
 * DN_ERROR_UNAVAILABLE when its first process is gone, is another one, or is not in the cgroup.
 */
DnInspectBaseline *dn_inspect_baseline_now(const DnInspectNode *node,
					   GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_inspect_baseline_free(DnInspectBaseline *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnInspectBaseline, dn_inspect_baseline_free)

/* A word for the mount table that is expected, good within this boot; borrowed. */
const char *dn_inspect_baseline_mounts(const DnInspectBaseline *self);

/* Text is printable UTF-8, cut to its room. */
typedef struct {
	enum dn_drift_class class;
	uint32_t pid;  /* as the host counts */
	uint32_t node; /* strangers: index of the node */
	char comm[DN_INSPECT_COMM];
	char path[DN_INSPECT_PATH]; /* of the program or mapping, as the kernel tells it, or "" */
	char detail[DN_INSPECT_DETAIL];
} DnInspectFinding;

typedef struct {
	uint32_t pid; /* this process, or the next that there is; 0: at the beginning */
	uint64_t address;
} DnInspectPlace;

/* Begin with zeros; give the same one to the next look at the same node. */
typedef struct {
	/* in */
	uint64_t budget_ns;   /* 0: DN_INSPECT_BUDGET_NS */
	bool by_the_clock;    /* the budget is of CLOCK_MONOTONIC: somebody waits for the end */
	uint32_t exempt_pid;  /* a process that is passed over, or 0 */
	bool without_mounts;  /* somebody polls dn_inspect_mount_watch_open() */
	bool without_queries; /* as on a kernel without PROCMAP_QUERY and PAGEMAP_SCAN */

	/* where the next look goes on: with who they are, with their mappings (or strangers) */
	DnInspectPlace who, cursor;
	bool has_who, has_code; /* to the end, since everything was looked at last */
	uint32_t n_looks;       /* since then; 0: this one was the end of it */
	uint32_t n_fled;        /* looks in a row in which newcomers were always gone again */
	uint32_t turn;          /* how often it was looked */

	/* out */
	uint32_t n_members;   /* processes of the node */
	uint32_t n_processes; /* whose program and rights were looked at */
	uint32_t n_gone;      /* ended, or left the node, meanwhile */
	uint32_t n_unread;    /* the kernel would not tell, for another reason: a blind spot */
	int unread_errno;     /* why, of the last of them */
	bool incomplete;      /* a limit ended the look, or one before it that it goes on with */
	uint32_t n_findings;  /* one a process and class, or a class; a full table ends the look */
	DnInspectFinding findings[DN_INSPECT_FINDINGS];
} DnInspectLook;

/*
 * Look at every process of the node. Fails when its cgroup cannot be read, DN_ERROR_UNAVAILABLE
 * when it is gone. Blocks for as long as the CPU takes; memory that was swapped out is waited for
 * only where code was found written.
 */
bool dn_inspect_node_now(const DnInspectBaseline *self, DnInspectLook *look,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Look at all of the host for processes in the pid or mount namespace of one of @nodes but in no
 * cgroup of it: process-foreign. Costs microseconds a process of the host, so it is for now and
 * then. Not while the runtime is at work on one of @nodes: it enters namespaces before cgroups.
 */
bool dn_inspect_strangers_now(const DnInspectBaseline *const *nodes, size_t n_nodes,
			      DnInspectLook *look, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * A descriptor that polls POLLPRI | POLLERR once for every change of the mounts that @pid sees,
 * from now on. -1 and errno.
 */
int dn_inspect_mount_watch_open(uint32_t pid);
