/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * What the kernel programs of the sensor and the agent agree on. Included by both halves; the
 * includer brings the __u types (linux/types.h or the CO-RE header). Fixed widths, no padding
 * that is not named: every struct is asserted below.
 */

#include <dnode/drift.h>

enum {
	DN_SENSOR_ABI =
		4, /* of everything below; an agent takes over pins of its own number only */
	DN_SENSOR_SLOTS = 256,
	DN_SENSOR_PORTS = 16,
	DN_SENSOR_ALLOW = 65536,
	DN_SENSOR_PATH = 192,
	DN_SENSOR_SPACES = 1024, /* namespaces of nodes that nobody else may enter */
	DN_SENSOR_UIDS = 65536,  /* from dn_sensor_node.uid_base on */
	/* Observations a node may cause in each DN_SENSOR_PACE_NS, by enum dn_sensor_pace_of. */
	DN_SENSOR_PACE_EXEC = 128,
	DN_SENSOR_PACE_REPEATABLE = 16,
	DN_SENSOR_PACE = 64,
	DN_SENSOR_PACE_NS = 1000000000,
	DN_SENSOR_TRIED = 1024, /* paths whose refused execs were told in DN_SENSOR_PACE_NS */
};

enum dn_sensor_phase {
	DN_PHASE_CREATING = 0, /* the runtime still sets the node up: its own execs are permitted */
	DN_PHASE_ARMED = 1,
	DN_PHASE_MARKED = 2,
};

/* node: hash, v2 cgroup id → this; link: hash, ifindex → __u32 slot. */
struct dn_sensor_node {
	__u32 slot;
	__u32 image; /* which set of the allow map is its */
	__u32 service;
	__u32 phase;
	__u32 pid1;     /* the node's pid 1 as the host counts: SIGSTOP instead of SIGKILL */
	__u32 guest;    /* process that may join the cgroup: the helper of a drill; 0: none */
	__u32 uid_base; /* first of its DN_SENSOR_UIDS users and groups, as the host counts */
	__u32 jit;      /* memory may become executable */
	__u8 answer[DN_DRIFT_LIMIT]; /* DnAnswer by enum dn_drift_class */
};

/* space: hash, inode number of a node's pid or mount namespace → __u64 v2 cgroup id. */

/* allow: hash, this → __u32 of enum dn_sensor_file_flag. dev is major << 20 | minor (dev_t). */
struct dn_sensor_file {
	__u64 dev;
	__u64 ino;
	__u32 image;
	__u32 reserved;
};

enum dn_sensor_file_flag {
	DN_FILE_EXEC = 1,   /* may be executed */
	DN_FILE_MAP = 2,    /* ELF: may be mapped executable */
	DN_FILE_LOADER = 4, /* a dynamic loader: executes whatever it is told */
	DN_FILE_SHELL = 8,
	DN_FILE_MULTI = 16, /* a program of many names, of which some are shells' */
};

/* Directions of the packet paths, index of the counters below. */
enum { DN_PATH_CGROUP_IN, DN_PATH_CGROUP_OUT, DN_PATH_TO_NODE, DN_PATH_FROM_NODE, DN_PATHS };

/* What a mark does to packets; the agent sets it beforehand, so that the kernel need not ask. */
enum dn_sensor_mode {
	DN_MODE_CUT = 0,     /* nothing passes */
	DN_MODE_ISOLATE = 1, /* declared ports are served, nothing else passes */
};

/*
 * mark: mmapable array by slot, read and partly written as plain memory by the agent.
 *
 * A slot is marked when event_ns is not 0. It is set once, by compare-and-swap, and whoever
 * wins that swap claims the slot and then writes the details: dev, ino, pid, comm, path, nr,
 * result, args, cut_ns and, last and with a barrier, class. So a reader that sees event_ns may
 * find class 0 for some microseconds: the node is cut already, the details are still being
 * written. A reader that sees class not 0 sees all of them.
 */
struct dn_sensor_mark {
	__u64 event_ns; /* CLOCK_MONOTONIC */
	__u64 cut_ns;   /* event_ns is visible to both packet paths since then */
	__u64 first_drop_ns;
	__u64 dev, ino; /* of the file */
	__u64 drops[4];
	__u64 resets[4]; /* RSTs let through */
	__u64 syns_answered;
	__u64 synacks_turned;
	__u64 packets_after_cut; /* must stay 0: tc let it go on, neither an exempt RST nor turned
				  */
	__u64 served;            /* mode isolate: packets of declared ports that went on */
	__u64 args[2];           /* of the system call, where one was refused */
	/* pid_tgid of a task that is about to be refused a call, which was told already; or 0 */
	__u64 told;
	__u32 class;   /* enum dn_drift_class */
	__u32 pid;     /* of the task that made the event, as the host counts */
	__u32 window;  /* agent: 1 while exempt RSTs may leave */
	__u32 mode;    /* agent: enum dn_sensor_mode */
	__u32 n_ports; /* agent: declared listen ports of TCP */
	__u32 n_udp;   /* agent: and of UDP */
	__s32 result;  /* of the system call that was refused; 0: it was none */
	__u32 nr;      /* its number */
	__u16 ports[DN_SENSOR_PORTS];
	__u16 udp[DN_SENSOR_PORTS];
	__u8 comm[16];
	__u8 path[DN_SENSOR_PATH]; /* of a file, as given to the kernel, or what the agent says;
				      NUL-terminated, untrusted */
};

/* verdicts: ring, the bell only: the truth is in mark. */
struct dn_sensor_verdict {
	__u32 slot;
	__u32 class;
	__u64 seq;
};

/* What user space is to make of an observation. */
enum dn_sensor_kind {
	DN_SEEN_DRIFT = 1,   /* drift that the manifest only observes or denies: told */
	DN_SEEN_REFUSED = 2, /* an exec was refused: drift if the file is foreign */
	DN_SEEN_WRITTEN = 3, /* a file became executable: drift if it is a regular file and is so */
	DN_SEEN_UNSURE = 4,  /* the kernel could not tell: look at the process */
};

/* observations: ring, what user space judges. */
struct dn_sensor_observation {
	__u32 slot;
	__u32 class; /* enum dn_drift_class */
	__u64 seq;   /* per slot */
	__u64 time_ns;
	__u64 dev, ino;
	__u64 args[2];
	__u32 kind;   /* enum dn_sensor_kind */
	__s32 result; /* of a refused call, or 0 */
	__u32 nr;     /* of the call, or 0 */
	__u32 pid;
	__s32 dirfd; /* of execveat and openat, AT_FDCWD for others */
	__u32 flags;
	__u8 comm[16];
	__u8 path[DN_SENSOR_PATH];
};

/*
 * pace: array by slot * DN_PACES + this. What a node may say is bounded, so that none drowns what
 * another has to say; what was swallowed is counted and makes the agent look at the whole node.
 * What an ordinary program may do again and again has a bound of its own, so that it cannot be used
 * to crowd out the rest; and more refused execs than theirs are drift themselves.
 */
enum dn_sensor_pace_of { DN_PACE_EXEC, DN_PACE_REPEATABLE, DN_PACE_OTHER, DN_PACES };

struct dn_sensor_pace {
	__u64 since_ns;
	__u32 said; /* since then */
	__u32 reserved;
	__u64 swallowed; /* ever */
};

/*
 * tried: LRU hash, this → __u64 CLOCK_MONOTONIC of the last refused exec that was told. A search of
 * PATH in a loop names the same few paths again and again. Absolute ones only, and none that
 * another process would understand otherwise; the rest of path is zero. DN_TRIED_IN_VAIN in it is
 * the agent's word: the path leads through nothing but the image, which does not change.
 */
enum { DN_TRIED_IN_VAIN = 1 };

struct dn_sensor_tried {
	__u32 pid1; /* of the node: another one of its slot has told nothing yet */
	__u8 path[DN_SENSOR_PATH];
};

/*
 * abi: array of one: what the pinned programs were loaded for. Written last, so a set of pins
 * whose loader died half-way shows version 0.
 */
struct dn_sensor_abi {
	__u32 version;
	__u32 level;     /* depth of the instance's parent cgroup below the root */
	__u64 parent_id; /* that cgroup's id */
	__u64 programs;  /* a checksum of the object file they come from */
};

/* agent: array of one __u32: process that may enter nodes' namespaces, the agent itself. */

/* sequence: array of __u64 by slot: the seq given to the slot's last verdict or observation. */

/* loss: array of __u64 by this index: what could not be written to its ring. */
enum { DN_LOSS_VERDICT, DN_LOSS_OBSERVATION, DN_LOSSES };

_Static_assert(sizeof(struct dn_sensor_node) == 64, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_file) == 24, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_mark) == 464, "sensor abi: stride of the mapped array");
_Static_assert(sizeof(struct dn_sensor_verdict) == 16, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_observation) == 288, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_pace) == 24, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_tried) == 196, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_abi) == 24, "sensor abi");
