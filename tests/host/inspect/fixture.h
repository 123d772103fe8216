/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Nodes without a runtime: processes in a v2 cgroup of their own, with pid, mount, ipc, uts and
 * cgroup namespaces of their own, a user range, no capability, no_new_privs and a seccomp filter,
 * which lets everything through so that what it forbids elsewhere can be done here.
 *
 * The image is whatever is on the file systems of the C library and of the test's own programs; the
 * host's tmpfs holds what is foreign. Everything ends with the test: a guardian kills and removes.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "inspect/inspect.h"

typedef struct {
	char *cgroup;      /* path of the parent cgroup */
	char *directory;   /* a tmpfs, of another file system than the image */
	uint64_t image[2]; /* its devices */
	int actors[2];     /* O_PATH of the programs of actor.c: dynamic, static */
	uint64_t shell; /* inode of a program that is a shell nobody declared; 0: there is none */
} Host;

void host_set_up(Host *host);
void host_tear_down(Host *host);

enum { UID_BASE = 1000000, READY_FD = 3 };

/* How a process differs from the others of these nodes, by intention. */
typedef enum {
	WITH_HOST_UID = 1,
	WITH_HOST_GID = 2,
	WITH_CAPABILITIES = 4, /* in the bounding set */
	WITHOUT_SECCOMP = 8,
	WITHOUT_NO_NEW_PRIVS = 16,
	IN_HOST_PID_NAMESPACE = 32,
	OUTSIDE_OF_CGROUP = 64,
	IS_STATIC = 128, /* no oddity: a program without libraries */
	WITH_JIT = 256,  /* none either: the manifest says jit; of a node */
} Oddity;

typedef struct {
	const Host *host; /* borrowed */
	char *cgroup;     /* path */
	uint32_t pid1;
	DnInspectNode as_known;
	DnInspectBaseline *baseline;
} Node;

/*
 * Start a node whose first process does @act of actor.c, and take its baseline when it is ready.
 */
void node_start(Node *node, const Host *host, const char *name, unsigned oddities, const char *act,
		const char *argument);
void node_clear(Node *node);

/*
 * Start one more process in the node, or in the cgroup of that name below it; returns its pid when
 * it is ready.
 */
pid_t node_add(const Node *node, const char *below, unsigned oddities, const char *act,
	       const char *argument);

/* One look with what every kernel has (@plain) or with all that this one has. */
void node_look(const Node *node, bool plain, DnInspectLook *look);

/* The only finding there must be; the test fails when there are others, or none. */
const DnInspectFinding *only_finding(const DnInspectLook *look, enum dn_drift_class drift,
				     pid_t pid);
/* One of the findings, or NULL. */
const DnInspectFinding *find(const DnInspectLook *look, enum dn_drift_class drift, pid_t pid);
void assert_clean(const DnInspectLook *look);

/* The address at which process @pid has byte @offset of the code of the file whose path ends so. */
uint64_t address_of(pid_t pid, const char *file, uint64_t offset, uint64_t *file_offset);
/* Change the byte through /proc/PID/mem. */
void patch(pid_t pid, uint64_t address);

/* Run a command of the shell; the test fails when it does. */
void run(const char *format, ...) G_GNUC_PRINTF(1, 2);
