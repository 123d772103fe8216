/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What every host test of the runtime stands on: an instance of its own in a temporary directory,
 * an image with one static program, and the parts of one node. All of it is removed again.
 */

#include "cgroup/cgroup.h"
#include "runtime/container.h"

typedef struct {
	DnInstance instance;
	char *directory;                     /* of everything, owned */
	char *checkout;                      /* the image, owned */
	char *hosts_file;                    /* owned */
	char *node, *root, *log_dir, *netns; /* owned */
	unsigned cgroup_level;
	DnManifest *manifest;
	DnContainerSpec spec;
	DnRuntimeAbility fast; /* fast_start */
} Stand;

void stand_open(Stand *self, char *const *args);
void stand_close(Stand *self);

void stand_mount_root(Stand *self);

/* Mount the root and create the node; fails the test when that fails. */
DnContainer stand_create(Stand *self);

/* Start by the fifo. */
void stand_start(Stand *self);

/* Wait until the log has @text; the whole log, or a failed test after ten seconds. */
char *stand_wait_for_log(const Stand *self, const char *text);

/* Wait until @pid (with its start time) is gone. */
void stand_wait_for_end(const DnContainer *container);
