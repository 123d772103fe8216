/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The kernel half of the reflex: loading it, pinning it, and the maps it shares with the agent.
 * Programs, links and maps are pinned below DnInstance.bpf_dir, so marks are made and packets
 * are dropped while no agent runs; a new agent finds the pins and takes them over.
 */

#include <dnode/sensor-abi-user.h>
#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "core/instance.h"
#include "model/manifest.h"

typedef struct DnSensor DnSensor;

/*
 * Take over the pins of an earlier agent, or load, attach (exec hooks; cgroup_skb in and out on
 * the instance's parent cgroup) and pin anew. @level is dn_cgroup_prepare()'s. An incompatible
 * or partial set of pins is replaced only when no node is registered in it.
 */
DnSensor *dn_sensor_open(const DnInstance *instance, unsigned level,
			 GError **error) G_GNUC_WARN_UNUSED_RESULT;
void dn_sensor_close(DnSensor *self); /* pins stay */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DnSensor, dn_sensor_close)

/* Unpin and detach everything of this instance. */
bool dn_sensor_remove(const DnInstance *instance, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* How the sensor names a file of @image: its inode on the file system of the checkout. */
struct dn_sensor_file dn_sensor_file(const struct stat *info, uint32_t image);

/*
 * Replace the set of files that nodes of @image may execute. DN_ERROR_EXHAUSTED when the map
 * is full. Forget an image before its files are unlinked: inode numbers are used again.
 */
bool dn_sensor_allow(DnSensor *self, uint32_t image, const struct dn_sensor_file *files,
		     size_t n_files, GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_sensor_forget_image(DnSensor *self, uint32_t image,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

typedef struct {
	uint32_t slot;
	uint64_t cgroup_id;
	uint32_t ifindex; /* host's end of the veth: tc programs go here, both directions */
	uint32_t image, service;
	uint32_t pid1;
	DnAnswer exec;
	const uint16_t *ports; /* declared listen ports */
	size_t n_ports;        /* at most DN_SENSOR_PORTS */
	bool keep_mark;        /* adoption: leave a mark that is there */
} DnSensorNode;

/*
 * Attach tc to the veth (in the current network namespace), clear the mark, put the node into
 * the maps in phase armed. Removing undoes all of it; an interface that is gone is no error.
 */
bool dn_sensor_add_node(DnSensor *self, const DnSensorNode *node,
			GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_sensor_remove_node(DnSensor *self, const DnSensorNode *node,
			   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * Forget whatever the maps hold of slots that are not @taken, and their marks: of nodes that an
 * agent had no time to remove. No node is being made meanwhile.
 */
void dn_sensor_sweep(DnSensor *self, const bool taken[DN_SENSOR_SLOTS]);

/* DN_SENSOR_SLOTS marks, shared with the kernel. Borrowed. */
volatile struct dn_sensor_mark *dn_sensor_marks(DnSensor *self);

/*
 * Is there a mark on @slot? To be asked by any thread at any time: the kernel marks when it likes,
 * and a worker clears the slot that it fills.
 */
bool dn_sensor_is_marked(DnSensor *self, uint32_t slot);

/* Mark a slot by hand; false when it was marked already. No allocation. */
bool dn_sensor_mark(DnSensor *self, uint32_t slot, uint32_t class);

/* Poll these; then drain. Draining calls @observed for each observation; allocation is its caller's
 * matter. */
int dn_sensor_verdict_fd(const DnSensor *self);
int dn_sensor_observation_fd(const DnSensor *self);
void dn_sensor_drain_verdicts(DnSensor *self);
typedef void (*DnSensorObserved)(const struct dn_sensor_observation *observation, void *data);
void dn_sensor_drain_observations(DnSensor *self, DnSensorObserved observed, void *data);

/*
 * Judge a refused exec: true when the path, seen from the process that tried (its root and
 * working directory), is a regular file of another mount than the root, which is the image.
 * What cannot be resolved any more is no proof and gives false; see judge.c.
 */
bool dn_sensor_refused_is_foreign(DnSensor *self, uint32_t image,
				  const struct dn_sensor_observation *observation, uint32_t pid1);

/*
 * Does process @pid execute a file that @image does not hold? *@file is then its path, as the
 * kernel knows it and untrusted. False when it is gone.
 */
bool dn_sensor_runs_foreign(DnSensor *self, uint32_t image, uint32_t pid, char **file);

/* Verdicts and observations that did not fit their ring so far. */
void dn_sensor_losses(DnSensor *self, uint64_t *verdicts, uint64_t *observations);
