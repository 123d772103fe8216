/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An instance of one test process: its own mount namespace with a bpf file system and a tmpfs,
 * its own network namespace as the host's, its own parent cgroup. Namespaces go with the
 * process; a guardian removes the cgroups, also when the test crashed.
 *
 * A "node" here is a plain process in a child cgroup: the sensor asks for no more.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "sensor/sensor.h"

typedef struct {
	DnInstance instance;
	unsigned level;
	char *parent;    /* path of the parent cgroup */
	char *directory; /* a tmpfs */
	char *listed;    /* a program of image 1 there */
	char *foreign;   /* the same bytes in another file */
	bool lsm;        /* set before: the sensor may use the kernel's security hooks */
	DnSensor *sensor;
	DnAnswer answers[DN_SENSOR_SLOTS][DN_DRIFT_LIMIT]; /* of the node in the slot */
} Host;

void host_set_up(Host *host);
void host_tear_down(Host *host);

/* Open the sensor of the instance; the test fails when it cannot be. */
DnSensor *host_open(Host *host);

/* Make the cgroup NAME below the parent; returns its id. */
uint64_t host_make_cgroup(const Host *host, const char *name);

/*
 * Register a node in @slot, in the cgroup of the name, on the loopback interface. @answer is what
 * is done about foreign programs; all else is observed, for test processes are root's and come into
 * the group from outside. host->answers has room for other answers, before or after.
 */
DnSensorNode host_add_node(Host *host, const char *name, uint32_t slot, DnAnswer answer);

/* What a child that ran @act in the cgroup left: its wait status, and whether it wrote to 3. */
typedef struct {
	pid_t pid;
	int status;
	bool ran;
} Result;

typedef void (*Act)(const Host *host, void *data);

/* Fork, enter the cgroup, call @act with descriptor 3 a pipe; @act ends in an exec or _exit(). */
Result host_run_in(const Host *host, const char *cgroup, Act act, void *data);

/* The same, without waiting. The pipe's reading end is at *@pipe_fd. */
pid_t host_spawn_in(const Host *host, const char *cgroup, Act act, void *data, int *pipe_fd);

void exec_listed(const Host *host, void *data);
void exec_foreign(const Host *host, void *data);

/* What the sensor has observed since the last call. */
typedef struct {
	unsigned all;                      /* of any class */
	unsigned count;                    /* of class exec */
	struct dn_sensor_observation last; /* of class exec */
} Seen;

Seen host_drain(const Host *host);

/* How many times a promise of "never" is tried: DNODE_TEST_ROUNDS or 200. */
unsigned rounds(void);

/* Wait until @done says so, at most @limit_ms. */
bool wait_until(bool (*done)(void *data), void *data, unsigned limit_ms);

/* Run a command of the shell; the test fails when it does. */
void run(const char *format, ...) G_GNUC_PRINTF(1, 2);
