/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a node is made of: its network, root, container, control group and place in the sensor. Made
 * and taken apart by a worker; build.c, on the main thread, says when.
 */

#include "main/agent.h"
#include "main/guard.h"
#include "main/watch.h"

/*
 * What a worker needs to build or take apart one node: copies, so that nothing of the main
 * thread's is touched; and what it made.
 */
typedef struct {
	Agent *agent; /* instance, store, sensor and ability, which never change */
	char *id;
	uint32_t slot;
	char *address;
	DnManifest *manifest;
	char *url; /* of the supervisor's repository */
	char *hosts;
	DnImageSet image; /* known: @defaults are there, and its programs are in the sensor */
	uint32_t service;
	unsigned damages; /* that main had heard of in the image when it began */
	bool image_refused;
	bool image_changed; /* while the node was made: nobody's mishap, it is made again */
	bool remains;       /* a failed start could not be taken back */
	DnRun defaults, run;
	int nice;      /* of the work, never of the node */
	bool is_spare; /* @network, @ns_fd and @owner_fd were made ahead of need */
	int ns_fd, owner_fd;
	DnContainer container;
	DnNetwork network;
	DnCgroup cgroup;
	int fifo_fd;
	DnSubject *subject; /* of the watch */
	DnKept *kept;       /* of the guard */
	/* How far it came, for the way back. */
	bool has_network, has_root, has_container, has_sensor;
} Build;

/*
 * Was the image changed or made anew since main began with this node? Then what was made is of a
 * checkout that is no longer as signed, which was looked at too early, or of another one than what
 * its programs are judged by. To be asked again before it may begin. Any thread.
 */
bool dn_parts_are_outdated(const Build *build);
bool dn_parts_refuse(Build *build, GError **error); /* as outdated; false */

/* On failure @build says how far it came, for the way back. A worker. */
bool dn_parts_make(Build *build, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Goes on past a failure; the first is the caller's. A worker. */
bool dn_parts_take_apart(Build *build, GError **error) G_GNUC_WARN_UNUSED_RESULT;
