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

/*
 * Is drift refused at the kernel's security hooks as well, before it has any effect? An extra that
 * not every kernel has. *@why is one line about it; borrowed.
 */
bool dn_sensor_denies(const DnSensor *self, const char **why);

/* Unpin and detach everything of this instance. */
bool dn_sensor_remove(const DnInstance *instance, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* How the sensor names a file of @image: its inode on the file system of the checkout. */
struct dn_sensor_file dn_sensor_file(const struct stat *info, uint32_t image);

/* A file of an image, and what nodes may do with it. */
typedef struct {
	uint64_t dev, ino; /* as in struct dn_sensor_file */
	uint32_t flags;    /* enum dn_sensor_file_flag */
} DnSensorProgram;

/*
 * Replace the set of files that nodes of @image may execute or map executable. DN_ERROR_EXHAUSTED
 * when the map is full. Forget an image before its files are unlinked: inode numbers are used
 * again.
 */
bool dn_sensor_allow(DnSensor *self, uint32_t image, const DnSensorProgram *files, size_t n_files,
		     GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * What nodes of @image may do with the file: enum dn_sensor_file_flag, 0 for a foreign one. Any
 * thread: the kernel's map is asked.
 */
uint32_t dn_sensor_flags_of(DnSensor *self, uint32_t image, uint64_t dev, uint64_t ino);
bool dn_sensor_forget_image(DnSensor *self, uint32_t image,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Forget the sets of images whose number is not in @taken (of uint32_t): of an agent that died. */
void dn_sensor_sweep_images(DnSensor *self, const GArray *taken);

typedef struct {
	uint32_t slot;
	uint64_t cgroup_id;
	uint32_t ifindex; /* host's end of the veth: tc programs go here, both directions */
	uint32_t image, service;
	uint32_t pid1;
	uint32_t uid_base;      /* first of its DN_SENSOR_UIDS users, as the host counts */
	bool jit;               /* memory may become executable */
	const DnAnswer *answer; /* DN_DRIFT_LIMIT of them, by class */
	const uint16_t *ports;  /* declared listen ports of TCP */
	size_t n_ports;         /* at most DN_SENSOR_PORTS */
	const uint16_t *udp;    /* and of UDP */
	size_t n_udp;
	uint32_t spaces[2]; /* inode numbers of its pid and mount namespaces; 0: not known */
	enum dn_sensor_mode mode;
	bool keep_mark; /* adoption: leave a mark that is there */
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

/* The same of what is pinned, while no agent runs; false when nothing is. */
bool dn_sensor_left_marked(const DnInstance *instance, uint32_t slot);

/*
 * Mark a slot for what the kernel programs could not see; false when it was marked already.
 * @what is copied into the mark's path, @pid is the process it was found in; NULL and 0: none.
 * No allocation.
 */
bool dn_sensor_mark(DnSensor *self, uint32_t slot, enum dn_drift_class drift, const char *what,
		    uint32_t pid);

/* What the next mark of @slot does to packets; one that is there already keeps its mode. */
void dn_sensor_set_mode(DnSensor *self, uint32_t slot, enum dn_sensor_mode mode);
enum dn_sensor_mode dn_sensor_mode(DnSensor *self, uint32_t slot);

/* Marked, and its declared ports are served all the same. Any thread. */
bool dn_sensor_is_isolated(DnSensor *self, uint32_t slot);

/* From the next packet on its mark cuts it, as any other does. Ring the reflex afterwards. */
void dn_sensor_end_isolation(DnSensor *self, uint32_t slot);

/* For a drill: take the tc programs off an interface that has them. */
bool dn_sensor_detach(uint32_t ifindex, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Let process @pid join the node's control group; 0: nobody. Before that it is foreign. */
bool dn_sensor_expect_guest(DnSensor *self, uint64_t cgroup_id, uint32_t pid,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/*
 * For a drill: let nodes of @image take the file @info is about for a shell of theirs that nobody
 * declared; and for what it is, a foreign file, again.
 */
bool dn_sensor_pass_as_shell(DnSensor *self, uint32_t image, const struct stat *info,
			     GError **error) G_GNUC_WARN_UNUSED_RESULT;
bool dn_sensor_pass_no_more(DnSensor *self, uint32_t image, const struct stat *info,
			    GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Observations of the node now in @slot that found no room, because it caused too many. */
uint64_t dn_sensor_swallowed(DnSensor *self, uint32_t slot);

/*
 * Poll these; then drain. Draining calls @observed for each observation, but for no more than 64 of
 * them and 2 ms at a time: false when it ended at that, and the descriptor stays readable.
 * Allocation is its caller's matter.
 */
int dn_sensor_verdict_fd(const DnSensor *self);
int dn_sensor_observation_fd(const DnSensor *self);
void dn_sensor_drain_verdicts(DnSensor *self);
typedef void (*DnSensorObserved)(const struct dn_sensor_observation *observation, void *data);
bool dn_sensor_drain_observations(DnSensor *self, DnSensorObserved observed, void *data);

/*
 * What is judged here is looked up where the node can keep whoever looks waiting: these are for a
 * worker. Any thread may call them, several at a time: they use the maps alone, which are the
 * kernel's, and what they are given.
 */

/*
 * Judge a refused exec: true when the path, seen from the process that tried (its root and
 * working directory), is a regular file of another mount than the root, which is the image.
 * What cannot be resolved any more is no proof and gives false; see judge.c.
 */
bool dn_sensor_refused_is_foreign(DnSensor *self, uint32_t image,
				  const struct dn_sensor_observation *observation, uint32_t pid1);

/*
 * After that: one that was not foreign, and is not told again for a moment when its path leads
 * through nothing but the image, where nobody can put another file.
 */
void dn_sensor_refused_in_vain(DnSensor *self, const struct dn_sensor_observation *observation,
			       uint32_t pid1);

/* Judge a file whose mode was changed: true when it is a regular file outside the image that
 * somebody may execute. */
bool dn_sensor_written_is_file(const struct dn_sensor_observation *observation, uint32_t pid1);

/*
 * Does process @pid execute a file that is no program of @image, nor a shell of it? *@file is then
 * its path, as the kernel knows it and untrusted. False when it is gone.
 */
bool dn_sensor_runs_foreign(DnSensor *self, uint32_t image, uint32_t pid, char **file);

/* Verdicts and observations that did not fit their ring so far. */
void dn_sensor_losses(DnSensor *self, uint64_t *verdicts, uint64_t *observations);
