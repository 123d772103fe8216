/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the files of the sensor share. */

#include "sensor/lsm.h"
#include "sensor/pins.h"
#include "sensor/sensor.h"

struct ring_buffer;

struct DnSensor {
	int maps[DN_PIN_N_MAPS];               /* owned */
	int programs[DN_PIN_N_PROGRAMS];       /* owned: the tc programs */
	volatile struct dn_sensor_mark *marks; /* owned: mapped */
	int links[DN_PIN_N_HOOKS];             /* owned: so that unpinning detaches nothing */
	int hooked[DN_PIN_N_HOOKS];            /* owned: the programs that the links run */
	DnLsm lsm;
	GMutex lock;        /* of the next three, and of what the maps hold of them */
	GHashTable *images; /* owned: image → GArray of DnSensorProgram, as last allowed */
	GArray *lent;       /* owned: struct dn_sensor_file that pass for shells for now */
	GHashTable *guests; /* owned: cgroup id → process that is let in for now */
	struct ring_buffer *verdicts;     /* owned; used by the reflex thread only */
	struct ring_buffer *observations; /* owned */
	DnSensorObserved observed;        /* while draining, like the next three */
	void *observed_data;
	unsigned received;
	uint64_t turn_end_ns;
};

/* The keys of @image in the allow map, but for those lent to drills; a set of those that @programs
 * name. */
GArray *dn_nodes_files_of(DnSensor *self, uint32_t image);
GHashTable *dn_nodes_files_set(const GArray *programs, uint32_t image);

/* What the node map holds of @node, but for a guest. */
struct dn_sensor_node dn_nodes_entry(const DnSensorNode *node);

/* Who is let into the control group of @cgroup_id for now; 0: nobody. Under the lock. */
uint32_t dn_sensor_guest(DnSensor *self, uint64_t cgroup_id);
