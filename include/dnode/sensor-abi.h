/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * What the kernel programs of the sensor and the agent agree on. Included by both halves; the
 * includer brings the __u types (linux/types.h or the CO-RE header). Fixed widths, no padding
 * that is not named: every struct is asserted below.
 */

enum {
	DN_SENSOR_ABI =
		1, /* of everything below; an agent takes over pins of its own number only */
	DN_SENSOR_SLOTS = 256,
	DN_SENSOR_PORTS = 16,
	DN_SENSOR_ALLOW = 65536,
	DN_SENSOR_PATH = 192,
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
	__u32 exec; /* DnAnswer for class exec: observe, deny, quarantine */
	__u32 pid1; /* the node's pid 1 as the host counts: SIGSTOP instead of SIGKILL */
};

/* allow: hash, this → __u32 1. dev is major << 20 | minor (the kernel's dev_t). */
struct dn_sensor_file {
	__u64 dev;
	__u64 ino;
	__u32 image;
	__u32 reserved;
};

enum dn_sensor_class {
	DN_SENSOR_MANUAL = 1,       /* a person's quarantine: written by the agent */
	DN_SENSOR_EXEC = 2,         /* a foreign file was executed (and killed first) */
	DN_SENSOR_EXEC_REFUSED = 3, /* the kernel refused a foreign file: EACCES, EPERM */
};

/* Directions of the packet paths, index of the counters below. */
enum { DN_PATH_CGROUP_IN, DN_PATH_CGROUP_OUT, DN_PATH_TO_NODE, DN_PATH_FROM_NODE, DN_PATHS };

/*
 * mark: mmapable array by slot, read and partly written as plain memory by the agent.
 *
 * A slot is marked when event_ns is not 0. It is set once, by compare-and-swap, and whoever
 * wins that swap claims the slot and then writes the details: dev, ino, pid, comm, path,
 * cut_ns and, last and with a barrier, class. So a reader that sees event_ns may find class 0
 * for some microseconds: the node is cut already, the details are still being written.
 * A reader that sees class not 0 sees all of them.
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
	__u32 class;
	__u32 pid;     /* of the task that made the event, as the host counts */
	__u32 window;  /* agent: 1 while exempt RSTs may leave */
	__u32 n_ports; /* agent: declared listen ports */
	__u16 ports[DN_SENSOR_PORTS];
	__u8 comm[16];
	__u8 path[DN_SENSOR_PATH]; /* file name as given to execve, NUL-terminated, untrusted */
};

/* verdicts: ring, the bell only: the truth is in mark. */
struct dn_sensor_verdict {
	__u32 slot;
	__u32 class;
	__u64 seq;
};

/* observations: ring, what user space judges. */
struct dn_sensor_observation {
	__u32 slot;
	__u32 class; /* DN_SENSOR_EXEC (answer observe or deny) or DN_SENSOR_EXEC_REFUSED */
	__u64 seq;   /* per slot */
	__u64 time_ns;
	__u64 dev, ino;
	__s32 result; /* of the refused call */
	__u32 pid;
	__s32 dirfd; /* of execveat, AT_FDCWD for execve */
	__u32 flags;
	__u8 comm[16];
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

/* sequence: array of __u64 by slot: the seq given to the slot's last verdict or observation. */

/* loss: array of __u64 by this index: what could not be written to its ring. */
enum { DN_LOSS_VERDICT, DN_LOSS_OBSERVATION, DN_LOSSES };

_Static_assert(sizeof(struct dn_sensor_node) == 24, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_file) == 24, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_mark) == 384, "sensor abi: stride of the mapped array");
_Static_assert(sizeof(struct dn_sensor_verdict) == 16, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_observation) == 264, "sensor abi");
_Static_assert(sizeof(struct dn_sensor_abi) == 24, "sensor abi");
